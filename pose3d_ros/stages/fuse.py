"""People whom several cameras see: who is the same, and where the joints are by all of them. All in one common frame.

Joints are fused by information (inverse covariances), as the estimates of trackers that know nothing of each other:

    P = (Σ w P_c⁻¹)⁻¹,  x = P Σ w P_c⁻¹ x_c

Each camera errs mostly along its own rays, so that cameras from different sides correct each other. The weights w are
those of a Student t distribution (iteratively reweighted least squares): a joint that one camera takes for another,
left for right, say, counts less the further it lies from the rest. What disagreement is left enlarges P (Birge's
ratio), so that two cameras of which one must be wrong give a covariance that covers both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from pose3d_ros.person import JointState, Person
from pose3d_ros.skeleton import NUM_JOINTS

Array = NDArray[np.float64]
Camera = TypeVar("Camera", bound=Hashable)

_FREEDOM = 4.0
"""Degrees of freedom of the t distribution: the fewer, the harder outliers are put down."""
_PASSES = 10
_MIN_VARIANCE = 1e-8  # m²; keeps covariances of rank 2 or less invertible
_MAX_DISTANCE = 3.0
"""In standard deviations, of the median joint: people farther apart are not the same. Of the same person in four real
videos, no two cameras were more than 1.3 apart."""
_LOYALTY = 1.0
"""By how much less far apart those count who were the same before."""
_STRANGENESS = 1.5
"""By how much farther apart those count who were two before: whoever is carried on for long might be anybody near."""
_BELIEVED = 0.5
"""A camera's joint that weighs less is taken for a mistake."""


class FusedJoints(NamedTuple):
    """joints_m [24, 3] metres and cov [24, 3, 3] metres², NaN where nobody knows the joint; weight [c, 24]: how far
    each camera's joint was believed, 0...1."""

    joints_m: Array
    cov: Array
    weight: Array


def fuse_joints(joints_m: ArrayLike, cov: ArrayLike) -> FusedJoints:
    """One person's joints [c, 24, 3] by c cameras with covariances [c, 24, 3, 3], metres; not finite: not known."""
    joints, spread = np.asarray(joints_m, np.float64), np.asarray(cov, np.float64)
    known = np.asarray(np.isfinite(joints).all(-1) & np.isfinite(spread).all((-1, -2)))
    joints = np.where(known[..., None], joints, 0.0)
    information = np.linalg.inv(np.where(known[..., None, None], spread, np.eye(3)) + _MIN_VARIANCE * np.eye(3))
    information *= known[..., None, None]
    some = known.any(0)
    weight, distance = known.astype(float), np.zeros(known.shape)
    for _ in range(_PASSES):
        total = np.einsum("cn,cnij->nij", weight, information)
        total[~some] = np.eye(3)
        side = np.einsum("cn,cnij,cnj->ni", weight, information, joints)
        mean = np.linalg.solve(total, side[..., None])[..., 0]
        distance = np.einsum("cni,cnij,cnj->cn", joints - mean, information, joints - mean)
        weight = known * np.minimum((_FREEDOM + 3) / (_FREEDOM + distance), 1.0)
    # Of 3 (c − 1) squared residuals each is expected to be 1.
    disagreement = (weight * distance).sum(0) / np.maximum(3 * (known.sum(0) - 1), 1)
    fused = np.linalg.inv(total) * np.maximum(disagreement, 1.0)[:, None, None]
    mean[~some], fused[~some] = np.nan, np.nan
    return FusedJoints(mean, fused, weight)


def in_frame(person: Person, R: ArrayLike, t: ArrayLike) -> Person:
    """The person, who has metres, in another frame: x' = R x + t, R [3, 3], t [3] metres; velocities are turned too."""
    turn = np.asarray(R, np.float64)
    if person.joints_m is None or person.joints_m_cov is None:
        raise ValueError(f"person {person.id} has no metres, so there is nothing to bring into another frame")
    return replace(
        person,
        joints_m=person.joints_m @ turn.T + np.asarray(t, np.float64),
        joints_m_cov=turn @ person.joints_m_cov @ turn.T,
        joints_m_s=None if person.joints_m_s is None else person.joints_m_s @ turn.T,
    )


def distance(one: FusedJoints, other: FusedJoints) -> float:
    """How far apart two people are in standard deviations: of the median joint, as a few may be mistaken."""
    gap, cov = one.joints_m - other.joints_m, one.cov + other.cov
    known = np.isfinite(gap).all(-1) & np.isfinite(cov).all((-1, -2))
    if not known.any():
        return np.inf
    inverse = np.linalg.inv(cov[known] + _MIN_VARIANCE * np.eye(3))
    return float(np.sqrt(np.median(np.einsum("ni,nij,nj->n", gap[known], inverse, gap[known]))))


