"""Stage 2 on the robot: 2D rays to root-relative 3D joints, through an exported lifter (`networks.lifter`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.engines.engine import Engine, EngineError, Rows
from pose3d_ros.skeleton import NUM_JOINTS

Array = NDArray[np.float32]

LEAST_SCORE = 0.3
"""Of a joint that is lifted from where it is seen. One that is likely elsewhere misleads the network more than it
helps, although its score is told: people of rendered scenes are 136 mm off without such joints, 139 with them."""
_LEAST_HORIZONTAL = 0.3
"""Of the unit vector upwards, across the optical axis: below, a camera looks so steeply that it has no upright."""


class Lifted(NamedTuple):
    """The 3D poses of n people, camera frame (x right, y down, z forward).

    joints_m: [n, 24, 3] metres, relative to the pelvis. sigma_m: [n, 24] standard deviation of one axis, metres.
    states: one a person, the recurrent state to give back with the next frame of the same person.
    """

    joints_m: Array
    sigma_m: Array
    states: Rows


class Lifter:
    """Runs the exported stage 2, all people in one batch.

    Raises EngineError when the engine's network is not a lifter for our 24 joints.
    """

    def __init__(self, engine: Engine) -> None:
        shapes = {spec.name: spec.shape for spec in engine.inputs}
        outputs = {spec.name for spec in engine.outputs}
        rays, state = shapes.get("rays", ()), shapes.get("state", ())
        fits = rays[1:] == (NUM_JOINTS, 2) and len(state) == 2 and bool(state[1])
        if (
            not fits
            or not {"cov", "score", "up"} <= shapes.keys()
            or not {"joints_m", "sigma_m", "new_state"} <= outputs
        ):
            raise EngineError(
                f"this is not a lifter for {NUM_JOINTS} joints: its inputs are {shapes}, its outputs "
                f"{sorted(outputs)}; export one with `pose3d export lifter`"
            )
        self._engine = engine

    def __call__(
        self, rays: ArrayLike, cov: ArrayLike, score: ArrayLike, states: Rows, up: ArrayLike | None = None
    ) -> Lifted:
        """Lift one frame.

        Args:
            rays: [n, 24, 2] undistorted normalised coordinates (`Camera.rays`).
            cov: [n, 24, 2, 2] their covariance, normalised units squared.
            score: [n, 24] probability that the joint is right, 0...1; joints below LEAST_SCORE are ignored.
            states: one a person, from the person's last frame; None for who is new.
            up: [3] (or [n, 3]) unit vector against gravity in the camera frame, where the robot knows it: a lean
                towards the camera and a camera that looks down are hard to tell apart otherwise. A camera that hangs
                on its side, or upside down, is then as good as an upright one, to which the network is used.

        A joint whose ray or covariance is not finite (outside what the lens model reaches) counts as not seen.
        """
        seen, spread, sure = (np.array(a, np.float32, order="C") for a in (rays, cov, score))
        if not len(seen):
            return Lifted(np.zeros((0, NUM_JOINTS, 3), np.float32), np.zeros((0, NUM_JOINTS), np.float32), [])
        usable = np.isfinite(seen).all(-1) & np.isfinite(spread).all((-1, -2)) & np.isfinite(sure)
        bad = ~usable | (sure < LEAST_SCORE)
        seen[bad], spread[bad], sure[bad] = 0, 1, 0
        known_up = np.zeros((len(seen), 3), np.float32)
        if up is not None:
            known_up[:] = up
        roll = _to_upright(known_up)
        known_up[:, :2] = (roll @ known_up[:, :2, None])[..., 0]
        turned = roll[:, None]  # of each joint
        seen, spread = (turned @ seen[..., None])[..., 0], turned @ spread @ turned.swapaxes(-1, -2)
        given = {"rays": seen, "cov": spread, "score": sure, "up": known_up}
        out = self._engine.run(given | {"state": states})
        joints_m = out["joints_m"].copy()
        joints_m[..., :2] = joints_m[..., :2] @ roll  # back
        return Lifted(joints_m, out["sigma_m"], out["new_state"])


def _to_upright(up: Array) -> Array:
    """The turns [n, 2, 2] about the optical axis that bring `up` [n, 3] to where the top of the picture is."""
    across = np.linalg.norm(up[:, :2], axis=-1)
    x, y = (up[:, :2] / np.maximum(across, _LEAST_HORIZONTAL)[:, None]).T
    turns = np.array([[-y, x], [-x, -y]], np.float32).transpose(2, 0, 1)
    turns[across < _LEAST_HORIZONTAL] = np.eye(2)
    return turns
