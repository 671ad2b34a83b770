"""Virtual cameras and the 2D stage's error model: from mocap sequences to what the lifter gets on a robot.

World: z up, metres. Camera: x right, y down, z forward. Everything 2D is in normalised coordinates (x/z, y/z). NumPy,
vectorised over sequences; the same code makes training batches and the seeded evaluation sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS, ROOT, indices

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

_MIN_DEPTH_M = 0.25
_FOV_DEG = (35.0, 110.0)
_HEIGHT_M = (0.2, 2.5)
_DISTANCE_M = (0.8, 10.0)


@dataclass(frozen=True)
class Views:
    """Sequences seen by cameras.

    joints_m: [B,T,24,3] in the camera frame, metres. half_extent: [B,2] of the image, tangents.
    up: [B,3] unit vector against gravity in the camera frame.
    """

    joints_m: Array
    half_extent: Array
    up: Array

    def rays(self) -> Array:
        """[B,T,24,2] normalised coordinates without any error."""
        return self.joints_m[..., :2] / np.maximum(self.joints_m[..., 2:], _MIN_DEPTH_M)

    def inside(self) -> Mask:
        """[B,T,24]: the joint falls into the picture."""
        within = np.abs(self.rays()) <= self.half_extent[:, None, None, :]
        return within.all(axis=-1) & (self.joints_m[..., 2] > _MIN_DEPTH_M)


@dataclass(frozen=True)
class Observations:
    """What stage 1 would say: rays [B,T,24,2], covariance [B,T,24,2,2] and score [B,T,24] (0 = joint not reported).

    ``reliable`` [B,T,24] is the truth behind it: the joint was in view, not hidden, and not an outlier.
    """

    rays: Array
    cov: Array
    score: Array
    reliable: Mask


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], shape: tuple[int, ...]) -> Array:
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), shape))


def _look_at(forward: Array, roll: Array) -> Array:
    """World-to-camera rotations [B,3,3] (rows: right, down, forward) for unit view directions [B,3]."""
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0]), forward.shape)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=-2)


def sample_views(rng: np.random.Generator, joints: Array, full_view_fraction: float = 0.5) -> Views:
    """Put a random camera before each sequence [B,T,24,3].

    Horizontal field of view 35-110°, height 0.2-2.5 m, horizontal distance 0.8-10 m, roll (mostly small), person off
    the centre. A ``full_view_fraction`` of the cameras steps back until the whole person fits.
    """
    count = len(joints)
    path = joints[..., ROOT, :]
    fov = np.radians(rng.uniform(*_FOV_DEG, count))
    tangent = np.tan(fov / 2)
    aspect = rng.choice([3 / 4, 9 / 16, 4 / 3], count, p=[0.6, 0.3, 0.1])
    half_extent = np.stack([tangent, tangent * aspect], axis=-1)

    distance = _log_uniform(rng, _DISTANCE_M, (count,))
    bearing = rng.uniform(0, 2 * np.pi, count)
    floor = joints[..., 2].min(axis=(1, 2)) - 0.03
    offset = np.stack(
        [distance * np.cos(bearing), distance * np.sin(bearing), floor + rng.uniform(*_HEIGHT_M, count)], axis=-1
    )
    # Some cameras stand still, some follow the person over the ground.
    follow = np.where(rng.random(count) < 0.5, rng.random(count), 0.0)[:, None]
    middle = path[:, path.shape[1] // 2]
    ground = np.array([1.0, 1.0, 0.0])
    centre = (middle * ground + offset)[:, None] + follow[..., None] * (path - middle[:, None]) * ground

    # Aim at the person, then turn away by up to 60 % of the half field of view: off-centre people, truncation.
    forward = middle - centre[:, path.shape[1] // 2]
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    roll_sd = np.radians(np.where(rng.random(count) < 0.15, 20.0, 4.0))
    rotation = _look_at(forward, rng.normal(0.0, 1.0, count) * roll_sd)
    away = rng.uniform(-0.6, 0.6, (count, 2)) * np.arctan(half_extent)
    turned = np.stack([np.tan(away[:, 0]), np.tan(away[:, 1]), np.ones(count)], axis=-1)
    turned /= np.linalg.norm(turned, axis=-1, keepdims=True)
    axis = np.cross(turned, [0.0, 0.0, 1.0])
    angle = np.linalg.norm(axis, axis=-1)
    rotation = _rotation_vectors(axis / np.maximum(angle, 1e-9)[:, None] * np.arcsin(angle)[:, None]) @ rotation

    seen = (joints - centre[:, :, None]) @ np.swapaxes(rotation, -1, -2)[:, None]
    seen = _step_back(rng, seen, half_extent, full_view_fraction)
    return Views(seen.astype(np.float32), half_extent.astype(np.float32), rotation[..., 2].astype(np.float32))


def _rotation_vectors(vectors: Array) -> Array:
    """Rotation matrices [B,3,3] from rotation vectors [B,3]."""
    angle = np.linalg.norm(vectors, axis=-1)
    x, y, z = (vectors / np.maximum(angle, 1e-9)[:, None]).T
    o = np.zeros_like(x)
    k = np.stack([o, -z, y, z, o, -x, -y, x, o], axis=-1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle)[:, None, None] * k + (1 - np.cos(angle))[:, None, None] * (k @ k)


def _step_back(rng: np.random.Generator, seen: Array, half_extent: Array, fraction: float) -> Array:
    """Move cameras back along their axes: never through the person, and for a fraction until everything fits."""
    nearest = seen[..., 2].min(axis=(1, 2))
    back = np.maximum(0.45 - nearest, 0.0)
    wanted = (np.abs(seen[..., :2]) / half_extent[:, None, None, :]).max(axis=-1) - seen[..., 2]
    fit = np.maximum(wanted.max(axis=(1, 2)) * 1.02, 0.0)
    # A person who crosses the whole room would push the camera out of it: such views stay truncated.
    fit = np.where(fit < 8.0, fit, 0.0)
    back = np.maximum(back, np.where(rng.random(len(seen)) < fraction, fit, 0.0))
    seen = seen.copy()
    seen[..., 2] += back[:, None, None]
    return seen


# Radii in metres of the limbs that hide joints (the "cylinder man" of Cheng et al., ICCV 2019).
_LIMBS: tuple[tuple[str, str, float], ...] = (
    ("thorax", "pelvis", 0.13),
    ("left_shoulder", "left_hip", 0.08),
    ("right_shoulder", "right_hip", 0.08),
    ("neck", "head", 0.085),
    ("left_shoulder", "left_elbow", 0.045),
    ("right_shoulder", "right_elbow", 0.045),
    ("left_elbow", "left_wrist", 0.035),
    ("right_elbow", "right_wrist", 0.035),
    ("left_hip", "left_knee", 0.07),
    ("right_hip", "right_knee", 0.07),
    ("left_knee", "left_ankle", 0.05),
    ("right_knee", "right_ankle", 0.05),
)
_TRUNK_LIMBS = 3  # the first three
_LIMB_A = indices(*(a for a, _, _ in _LIMBS))
_LIMB_B = indices(*(b for _, b, _ in _LIMBS))
_LIMB_RADIUS = np.array([r for _, _, r in _LIMBS], np.float32)


def _own_limbs() -> Mask:
    """[24,L]: pairs that are never tested, since the joint is an end of the limb or lies inside it."""
    trunk = set(
        indices("pelvis", "spine", "thorax", "neck", "left_hip", "right_hip", "left_shoulder", "right_shoulder")
    )
    face = set(indices("nose", "left_eye", "right_eye"))
    own = np.zeros((NUM_JOINTS, len(_LIMBS)), bool)
    for k, (a, b, _) in enumerate(_LIMBS):
        part = trunk if k < _TRUNK_LIMBS else face if a == "neck" else set()
        for joint in part | {INDEX[a], INDEX[b]}:
            own[joint, k] = True
    return own


_OWN_LIMB = _own_limbs()


def self_occluded(joints_m: Array) -> Mask:
    """Which joints [...,24] another part of the same body hides. ``joints_m`` [...,24,3] in the camera frame.

    In the picture each limb is a strip round a segment; a joint is hidden when it falls into a strip whose axis lies
    most of the limb's radius in front of it there. The joint's own limbs are left out.
    """
    depth = np.maximum(joints_m[..., 2], _MIN_DEPTH_M)
    point = joints_m[..., :2] / depth[..., None]
    a, b = point[..., _LIMB_A, :], point[..., _LIMB_B, :]
    za, zb = depth[..., _LIMB_A], depth[..., _LIMB_B]
    along = b - a
    length2 = np.maximum((along**2).sum(-1), 1e-9)
    # [..., 24, L], one coordinate at a time: a third of the memory traffic
    dx = point[..., :, None, 0] - a[..., None, :, 0]
    dy = point[..., :, None, 1] - a[..., None, :, 1]
    t = (dx * along[..., None, :, 0] + dy * along[..., None, :, 1]) / length2[..., None, :]
    t = np.clip(t, 0.0, 1.0)
    limb_depth = za[..., None, :] + t * (zb - za)[..., None, :]
    dx -= t * along[..., None, :, 0]
    dy -= t * along[..., None, :, 1]
    covered = (dx * dx + dy * dy) * limb_depth**2 < _LIMB_RADIUS**2
    behind = depth[..., :, None] - limb_depth > np.maximum(0.8 * _LIMB_RADIUS, 0.05)
    return (covered & behind & ~_OWN_LIMB).any(axis=-1)


@dataclass(frozen=True)
class ErrorModel:
    """The 2D stage's errors. Lengths are metres at the person's distance.

    Defaults describe a good 2D stage (visible joints 18 mm off on average); training draws `sigma_m` per sequence.
    """

    sigma_m: tuple[float, float] = (0.012, 0.012)
    """Range of one axis' standard deviation for an easy, visible joint (log-uniform per sequence)."""
    occluded_factor: float = 2.5
    outlier_visible: float = 0.03
    outlier_occluded: float = 0.15
    outlier_frames: float = 4.0
    """Mean length of a run of outliers."""
    joint_drop: float = 0.05
    side_errors: float | Array = 0.0
    """Of all sequences, or of each [B]: part of the time in which the left and right forearms, or legs, are mistaken:
    one lies on the other, or the two are exchanged; and for a third of it, in which a back is taken for a front. The
    score does not tell. It is stage 1's commonest error: in LSPET's acrobats, one ankle of four lies on the other leg.
    """
    side_error_frames: float = 10.0
    """Mean length of a run of these."""
    occluder_fraction: float = 0.2
    """Sequences in which something hides one side of the person for a while."""
    sigma_error: float = 0.3
    """Standard deviation of the log of reported over true sigma."""
    miss_sigma_m: float = 0.25
    """Half of the sequences report a variance with (1 - score) times the square of this added: a 2D stage that tells
    by its covariance that the joint may be somewhere else."""
    misjudged: float = 0.0
    """Standard deviation of the log of how far a sequence's reported sigmas are off as a whole, and of the power that
    its scores are raised to; twice that for `miss_sigma_m`. So do networks and scenes differ."""


