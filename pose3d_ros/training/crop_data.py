"""Endless augmented crops for stage 1 from any mixture of sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pose3d_ros.crop import apply, box_of_joints, crop_transform, square_of_box, warp
from pose3d_ros.data.clutter import clutter
from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import INDEX, JOINTS, LIMBS_12, MIRROR, NUM_JOINTS
from pose3d_ros.training.findings import PLACES, Findings, FoundBystanders
from pose3d_ros.training.neighbours import add_neighbour, change_background, covered, person

_UPPER = np.array([name.split("_")[-1] not in ("hip", "knee", "ankle", "toe") for name in JOINTS])
_LEAST_HALF_BODY_JOINTS = 5
UNLABELLED_WEIGHT = 0.3
"""How far a joint without a label is trusted not to be visible."""
LEAST_CONFIDENCE = 0.5
"""Probability from which on a found joint is taken for one."""
HIDDEN_WEIGHT = 0.4
"""What lies behind something else can only be guessed; its position counts less."""
_NOWHERE, _NOTHING_FOUND = np.zeros((NUM_JOINTS, PLACES, 2)), np.zeros((NUM_JOINTS, PLACES))


class Labels(NamedTuple):
    """One person in one picture.

    image: [h, w, 3] BGR. joints_px: [24, 2]. located: [24] weight of the joint's position, 0 = not known.
    visible: [24] 1 = to be seen, 0 = hidden or outside. visible_weight: [24] how far `visible` is to be trusted.
    box: x0, y0, x1, y1 of the person. found_px: [24, PLACES, 2] where a network found the joints. found: [24, PLACES]
    weights of these places.
    """

    image: NDArray[np.uint8]
    joints_px: NDArray[np.floating]
    located: NDArray[np.floating]
    visible: NDArray[np.floating]
    visible_weight: NDArray[np.floating]
    box: NDArray[np.floating]
    found_px: NDArray[np.floating] = _NOWHERE
    found: NDArray[np.floating] = _NOTHING_FOUND

    @property
    def all_known(self) -> bool:
        """Whether they leave nothing open, as of rendered people and of nobody, but of no photo."""
        return bool((self.visible_weight == 1).all())


class Source(Protocol):
    """A set of labelled people."""

    def __len__(self) -> int:
        """How many there are."""

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """Person i."""


class PhotoSource:
    """Photos whose unlabelled joints are mostly, but not surely, hidden ones.

    findings: what was found in them, which counts for `share` of what is learned; labels have the rest.
    """

    def __init__(self, photos: Photos, findings: Findings | None = None, share: float = 0.0) -> None:
        self._photos = photos
        self._findings, self._share = findings, share
        self._usable = np.flatnonzero(photos.labelled.sum(1) >= _LEAST_HALF_BODY_JOINTS)

    def __len__(self) -> int:
        return len(self._usable)

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """Person i of those with enough labelled joints."""
        k = self._usable[i]
        labelled = self._photos.labelled[k].astype(float)
        asked = self._photos.labelled.any(0)
        weight = np.where(labelled > 0, 1.0, UNLABELLED_WEIGHT) * asked
        joints = self._photos.joints_px[k]
        labels = Labels(self._photos.image(k), joints, labelled, labelled, weight, box_of_joints(joints[labelled > 0]))
        if self._findings is None:
            return labels
        share, seen = self._share, self._findings.visible[k]
        best = self._findings.probability[k].argmax(1)
        # Where the photo has no label, the found place tells whether the joint is still in the crop.
        joints = np.where(labelled[:, None] > 0, joints, self._findings.places_px[k, np.arange(NUM_JOINTS), best])
        trusted = (1 - share) * weight + share
        return labels._replace(
            joints_px=joints,
            located=(1 - share) * labelled,
            visible=((1 - share) * weight * labelled + share * seen) / trusted,
            visible_weight=trusted,
            found_px=self._findings.places_px[k],
            found=share * seen[:, None] * self._findings.probability[k],
        )


class BystanderSource:
    """People in the background of photos, whom no label names, as a network found them.

    Joints it is not sure of are not learned; whether a joint is to be seen counts as little as a missing label does.
    """

    def __init__(self, photos: Photos, found: FoundBystanders) -> None:
        self._photos, self._found = photos, found
        self._located = np.where(found.confidence >= LEAST_CONFIDENCE, found.confidence, 0)
        self._usable = np.flatnonzero((self._located > 0).sum(1) >= _LEAST_HALF_BODY_JOINTS)

    def __len__(self) -> int:
        return len(self._usable)

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """Person i of those in whom enough was found."""
        k, found = self._usable[i], self._found
        weight = np.full(NUM_JOINTS, UNLABELLED_WEIGHT)
        image = self._photos.image(int(found.photo[k]))
        return Labels(image, found.joints_px[k], self._located[k], found.visible[k], weight, found.boxes_px[k])


class NobodySource:
    """Random squares of pictures without people, clutter and pure noise: every joint is to be called not visible."""

    _length = 1000
    _clutter_px = 256

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return self._length

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """A new random square each time."""
        kind = rng.random()
        if kind < 0.4:
            picture = clutter(rng, self._clutter_px, self._clutter_px)
        elif kind < 0.45 or not self._pictures:
            picture = rng.integers(0, 256, (64, 64, 3), np.uint8) // int(rng.integers(1, 8))
        else:
            picture = self._pictures[int(rng.integers(len(self._pictures)))]
        height, width = picture.shape[:2]
        side = min(height, width) * rng.uniform(0.15, 1.0)
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        none = np.zeros(NUM_JOINTS)
        box = np.array([x, y, x + side, y + side])
        return Labels(picture, np.zeros((NUM_JOINTS, 2)), none, none, np.ones(NUM_JOINTS), box)


@dataclass(frozen=True)
class Augmentation:
    """How strongly crops are varied; each is a probability unless it says otherwise."""

    rotation_deg: float = 25.0
    """Standard deviation, cut at 45 degrees."""
    rotated: float = 0.7
    tumbled: float = 0.0
    """Turned by any angle at all: people who stand on their hands, lie, or fall."""
    scale_low: float = 0.72
    scale_high: float = 1.35
    """Side of the crop over its usual side."""
    shift: float = 0.06
    """Standard deviation over the side."""
    half_body: float = 0.15
    cut_off: float = 0.0
    """The picture ends within the person, as where somebody stands close to the camera or at the picture's edge."""
    neighbour: float = 0.0
    """Somebody else stands beside, behind or before the person."""
    background: float = 0.0
    """A photo's person is before another picture; rendered people have many backgrounds anyway."""
    cut_out: float = 0.35
    blur: float = 0.15
    coarse: float = 0.15
    grey: float = 0.05
    noise: float = 0.2


