"""People to messages: markers for RViz, a cloud of joints for programs, transforms.

The cloud has one point per joint, all of one frame's people one after the other, joints in skeleton.JOINTS' order:

    x, y, z      float32  metres in the header's frame
    confidence   float32  probability that the joint is where it is said to be, 0...1
    sigma        float32  metres; standard deviation of the position, root mean square over the three axes
    state        uint8    person.JointState: 0 visible, 1 inferred, 2 predicted
    joint        uint8    index into skeleton.JOINTS
    person       uint32   the person's id, from 1, stable over time

People without metres (no calibrated camera) are in none of these messages.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, TransformStamped
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from pose3d_ros import skeleton
from pose3d_ros.draw import JOINT_BGR
from pose3d_ros.person import JointState, Person
from pose3d_ros.ros.image_conversion import Picture

Array = NDArray[np.float64]

_CLOUD_FIELDS = (
    ("x", "<f4", 0),
    ("y", "<f4", 4),
    ("z", "<f4", 8),
    ("confidence", "<f4", 12),
    ("sigma", "<f4", 16),
    ("state", "u1", 20),
    ("joint", "u1", 21),
    ("person", "<u4", 24),
)
CLOUD_DTYPE = np.dtype(
    {
        "names": [name for name, _, _ in _CLOUD_FIELDS],
        "formats": [kind for _, kind, _ in _CLOUD_FIELDS],
        "offsets": [offset for _, _, offset in _CLOUD_FIELDS],
        "itemsize": 28,
    }
)
_POINT_FIELD_TYPES = {"<f4": PointField.FLOAT32, "u1": PointField.UINT8, "<u4": PointField.UINT32}

JOINTS_NAMESPACE = "joints"
BONES_NAMESPACE = "bones"
ID_NAMESPACE = "id"
UNCERTAINTY_NAMESPACE = "uncertainty"
MARKER_NAMESPACES = (JOINTS_NAMESPACE, BONES_NAMESPACE, ID_NAMESPACE, UNCERTAINTY_NAMESPACE)

_JOINT_DIAMETER_M = 0.06
_BONE_WIDTH_M = 0.03
_UNCERTAINTY_WIDTH_M = 0.006
_TEXT_HEIGHT_M = 0.15
_TEXT_ABOVE_HEAD_M = 0.2
# RViz drops markers by itself when the node died and can no longer delete them.
_MARKER_LIFETIME = Duration(sec=2)
_OPACITY = {JointState.VISIBLE: 1.0, JointState.INFERRED: 0.5, JointState.PREDICTED: 0.25}
_UNCERTAINTY_OPACITY = 0.6


def people_with_metres(people: Iterable[Person]) -> list[Person]:
    """Those whose position in space is known."""
    return [person for person in people if person.joints_m is not None and np.isfinite(person.joints_m).any()]


def joint_sigma_m(person: Person) -> Array:
    """[24] standard deviation of each joint's position in metres: root mean square over the axes; NaN if unknown."""
    if person.joints_m_cov is None:
        return np.full(skeleton.NUM_JOINTS, np.nan)
    return np.sqrt(np.trace(person.joints_m_cov, axis1=1, axis2=2) / 3)


def people_to_cloud(people: Sequence[Person], header: Header) -> PointCloud2:
    """The sensor_msgs/PointCloud2 described above; empty (width 0) when nobody has metres."""
    shown = people_with_metres(people)
    points = np.zeros((len(shown), skeleton.NUM_JOINTS), CLOUD_DTYPE)
    for row, person in zip(points, shown, strict=True):
        row["x"], row["y"], row["z"] = np.asarray(person.joints_m).T
        row["confidence"] = person.joint_score
        row["sigma"] = joint_sigma_m(person)
        row["state"] = person.joint_state
        row["joint"] = np.arange(skeleton.NUM_JOINTS)
        row["person"] = person.id
    message = PointCloud2(
        header=header,
        height=1,
        width=points.size,
        fields=[
            PointField(name=name, offset=offset, datatype=_POINT_FIELD_TYPES[kind], count=1)
            for name, kind, offset in _CLOUD_FIELDS
        ],
        is_bigendian=False,
        point_step=CLOUD_DTYPE.itemsize,
        row_step=CLOUD_DTYPE.itemsize * points.size,
        is_dense=bool(all(np.isfinite(points[axis]).all() for axis in "xyz")),
    )
    message.data = array.array("B", points.tobytes())
    return message


