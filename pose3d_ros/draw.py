"""Pictures of people: the skeleton on the camera's image, and a 3D view of it. OpenCV and NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros import skeleton
from pose3d_ros.person import JointState, Person

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# BGR; told apart by people who see colours differently, and on light as on dark images.
LEFT_BGR: Colour = (40, 150, 255)
RIGHT_BGR: Colour = (240, 190, 45)
MIDDLE_BGR: Colour = (240, 240, 240)
_OUTLINE_BGR: Colour = (24, 18, 14)
_FACE = frozenset(skeleton.indices("nose", "left_eye", "right_eye", "left_ear", "right_ear").tolist())

_SHIFT = 4  # OpenCV's fixed point: sixteenths of a pixel
_MAX_PX = 16_000.0  # OpenCV draws wrongly beyond 2¹⁵ pixels
_LEAST_OPACITY = 0.25
_TWO_SIGMA = 2.0


def side_colour(name: str) -> Colour:
    """The colour (BGR) of a joint, and of the bone that ends in it: left, right or middle."""
    if name.startswith("left_"):
        return LEFT_BGR
    return RIGHT_BGR if name.startswith("right_") else MIDDLE_BGR


JOINT_BGR: tuple[Colour, ...] = tuple(side_colour(name) for name in skeleton.JOINTS)


# ---- on the image ----------------------------------------------------------------------------------------------------


def draw_people(image_bgr: Image, people: Sequence[Person], *, ellipses: bool = False, labels: bool = True) -> Image:
    """A copy of the image [h, w, 3] with every person's skeleton on it.

    Bones are coloured by the person's own side; joints and bones fade with their score. What is not measured in this
    image (inferred or predicted) has dashed bones and hollow joints. `ellipses` adds each joint's 2-sigma covariance.
    """
    image = image_bgr.copy()
    known = [person for person in people if np.isfinite(person.joints_px).all(-1).any()]
    for person in known:
        _draw_person(image, person, ellipses)
    if labels:
        height = 0.016 * max(image.shape[:2])
        _pills(image, [_label(person, height) for person in known if _is_inside(person, image.shape)], height)
    return image


def _draw_person(image: Image, person: Person, ellipses: bool) -> None:
    joints = person.joints_px
    known = np.asarray(np.isfinite(joints).all(-1))
    width = _line_width(image.shape, joints[known])
    margin = 6 * width + 8
    if ellipses:
        margin += _TWO_SIGMA * float(np.sqrt(np.nanmax(person.joints_px_cov[known], initial=0)))
    corner, layer_shape = _region(joints[known], margin, image.shape)
    if not layer_shape[0] or not layer_shape[1]:
        return
    area = image[corner[1] : corner[1] + layer_shape[0], corner[0] : corner[0] + layer_shape[1]]
    points = joints - corner
    opacity = _LEAST_OPACITY + (1 - _LEAST_OPACITY) * np.clip(np.nan_to_num(person.joint_score), 0, 1)
    measured = person.joint_state == JointState.VISIBLE

    if ellipses:
        spots = _Layer(layer_shape)
        for j in np.flatnonzero(known):
            spots.ellipse(points[j], person.joints_px_cov[j], JOINT_BGR[j], 0.3)
        spots.blend(area)

    outline, ink = _Layer(layer_shape), _Layer(layer_shape)
    for parent, child in skeleton.BONES:
        if not (known[parent] and known[child]):
            continue
        bone_width = 0.5 * width if child in _FACE and parent in _FACE else width
        fade = float(min(opacity[parent], opacity[child]))
        pieces = [(points[parent], points[child])]
        if not (measured[parent] and measured[child]):
            pieces = _dashes(*pieces[0], 3 * width)
        for start, end in pieces:
            outline.line(start, end, _OUTLINE_BGR, bone_width + max(1.5, 0.6 * width), 0.7 * fade)
            ink.line(start, end, JOINT_BGR[child], bone_width, fade)
    for j in np.flatnonzero(known):
        radius = (0.7 if j in _FACE else 1.1) * width
        fade = float(opacity[j])
        outline.disc(points[j], radius + max(1.0, 0.4 * width), _OUTLINE_BGR, 0.8 * fade)
        ink.disc(points[j], radius, JOINT_BGR[j], fade)
        if not measured[j]:
            ink.disc(points[j], 0.5 * radius, _OUTLINE_BGR, fade)
    outline.blend(area)
    ink.blend(area)


def _is_inside(person: Person, shape: tuple[int, ...]) -> bool:
    """Whether a part of the person is in the image."""
    _, size = _region(person.joints_px[np.isfinite(person.joints_px).all(-1)], 1.0, shape)
    return min(size) > 0


def _label(person: Person, height: float) -> tuple[str, Array]:
    """The person's id, and the distance where it is known; and the place [2] above the head for so high letters."""
    text = f"{person.id}"
    if person.joints_m is not None:
        text += f"   {np.linalg.norm(person.joints_m[skeleton.ROOT]):.1f} m"
    finite = person.joints_px[np.isfinite(person.joints_px).all(-1)]
    return text, np.array([finite[:, 0].mean(), finite[:, 1].min() - 1.6 * height])


