"""People to ROS4HRI's messages and frames (REP-155, hri_msgs 2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Twist, TwistStamped, Vector3
from hri_msgs.msg import NormalizedPointOfInterest2D, NormalizedRegionOfInterest2D, Skeleton2D
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from pose3d_ros.body_frames import head_axes, trunk_axes
from pose3d_ros.person import Person
from pose3d_ros.skeleton import INDEX

Array = NDArray[np.float64]

# Skeleton2D's joints, in the order of its constants. Its neck lies between the shoulders, where our thorax is.
_SKELETON_2D = [
    INDEX[name]
    for name in (
        "nose", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "left_eye", "right_eye",
        "left_ear", "right_ear",
    )
]  # fmt: skip

# Frames beside body_<id>, as human_description names its links; they are turned as the trunk.
_LINK_OF = {"torso": "thorax"} | {
    f"{side[0]}_{part}": f"{side}_{part}"
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}


def body_id(person_id: int) -> str:
    """What a topic or a frame calls a person; topics must not begin with a digit."""
    return f"p{person_id}"


def region_of(person: Person, header: Header, width: int, height: int) -> NormalizedRegionOfInterest2D:
    """The person's box, as far as it lies in the image."""
    x0, y0, x1, y1 = ((person.box + 0.5) / [width, height, width, height]).clip(0, 1).tolist()
    return NormalizedRegionOfInterest2D(header=header, xmin=x0, ymin=y0, xmax=x1, ymax=y1, c=float(person.score))


def skeleton_of(person: Person, header: Header, width: int, height: int) -> Skeleton2D:
    """The person's joints in the image, those outside at its edge."""
    places = ((person.joints_px[_SKELETON_2D] + 0.5) / [width, height]).clip(0, 1)
    scores = person.joint_score[_SKELETON_2D]
    points = [
        NormalizedPointOfInterest2D(x=x, y=y, c=c)
        for (x, y), c in zip(places.tolist(), scores.astype(float).tolist(), strict=True)
    ]
    return Skeleton2D(header=header, skeleton=points)


def velocity_of(person: Person, header: Header) -> TwistStamped | None:
    """How the pelvis moves relative to the camera, in its frame, metres per second; None if that is not known."""
    if person.joints_m_s is None:
        return None
    x, y, z = person.joints_m_s[INDEX["pelvis"]].tolist()
    return TwistStamped(header=header, twist=Twist(linear=Vector3(x=x, y=y, z=z)))


def transforms_of(person: Person, header: Header) -> Iterator[TransformStamped]:
    """body_<id> at the pelvis, the limbs' joints, turned like the trunk, and head_<id>, turned like the head.

    Nothing of a person without metres, or whose trunk is not known.
    """
    if person.joints_m is None:
        return
    trunk = trunk_axes(person.joints_m)
    if trunk is None:
        return
    name, turn = body_id(person.id), _quaternion(trunk)
    yield _transform(header, f"body_{name}", person.joints_m[INDEX["pelvis"]], turn)
    for link, joint in _LINK_OF.items():
        yield _transform(header, f"{link}_{name}", person.joints_m[INDEX[joint]], turn)
    head = head_axes(person.joints_m)
    if head is not None:
        ears = person.joints_m[[INDEX["left_ear"], INDEX["right_ear"]]].mean(0)
        yield _transform(header, f"head_{name}", ears, _quaternion(head))


def _quaternion(axes: Array) -> Quaternion:
    x, y, z, w = Rotation.from_matrix(axes).as_quat().tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


def _transform(header: Header, child: str, place: Array, turn: Quaternion) -> TransformStamped:
    message = TransformStamped(header=header, child_frame_id=child)
    x, y, z = place.tolist()
    message.transform.translation, message.transform.rotation = Vector3(x=x, y=y, z=z), turn
    return message
