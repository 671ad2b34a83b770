"""People to ROS4HRI's messages and frames (REP-155, hri_msgs 2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Twist, TwistStamped, Vector3
from hri_msgs.msg import NormalizedPointOfInterest2D, NormalizedRegionOfInterest2D, Skeleton2D
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from pose3d_ros.body_frames import ANGLES, LINKS
from pose3d_ros.person import Person
from pose3d_ros.ros.image_conversion import bgr_to_image
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


def body_id(person_id: int, *counted_by: str) -> str:
    """What topics and frames call a person, after the names of the node and camera that count the ids, if any."""
    return "_".join(filter(None, [*counted_by, f"p{person_id}"]))


def region_of(person: Person, header: Header, width: int, height: int) -> NormalizedRegionOfInterest2D:
    """The person's box, as far as it lies in the image."""
    x0, y0, x1, y1 = ((person.box + 0.5) / [width, height, width, height]).clip(0, 1).tolist()
    return NormalizedRegionOfInterest2D(header=header, xmin=x0, ymin=y0, xmax=x1, ymax=y1, c=float(person.score))


def crop_of(person: Person, header: Header, image: NDArray[np.uint8]) -> Image | None:
    """What the person's box holds of the BGR image [h, w, 3]; None if they lie outside."""
    low = np.floor(person.box[:2] + 0.5).clip(0).astype(int)
    high = np.ceil(person.box[2:] + 0.5).clip(0).astype(int)
    cropped = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    return bgr_to_image(cropped, header) if cropped.size else None


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
    """How the pelvis moves relative to the camera, in the header's frame, metres per second; None if not known."""
    if person.joints_m_s is None:
        return None
    x, y, z = person.joints_m_s[INDEX["pelvis"]].tolist()
    return TwistStamped(header=header, twist=Twist(linear=Vector3(x=x, y=y, z=z)))


def transforms_of(origins_m: Array, turns: Array, header: Header, body: str) -> Iterator[TransformStamped]:
    """body_<body>, and in it <link>_<body> of the other LINKS, by their tree: origins [15, 3], turns [15, 3, 3].

    Those that are not known are left out.
    """
    known = np.isfinite(origins_m).all(-1) & np.isfinite(turns).all((-2, -1))
    if not known.any():
        return
    parent = Header(stamp=header.stamp, frame_id=f"{LINKS[0]}_{body}")
    rotations = Rotation.from_matrix(turns[known]).as_quat()
    for k, (x, y, z), (qx, qy, qz, qw) in zip(
        np.flatnonzero(known), origins_m[known].tolist(), rotations.tolist(), strict=True
    ):
        place = Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        child = f"{LINKS[k]}_{body}"
        yield TransformStamped(header=parent if k else header, child_frame_id=child, transform=place)


def joint_state_of(angles: Array, header: Header, body: str) -> JointState:
    """<joint>_<body> of those of ANGLES [20], radians, that are known."""
    known = {name: angle for name, angle in zip(ANGLES, angles.tolist(), strict=True) if np.isfinite(angle)}
    return JointState(header=header, name=[f"{name}_{body}" for name in known], position=list(known.values()))
