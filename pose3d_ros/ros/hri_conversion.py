"""People to ROS4HRI's messages (REP-155). Needs hri_msgs, which not every robot has: import it only where asked for."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import TransformStamped, TwistStamped
from hri_msgs.msg import NormalizedPointOfInterest2D, NormalizedRegionOfInterest2D, Skeleton2D
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose3d_ros.body_frames import ANGLES, LINKS, Links, angles_of
from pose3d_ros.person import Person
from pose3d_ros.ros.people_conversion import Array
from pose3d_ros.skeleton import HRI_18, ROOT


def body_id(person_id: int, camera: str) -> str:
    """A person's id in topics and frames: short, as REP-155 advises, and after the camera's name if that has one."""
    return f"{camera}_b{person_id:04d}".lstrip("_")


def person_to_region(person: Person, header: Header, width: int, height: int) -> NormalizedRegionOfInterest2D:
    """The person's box, as far as it lies in the image, whose size is in pixels."""
    x0, y0, x1, y1 = np.clip(_normalised(person.box.reshape(2, 2), width, height), 0, 1).ravel().tolist()
    return NormalizedRegionOfInterest2D(header=header, xmin=x0, ymin=y0, xmax=x1, ymax=y1, c=person.score)


def person_to_skeleton(person: Person, header: Header, width: int, height: int) -> Skeleton2D:
    """The person's joints in the image; one that lies outside is put on its border, with confidence 0."""
    points = _normalised(person.joints_px[HRI_18], width, height)
    inside = ((points >= 0) & (points <= 1)).all(1)
    confidence = np.where(inside, person.joint_score[HRI_18], 0.0)
    places = np.clip(np.nan_to_num(points), 0, 1)
    skeleton = [
        NormalizedPointOfInterest2D(x=x, y=y, c=c)
        for (x, y), c in zip(places.tolist(), confidence.tolist(), strict=True)
    ]
    return Skeleton2D(header=header, skeleton=skeleton)


def links_to_transforms(links: Links, header: Header, body: str) -> TFMessage:
    """header.frame_id -> body_<id> -> <link>_<id>; links that are not known are left out, all if the body is not."""
    root, root_turn = links.origin_m[0], links.turn[0]
    message = TFMessage()
    if not (np.isfinite(root).all() and np.isfinite(root_turn).all()):
        return message
    message.transforms.append(_transform(header, f"body_{body}", root, root_turn))
    parent = Header(stamp=header.stamp, frame_id=f"body_{body}")
    for name, origin, turn in list(zip(LINKS, links.origin_m, links.turn, strict=True))[1:]:
        if np.isfinite(origin).all() and np.isfinite(turn).all():
            place, turned = root_turn.T @ (origin - root), root_turn.T @ turn
            message.transforms.append(_transform(parent, f"{name}_{body}", place, turned))
    return message


def links_to_joint_state(links: Links, header: Header, body: str) -> JointState:
    """The angles of REP-155's joints, <joint>_<id>; those that are not known are left out."""
    known = {name: angle for name, angle in zip(ANGLES, angles_of(links).tolist(), strict=True) if np.isfinite(angle)}
    return JointState(header=header, name=[f"{name}_{body}" for name in known], position=list(known.values()))


def person_to_velocity(person: Person, links: Links, header: Header, body: str) -> TwistStamped | None:
    """How the pelvis moves relative to the camera, along the axes of body_<id>; None if it is not known.

    How the body turns is not estimated: angular is 0.
    """
    if person.joints_m_s is None:
        return None
    velocity = links.turn[0].T @ person.joints_m_s[ROOT]
    if not np.isfinite(velocity).all():
        return None
    message = TwistStamped(header=Header(stamp=header.stamp, frame_id=f"body_{body}"))
    linear = message.twist.linear
    linear.x, linear.y, linear.z = velocity.tolist()
    return message


def _normalised(points_px: Array, width: int, height: int) -> Array:
    """Points [n, 2]: 0...1 from edge to edge of the image; pixel centres lie at whole numbers."""
    return np.asarray((points_px + 0.5) / (width, height))


def _transform(header: Header, child: str, place: Array, turn: Array) -> TransformStamped:
    message = TransformStamped(header=header, child_frame_id=child)
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = place.tolist()
    rotation.x, rotation.y, rotation.z, rotation.w = Rotation.from_matrix(turn).as_quat().tolist()
    return message
