"""Stage 2 from a training's checkpoint to an ONNX file that takes rays and gives metres.

pose3d export lifter --checkpoint runs/lifter_gru/checkpoint.pt --output models/lifter.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pose3d_ros import skeleton
from pose3d_ros.engines.half_weights import halve_weights
from pose3d_ros.models import Model, record_model
from pose3d_ros.networks.lifter import Lifter, LifterConfig
from pose3d_ros.networks.lifter_graph import LifterGraph

OPSET = 17
INPUTS = ("rays", "cov", "score", "up", "state")
OUTPUTS = ("joints_m", "sigma_m", "new_state")
_ABOUT = {
    "gru": "rays to root-relative metres over time (causal GRU); trained on CMU mocap seen by virtual cameras",
    "mlp": "rays to root-relative metres per frame (residual MLP); trained on CMU mocap seen by virtual cameras",
}


def load_lifter(checkpoint: Path) -> Lifter:
    """The network with its averaged weights and its calibration."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = Lifter(LifterConfig(**saved["network"]))
    model.load_state_dict(saved["model"])
    return model.eval()


def example_inputs(model: LifterGraph, people: int = 2) -> tuple[torch.Tensor, ...]:
    """Zeros of the graph's input shapes."""
    joints = skeleton.NUM_JOINTS
    state = (people, model.state_size)
    shapes = ((people, joints, 2), (people, joints, 2, 2), (people, joints), (people, 3), state)
    return tuple(torch.zeros(shape) for shape in shapes)


def write_onnx(model: LifterGraph, path: Path) -> None:
    """Writes the graph with a free number of people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        example_inputs(model),
        str(path),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_axes={name: {0: "people"} for name in INPUTS + OUTPUTS},
        opset_version=OPSET,
        dynamo=False,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of a training")
    parser.add_argument("--output", type=Path, default=Path("models/lifter.onnx"), help="file to write")
    parser.add_argument("--record", action="store_true", help="enter it in the models.json beside it, as the lifter")


def run(args: argparse.Namespace) -> None:
    """Writes the ONNX file."""
    lifter = load_lifter(args.checkpoint)
    model = LifterGraph(lifter)
    write_onnx(model, args.output)
    halve_weights(args.output)
    if args.record:
        record_model(Model("lift", args.output, "", joints=skeleton.JOINTS, about=_ABOUT[lifter.config.kind]))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB, state of {model.state_size}")