def _line_width(shape: tuple[int, ...], joints: Array) -> float:
    """Bone width in pixels: by the image's size, thinner on people who are small in it."""
    person_px = float(np.ptp(joints, axis=0).max())
    return float(np.clip(0.022 * person_px, 1.0, max(1.0, 0.006 * max(shape[:2]))))


def _region(points: Array, margin: float, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """The part of the image that the points cover: its corner (x, y) and its (height, width), inside the image."""
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(points.min(0) - margin), 0, limit).astype(np.intp)
    high = np.clip(np.ceil(points.max(0) + margin), 0, limit).astype(np.intp)
    return low, (int(high[1] - low[1]), int(high[0] - low[0]))


def _dashes(start: Array, end: Array, length: float) -> list[tuple[Array, Array]]:
    """Pieces of the way from start to end: `length` drawn, two thirds of it left out."""
    count = max(1, round(float(np.linalg.norm(end - start)) / (1.67 * length)))
    if not count < 1000:  # also a NaN; a bone that long leaves the image
        return [(start, end)]
    return [(start + (end - start) * i / count, start + (end - start) * (i + 0.6) / count) for i in range(count)]


class _Layer:
    """Ink and its opacity: OpenCV's anti-aliasing works on the opacity, so that edges stay clean over any image."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.ink = np.zeros((*shape, 3), np.uint8)
        self.opacity = np.zeros(shape, np.uint8)

    def line(self, a: Array, b: Array, colour: Colour, width: float, opacity: float) -> None:
        """A round-ended line from a to b [2]."""
        start, end = _fixed(a), _fixed(b)
        whole = max(1, round(width))
        cv2.line(self.ink, start, end, colour, whole + 2, cv2.LINE_8, _SHIFT)
        cv2.line(self.opacity, start, end, (255 * opacity,), whole, cv2.LINE_AA, _SHIFT)

    def disc(self, centre: Array, radius: float, colour: Colour, opacity: float) -> None:
        """A filled circle."""
        at = _fixed(centre)
        cv2.circle(self.ink, at, round((radius + 1) * 2**_SHIFT), colour, -1, cv2.LINE_8, _SHIFT)
        cv2.circle(self.opacity, at, round(radius * 2**_SHIFT), (255 * opacity,), -1, cv2.LINE_AA, _SHIFT)

    def ellipse(self, centre: Array, covariance: Array, colour: Colour, opacity: float) -> None:
        """The 2-sigma ellipse of a 2x2 covariance."""
        polygon = _ellipse_polygon(centre, covariance)
        if polygon is not None:
            cv2.fillPoly(self.ink, [polygon], colour, cv2.LINE_8, _SHIFT)
            cv2.fillPoly(self.opacity, [polygon], (255 * opacity,), cv2.LINE_AA, _SHIFT)

    def blend(self, image: Image) -> None:
        """Lays the ink over `image`, in place."""
        opacity = self.opacity[..., None].astype(np.uint16)
        image[:] = ((image * (255 - opacity) + self.ink * opacity + 127) // 255).astype(np.uint8)


def _ellipse_polygon(centre: Array, covariance: Array) -> NDArray[np.int32] | None:
    if not np.isfinite(covariance).all():
        return None
    values, vectors = np.linalg.eigh(covariance)
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    points = centre + _TWO_SIGMA * (circle * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return np.round(np.clip(points, -_MAX_PX, _MAX_PX) * 2**_SHIFT).astype(np.int32)


def _fixed(point: Array) -> tuple[int, int]:
    x, y = np.round(np.clip(point, -_MAX_PX, _MAX_PX) * 2**_SHIFT).astype(int).tolist()
    return x, y


def _pills(image: Image, labels: Sequence[tuple[str, Array]], height: float) -> None:
    """Texts on dark grounds round their centres [2]; one that would meet another goes above it."""
    placed: list[tuple[Array, Array]] = []
    for text, centre in labels:
        half = _pill_half(text, height)
        at = _kept_inside(centre, half, image.shape)
        for other, other_half in sorted(placed, key=lambda place: -float(place[0][1])):
            if (np.abs(at - other) < half + other_half).all():
                at[1] = other[1] - other_half[1] - half[1]
        placed.append((at, half))
        _pill(image, text, _kept_inside(at, half, image.shape), half, height)


def _pill_half(text: str, height: float) -> Array:
    """Half of the width and height of a text's ground."""
    (width, letter_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, height / 22, _letter_width(height))
    return np.array([0.5 * width + 0.6 * letter_height, letter_height])