class Fuser:
    """Keeps fused ids over time: a person keeps the id as long as one of the cameras that knew it goes on."""

    def __init__(self) -> None:
        self._ids: dict[tuple[Hashable, int], int] = {}
        self._next_id = 1

    def fuse(self, seen: Mapping[Camera, Sequence[Person]]) -> list[Person]:
        """The people by id, of those whom each camera sees, in the common frame and with metres.

        A camera's ids must stay with its people. Two people of one camera are never the same. In what comes out, pixels
        and box are NaN, which belong to one camera; a joint is as visible as it is for the camera that sees it best,
        and as sure as it is for the surest, of those that are believed.
        """
        groups: list[_Group] = []
        for camera, people in seen.items():
            self._join(camera, people, groups)
            present = {person.id for person in people}
            self._ids = {key: id_ for key, id_ in self._ids.items() if key[0] != camera or key[1] in present}
        return sorted((_fused(group, id_) for group, id_ in self._name(groups)), key=lambda person: person.id)

    def _join(self, camera: Hashable, people: Sequence[Person], groups: list[_Group]) -> None:
        """Puts a camera's people into the groups that they fit best, or into new ones."""
        alone = [_Group({camera: person}, fuse_joints(*_stacked([person]))) for person in people]
        cost = np.array([[self._cost(one, group) for group in groups] for one in alone]).reshape(
            len(alone), len(groups)
        )
        # A cost that is too large must not decide who gets whom.
        rows, columns = linear_sum_assignment(np.minimum(cost, _MAX_DISTANCE))
        chosen = {i: k for i, k in zip(rows, columns, strict=True) if cost[i, k] < _MAX_DISTANCE}
        for i, one in enumerate(alone):
            if i not in chosen:
                groups.append(one)
                continue
            members = {**groups[chosen[i]].members, camera: people[i]}
            groups[chosen[i]] = _Group(members, fuse_joints(*_stacked(list(members.values()))))

    def _cost(self, one: _Group, group: _Group) -> float:
        """How far apart they are in standard deviations, given what they were to each other before; infinite for two
        of whom one is not seen at all: a place that is only supposed does not make them one."""
        own, others = self._known_ids(one).keys(), self._known_ids(group).keys()
        apart = distance(one.joints, group.joints)
        if own & others:
            return apart - _LOYALTY
        if not (own and others):
            return apart
        return np.inf if _is_supposed(one) or _is_supposed(group) else apart + _STRANGENESS

    def _known_ids(self, group: _Group) -> Counter[int]:
        """The ids under which its members are known, and how many know it by each."""
        keys = ((camera, person.id) for camera, person in group.members.items())
        return Counter(self._ids[key] for key in keys if key in self._ids)

    def _name(self, groups: Sequence[_Group]) -> list[tuple[_Group, int]]:
        """An id for each group: that by which most of its members are known, of equals the oldest; else a new one."""
        claims = [(-votes, id_, i) for i, group in enumerate(groups) for id_, votes in self._known_ids(group).items()]
        ids: dict[int, int] = {}
        for _, id_, i in sorted(claims):
            if i not in ids and id_ not in ids.values():
                ids[i] = id_
        for i, group in enumerate(groups):
            if i not in ids:
                ids[i] = self._next_id
                self._next_id += 1
            self._ids.update({(camera, person.id): ids[i] for camera, person in group.members.items()})
        return [(group, ids[i]) for i, group in enumerate(groups)]


@dataclass(frozen=True, eq=False)
class _Group:
    """Who is taken for the same person: one per camera; and where the joints are by all of them."""

    members: Mapping[Hashable, Person]
    joints: FusedJoints


def _is_supposed(group: _Group) -> bool:
    """Is none of its joints seen by any camera?"""
    return all((person.joint_state == JointState.PREDICTED).all() for person in group.members.values())


def _stacked(people: Sequence[Person]) -> tuple[Array, Array]:
    """Joints [c, 24, 3] and covariances [c, 24, 3, 3]."""
    return np.array([person.joints_m for person in people]), np.array([person.joints_m_cov for person in people])


def _fused(group: _Group, person_id: int) -> Person:
    members = list(group.members.values())
    weight, states = group.joints.weight, np.stack([person.joint_state for person in members])
    believed = weight >= np.minimum(weight.max(0), _BELIEVED)
    return Person(
        id=person_id,
        box=np.full(4, np.nan),
        score=max(person.score for person in members),
        joints_px=np.full((NUM_JOINTS, 2), np.nan),
        joints_px_cov=np.full((NUM_JOINTS, 2, 2), np.nan),
        joint_score=(weight * [person.joint_score for person in members]).max(0),
        joint_state=np.where(believed, states, JointState.PREDICTED).min(0).astype(np.uint8),
        joints_m=group.joints.joints_m,
        joints_m_cov=group.joints.cov,
        joints_m_s=_velocity(members, weight),
    )


def _velocity(members: Sequence[Person], weight: Array) -> Array | None:
    """[24, 3] metres per second: the members' mean, by how far each is believed; None if a member's is not known."""
    known = [person.joints_m_s for person in members if person.joints_m_s is not None]
    if len(known) < len(members):
        return None
    return np.einsum("cn,cni->ni", weight, known) / np.maximum(weight.sum(0), 1e-9)[:, None]