_JOINT_FACTOR = np.ones(NUM_JOINTS, np.float32)
for _names, _factor in (
    (("nose", "left_eye", "right_eye", "left_ear", "right_ear", "neck"), 0.7),
    (("head",), 0.9),
    (("left_hip", "right_hip", "pelvis", "spine"), 1.3),
    (("left_wrist", "right_wrist", "left_ankle", "right_ankle", "left_toe", "right_toe"), 1.5),
    (("left_elbow", "right_elbow", "left_knee", "right_knee"), 1.2),
):
    _JOINT_FACTOR[indices(*_names)] = _factor
_LIMB_PAIRS = [
    (indices(*(f"left_{name}" for name in names)), indices(*(f"right_{name}" for name in names)))
    for names in (("elbow", "wrist"), ("knee", "ankle", "toe"))
]
_SWAPS = np.flatnonzero(np.arange(NUM_JOINTS) != MIRROR)


def _covariances(sigma: Array) -> Array:
    cov = np.zeros((*sigma.shape, 2, 2), np.float32)
    cov[..., 0, 0] = cov[..., 1, 1] = sigma**2
    return cov


_LEAST_SIGMA_M = 0.003  # an annotation's error: never zero, or the covariance has no logarithm
_CLEAN_SIGMA_M = (0.001, 0.05)
_CLEAN_SCORE = (0.9, 1.0)


