"""`pose3d …`: one command for everything but the nodes. Each subcommand is a module with add_arguments and run.

Only the module of the command that was typed is imported: running on a robot needs no torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from pose3d_ros.camera import CameraError
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.video import VideoError

# Words of the command: (module, help).
COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("run",): ("pose3d_ros.run_video", "3D joints from a video, a camera or an image"),
    ("build-engine",): ("pose3d_ros.build_engine", "the networks as TensorRT engines for this GPU"),
    ("bench",): ("pose3d_ros.bench", "milliseconds per stage on this machine"),
    ("evaluate", "pose2d"): ("pose3d_ros.evaluation.evaluate_pose2d", "2D joints against labelled photos"),
    ("evaluate", "finder"): ("pose3d_ros.evaluation.evaluate_finder", "people found in labelled pictures"),
    ("evaluate", "lifter"): ("pose3d_ros.evaluation.evaluate_lifter", "3D joints against motion capture"),
    ("evaluate", "baselines"): ("pose3d_ros.evaluation.evaluate_baselines", "other ways to lift beside ours"),
    ("evaluate", "people"): ("pose3d_ros.evaluation.evaluate_people", "the whole pipeline in rendered scenes"),
    ("evaluate", "photos"): ("pose3d_ros.evaluation.evaluate_photos", "the whole pipeline on everyday photos"),
    ("evaluate", "presence"): ("pose3d_ros.evaluation.evaluate_presence", "people told from things"),
    ("evaluate", "clips"): ("pose3d_ros.evaluation.evaluate_clips", "the whole pipeline over time, in rendered films"),
    ("evaluate", "crossings"): ("pose3d_ros.evaluation.evaluate_crossings", "who is who where people's ways cross"),
    ("evaluate", "multiview"): ("pose3d_ros.evaluation.multiview", "agreement of four calibrated cameras"),
    ("evaluate", "health"): ("pose3d_ros.evaluation.evaluate_health", "the reference of the networks' health"),
    ("train", "pose2d"): ("pose3d_ros.training.train_pose2d", "train image -> 2D joints"),
    ("train", "deeppose"): ("pose3d_ros.training.train_deeppose", "train direct regression, a baseline"),
    ("train", "finder"): ("pose3d_ros.training.train_finder", "train image -> people's boxes"),
    ("train", "lifter"): ("pose3d_ros.training.train_lifter", "train 2D -> 3D joints"),
    ("retrain",): ("pose3d_ros.training.retrain", "every command that makes a shipped network, one after the other"),
    ("export", "pose2d"): ("pose3d_ros.networks.export_pose2d", "a trained stage 1 to ONNX"),
    ("export", "finder"): ("pose3d_ros.networks.export_finder", "a trained finder to ONNX"),
    ("export", "lifter"): ("pose3d_ros.networks.export_lifter", "a trained lifter to ONNX"),
    ("export", "int8"): ("pose3d_ros.networks.quantise", "an exported image network in 8 bits"),
    ("factorise",): ("pose3d_ros.networks.factorise", "a trained stage 1 with less work for a CPU, to train on"),
    ("dequantise",): ("pose3d_ros.networks.dequantise", "a stage 1 in 8 bits in floating point again, to train on"),
    ("findings",): ("pose3d_ros.training.findings", "what a trained stage 1 finds in the photos it learns from"),
    ("bystanders",): (
        "pose3d_ros.training.bystanders",
        "who stands by, unlabelled, in the photos the finder learns from",
    ),
    ("doctor",): ("pose3d_ros.ros.doctor", "look at a running ROS 2 system, and say what to do"),
    ("render",): ("pose3d_ros.data.synthetic.cli", "render synthetic people"),
}
_ADVICE = {"rclpy": "source /opt/ros/<distribution>/setup.bash"}
_GROUPS = {"evaluate": "measure", "train": "train a network", "export": "write a network as ONNX"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 for a failure that is explained, 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(words).parse_args(words)
        return int(args.run(args) or 0)
    except (EngineError, CameraError, VideoError, ValueError) as error:
        print(f"pose3d: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"pose3d: {error.filename}: {error.strerror}" if error.filename else f"pose3d: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pose3d_ros"):
            raise
        advice = _ADVICE.get(error.name or "", f"pip install {error.name}")
        print(f"pose3d: this command needs the Python package '{error.name}': {advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pose3d", description="3D human pose from one camera.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction] = {}
    for name, (module_name, text) in COMMANDS.items():
        chosen = tuple(words[: len(name)]) == name
        if not chosen and find_spec(module_name) is None:
            continue
        parent = commands
        if len(name) > 1:
            if name[0] not in groups:
                group = commands.add_parser(name[0], help=_GROUPS[name[0]])
                groups[name[0]] = group.add_subparsers(metavar="WHAT", required=True)
            parent = groups[name[0]]
        command = parent.add_parser(name[-1], help=text, description=text)
        if chosen:
            module = import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
