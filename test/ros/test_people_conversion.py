"""People -> markers, cloud, transforms."""

import numpy as np
import pytest

pytest.importorskip("visualization_msgs", reason="needs the ROS 2 message packages")
pytest.importorskip("tf2_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import PointField
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from pose3d_ros import skeleton
from pose3d_ros.person import JointState
from pose3d_ros.ros.people_conversion import (
    CLOUD_DTYPE,
    MARKER_NAMESPACES,
    MarkerMaker,
    cloud_to_joints,
    delete_all,
    limited,
    people_to_cloud,
    people_to_transforms,
)

UP = np.array([0.0, -1.0, 0.0])  # in the optical frame of a level camera


@pytest.fixture
def header():
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec = 12
    return header


def test_cloud_has_the_documented_fields_and_values(make_person, header):
    people = [make_person(3), make_person(7, state=JointState.INFERRED)]
    cloud = people_to_cloud(people, header)
    assert cloud.header == header
    assert (cloud.height, cloud.width, cloud.point_step) == (1, 48, 28)
    assert cloud.row_step == len(cloud.data) == 48 * 28
    assert cloud.is_dense
    fields = [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields]
    f4, u1, u4 = PointField.FLOAT32, PointField.UINT8, PointField.UINT32
    assert fields == [
        ("x", 0, f4, 1),
        ("y", 4, f4, 1),
        ("z", 8, f4, 1),
        ("confidence", 12, f4, 1),
        ("sigma", 16, f4, 1),
        ("state", 20, u1, 1),
        ("joint", 21, u1, 1),
        ("person", 24, u4, 1),
    ]
    joints = cloud_to_joints(cloud)
    assert joints.shape == (2, 24)
    for row, person in zip(joints, people, strict=True):
        np.testing.assert_allclose(np.stack([row["x"], row["y"], row["z"]], 1), person.joints_m, rtol=1e-6)
        np.testing.assert_allclose(row["confidence"], person.joint_score, rtol=1e-6)
        np.testing.assert_array_equal(row["state"], person.joint_state)
        np.testing.assert_array_equal(row["joint"], np.arange(24))
        assert (row["person"] == person.id).all()
        sigma = [np.sqrt(np.trace(cov) / 3) for cov in person.joints_m_cov]
        np.testing.assert_allclose(row["sigma"], sigma, rtol=1e-6)


def test_cloud_without_metres_is_empty_but_there(make_person, header):
    for people in ([], [make_person(metres=False)]):
        cloud = people_to_cloud(people, header)
        assert (cloud.width, len(cloud.data), cloud.point_step) == (0, 0, CLOUD_DTYPE.itemsize)
        assert len(cloud.fields) == 8
        assert cloud_to_joints(cloud).shape == (0, 24)


def test_another_cloud_is_not_taken_for_ours(make_person, header):
    cloud = people_to_cloud([make_person()], header)
    cloud.point_step = 16
    with pytest.raises(ValueError, match="not a cloud of joints"):
        cloud_to_joints(cloud)


def test_every_joint_gets_a_transform_in_the_images_frame(make_person, header):
    people = [make_person(1), make_person(2)]
    message = people_to_transforms(people, header, "person_")
    assert len(message.transforms) == 48
    names = [t.child_frame_id for t in message.transforms]
    assert names == [f"person_{i}/{joint}" for i in (1, 2) for joint in skeleton.JOINTS]
    assert all(t.header == header for t in message.transforms)
    place = message.transforms[24].transform
    assert [place.translation.x, place.translation.y, place.translation.z] == people[1].joints_m[0].tolist()
    turn = place.rotation
    assert (turn.x, turn.y, turn.z, turn.w) == (0, 0, 0, 1)


def test_unknown_joints_have_no_transform_and_no_marker(make_person, header):
    person = make_person()
    person.joints_m[5] = np.nan
    assert len(people_to_transforms([person], header, "p").transforms) == 23
    joints, bones, *_ = MarkerMaker().markers([person], header, UP).markers
    assert len(joints.points) == 23
    touching = sum(5 in bone for bone in skeleton.BONES)
    assert len(bones.points) == 2 * (len(skeleton.BONES) - touching)
    assert not people_to_cloud([person], header).is_dense


def test_markers_of_a_person(make_person, header):
    person = make_person(4)
    markers = {m.ns: m for m in MarkerMaker().markers([person], header, UP).markers}
    assert tuple(markers) == MARKER_NAMESPACES == ("joints", "bones", "id", "uncertainty")
    assert {m.id for m in markers.values()} == {4}
    assert all(m.header == header and m.action == Marker.ADD for m in markers.values())
    assert all(m.lifetime.sec > 0 for m in markers.values())
    assert all(m.pose.orientation.w == 1 for m in markers.values())
    kinds = [m.type for m in markers.values()]
    assert kinds == [Marker.SPHERE_LIST, Marker.LINE_LIST, Marker.TEXT_VIEW_FACING, Marker.LINE_LIST]
    assert len(markers["joints"].points) == len(markers["joints"].colors) == 24
    assert len(markers["bones"].points) == len(markers["bones"].colors) == 2 * 23
    assert len(markers["uncertainty"].points) == 24 * 6
    assert markers["id"].text == "4"
    assert all(m.scale.x > 0 for m in markers.values())


@pytest.mark.parametrize("up", [UP, np.array([0.0, 0.0, 1.0])])
def test_the_id_stands_above_the_highest_joint(make_person, header, up):
    person = make_person()
    place = MarkerMaker().markers([person], header, up).markers[2].pose.position
    heights = person.joints_m @ up
    np.testing.assert_allclose([place.x, place.y, place.z], person.joints_m[heights.argmax()] + 0.2 * up)


def test_bones_are_coloured_by_side_and_fade_when_not_seen(make_person, header):
    def colours(person):
        bones = MarkerMaker().markers([person], header, UP).markers[1]
        sides = {"left": set(), "right": set(), "middle": set()}
        for (_, child), colour in zip(skeleton.BONES, bones.colors[::2], strict=True):
            side = skeleton.JOINTS[child].split("_")[0]
            sides[side if side in sides else "middle"].add((colour.r, colour.g, colour.b, colour.a))
        return sides

    seen = colours(make_person())
    assert all(len(colour) == 1 for colour in seen.values())
    assert len(set.union(*seen.values())) == 3
    hidden = colours(make_person(state=JointState.INFERRED))
    assert next(iter(hidden["left"]))[3] < next(iter(seen["left"]))[3]


def test_uncertainty_bars_are_one_sigma_long(make_person, header):
    person = make_person()
    person.joints_m_cov[:] = np.diag([0.01, 0.04, 0.09])
    bars = MarkerMaker().markers([person], header, UP).markers[3]
    points = np.array([[p.x, p.y, p.z] for p in bars.points]).reshape(24, 3, 2, 3)
    half = np.linalg.norm(points[:, :, 1] - points[:, :, 0], axis=-1) / 2
    np.testing.assert_allclose(np.sort(half, 1), np.tile([0.1, 0.2, 0.3], (24, 1)))
    np.testing.assert_allclose(points.mean(2), np.repeat(person.joints_m[:, None], 3, 1))


def test_people_who_left_are_deleted_once(make_person, header):
    maker = MarkerMaker()
    maker.markers([make_person(1), make_person(2)], header, UP)
    after = maker.markers([make_person(2)], header, UP).markers
    deleted = [(m.ns, m.id) for m in after if m.action == Marker.DELETE]
    assert deleted == [(space, 1) for space in MARKER_NAMESPACES]
    assert not [m for m in maker.markers([make_person(2)], header, UP).markers if m.action == Marker.DELETE]
    # Without metres a person is as good as gone.
    assert {m.action for m in maker.markers([make_person(2, metres=False)], header, UP).markers} == {Marker.DELETE}
    assert maker.markers([], header, UP).markers == []


def test_large_pictures_shrink_together_with_the_people(make_person):
    person = make_person()
    small, (scaled,) = limited(np.zeros((3000, 4000, 3), np.uint8), [person], 2000)
    assert small.shape == (1500, 2000, 3)
    np.testing.assert_allclose(scaled.joints_px, person.joints_px / 2 - 0.25)
    np.testing.assert_allclose(scaled.joints_px_cov, person.joints_px_cov / 4)
    picture = np.zeros((30, 40, 3), np.uint8)
    assert limited(picture, [person], 2000)[0] is picture


def test_delete_all_is_one_marker(header):
    (marker,) = delete_all(header).markers
    assert marker.action == Marker.DELETEALL