class Sample(NamedTuple):
    """What a training step takes: crop [size, size, 3] BGR, joints and found places in its pixels, and the weights."""

    crop: NDArray[np.uint8]
    joints: NDArray[np.float32]
    located: NDArray[np.float32]
    visible: NDArray[np.float32]
    visible_weight: NDArray[np.float32]
    places: NDArray[np.float32]
    found: NDArray[np.float32]


def augmented(
    labels: Labels,
    size: int,
    how: Augmentation,
    rng: np.random.Generator,
    other: Labels | None = None,
    behind: Labels | None = None,
) -> Sample:
    """A random crop of the person, with another one beside them and another picture behind where these are given.

    Whoever has no torso to see has neither.
    """
    if rng.random() < how.cut_off:
        labels = cut_off(labels, rng)
    box = labels.box
    known = labels.located > 0
    if rng.random() < how.half_body:
        half = known & (_UPPER if rng.random() < 0.7 else ~_UPPER)
        if half.sum() >= _LEAST_HALF_BODY_JOINTS:
            box = box_of_joints(labels.joints_px[half])
    centre, side = square_of_box(box)
    side *= np.exp(rng.uniform(np.log(how.scale_low), np.log(how.scale_high)))
    centre = centre + rng.normal(0, how.shift, 2) * side
    rotation = 0.0
    if rng.random() < how.tumbled:
        rotation = rng.uniform(-np.pi, np.pi)
    elif rng.random() < how.rotated:
        rotation = np.radians(np.clip(rng.normal(0, how.rotation_deg), -45, 45))
    mirror = rng.random() < 0.5
    transform = crop_transform(centre, float(side), size, rotation, mirror)
    border = cv2.BORDER_REPLICATE if rng.random() < 0.3 else cv2.BORDER_CONSTANT
    crop = warp(labels.image, transform, size, border)
    joints, places = apply(transform, labels.joints_px), apply(transform, labels.found_px)
    hidden = np.zeros(NUM_JOINTS, bool)
    if behind is not None:
        _put_behind(crop, joints, labels, transform, behind)
    if other is not None:
        hidden |= _beside(crop, joints, labels.located > 0, other, rng)
    crop = recoloured(crop, how, rng)
    if rng.random() < how.cut_out:
        hidden |= _cut_out(crop, joints, rng)
    trust, inside = np.where(hidden, HIDDEN_WEIGHT, 1.0), _inside(joints, (size, size))
    located, visible = trust * labels.located * inside, labels.visible * ~hidden * inside
    found = trust[:, None] * labels.found * _inside(places, (size, size))
    floats: tuple[NDArray, ...] = (joints, located, visible, labels.visible_weight, places, found)
    if mirror:
        floats = tuple(a[MIRROR] for a in floats)
    return Sample(crop, *(a.astype(np.float32) for a in floats))