def _letter_width(height: float) -> int:
    return max(1, round(1.6 * height / 22))


def _kept_inside(centre: Array, half: Array, shape: tuple[int, ...]) -> Array:
    """The centre, moved so that what reaches `half` round it is inside the image."""
    limit = np.maximum(np.array([shape[1], shape[0]]) - half - 1, half)
    return np.clip(centre, half, limit)


def _pill(image: Image, text: str, at: Array, half: Array, height: float) -> None:
    """Text on a dark rounded ground that reaches `half` round `at`; `height` of the letters in pixels."""
    corner, shape = _region(np.stack([at - half, at + half]), 2.0, image.shape)
    ground = _Layer(shape)
    inset = np.array([half[0] - half[1], 0])
    ground.line(at - corner - inset, at - corner + inset, _OUTLINE_BGR, 2 * half[1], 0.75)
    ground.blend(image[corner[1] : corner[1] + shape[0], corner[0] : corner[0] + shape[1]])
    origin = (round(at[0] - half[0] + 0.6 * half[1]), round(at[1] + 0.5 * half[1]))
    letters = (cv2.FONT_HERSHEY_SIMPLEX, height / 22, MIDDLE_BGR, _letter_width(height))
    cv2.putText(image, text, origin, *letters, cv2.LINE_AA)


# ---- in 3D -----------------------------------------------------------------------------------------------------------

_SUPERSAMPLE = 2
_TOP_BGR, _BOTTOM_BGR = (50, 41, 35), (40, 33, 28)
_GRID_BGR = (106, 92, 82)
_SHADOW_BGR = (17, 13, 11)
_GRID_M = 0.5
_BONE_RADIUS_M = 0.022
_JOINT_RADIUS_M = 0.03
_SOLE_M = 0.05  # of an ankle or toe joint above the floor, about
_FOV_DEG = 28.0
_NEAR_M = 0.05


@dataclass(frozen=True, eq=False)
class View:
    """Where the 3D view looks from: an eye that circles round a centre, in the levelled camera frame.

    centre: [3] metres, levelled (x right, y down along gravity, z forward). radius_m: of the sphere that must be seen.
    floor_m: the floor's y, levelled.
    azimuth_deg: 0 looks as the camera does, positive turns the view to the left, so that it looks from the right.
    elevation_deg: above the horizon.
    level: [3, 3] rotation from the optical frame to the levelled one.
    """

    centre: Array
    radius_m: float = 1.1
    floor_m: float = 1.0
    azimuth_deg: float = -38.0
    elevation_deg: float = 14.0
    level: Array = field(default_factory=lambda: np.eye(3))

    @classmethod
    def around(
        cls,
        people: Sequence[Person],
        *,
        azimuth_deg: float = -38.0,
        elevation_deg: float = 14.0,
        up: ArrayLike = (0.0, -1.0, 0.0),
    ) -> View | None:
        """A view in which all people fit; None if nobody has metres.

        up: [3] against gravity in the optical frame, for a camera that does not look level.
        """
        joints = [p.joints_m for p in people if p.joints_m is not None and np.isfinite(p.joints_m).all()]
        if not joints:
            return None
        level = _level(np.asarray(up, float))
        points = np.concatenate(joints) @ level.T
        low, high = points.min(0), points.max(0)
        radius = max(1.0, 0.5 * float(np.linalg.norm(high - low)))
        return cls(0.5 * (low + high), radius, float(high[1]) + _SOLE_M, azimuth_deg, elevation_deg, level)

    def towards(self, other: View, fraction: float) -> View:
        """A view between this and another, for a calm video."""
        return replace(
            other,
            centre=self.centre + fraction * (other.centre - self.centre),
            radius_m=self.radius_m + fraction * (other.radius_m - self.radius_m),
            floor_m=self.floor_m + fraction * (other.floor_m - self.floor_m),
        )

    def axes(self) -> Array:
        """[3, 3] rows: the view's right, down and forward in the levelled frame."""
        azimuth, elevation = np.radians(self.azimuth_deg), np.radians(self.elevation_deg)
        right = np.array([np.cos(azimuth), 0, np.sin(azimuth)])
        level = np.array([-np.sin(azimuth), 0, np.cos(azimuth)])
        forward = np.cos(elevation) * level + np.sin(elevation) * np.array([0, 1, 0])
        return np.stack([right, np.cross(forward, right), forward])


