"""What stage 1 sees of rendered people, whose joints in space are known: `pose3d sightings --synthetic … --output
sightings.npz`, then `pose3d train lifter --sightings sightings.npz`.

Motion capture has no pictures, so the lifter learns from it by a model of the 2D stage's errors
(`data.virtual_cameras`). These are the errors themselves: limbs taken for each other, legs guessed where a table or the
picture's edge hides them, and the scores and covariances that go with them. Whoever moves is seen with the errors that
stage 1 made of somebody in much the same pose, seen from much the same side.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pose3d_ros.data.virtual_cameras import Observations
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_networks
from pose3d_ros.loaded_networks import Locate, Networks
from pose3d_ros.skeleton import ROOT
from pose3d_ros.stages.pose2d import Pose2D
from pose3d_ros.training.crop_data import Augmentation, Labels, cut_off, recoloured
from pose3d_ros.training.synthetic_source import SyntheticSource

Array = NDArray[np.floating]

_LOOKS = 3
_CUT_OFF = 0.35
"""Share of the people whom the picture's edge cuts off, besides those who are rendered so."""
_SHIFT, _LOG_SCALE = 0.03, 0.06
"""How far the boxes of one person's looks differ: standard deviations, of the box's longer side and of its log."""
_RECOLOURED = Augmentation(blur=0.15, coarse=0.15, noise=0.2)
_LEAST_DEPTH_M = 0.3
_KNOWN = 6000
"""People whose errors one batch has: each sequence those of the most alike, as long as its pose stays."""
_FRAMES = 6
"""For so many the same errors last."""
_TREMBLE = 0.15
"""Of a joint's sigma from frame to frame, besides."""
_RIGHT_M = 0.1
"""A joint that shows and is found within this distance is reliable."""


class _Sighting(NamedTuple):
    """A person: joints [24, 3] in the camera's frame, metres, which of them show [24], and rays [looks, 24, 2],
    covariance [looks, 24, 2, 2] and score [looks, 24] of each look."""

    joints_m: Array
    shows: NDArray[np.bool_]
    rays: Array
    cov: Array
    score: Array


@dataclass(frozen=True, eq=False)
class Sightings:
    """Everybody who was looked at: the arrays of _Sighting, stacked."""

    joints_m: Array
    shows: NDArray[np.bool_]
    rays: Array
    cov: Array
    score: Array

    def write(self, file: Path) -> None:
        """As an .npz file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **vars(self))

    @classmethod
    def read(cls, file: Path) -> Sightings:
        """What `write` wrote."""
        with np.load(file) as arrays:
            return cls(**arrays)

    def observe(self, rng: np.random.Generator, joints: Array) -> Observations:
        """How stage 1 might see sequences [B,T,24,3] in the camera's frame, metres."""
        known = rng.integers(len(self.rays), size=_KNOWN)
        poses = _poses(self.joints_m[known])
        who = np.concatenate(
            [
                np.repeat(known[_most_alike(_poses(part[:, part.shape[1] // 2]), poses)][:, None], part.shape[1], 1)
                for part in np.split(joints, range(_FRAMES, joints.shape[1], _FRAMES), axis=1)
            ],
            axis=1,
        )
        at = who, rng.integers(self.rays.shape[1], size=(len(joints), 1))
        theirs = self.joints_m[who]
        nearness = (theirs[..., ROOT, 2] / joints[..., ROOT, 2])[..., None]
        offset = nearness[..., None] * (self.rays[at] - theirs[..., :2] / theirs[..., 2:])
        cov = nearness[..., None, None] ** 2 * self.cov[at]
        sigma = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
        tremble = _TREMBLE * sigma * rng.standard_normal(offset.shape, np.float32)
        rays = joints[..., :2] / np.maximum(joints[..., 2:], _LEAST_DEPTH_M) + offset + tremble
        right = np.linalg.norm(offset, axis=-1) * joints[..., ROOT, None, 2] < _RIGHT_M
        return Observations(rays, cov, self.score[at], self.shows[who] & right)


def _poses(joints: Array) -> Array:
    """Joints [n, 24, 3] relative to the pelvis, as a camera that looks straight at it sees them, [n, 72]."""
    forward = joints[:, ROOT] / np.linalg.norm(joints[:, ROOT], axis=-1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    axes = np.stack([right, np.cross(forward, right), forward], axis=-1)
    return ((joints - joints[:, [ROOT]]) @ axes).reshape(len(joints), -1)


def _most_alike(poses: Array, known: Array) -> NDArray[np.intp]:
    """Which of the known poses [m, 72] is nearest to each of the poses [n, 72]."""
    return np.asarray((np.square(known).sum(-1) - 2 * poses @ known.T).argmin(-1))


def look_at_everybody(networks: Networks, people: SyntheticSource) -> Sightings:
    """What the networks see of rendered people, by numbers of the same seed each time."""
    rng = np.random.default_rng(0)
    rows = list(_each(networks, people, rng))
    return Sightings(*(np.stack(column) for column in zip(*rows, strict=True)))


def _each(networks: Networks, people: SyntheticSource, rng: np.random.Generator) -> Iterator[_Sighting]:
    for i in tqdm(range(len(people)), unit="person", disable=None):
        joints_m, camera = people.in_space(i)
        if joints_m[:, 2].min() >= _LEAST_DEPTH_M:
            yield _looked_at(networks, people.labels(i, rng), joints_m, camera, rng)


def _looked_at(
    networks: Networks, labels: Labels, joints_m: Array, camera: Array, rng: np.random.Generator
) -> _Sighting:
    """A person of a picture whose intrinsics are `camera` [3, 3]."""
    shown = cut_off(labels, rng) if rng.random() < _CUT_OFF else labels
    away = (labels.joints_px - shown.joints_px)[ROOT]
    low, high = np.split(shown.box, 2)
    middle, half = (low + high) / 2, (high - low) / 2
    middles = middle + rng.normal(0, _SHIFT, (_LOOKS, 2)) * 2 * half.max()
    halves = half * np.exp(rng.normal(0, _LOG_SCALE, (_LOOKS, 1)))
    image = recoloured(shown.image, _RECOLOURED, rng)
    [pose] = networks.locate([Locate(image, np.concatenate([middles - halves, middles + halves], 1))])
    return _Sighting(joints_m, shown.visible > 0, *_as_rays(pose, away, camera))


def _as_rays(pose: Pose2D, away: Array, camera: Array) -> tuple[Array, ...]:
    """Rays, covariance and score of looks at a part of a picture, whose corner lies `away` from the picture's."""
    focal = np.diag(camera)[:2]
    rays = (pose.joints_px + away - camera[:2, 2]) / focal
    seen = rays, pose.cov_px / np.outer(focal, focal), pose.score
    return tuple(part.astype(np.float32) for part in seen)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_pipeline_arguments(parser)
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of rendered crops or scenes")
    parser.add_argument("--output", type=Path, required=True, help="file of the sightings, .npz")


def run(args: argparse.Namespace) -> None:
    """Looks at everybody who was rendered."""
    seen = look_at_everybody(open_networks(args), SyntheticSource(args.synthetic))
    seen.write(args.output)
    print(f"{len(seen.rays)} people, {seen.rays.shape[1]} looks each")
