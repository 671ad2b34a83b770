"""Calibrates an exported stage 1: finds what its raw outputs are worth, and writes that into the file."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from pose3d_ros.crop import apply, box_of_joints, crop_transform, square_of_box, warp
from pose3d_ros.data.coco import as_photos, held_out, read_coco
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.evaluate_pose2d import rendered_cases
from pose3d_ros.evaluation.pose2d import RIGHT, TORSO, torso_length
from pose3d_ros.networks.calibration import UNCALIBRATED, Answers, Calibration, fit_calibration
from pose3d_ros.skeleton import NUM_JOINTS

CALIBRATION_TENSOR = "calibration"
"""Name in the file: what `Pose2DGraph` calls it."""
NO_PHOTOS = "no folder lspet in that of --data, no ten photos and more of your own (--coco)"
_LEAST_VISIBLE = 1e-6
# Photos are what the network is for; their labels are rougher, so that alone they make it too modest elsewhere.
_PHOTOS_WEIGHT, _RENDERED_WEIGHT = 0.6, 0.4
_ENOUGH, _FEW = 100, 30
"""People of a set from which on it has its weight in full, and below which a fit to them alone is no calibration."""


class LabelledCrop(NamedTuple):
    """crop: [size, size, 3] BGR. joints: [24, 2] in its pixels. known: [24] which of them are. torso: in its pixels;
    NaN: it is not labelled."""

    crop: NDArray[np.uint8]
    joints: NDArray[np.floating]
    known: NDArray[np.bool_]
    torso: float


class WeightedCrops(NamedTuple):
    """A set of labelled people, what it is called, and how much it counts as a whole if it holds enough of them."""

    name: str
    weight: float
    crops: Iterable[LabelledCrop]


def add_photos_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the photos are that are kept from training."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--coco", type=Path, help="people of your own that the training is given, likewise")


def add_calibration_argument(parser: argparse.ArgumentParser) -> None:
    """Where there are people to calibrate on."""
    add_photos_arguments(parser)
    parser.add_argument(
        "--synthetic", type=Path, help="rendered crops that no training saw (another --seed), to calibrate on as well"
    )


def kept_photos(data: Path, coco: Path | None) -> dict[str, Photos]:
    """Photos that no training learns from: the data set's where it is, and of one's own people where they are named."""
    sets: dict[str, Photos] = {}
    if (data / "lspet").is_dir():
        sets["photos"] = read_lspet(data / "lspet", "calibration")
    if coco is not None and (own := held_out(read_coco(coco))[1]):
        sets["people of your own"] = as_photos(own)
    return sets


def kept_crops(data: Path, coco: Path | None, size: int, count: int = 48) -> NDArray[np.uint8]:
    """The first crops [n, size, size, 3] of photos that no training learns from.

    Raises ValueError when there are none.
    """
    photos = kept_photos(data, coco)
    if not photos:
        raise ValueError(f"nothing to look at: {NO_PHOTOS}")
    labelled = chain.from_iterable(photo_crops(each, size) for each in photos.values())
    return np.stack([each.crop for each in islice(labelled, count)])


def calibration_sets(photos: Mapping[str, Photos], synthetic: Path | None, size: int) -> list[WeightedCrops]:
    """Sets of photos by name, and the rendered people of a folder where one is named.

    Raises ValueError when there are neither.
    """
    sets = [WeightedCrops(name, _PHOTOS_WEIGHT, photo_crops(each, size)) for name, each in photos.items()]
    if synthetic is not None:
        sets.append(WeightedCrops("rendered people", _RENDERED_WEIGHT, rendered_crops(synthetic, size)))
    if not sets:
        raise ValueError(f"nothing to calibrate on: {NO_PHOTOS}, and no rendered people (--synthetic)")
    return sets


def calibrate_file(path: Path, sets: Sequence[WeightedCrops]) -> None:
    """Calibrates the stage 1 in an ONNX file on sets of labelled people that no training saw; says on which.

    Raises ValueError where nobody's torso is labelled, by whose length it is told what is right.
    """
    set_calibration(path, UNCALIBRATED)
    engine = OnnxRuntimeEngine(path)
    size = engine.inputs[0].shape[1]
    assert size is not None
    asked = {weighted.name: _answers(engine, weighted.weight, weighted.crops) for weighted in sets}
    answers = {name: of_set for name, of_set in asked.items() if of_set is not None}
    if not answers:
        raise ValueError(f"nobody of the {' and '.join(w.name for w in sets)} has shoulders and hips labelled")
    calibration = fit_calibration(
        Answers(*(np.concatenate(part) for part in zip(*answers.values(), strict=True))), size
    )
    set_calibration(path, calibration)
    people = {name: len(of_set.weight) for name, of_set in answers.items()}
    print(f"{path}: calibrated on {' and '.join(f'{name} ({n})' for name, n in people.items())}: {calibration}")
    if sum(people.values()) < _FEW:
        print(f"{path}: so few people say little of how far scores and covariances can be trusted: add --synthetic")


def _answers(engine: OnnxRuntimeEngine, weight: float, crops: Iterable[LabelledCrop]) -> Answers | None:
    """What the engine says of a set's people whose torso is labelled, who share its weight; None: nobody."""
    rows = []
    for crop, joints, known, torso in crops:
        if np.isnan(torso):
            continue
        out = {name: values[0] for name, values in engine.run({"crops": crop[None]}).items()}
        error = out["joints"][:, 0] - joints
        right = np.linalg.norm(error, axis=-1) <= RIGHT * torso
        visible = np.clip(out["visible"], _LEAST_VISIBLE, 1 - _LEAST_VISIBLE)
        visibility = np.log(visible / (1 - visible))
        rows.append((out["score"][:, 0], visibility, known, right, error, out["covariance"][:, 0]))
    if not rows:
        return None
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    return Answers._make([*columns, np.full(len(rows), weight / max(len(rows), _ENOUGH))])


def set_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration into the ONNX file of a stage 1. Raises ValueError when it has no place for one."""
    network = onnx.load(path)
    places = [tensor for tensor in network.graph.initializer if tensor.name == CALIBRATION_TENSOR]
    if not places:
        raise ValueError(
            f"{path} has no '{CALIBRATION_TENSOR}' that could be changed: export it again with this version"
        )
    values = np.array(astuple(calibration), np.float32)
    if list(places[0].dims) != [len(values)]:
        raise ValueError(f"{path} was exported by a version that calibrated otherwise: export it again with this one")
    places[0].CopyFrom(onnx.numpy_helper.from_array(values, CALIBRATION_TENSOR))
    onnx.save(network, path)


def photo_crops(photos: Photos, size: int) -> Iterator[LabelledCrop]:
    """A crop of each photo."""
    for i in range(len(photos)):
        known = photos.labelled[i]
        crop = _labelled(photos.image(i), box_of_joints(photos.joints_px[i][known]), photos.joints_px[i], known, size)
        yield crop if known[TORSO].all() else crop._replace(torso=np.nan)


def rendered_crops(folder: Path, size: int) -> Iterator[LabelledCrop]:
    """A crop of each rendered person, of whom all joints are known: also those that nobody can see."""
    for case in rendered_cases(folder):
        yield _labelled(case.image, case.box, case.joints_px, np.ones(NUM_JOINTS, bool), size)


def _labelled(image: NDArray[np.uint8], box: NDArray, joints_px: NDArray, known: NDArray, size: int) -> LabelledCrop:
    transform = crop_transform(*square_of_box(box), size)
    joints = apply(transform, joints_px)
    return LabelledCrop(warp(image, transform, size), joints, known, float(torso_length(joints[None])[0]))