def _level(up: Array) -> Array:
    """The rotation [3, 3] that turns the optical frame so that y points along gravity and z stays ahead."""
    down = -up / np.linalg.norm(up)
    ahead = np.array([0.0, 0.0, 1.0]) if abs(down[2]) < 0.99 else np.array([0.0, -down[2], 0.0])
    forward = ahead - (ahead @ down) * down
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(down, forward), down, forward])


def _levelled(person: Person, level: Array) -> Person:
    cov = person.joints_m_cov
    return replace(
        person, joints_m=_metres(person) @ level.T, joints_m_cov=None if cov is None else level @ cov @ level.T
    )


class _Eye:
    """The view's perspective projection onto a canvas of `size` (w, h)."""

    def __init__(self, view: View, size: tuple[int, int]) -> None:
        self.axes = view.axes()
        half_fov = np.radians(_FOV_DEG) / 2
        distance = view.radius_m / np.sin(half_fov)
        self.position = view.centre - distance * self.axes[2]
        self.focal_px = 0.47 * min(size[0] * 1.25, size[1]) / np.tan(half_fov)
        self.middle = np.array([size[0] / 2, size[1] / 2])

    def depth(self, points_m: Array) -> Array:
        """Metres along the view."""
        depth: Array = (points_m - self.position) @ self.axes[2]
        return depth

    def project(self, points_m: Array) -> tuple[Array, Array]:
        """Pixels [..., 2] and pixels per metre [...] of points [..., 3]."""
        local = (points_m - self.position) @ self.axes.T
        scale = self.focal_px / np.maximum(local[..., 2], _NEAR_M)
        return self.middle + local[..., :2] * scale[..., None], scale


def draw_3d(
    people: Sequence[Person],
    size: tuple[int, int] = (640, 640),
    view: View | None = None,
    *,
    ellipsoids: bool = False,
) -> Image:
    """A perspective view [h, w, 3] BGR of people in metres, over a floor grid of half a metre.

    size: width and height in pixels. view: where from; None fits everybody. People without metres are left out.
    `ellipsoids` adds each joint's 2-sigma covariance.
    """
    canvas = _background(size)
    shown = [p for p in people if p.joints_m is not None and np.isfinite(p.joints_m).all()]
    view = view or View.around(shown)
    if view is None:
        text = "no calibration: 2D only" if people else "nobody in view"
        _pills(canvas, [(text, np.array(size) / 2)], 0.026 * max(size))
        return canvas
    shown = [_levelled(person, view.level) for person in shown]
    large = np.asarray(cv2.resize(canvas, None, fx=_SUPERSAMPLE, fy=_SUPERSAMPLE), np.uint8)
    eye = _Eye(view, (large.shape[1], large.shape[0]))
    _draw_floor(large, eye, view)
    for person in shown:
        _draw_shadow(large, eye, view, person)
    for person in sorted(shown, key=lambda p: -float(eye.depth(_metres(p)[skeleton.ROOT]))):
        _draw_body(large, eye, person, ellipsoids)
    canvas = np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), np.uint8)
    _draw_axes(canvas, eye.axes @ view.level)
    labels = [(f"{person.id}", eye.project(_above_head(person))[0] / _SUPERSAMPLE) for person in shown]
    _pills(canvas, labels, 0.018 * max(size))
    return canvas


