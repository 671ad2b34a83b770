"""People of known place and size before a simulated camera, for the tests of what corrects their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.skeleton import BONES, INDEX, NUM_JOINTS
from pose3d_ros.stages.body import Body, body_of
from pose3d_ros.stages.place import SIZE_SD, place

CAMERA = Camera.from_horizontal_fov(640, 480, 62)
FOCAL_PX = float(CAMERA.K[0, 0])
PIXEL_SD = 2.0
POSE_SD_M = 0.03
_RADIUS_M = {
    "pelvis": 0.14, "hip": 0.11, "knee": 0.06, "ankle": 0.045, "spine": 0.14, "thorax": 0.125, "neck": 0.06,
    "head": 0.06, "shoulder": 0.057, "elbow": 0.04, "wrist": 0.025, "nose": 0.01, "eye": 0.03, "ear": 0.01, "toe": 0.03,
}  # fmt: skip
RADII_M = np.array([_RADIUS_M[name.split("_")[-1]] for name in INDEX])


def standing() -> np.ndarray:
    """[24, 3] somebody of 1.7 m who stands and faces the camera: x right, y down, z forward, the pelvis at 0."""
    heights = {
        "pelvis": 0.92, "hip": 0.92, "knee": 0.50, "ankle": 0.09, "spine": 1.17, "thorax": 1.42, "neck": 1.52,
        "head": 1.70, "shoulder": 1.38, "elbow": 1.10, "wrist": 0.87, "nose": 1.58, "eye": 1.61, "ear": 1.59,
        "toe": 0.03,
    }  # fmt: skip
    sides = {"hip": 0.085, "knee": 0.10, "ankle": 0.11, "toe": 0.13, "shoulder": 0.18, "elbow": 0.24, "wrist": 0.27,
             "eye": 0.03, "ear": 0.07}  # fmt: skip
    forward = {"nose": 0.12, "eye": 0.09, "toe": 0.15, "wrist": 0.12, "elbow": 0.02}
    pose = np.zeros((NUM_JOINTS, 3))
    for name, k in INDEX.items():
        part = name.split("_")[-1]
        side = sides.get(part, 0.0) * (1 if name.startswith("left") else -1)
        pose[k] = side, heights["pelvis"] - heights[part], -forward.get(part, 0.0)
    return pose


def turned(pose: np.ndarray, angle: float) -> np.ndarray:
    """The pose turned about the vertical."""
    cos, sin = np.cos(angle), np.sin(angle)
    return pose @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T


@dataclass
class Seen:
    """n people as they are, and as the stages before see them."""

    joints_m: np.ndarray  # [n, 24, 3] root-relative, as lifted: of usual size, with errors
    sigma_m: np.ndarray  # [n, 24] with the spread of sizes, as the lifter gives it
    joints_px: np.ndarray
    cov_px: np.ndarray
    root_m: np.ndarray  # [n, 3] truth
    size: np.ndarray  # [n] truth
    points_m: np.ndarray  # [n, 24, 3] truth
    body: Body

    @property
    def expected_m(self) -> np.ndarray:
        """[n, 24] z of the joints, as placed without depth."""
        return self.body.root_m[:, 2:] + self.joints_m[..., 2]


def see(
    count: int, seed: int = 0, size_sd: float = SIZE_SD, distance=(2.0, 4.5), height_m=1.2, pose=None, size=None
) -> Seen:
    """People of random size who stand on the ground, `height_m` below the camera, turned anyhow."""
    rng = np.random.default_rng(seed)
    pose = standing() if pose is None else pose
    sizes = 1 + rng.normal(0, size_sd, count) if size is None else np.full(count, size)
    true = np.array([turned(pose, angle) for angle in rng.uniform(-1.0, 1.0, count)]).reshape(count, NUM_JOINTS, 3)
    ground_y = sizes * (pose[:, 1].max() + 0.03)
    root = np.stack([rng.uniform(-0.3, 0.3, count), height_m - ground_y, rng.uniform(*distance, count)], 1)
    points = root[:, None] + sizes[:, None, None] * true
    # A lifter errs with the whole body as well as joint by joint.
    lean = rng.normal(0, POSE_SD_M, (count, 1, 3)) * true[..., 1:2]
    lifted = true + 0.7 * rng.normal(0, POSE_SD_M, true.shape) + lean
    lifted -= lifted[:, :1]
    sigma = np.sqrt(POSE_SD_M**2 + 0.059**2 * (lifted**2).sum(-1) / 3)
    pixels = CAMERA.project(points) + rng.normal(0, PIXEL_SD, (count, NUM_JOINTS, 2))
    cov_px = np.tile(PIXEL_SD**2 * np.eye(2), (count, NUM_JOINTS, 1, 1))
    score = np.ones((count, NUM_JOINTS))
    placed = place(lifted, sigma, CAMERA.rays(pixels), cov_px / FOCAL_PX**2, score)
    body = body_of(placed, np.ones(count), np.full(count, SIZE_SD**2))
    return Seen(lifted, sigma, pixels, cov_px, root, sizes, points, body)


def depth_image(points_m: np.ndarray, radii_m: np.ndarray = RADII_M, background_m: float = 8.0) -> np.ndarray:
    """[480, 640] z in metres of somebody made of capsules, the bones, before a wall."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = np.concatenate([CAMERA.rays(np.stack([u, v], -1)), np.ones((CAMERA.height, CAMERA.width, 1))], -1)
    z = np.full(u.shape, background_m)
    for a, b in BONES:
        for share in np.linspace(0, 1, 9):
            centre = (1 - share) * points_m[a] + share * points_m[b]
            radius = (1 - share) * radii_m[a] + share * radii_m[b]
            _add_ball(z, rays, centre, radius)
    return z


def _add_ball(z: np.ndarray, rays: np.ndarray, centre: np.ndarray, radius: float) -> None:
    x, y = CAMERA.project(centre)
    reach = FOCAL_PX * radius / max(centre[2] - radius, 0.2) + 3
    rows = slice(int(max(y - reach, 0)), int(max(y + reach, 0)))
    columns = slice(int(max(x - reach, 0)), int(max(x + reach, 0)))
    ray = rays[rows, columns]
    a, b = (ray**2).sum(-1), ray @ centre
    inside = b**2 - a * (centre @ centre - radius**2)
    hit = np.where(inside >= 0, (b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
    z[rows, columns] = np.minimum(z[rows, columns], hit)


def as_measured(z: np.ndarray, seed: int = 0, hole_share: float = 0.1) -> np.ndarray:
    """The depth image of a stereo camera: noise, a wrong scale, holes of zeros and of NaN, mixed edges."""
    rng = np.random.default_rng(seed)
    noisy = z * (1 + rng.normal(0, 0.007)) + rng.normal(0, 1, z.shape) * 0.003 * z**2
    edges = np.abs(np.diff(z, axis=1, prepend=z[:, :1])) > 0.3
    noisy = np.where(edges, rng.uniform(0.5, 1.0, z.shape) * noisy, noisy)
    blocks = rng.random((z.shape[0] // 8, z.shape[1] // 8)) < hole_share
    holes = np.kron(blocks, np.ones((8, 8), bool))
    return np.where(holes, np.where(rng.random(z.shape) < 0.5, 0.0, np.nan), noisy).astype(np.float32)
