"""Calibrates an exported stage 1: finds what its raw outputs are worth, and writes that into the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from pose3d_ros.crop import apply, box_of_joints, crop_transform, square_of_box, warp
from pose3d_ros.data.lspet import Photos
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.pose2d import RIGHT, TORSO, torso_length
from pose3d_ros.networks.calibration import UNCALIBRATED, Calibration, fit_calibration

CALIBRATION_TENSOR = "calibration"
"""Name in the file: what `Pose2DGraph` calls it."""
_LEAST_VISIBLE = 1e-6


def calibrate_file(path: Path, photos: Photos) -> Calibration:
    """Calibrates the stage 1 in an ONNX file on labelled photos that no training saw."""
    set_calibration(path, UNCALIBRATED)
    engine = OnnxRuntimeEngine(path)
    size = engine.inputs[0].shape[1]
    assert size is not None
    parts: list[tuple[NDArray, ...]] = []
    for crop, joints, known in labelled_crops(photos, size):
        out = {name: values[0][known] for name, values in engine.run({"crops": crop[None]}).items()}
        error = out["joints"][:, 0] - joints[known]
        right = np.linalg.norm(error, axis=-1) <= RIGHT * torso_length(joints[None])[0]
        visible = np.clip(out["visible"], _LEAST_VISIBLE, 1 - _LEAST_VISIBLE)
        parts.append((out["score"][:, 0], np.log(visible / (1 - visible)), right, error, out["covariance"][:, 0]))
    mass, visibility, right, error, covariance = (np.concatenate(column) for column in zip(*parts, strict=True))
    calibration = fit_calibration(mass, visibility, right, error, covariance, size)
    set_calibration(path, calibration)
    return calibration


def set_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration into the ONNX file of a stage 1. Raises ValueError when it has no place for one."""
    network = onnx.load(path)
    places = [tensor for tensor in network.graph.initializer if tensor.name == CALIBRATION_TENSOR]
    if not places:
        raise ValueError(
            f"{path} has no '{CALIBRATION_TENSOR}' that could be changed: export it again with this version"
        )
    places[0].CopyFrom(onnx.numpy_helper.from_array(np.array(astuple(calibration), np.float32), CALIBRATION_TENSOR))
    onnx.save(network, path)


def labelled_crops(photos: Photos, size: int) -> Iterator[tuple[NDArray[np.uint8], NDArray, NDArray[np.bool_]]]:
    """Of each photo whose torso is labelled: the crop [size, size, 3], its joints [24, 2] in the crop's pixels, and
    which of them are labelled [24]."""
    for i in np.flatnonzero(photos.labelled[:, TORSO].all(1)).tolist():
        known = photos.labelled[i]
        transform = crop_transform(*square_of_box(box_of_joints(photos.joints_px[i][known])), size)
        yield warp(photos.image(i), transform, size), apply(transform, photos.joints_px[i]), known
