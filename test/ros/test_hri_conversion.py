"""People -> ROS4HRI's messages."""

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("hri_msgs", reason="needs the package hri_msgs")
pytest.importorskip("tf2_msgs", reason="needs the ROS 2 message packages")

from hri_msgs.msg import Skeleton2D
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from pose3d_ros.body_frames import ANGLES, LINKS, angles_of, links_of
from pose3d_ros.ros.hri_conversion import (
    body_id,
    links_to_joint_state,
    links_to_transforms,
    person_to_region,
    person_to_skeleton,
    person_to_velocity,
)
from pose3d_ros.skeleton import INDEX

SIZE = (640, 480)


@pytest.fixture
def header():
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec = 12
    return header


def test_ids_may_stand_in_topics_and_are_short():
    assert [body_id(7, ""), body_id(123456, ""), body_id(7, "front")] == ["b0007", "b123456", "front_b0007"]


def test_the_region_is_in_parts_of_the_image_and_ends_with_it(make_person, header):
    person = replace(make_person(), box=np.array([-0.5, 119.5, 319.5, 700.0]))
    region = person_to_region(person, header, *SIZE)
    assert (region.xmin, region.ymin, region.xmax, region.ymax) == pytest.approx((0, 0.25, 0.5, 1))
    assert region.c == pytest.approx(0.9)
    assert region.header == header


def test_the_skeleton_s_points_are_ours_by_their_names(make_person, header):
    person = make_person()
    person.joints_px[:] = np.arange(24)[:, None] * [20, 10] + 9.5
    skeleton = person_to_skeleton(person, header, *SIZE).skeleton
    names = [name for name in dir(Skeleton2D) if re.match("(LEFT|RIGHT|NOSE|NECK)", name)]
    assert len(names) == len(skeleton) == 18
    for name in names:
        joint = INDEX["thorax" if name == "NECK" else name.lower()]
        point = skeleton[getattr(Skeleton2D, name)]
        assert (point.x, point.y) == pytest.approx((person.joints_px[joint] + 0.5) / SIZE)
        assert point.c == pytest.approx(person.joint_score[joint])


def test_points_outside_the_image_are_not_believed(make_person, header):
    person = make_person()
    person.joints_px[INDEX["nose"]] = (-50, 100)
    person.joints_px[INDEX["left_ear"]] = np.nan
    skeleton = person_to_skeleton(person, header, *SIZE).skeleton
    assert (skeleton[Skeleton2D.NOSE].x, skeleton[Skeleton2D.NOSE].c) == (0, 0)
    assert skeleton[Skeleton2D.LEFT_EAR].c == 0
    assert all(0 <= value <= 1 for point in skeleton for value in (point.x, point.y, point.c))


def test_frames_are_those_of_the_links(make_person, header):
    links = links_of(make_person().joints_m)
    message = links_to_transforms(links, header, "b0001")
    assert [t.child_frame_id for t in message.transforms] == [f"{link}_b0001" for link in LINKS]
    parents = [t.header.frame_id for t in message.transforms]
    assert parents == ["camera_optical_frame"] + ["body_b0001"] * 14
    assert {t.header.stamp.sec for t in message.transforms} == {12}
    places, turns = [], []
    for transform in message.transforms:
        q, p = transform.transform.rotation, transform.transform.translation
        places.append([p.x, p.y, p.z])
        turns.append(Rotation.from_quat([q.x, q.y, q.z, q.w]))
    np.testing.assert_allclose(places[0], links.origin_m[0])
    np.testing.assert_allclose(turns[0].as_matrix(), links.turn[0], atol=1e-12)
    for k in range(1, 15):
        np.testing.assert_allclose(turns[0].apply(places[k]) + places[0], links.origin_m[k], atol=1e-9)
        np.testing.assert_allclose((turns[0] * turns[k]).as_matrix(), links.turn[k], atol=1e-9)


def test_what_is_not_known_is_left_out(make_person, header):
    person = make_person()
    person.joints_m[INDEX["left_wrist"]] = np.nan
    links = links_of(person.joints_m)
    children = {t.child_frame_id for t in links_to_transforms(links, header, "x").transforms}
    assert {f"{link}_x" for link in LINKS} - children == {"l_elbow_x", "l_wrist_x"}
    state = links_to_joint_state(links, header, "x")
    assert {f"{name}_x" for name in ANGLES} - set(state.name) == {"l_elbow_x"}
    assert np.isfinite(state.position).all()
    person.joints_m[INDEX["pelvis"]] = np.nan
    assert not links_to_transforms(links_of(person.joints_m), header, "x").transforms


def test_angles_have_the_model_s_names(make_person, header):
    links = links_of(make_person().joints_m)
    state = links_to_joint_state(links, header, "b0001")
    assert state.name == [f"{name}_b0001" for name in ANGLES]
    assert list(state.position) == angles_of(links).tolist()
    assert state.header == header


def test_velocity_is_along_the_body_s_axes(make_person, header):
    person = make_person()
    links = links_of(person.joints_m)
    assert person_to_velocity(person, links, header, "b0001") is None
    moving = replace(person, joints_m_s=np.tile(links.turn[0] @ [1.0, 2, 3], (24, 1)))  # forward, left, up
    twist = person_to_velocity(moving, links, header, "b0001")
    assert (twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z) == pytest.approx((1, 2, 3))
    assert twist.header.frame_id == "body_b0001"
    assert twist.header.stamp == header.stamp