def observe_clean(rng: np.random.Generator, views: Views, truncate: bool = False) -> Observations:
    """Ground-truth 2D: exact rays of all joints; with ``truncate`` only of those inside the picture.

    Sigma and score are each sequence's own, drawn at random: were sigma always the same in metres, it would tell how
    far away, and so how tall, the person is.
    """
    unit = 1.0 / np.maximum(views.joints_m[..., ROOT, 2], _MIN_DEPTH_M)
    seen = views.inside() if truncate else np.ones(views.joints_m.shape[:3], bool)
    each = (len(seen), 1, 1)
    sigma = np.broadcast_to(_log_uniform(rng, _CLEAN_SIGMA_M, each) * unit[..., None], seen.shape)
    score = seen * rng.uniform(*_CLEAN_SCORE, each)
    return Observations(views.rays(), _covariances(sigma), score.astype(np.float32), seen)


def observe(rng: np.random.Generator, views: Views, model: ErrorModel) -> Observations:
    """Apply the error model: Gaussian noise correlated in time plus runs of outliers, with the score that fits.

    A third of the noise's variance is constant over the sequence (a detector's bias), a third is AR(1) with
    coefficient 0.8 per frame, a third is white. Outliers lie anywhere near the person, or on the other side's joint.
    """
    count, frames = views.joints_m.shape[:2]
    shape = (count, frames, NUM_JOINTS)
    truth = views.rays()
    unit = 1.0 / np.maximum(views.joints_m[..., ROOT, 2], _MIN_DEPTH_M)

    hidden = self_occluded(views.joints_m)
    covered, erased = _occluders(rng, truth, model.occluder_fraction)
    hidden |= covered

    level = _log_uniform(rng, model.sigma_m, (count, 1, 1))
    sigma = level * _JOINT_FACTOR * np.where(hidden, model.occluded_factor, 1.0)
    sigma = np.maximum(sigma, _LEAST_SIGMA_M) * unit[..., None]
    noise = _correlated_noise(rng, shape)
    taken_for = _taken_for(rng, shape, model)
    truth = np.take_along_axis(truth, taken_for[..., None], axis=2)
    outlier = _runs(rng, np.where(hidden, model.outlier_occluded, model.outlier_visible), model.outlier_frames)
    rays = truth + noise * sigma[..., None]
    rays = np.where(outlier[..., None], _outliers(rng, truth, unit), rays)

    off, power, miss_off = np.exp(model.misjudged * rng.normal(0.0, 1.0, (3, count, 1, 1)))
    reported = sigma * off * np.exp(rng.normal(0.0, model.sigma_error, shape))
    reported *= np.where(outlier, np.exp(rng.uniform(0.0, 1.5, shape)), 1.0)
    score = _scores(rng, hidden, outlier) ** power

    miss_sigma = model.miss_sigma_m * miss_off**2 * unit[..., None]
    wide = (rng.random((count, 1, 1)) < 0.5) * miss_sigma**2 * (1 - score)
    reported = np.sqrt(reported**2 + wide)

    # Beyond the picture's edge nothing is reported, except a guess near the border now and then.
    inside = views.inside()
    kept = rng.random((count, 1, NUM_JOINTS)) < 0.3
    missing = (~inside & ~kept) | erased | (rng.random(shape) < model.joint_drop)
    limit = views.half_extent[:, None, None, :]
    rays = np.where(inside[..., None], rays, np.clip(rays, -limit, limit))
    score = np.where(inside, score, 0.3 * score)
    reported = np.where(inside, reported, 3.0 * reported)

    score = np.where(missing, 0.0, score).astype(np.float32)
    rays = np.where(missing[..., None], 0.0, rays).astype(np.float32)
    own = taken_for == np.arange(NUM_JOINTS)
    reliable = inside & ~hidden & ~outlier & ~missing & own
    return Observations(rays, _covariances(reported.astype(np.float32)), score, reliable)