def beside_3d(picture: Image, people: Sequence[Person], view: View | None = None, *, ellipsoids: bool = False) -> Image:
    """A picture, and to its right the 3D view of the people at the same height."""
    height, width = picture.shape[:2]
    panel = int(np.clip(width, 0.6 * height, height))
    panel += (width + panel) % 2  # video encoders want an even width
    return np.concatenate([picture, draw_3d(people, (panel, height), view, ellipsoids=ellipsoids)], 1)


def _above_head(person: Person) -> Array:
    joints = _metres(person)
    return np.asarray(joints[np.argmin(joints[:, 1])] - [0, 0.16, 0])


def _metres(person: Person) -> Array:
    assert person.joints_m is not None
    return person.joints_m


def _background(size: tuple[int, int]) -> Image:
    blend = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.array(_TOP_BGR) * (1 - blend) + np.array(_BOTTOM_BGR) * blend
    return np.repeat(np.round(rows).astype(np.uint8), size[0], 1)


def _draw_floor(canvas: Image, eye: _Eye, view: View) -> None:
    """Grid lines that fade into the background away from the people."""
    reach = _GRID_M * np.ceil(2.2 * view.radius_m / _GRID_M)
    middle = np.round(view.centre[[0, 2]] / _GRID_M) * _GRID_M
    steps = np.arange(-reach, reach + 1e-9, _GRID_M)
    fine = np.linspace(-reach, reach, 49)
    ground = canvas[:, 0].astype(float)
    for across in (False, True):
        for step in steps:
            along = np.stack([fine, np.full_like(fine, step)], 1)
            flat = middle + (along[:, ::-1] if across else along)
            points = np.stack([flat[:, 0], np.full(len(flat), view.floor_m), flat[:, 1]], 1)
            ahead = eye.depth(points) > _NEAR_M
            pixels, scale = eye.project(points)
            away = np.linalg.norm(flat - view.centre[[0, 2]], axis=1) / reach
            for i in range(len(fine) - 1):
                strength = 1 - 0.5 * (away[i] + away[i + 1])
                if strength <= 0 or not (ahead[i] and ahead[i + 1]):
                    continue
                behind = ground[int(np.clip(0.5 * (pixels[i, 1] + pixels[i + 1, 1]), 0, len(ground) - 1))]
                colour = (behind + strength * (np.array(_GRID_BGR) - behind)).tolist()
                thick = max(1, round(0.008 * float(scale[i])))
                cv2.line(canvas, _fixed(pixels[i]), _fixed(pixels[i + 1]), colour, thick, cv2.LINE_AA, _SHIFT)


def _draw_shadow(canvas: Image, eye: _Eye, view: View, person: Person) -> None:
    """The skeleton straight down on the floor, soft: it shows where in the room the person stands."""
    on_floor = _metres(person).copy()
    on_floor[:, 1] = view.floor_m
    pixels, scale = eye.project(on_floor)
    corner, shape = _region(pixels, 0.2 * float(scale.mean()), canvas.shape)
    if not shape[0] or not shape[1]:
        return
    layer = _Layer(shape)
    layer.ink[:] = _SHADOW_BGR
    for parent, child in skeleton.BONES:
        width = 0.09 * float(scale[child])
        layer.line(pixels[parent] - corner, pixels[child] - corner, _SHADOW_BGR, width, 0.75)
    layer.opacity = np.asarray(cv2.GaussianBlur(layer.opacity, (0, 0), max(1.0, 0.035 * float(scale.mean()))), np.uint8)
    layer.ink[:] = _SHADOW_BGR
    layer.blend(canvas[corner[1] : corner[1] + shape[0], corner[0] : corner[0] + shape[1]])