def cloud_to_joints(cloud: PointCloud2) -> NDArray[np.void]:
    """A structured array [people, 24] with CLOUD_DTYPE's fields: the inverse of people_to_cloud.

    Raises ValueError when the cloud is of another kind.
    """
    if cloud.point_step != CLOUD_DTYPE.itemsize or len(cloud.data) % (CLOUD_DTYPE.itemsize * skeleton.NUM_JOINTS):
        raise ValueError(f"not a cloud of joints: point_step {cloud.point_step}, {len(cloud.data)} bytes")
    return np.frombuffer(bytes(cloud.data), CLOUD_DTYPE).reshape(-1, skeleton.NUM_JOINTS)


def joints_to_people(joints: NDArray[np.void]) -> list[Person]:
    """The people of a frame from `cloud_to_joints`; what the cloud does not hold (pixels, boxes) is NaN."""
    count = skeleton.NUM_JOINTS
    return [
        Person(
            id=int(row["person"][0]),
            box=np.full(4, np.nan),
            score=float(row["confidence"].mean()),
            joints_px=np.full((count, 2), np.nan),
            joints_px_cov=np.full((count, 2, 2), np.nan),
            joint_score=row["confidence"].astype(float),
            joint_state=row["state"],
            joints_m=np.stack([row["x"], row["y"], row["z"]], 1).astype(float),
            joints_m_cov=row["sigma"].astype(float)[:, None, None] ** 2 * np.eye(3),
        )
        for row in joints
    ]


def people_to_transforms(people: Sequence[Person], header: Header, prefix: str) -> TFMessage:
    """One transform per joint: header.frame_id -> `<prefix><id>/<joint>`, unrotated; unknown joints are left out."""
    message = TFMessage()
    for person in people_with_metres(people):
        positions = np.asarray(person.joints_m)
        for name, (x, y, z) in zip(skeleton.JOINTS, positions.tolist(), strict=True):
            if np.isfinite((x, y, z)).all():
                transform = TransformStamped(header=header, child_frame_id=f"{prefix}{person.id}/{name}")
                translation = transform.transform.translation
                translation.x, translation.y, translation.z = x, y, z
                message.transforms.append(transform)
    return message


def limited(picture: Picture, people: Sequence[Person], max_side_px: int) -> tuple[Picture, Sequence[Person]]:
    """The picture, and the people's pixels with it, scaled so that no side is longer than max_side_px."""
    scale = max_side_px / max(picture.shape[:2])
    if scale >= 1:
        return picture, people
    size = (max(1, round(scale * picture.shape[1])), max(1, round(scale * picture.shape[0])))
    scaled = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel centres lie at whole numbers, so that scaling keeps (x + 0.5), not x.
    return scaled, [
        replace(
            person,
            box=(person.box + 0.5) * scale - 0.5,
            joints_px=(person.joints_px + 0.5) * scale - 0.5,
            joints_px_cov=person.joints_px_cov * scale**2,
        )
        for person in people
    ]