def _correlated_noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Unit-variance noise [B,T,24,2]: constant, AR(1) and white parts of equal variance."""
    count, frames, joints = shape
    white = rng.standard_normal((2, count, frames, joints, 2), np.float32)
    slow = white[0].copy()
    for t in range(1, frames):
        slow[:, t] = 0.8 * slow[:, t - 1] + 0.6 * white[0, :, t]
    bias = rng.standard_normal((count, 1, joints, 2), np.float32)
    return (bias + slow + white[1]) / np.float32(np.sqrt(3.0))


def _runs(rng: np.random.Generator, probability: Array, length: float) -> Mask:
    """Runs of mean ``length`` frames that cover the given fraction of frames [B,T,24] (a two-state Markov chain)."""
    draw = rng.random(probability.shape, np.float32)
    active = np.zeros(probability.shape, bool)
    active[:, 0] = draw[:, 0] < probability[:, 0]
    stay = 1.0 - 1.0 / length
    for t in range(1, probability.shape[1]):
        enter = probability[:, t] / np.maximum(1.0 - probability[:, t], 0.1) / length
        active[:, t] = draw[:, t] < np.where(active[:, t - 1], stay, enter)
    return active


def _taken_for(rng: np.random.Generator, shape: tuple[int, int, int], model: ErrorModel) -> NDArray[np.intp]:
    """Which joint [B,T,24] each one is taken for: itself, or one of the other side."""
    count, frames, _ = shape
    taken = np.broadcast_to(np.arange(NUM_JOINTS), shape).copy()
    if not np.any(model.side_errors):
        return taken
    probability = np.empty((count, frames, len(_LIMB_PAIRS) + 1))
    probability[:] = np.reshape(model.side_errors, (-1, 1, 1))
    probability[..., -1] /= 3
    runs = _runs(rng, probability, model.side_error_frames)
    for (left, right), wrong in zip(_LIMB_PAIRS, np.moveaxis(runs, -1, 0), strict=False):
        kind = rng.integers(0, 3, (count, 1))  # both lie on the left one, on the right one; or they are exchanged
        taken[..., left] = np.where((wrong & (kind != 0))[..., None], right, left)
        taken[..., right] = np.where((wrong & (kind != 1))[..., None], left, right)
    return np.where(runs[..., -1:], np.take_along_axis(taken, np.broadcast_to(MIRROR, shape), axis=2), taken)


def _outliers(rng: np.random.Generator, truth: Array, unit: Array) -> Array:
    """Wrong positions [B,T,24,2]: a place near the person (held over the sequence), or the mirrored joint."""
    count, _, joints, _ = truth.shape
    offset = rng.uniform(-1.0, 1.0, (count, 1, joints, 2)) * np.array([0.5, 0.8])
    wrong = truth[:, :, ROOT, None, :] + offset * unit[..., None, None]
    swap = np.zeros((count, 1, joints, 1), bool)
    swap[:, 0, _SWAPS, 0] = rng.random((count, len(_SWAPS))) < 0.6
    return np.where(swap, truth[:, :, MIRROR, :], wrong)


def _scores(rng: np.random.Generator, hidden: Mask, outlier: Mask) -> Array:
    """Scores that agree with the errors on average: about 0.9 visible, 0.5 hidden, 0.4 for outliers."""
    uniform = rng.random(hidden.shape, np.float32)
    score = np.where(hidden, 0.15 + 0.7 * uniform, 1.0 - 0.3 * uniform**2)
    return np.where(outlier, 0.1 + 0.75 * uniform, score)


def _occluders(rng: np.random.Generator, truth: Array, fraction: float) -> tuple[Mask, Mask]:
    """Half planes that hide a side of the person for part of a sequence: (hidden, not reported at all) [B,T,24]."""
    count, frames = truth.shape[:2]
    angle = np.where(rng.random(count) < 0.6, np.pi / 2 + rng.normal(0, 0.1, count), rng.uniform(0, 2 * np.pi, count))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    position = np.einsum("btjc,bc->btj", truth, direction)
    low, high = position.min(axis=-1, keepdims=True), position.max(axis=-1, keepdims=True)
    level = rng.uniform(0.25, 0.9, (count, 1, 1))
    begin, length = rng.integers(-frames // 2, frames, count), rng.integers(1, 2 * frames + 1, count)
    time = np.arange(frames)
    on = (time >= begin[:, None]) & (time < (begin + length)[:, None]) & (rng.random((count, 1)) < fraction)
    covered = (position > low + level * (high - low)) & on[..., None]
    return covered, covered & (rng.random((count, 1, 1)) < 0.5)
