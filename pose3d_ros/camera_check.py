"""Whether a calibration that can be used is also one to believe."""

from __future__ import annotations

import cv2
import numpy as np

from pose3d_ros.camera import Camera

_LEAST_FOV_DEG, _MOST_FOV_DEG = 10.0, 170.0
_STEPS = 12  # from the principal point to the edge


def implausibility(camera: Camera) -> str:
    """What is hard to believe of a camera, and what to do; empty if nothing is."""
    fx, cx, fy, cy = camera.K[0, 0], camera.K[0, 2], camera.K[1, 1], camera.K[1, 2]
    if not (0 <= cx < camera.width and 0 <= cy < camera.height):
        return (
            f"the principal point ({cx:.0f}, {cy:.0f}) lies outside the image of {camera.width}x{camera.height}: "
            "the calibration belongs to another image size or region; calibrate for this one"
        )
    for name, f, size in (("horizontal", fx, camera.width), ("vertical", fy, camera.height)):
        fov_deg = _fov_deg(camera, f, size)
        if not _LEAST_FOV_DEG <= fov_deg <= _MOST_FOV_DEG:
            return (
                f"a focal length of {f:.0f} pixels makes a {name} field of view of {fov_deg:.0f} degrees: calibrate "
                "the camera again, and check that the calibration belongs to this lens and image size"
            )
    if camera.distortion.size and not _inverts(camera):
        return (
            "the distortion does not invert within the image, so that joints there have no place: calibrate again with "
            "pictures up to the edges, or with a simpler distortion model"
        )
    return ""


def _fov_deg(camera: Camera, f: float, size: int) -> float:
    """The field of view across so many pixels, distortion other than a fisheye's own projection left out."""
    half = 0.5 * size / f
    return float(np.degrees(2 * (half if camera.model == "equidistant" else np.arctan(half))))


def _inverts(camera: Camera) -> bool:
    """Does every pixel have its ray? From the principal point to the edge, rays must go further out with each step."""
    w, h = camera.width - 1, camera.height - 1
    edge = np.array([[x, y] for x in (0, w / 2, w) for y in (0, h / 2, h) if (x, y) != (w / 2, h / 2)])
    centre = camera.K[:2, 2]
    pixels = centre + np.linspace(0, 1, _STEPS)[:, None, None] * (edge - centre)
    try:
        rays = camera.rays(pixels)
    except cv2.error:
        return False
    radius = np.linalg.norm(rays - rays[:1], axis=-1)
    return bool(np.isfinite(radius).all() and (np.diff(radius, axis=0) > 0).all())