class MarkerMaker:
    """Makes marker arrays; remembers who was shown, so that those who left can be deleted."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def markers(self, people: Sequence[Person], header: Header, up: Array) -> MarkerArray:
        """A MarkerArray with joints, bones, id and uncertainty of each person; marker id = the person's id.

        up: [3] unit vector in the header's frame; the id stands above the person.
        Uncertainty: bars of ± one standard deviation along each joint's principal axes.
        """
        shown = people_with_metres(people)
        present = {person.id for person in shown}
        message = MarkerArray()
        for gone in sorted(self._shown - present):
            message.markers += [_marker(header, space, gone, action=Marker.DELETE) for space in MARKER_NAMESPACES]
        for person in shown:
            message.markers += _person_markers(person, header, up)
        self._shown = present
        return message


def delete_all(header: Header) -> MarkerArray:
    """A MarkerArray that clears everything this node has shown."""
    return MarkerArray(markers=[_marker(header, "", 0, action=Marker.DELETEALL)])


def _person_markers(person: Person, header: Header, up: Array) -> list[Marker]:
    positions = np.asarray(person.joints_m)
    known = np.isfinite(positions).all(1)
    colours = _joint_colours(person)
    points = [Point(x=x, y=y, z=z) for x, y, z in positions.tolist()]

    joints = _marker(header, JOINTS_NAMESPACE, person.id, kind=Marker.SPHERE_LIST, size_m=_JOINT_DIAMETER_M)
    joints.points = [points[j] for j in np.flatnonzero(known)]
    joints.colors = [colours[j] for j in np.flatnonzero(known)]

    bones = _marker(header, BONES_NAMESPACE, person.id, kind=Marker.LINE_LIST, size_m=_BONE_WIDTH_M)
    drawn = [(parent, child) for parent, child in skeleton.BONES if known[parent] and known[child]]
    bones.points = [points[j] for bone in drawn for j in bone]
    # Both ends in the colour of the child: a bone belongs to the side of its far end.
    bones.colors = [colours[child] for _, child in drawn for _ in range(2)]

    label = _marker(header, ID_NAMESPACE, person.id, kind=Marker.TEXT_VIEW_FACING, size_m=_TEXT_HEIGHT_M)
    label.text = f"{person.id}"
    label.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    top = positions[known][(positions[known] @ up).argmax()]
    x, y, z = (top + _TEXT_ABOVE_HEAD_M * up).tolist()
    label.pose.position = Point(x=x, y=y, z=z)

    bars = _marker(header, UNCERTAINTY_NAMESPACE, person.id, kind=Marker.LINE_LIST, size_m=_UNCERTAINTY_WIDTH_M)
    bars.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=_UNCERTAINTY_OPACITY)
    bars.points = [Point(x=x, y=y, z=z) for x, y, z in _uncertainty_bars(person).tolist()]
    return [joints, bones, label, bars]


def _joint_colours(person: Person) -> list[ColorRGBA]:
    colours = []
    for (b, g, r), state in zip(JOINT_BGR, person.joint_state.tolist(), strict=True):
        colours.append(ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=_OPACITY[JointState(state)]))
    return colours


def _uncertainty_bars(person: Person) -> Array:
    """[6 n, 3] ends of the three bars of every joint whose covariance is known."""
    if person.joints_m_cov is None:
        return np.zeros((0, 3))
    positions = np.asarray(person.joints_m)
    known = np.isfinite(positions).all(1) & np.isfinite(person.joints_m_cov).all((1, 2))
    variances, axes = np.linalg.eigh(person.joints_m_cov[known])
    arms = np.swapaxes(axes * np.sqrt(np.maximum(variances, 0))[:, None, :], 1, 2)
    centres = positions[known][:, None, :]
    return np.stack([centres - arms, centres + arms], 2).reshape(-1, 3)


def _marker(
    header: Header, namespace: str, marker_id: int, kind: int = 0, action: int = Marker.ADD, size_m: float = 0.0
) -> Marker:
    marker = Marker(header=header, ns=namespace, id=marker_id, type=kind, action=action, lifetime=_MARKER_LIFETIME)
    marker.pose.orientation.w = 1.0
    # Spheres have three diameters; lines take their width from x alone, text its height from z alone.
    marker.scale.x = marker.scale.y = marker.scale.z = size_m
    return marker
