"""Reads a camera's calibration from a file: our JSON, or the YAML of ROS' camera_calibration.

JSON: {"K": [[fx, 0, cx], …], "distortion": […], "image_size": [width, height], "distortion_model": "plumb_bob"},
the last optional. YAML: as written by camera_calibration (image_width, camera_matrix, distortion_coefficients, …).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.camera import Camera, CameraError

_ASPECT_TOLERANCE = 0.01
_PLUMB_BOB_SIZES = (0, 4, 5)
_OPENCV_ORDER = "opencv k1,k2,p1,p2"
"""How a free description begins, such as "OpenCV k1,k2,p1,p2,k3"; any other name could mean a fisheye lens."""
_ACCEPTED = "it must have K, distortion and image_size, or be camera_calibration's YAML"


def read_camera(path: Path) -> Camera:
    """The camera in a calibration file. Raises CameraError naming the file and what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CameraError(f"cannot read camera-info {path}: {getattr(error, 'strerror', None) or error}") from error
    content = _parse(text, path)
    try:
        camera = _from_yaml(content) if "camera_matrix" in content else _from_json(content)
    except KeyError as error:
        raise CameraError(f"{path} lacks {error}: {_ACCEPTED}") from error
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise CameraError(f"{path}: {error}") from error
    if not np.allclose(camera.K[2], (0, 0, 1)):
        raise CameraError(f"{path}: the last row of K is {camera.K[2].tolist()}, not 0 0 1: is K transposed?")
    return camera


def camera_for_image(camera: Camera, width: int, height: int) -> Camera:
    """The calibration for an image of this size. Raises CameraError when the image is no scaled copy."""
    if abs(width * camera.height / (height * camera.width) - 1) > _ASPECT_TOLERANCE:
        raise CameraError(
            f"the calibration is for {camera.width}x{camera.height}, the image has {width}x{height}: another shape, "
            "so it was cropped or turned; calibrate for this image size"
        )
    if (width, height) == (camera.width, camera.height):
        return camera
    return camera.resized(width, height)


def _parse(text: str, path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except ValueError as error:
            raise CameraError(f"{path} is not valid JSON: {error}") from error
    else:
        try:
            import yaml
        except ImportError as error:
            raise CameraError(f"PyYAML is needed to read {path}: pip install pyyaml, or give JSON") from error
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CameraError(f"{path} is not valid YAML: {error}; {_ACCEPTED}") from error
    if not isinstance(content, Mapping):
        raise CameraError(f"{path} holds no calibration: {_ACCEPTED}")
    return content


def _from_json(content: Mapping[str, Any]) -> Camera:
    width, height = content["size"] if "size" in content else content["image_size"]
    distortion = np.asarray(content.get("distortion", []), float).ravel()
    model = str(content.get("distortion_model", ""))
    if model.lower().startswith(_OPENCV_ORDER):
        model = "plumb_bob" if distortion.size in _PLUMB_BOB_SIZES else "rational_polynomial"
    return Camera(int(width), int(height), np.asarray(content["K"], float), distortion, model)


def _from_yaml(content: Mapping[str, Any]) -> Camera:
    return Camera(
        int(content["image_width"]),
        int(content["image_height"]),
        np.asarray(content["camera_matrix"]["data"], float),
        np.asarray(content.get("distortion_coefficients", {"data": []})["data"], float),
        str(content.get("distortion_model", "plumb_bob")),
    )