def _draw_body(canvas: Image, eye: _Eye, person: Person, ellipsoids: bool) -> None:
    joints = _metres(person)
    pixels, scale = eye.project(joints)
    depth = eye.depth(joints)
    if (depth <= _NEAR_M).any():
        return
    near, far = float(depth.min()), float(depth.max())
    measured = person.joint_state == JointState.VISIBLE
    if ellipsoids and person.joints_m_cov is not None:
        _draw_ellipsoids(canvas, eye, person, pixels, scale)

    def shaded(colour: Colour, at: float, light: float = 1.0) -> Colour:
        # Farther limbs are darker, as in haze.
        share = (at - near) / max(far - near, 0.3)
        b, g, r = (np.clip(np.array(colour) * light * (1 - 0.35 * share), 0, 255)).tolist()
        return b, g, r

    parts: list[tuple[float, int, int]] = [(float(depth[[p, c]].mean()), p, c) for p, c in skeleton.BONES]
    parts += [(float(depth[j]) - 0.04, -1, j) for j in range(skeleton.NUM_JOINTS)]
    for at, parent, child in sorted(parts, reverse=True):
        colour = JOINT_BGR[child]
        small = 0.55 if child in _FACE else 1.0
        if parent < 0:
            radius = small * _JOINT_RADIUS_M * float(scale[child])
            _ball(canvas, pixels[child], radius, shaded(colour, at), hollow=not measured[child])
            continue
        ends = np.stack([pixels[parent], pixels[child]])
        radii = small * _BONE_RADIUS_M * scale[[parent, child]]
        if not (measured[parent] and measured[child]):
            for start, end in _dashes(ends[0], ends[1], 2.4 * float(radii.mean())):
                _capsule(canvas, np.stack([start, end]), 0.75 * radii, shaded(colour, at, 0.8))
        else:
            _capsule(canvas, ends, radii, shaded(colour, at, 0.92))


def _capsule(canvas: Image, ends: Array, radii: Array, colour: Colour) -> None:
    """A tapered limb between two points [2, 2], with a dark rim."""
    rim = 0.25 * float(radii.mean()) + 1
    for extra, ink in ((rim, _OUTLINE_BGR), (0.0, colour)):
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        outline = np.concatenate([end + (radius + extra) * circle for end, radius in zip(ends, radii, strict=True)])
        hull = cv2.convexHull(np.clip(outline, -_MAX_PX, _MAX_PX).astype(np.float32))
        cv2.fillPoly(canvas, [np.round(hull * 2**_SHIFT).astype(np.int32)], ink, cv2.LINE_AA, _SHIFT)


def _ball(canvas: Image, centre: Array, radius: float, colour: Colour, hollow: bool) -> None:
    def disc(at: Array, size: float, ink: Colour) -> None:
        cv2.circle(canvas, _fixed(at), max(1, round(size * 2**_SHIFT)), ink, -1, cv2.LINE_AA, _SHIFT)

    disc(centre, 1.25 * radius + 1, _OUTLINE_BGR)
    disc(centre, radius, colour)
    if hollow:
        disc(centre, 0.6 * radius, _OUTLINE_BGR)
    else:
        b, g, r = (0.55 * np.array(colour) + 0.45 * 255).tolist()
        disc(centre - 0.3 * radius, 0.35 * radius, (b, g, r))


def _draw_ellipsoids(canvas: Image, eye: _Eye, person: Person, pixels: Array, scale: Array) -> None:
    assert person.joints_m_cov is not None
    layer = _Layer(canvas.shape[:2])
    flat = eye.axes[:2]
    for j in range(skeleton.NUM_JOINTS):
        layer.ellipse(pixels[j], scale[j] ** 2 * flat @ person.joints_m_cov[j] @ flat.T, JOINT_BGR[j], 0.22)
    layer.blend(canvas)


def _draw_axes(canvas: Image, axes: Array) -> None:
    """The optical frame's directions, bottom left: x red, y green, z blue, as RViz has them."""
    length = 0.055 * min(canvas.shape[:2])
    origin = np.array([1.5 * length, canvas.shape[0] - 1.7 * length])
    thickness = max(1, round(0.045 * length))
    for axis, (name, colour) in enumerate((("x", (80, 80, 235)), ("y", (90, 200, 90)), ("z", (235, 140, 70)))):
        tip = origin + length * axes[:2, axis]
        cv2.line(canvas, _fixed(origin), _fixed(tip), colour, thickness + 1, cv2.LINE_AA, _SHIFT)
        at = origin + 1.3 * (tip - origin) + [-0.12 * length, 0.12 * length]
        spot = (round(float(at[0])), round(float(at[1])))
        cv2.putText(canvas, name, spot, cv2.FONT_HERSHEY_SIMPLEX, length / 70, colour, thickness, cv2.LINE_AA)
