"""Other ways to lift 2D joints, to be measured beside ours: an exemplar search and a kinematic fit.

Sequences are [T,24,...]; 3D joints are metres in the camera frame, relative to the pelvis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.mocap import MocapClips, sample_windows
from pose3d_ros.data.virtual_cameras import sample_views
from pose3d_ros.skeleton import BONES, NUM_JOINTS, ROOT, indices

Array = NDArray[np.floating]

_TORSO = indices("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_BATCH = 500
_LEAST_LENGTH_M = 1e-6


class Exemplars:
    """The pose whose picture is most like what is seen (Chen and Ramanan, CVPR 2017, arXiv:1612.06524).

    A library of motion capture seen by virtual cameras; 3D is the nearest exemplar's depth on the rays that are seen
    (their "warped" variant), joints that are not seen are the exemplar's own.
    """

    def __init__(self, clips: MocapClips, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        joints = np.concatenate(
            [
                sample_views(rng, sample_windows(rng, clips, _BATCH, 1)).joints_m[:, 0]
                for _ in range(-(-count // _BATCH))
            ]
        )
        rays, known = joints[..., :2] / joints[..., 2:], np.ones(joints.shape[:2])
        turned = np.einsum("nij,nkj->nki", _facing(rays, known), joints)
        self._points, size = _normalised(turned, known)
        self._radius_m = size * turned[:, ROOT, 2]
        self._depth_m = turned[..., 2] - turned[:, ROOT, None, 2]

    def lift(self, rays: Array, score: Array) -> Array:
        """[T,24,3] of rays [T,24,2] whose joints count by their score [T,24]."""
        return np.concatenate(
            [self._lift(rays[i : i + _BATCH], score[i : i + _BATCH]) for i in range(0, len(rays), _BATCH)]
        )

    def _lift(self, rays: Array, score: Array) -> Array:
        turn = _facing(rays, score)
        turned = np.einsum("nij,nkj->nki", turn, _homogeneous(rays))
        points, size = _normalised(turned, score)
        weight = np.repeat(score, 2, axis=1)
        library = self._points.reshape(len(self._points), -1)
        # Σ w (q − l)² without Σ w q², which is the same for all exemplars
        nearest = (weight @ (library**2).T - 2 * (weight * points.reshape(len(points), -1)) @ library.T).argmin(1)
        points = np.where(score[..., None] > 0, points, self._points[nearest])
        root_depth = self._radius_m[nearest] / size
        depth = self._depth_m[nearest]
        across = points * (size[:, None] * (root_depth[:, None] + depth))[..., None]
        joints = np.concatenate([across - across[:, ROOT, None], depth[..., None]], -1)
        return np.einsum("nji,nkj->nki", turn, joints)


def _homogeneous(rays: Array) -> Array:
    return np.concatenate([rays, np.ones_like(rays[..., :1])], -1)


def _facing(rays: Array, score: Array) -> Array:
    """[N,3,3] that turns a camera so that the torso of rays [N,24,2] lies on its axis, without rolling."""
    weight = score[:, _TORSO, None] + 1e-6
    axis = _homogeneous((rays[:, _TORSO] * weight).sum(1) / weight.sum(1))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    right = np.stack([axis[:, 2], np.zeros(len(axis)), -axis[:, 0]], -1)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(axis, right), axis], 1)


def _normalised(turned: Array, score: Array) -> tuple[Array, Array]:
    """Points [N,24,2] on the plane before the camera over their size [N], the RMS distance from the axis."""
    points = turned[..., :2] / np.maximum(turned[..., 2:], 0.05)
    size = np.sqrt((score[..., None] * points**2).sum((1, 2)) / np.maximum(score.sum(1), 1e-6))
    return points / size[:, None, None], size


def kinematic_fit(joints: Array) -> Array:
    """[T,24,3] with bones of one length each: the mean so far, each bone in the direction that was lifted.

    The skeleton fit of VNect (Mehta et al., SIGGRAPH 2017) without its camera: the position is relative here.
    """
    fitted = np.zeros_like(joints)
    steps = np.arange(1, len(joints) + 1)
    children = {parent: [child for p, child in BONES if p == parent] for parent in range(NUM_JOINTS)}
    waiting: list[int] = [ROOT]
    while waiting:
        parent = waiting.pop()
        for child in children[parent]:
            bone = joints[:, child] - joints[:, parent]
            length = np.linalg.norm(bone, axis=-1)
            mean = np.cumsum(length) / steps
            fitted[:, child] = fitted[:, parent] + bone * (mean / np.maximum(length, _LEAST_LENGTH_M))[:, None]
            waiting.append(child)
    return fitted


def one_euro(values: Array, fps: float, cutoff_hz: float = 1.5, slope: float = 3.0) -> Array:
    """The 1€ filter (Casiez et al., CHI 2012) of every coordinate of [T,...]; slope: Hz of cutoff per unit a second."""
    smooth, speed = [values[0]], np.zeros_like(values[0])
    for value in values[1:]:
        speed = speed + _share(1.0, fps) * ((value - smooth[-1]) * fps - speed)
        smooth.append(smooth[-1] + _share(cutoff_hz + slope * np.abs(speed), fps) * (value - smooth[-1]))
    return np.stack(smooth)


def _share(cutoff_hz: Array | float, fps: float) -> Array | float:
    """Of the new value, in a low pass of first order."""
    ratio = 2 * np.pi * cutoff_hz / fps
    return ratio / (1 + ratio)