def _inside(points: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points [..., 2] lie in a picture of that width and height."""
    return np.asarray(((points >= 0) & (points <= np.array(size) - 1)).all(-1))


def _put_behind(
    crop: NDArray[np.uint8],
    joints: NDArray[np.floating],
    labels: Labels,
    transform: NDArray[np.float64],
    behind: Labels,
) -> None:
    """Paints another picture into the crop round its person, as far as their own picture goes, if that can be."""
    who, size = person(joints, labels.located > 0), len(crop)
    if who is not None:
        background = warp(behind.image, crop_transform(*square_of_box(behind.box, 1.0), size), size)
        change_background(crop, who, background, covered(labels.image.shape, transform, size, size))


def _beside(
    crop: NDArray[np.uint8],
    joints: NDArray[np.floating],
    known: NDArray[np.bool_],
    other: Labels,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Paints the other person into the crop, if that can be; which joints [24] they hide."""
    meant, second = person(joints, known), person(other.joints_px, other.located > 0)
    painted = add_neighbour(crop, meant, other.image, second, rng)
    return np.zeros(NUM_JOINTS, bool) if painted is None else painted.hides


def cut_off(labels: Labels, rng: np.random.Generator) -> Labels:
    """The person in a picture that ends within them, most often below; nothing is known of what lies outside."""
    x0, y0, x1, y1 = labels.box
    share = rng.uniform(0.3, 0.75)  # of the person that is left
    side = rng.choice(["bottom", "left", "right", "top"], p=[0.58, 0.17, 0.17, 0.08])
    height, width = labels.image.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    if side == "bottom":
        bottom = round(y0 + share * (y1 - y0))
    elif side == "top":
        top = round(y1 - share * (y1 - y0))
    elif side == "left":
        left = round(x1 - share * (x1 - x0))
    else:
        right = round(x0 + share * (x1 - x0))
    left, top = max(left, 0), max(top, 0)
    image = labels.image[top:bottom, left:right]
    size = (image.shape[1], image.shape[0])
    joints, places = labels.joints_px - [left, top], labels.found_px - [left, top]
    inside = _inside(joints, size)
    if (inside & (labels.located > 0)).sum() < _LEAST_HALF_BODY_JOINTS:
        return labels
    box = np.clip(labels.box - [left, top, left, top], 0, np.tile(image.shape[1::-1], 2))
    return labels._replace(
        image=image,
        joints_px=joints,
        located=labels.located * inside,
        visible=labels.visible * inside,
        box=box,
        found_px=places,
        found=labels.found * _inside(places, size),
    )


def recoloured(crop: NDArray[np.uint8], how: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The crop with random colours, sharpness and noise, as another camera in another light might see it."""
    levels = np.arange(256) / 255.0
    gain = np.exp(rng.normal(0, 0.2)) * rng.normal(1, 0.06, (3, 1))
    table = np.clip((levels ** rng.uniform(0.7, 1.4) - 0.5) * gain + 0.5 + rng.uniform(-0.12, 0.12), 0, 1)
    image: NDArray = cv2.LUT(crop, np.ascontiguousarray((table.T * 255).astype(np.uint8)[None]))
    h, w = image.shape[:2]
    if rng.random() < how.grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < how.coarse:
        share = rng.uniform(0.25, 0.6)
        small = cv2.resize(image, (int(w * share), int(h * share)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (w, h))
    elif rng.random() < how.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < how.noise:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
        image = np.clip(image + noise, 0, 255)
    return image.astype(np.uint8)


def _cut_out(crop: NDArray[np.uint8], joints: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hides up to two rectangles of the crop; which joints [24] lie below, to be inferred from the rest."""
    size = crop.shape[0]
    hidden = np.zeros(NUM_JOINTS, bool)
    for _ in range(rng.integers(1, 3)):
        width, height = (size * rng.uniform(0.06, 0.28, 2)).astype(int)
        x, y = rng.integers(0, size - width), rng.integers(0, size - height)
        if rng.random() < 0.5:
            crop[y : y + height, x : x + width] = rng.integers(0, 256, 3)
        else:
            u, v = rng.integers(0, size - width), rng.integers(0, size - height)
            crop[y : y + height, x : x + width] = crop[v : v + height, u : u + width].copy()
        below = joints - [x, y] + 0.5  # a pixel's middle is a whole number
        hidden |= ((below >= 0) & (below < [width, height])).all(-1)
    return hidden


def joint_weights() -> NDArray[np.float32]:
    """[24] how much each joint's position counts: the hard, useful ends of the limbs most."""
    weights = np.full(NUM_JOINTS, 0.5, np.float32)
    weights[LIMBS_12] = 1.0
    for name, index in INDEX.items():
        if name.endswith(("wrist", "ankle")):
            weights[index] = 1.5
        elif name.endswith(("elbow", "knee")):
            weights[index] = 1.2
        elif name in ("head", "thorax", "nose"):
            weights[index] = 1.0
    return weights


class CropStream(IterableDataset[Sample]):
    """An endless stream of augmented crops.

    sources, shares: where they come from and in which proportion. backgrounds: for photos' people.
    seed: of the stream; each worker of a DataLoader draws its own.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Sequence[float],
        backgrounds: NobodySource,
        size: int,
        how: Augmentation,
        seed: int,
    ) -> None:
        self._sources, self._backgrounds = sources, backgrounds
        self._shares = np.asarray(shares, float) / np.sum(shares)
        self._size, self._how, self._seed = size, how, seed

    def __iter__(self) -> Iterator[Sample]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, worker.id if worker else 0])
        people = self._people(rng)
        for labels in people:
            other = next(people) if rng.random() < self._how.neighbour else None
            moves = not labels.all_known and rng.random() < self._how.background
            behind = self._backgrounds.labels(0, rng) if moves else None
            yield augmented(labels, self._size, self._how, rng, other, behind)

    def _people(self, rng: np.random.Generator) -> Iterator[Labels]:
        orders: list[list[int]] = [[] for _ in self._sources]
        while True:
            k = int(rng.choice(len(self._sources), p=self._shares))
            if not orders[k]:
                orders[k] = rng.permutation(len(self._sources[k])).tolist()
            yield self._sources[k].labels(orders[k].pop(), rng)
