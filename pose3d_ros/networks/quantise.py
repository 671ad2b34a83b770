"""An exported image network in 8 bits, for processors: `pose3d export int8 pose2d`.

Convolutions and what lies between them compute in integers (ONNX's QDQ form): half the time, a quarter of the bytes.
The last convolutions and what follows them, places and scores, stay in floating point. Ranges are measured on photos
kept from training, and so is what 8 bits cost: a stage 1 that loses more than a point of PCK@0.1 is not written.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pose3d_ros.data.lspet import Photos
from pose3d_ros.engines.engine import TensorSpec
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.engines.precision import read_network
from pose3d_ros.engines.samples_reader import SamplesReader
from pose3d_ros.evaluation.pose2d import TORSO, pck_of_photos
from pose3d_ros.models import Model, read_models, record_model
from pose3d_ros.networks.calibrate_file import (
    CALIBRATION_TENSOR,
    NO_PHOTOS,
    add_calibration_argument,
    calibrate_file,
    calibration_sets,
    kept_photos,
    photo_crops,
)
from pose3d_ros.networks.integer_layout import lay_out
from pose3d_ros.stages.find import letterbox

_IN_INTEGERS = ["Conv", "Add", "Relu", "MaxPool", "Resize"]
_MOST_PICTURES = 200
_MOST_LOST = 1.0
"""Points of PCK@0.1 that 8 bits may cost."""
_ENOUGH_PEOPLE = 30
"""From which on a set of people tells what they cost."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("role", choices=sorted(_PICTURES), help="which network of the models folder")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder with models.json")
    parser.add_argument(
        "--source", type=Path, help="what to make it from (default: that network), as one that is smaller than on a GPU"
    )
    add_calibration_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the network in 8 bits beside the one it is made from."""
    known = read_models(args.models)
    if args.role not in known:
        raise ValueError(f"{args.models} has no '{args.role}' network, only {sorted(known)}: export it there first")
    model = known[args.role]
    model.verify()
    photos = kept_photos(args.data, args.coco)
    if not photos:
        raise ValueError(f"nothing to measure ranges on: {NO_PHOTOS}")
    path = model.path.with_name(f"{model.path.stem}_int8.onnx")
    source = args.source or model.path
    given = OnnxRuntimeEngine(source).inputs[0]
    pictures = chain.from_iterable(_PICTURES[args.role](each, given) for each in photos.values())
    height, width = _size(given)
    partial = path.with_name(f"{path.stem}.partial.onnx")
    try:
        quantise(source, partial, given.name, pictures)
        if args.role == "pose2d":
            check_cost(source, partial, photos)
            calibrate_file(partial, calibration_sets(photos, args.synthetic, width))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    record_model(replace(model, int8=Model(args.role, path, "", input_size=(width, height))))


def quantise(source: Path, target: Path, name: str, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Writes the network of `source` in 8 bits, with the ranges that its values take on pictures [1, h, w, 3].

    name: of the network's input.
    """
    network = read_network(source)
    free = [tensor for tensor in network.graph.initializer if tensor.name == CALIBRATION_TENSOR]
    # What is also an input may change, so it is not merged with what comes after it.
    network.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in free)
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "merged.onnx"
        quant_pre_process(network, merged, skip_symbolic_shape=True)  # merges normalisations with convolutions
        quantize_static(
            merged,
            target,
            SamplesReader({name: picture} for picture in pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_IN_INTEGERS,
            nodes_to_exclude=_head(merged),
            per_channel=True,
            activation_type=QuantType.QUInt8,  # what x86 multiplies fast with signed weights
            weight_type=QuantType.QInt8,
            # Seven bits: processors without VNNI add pairs of products in 16 bits, which eight would overflow.
            reduce_range=True,
        )
    network = onnx.load(target)
    del network.graph.input[1:]
    lay_out(network.graph)
    onnx.save(network, target)


def check_cost(source: Path, target: Path, photos: Mapping[str, Photos]) -> None:
    """Prints what a stage 1 is worth on each set of photos, before and in 8 bits.

    Raises ValueError when it has lost more than a point on a set of enough people.
    """
    for name, each in photos.items():
        people = int(each.labelled[:, TORSO].all(1).sum())
        if not people:
            continue
        exact, rough = pck_of_file(source, each), pck_of_file(target, each)
        print(f"{source}: PCK@0.1 on {name} ({people}) {exact:.1f}, in 8 bits {rough:.1f}")
        if people >= _ENOUGH_PEOPLE and exact - rough > _MOST_LOST:
            raise ValueError(
                f"8 bits would cost {source} {exact - rough:.1f} points of PCK@0.1 on {name}, more than {_MOST_LOST}: "
                "let CPUs run it in floating point, or name another network with --source"
            )


def pck_of_file(path: Path, photos: Photos) -> float:
    """Percentage of the labelled joints that the stage 1 in an ONNX file puts within a tenth of the torso's length."""
    engine = OnnxRuntimeEngine(path)
    size = _size(engine.inputs[0])[0]
    return 100 * pck_of_photos(lambda crops: engine.run({"crops": crops})["joints"][:, :, 0], size, photos)[0.1]


def _head(path: Path) -> list[str]:
    """Names of the nodes whose outputs reach no convolution any more."""
    head = []
    needed: set[str] = set()
    for node in reversed(onnx.load(path).graph.node):  # whoever reads a value comes after who makes it
        if needed.isdisjoint(node.output):
            head.append(node.name)
        if node.op_type == "Conv" or not needed.isdisjoint(node.output):
            needed.update(node.input)
    return head


def _crops(photos: Photos, given: TensorSpec) -> Iterator[NDArray[np.uint8]]:
    for labelled in islice(photo_crops(photos, _size(given)[0]), _MOST_PICTURES):
        yield labelled.crop[None]


def _whole(photos: Photos, given: TensorSpec) -> Iterator[NDArray[np.uint8]]:
    height, width = _size(given)
    for i in range(min(len(photos), _MOST_PICTURES)):
        yield letterbox(photos.image(i), width, height)[0][None]


def _size(given: TensorSpec) -> tuple[int, int]:
    """Height and width of the pictures that a network takes."""
    _, height, width, _ = given.shape
    assert height is not None
    assert width is not None
    return height, width


_PICTURES = {"pose2d": _crops, "find": _whole}
