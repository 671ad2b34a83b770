"""Ways between frames from a tree of transforms over time."""

import threading
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose3d_ros.ros.frame_tree import FrameTree, TransformError

SECOND = 1_000_000_000
OPTICAL = Rotation.from_euler("xyz", [-90, 0, -90], degrees=True)  # REP-103: camera_link -> its optical frame


@pytest.fixture
def tree():
    """base_link -> (moves: a neck pitched by 30 degrees down) head -> (static) optical; base_link -> lamp."""
    tree = FrameTree()
    tree.put("base_link", "head", tuple(Rotation.from_euler("y", 30, degrees=True).as_quat()), 10 * SECOND)
    tree.put("head", "optical", tuple(OPTICAL.as_quat()), None)
    tree.put("base_link", "lamp", (0.0, 0.0, 1.0, 0.0), None)
    return tree


def up(tree, target, source="base_link", stamp_ns=10 * SECOND):
    return tree.rotation(target, source, stamp_ns, 0.5).apply([0, 0, 1])


def test_up_in_the_optical_frame_of_a_pitched_camera(tree):
    np.testing.assert_allclose(up(tree, "optical"), [0, -np.cos(np.pi / 6), -0.5], atol=1e-12)
    back = tree.rotation("base_link", "optical", 10 * SECOND, 0.5)
    np.testing.assert_allclose(back.apply(up(tree, "optical")), [0, 0, 1], atol=1e-12)


def test_through_a_common_parent_and_to_itself(tree):
    np.testing.assert_allclose(up(tree, "optical", "lamp"), up(tree, "optical"), atol=1e-12)
    np.testing.assert_allclose(up(tree, "nowhere", "nowhere"), [0, 0, 1])


def test_a_slash_before_a_name_counts_for_nothing():
    tree = FrameTree()
    tree.put("/base_link", "/camera", (0.0, 0.0, 0.0, 1.0), None, (0.0, 0.0, 1.0))
    for target, source in (("base_link", "camera"), ("/base_link", "/camera")):
        np.testing.assert_allclose(tree.motion(target, source, 0).shift, [0, 0, 1])


def test_frames_that_are_not_connected(tree):
    with pytest.raises(TransformError, match=r"no TF between map .which ends at map. and optical .at base_link"):
        up(tree, "optical", "map")


def test_where_a_camera_is_over_the_ground():
    """base_footprint -> (moves) base_link, 0.2 m up -> neck, 1 m up, pitched by 90 degrees -> optical."""
    tree = FrameTree()
    tree.put("base_footprint", "base_link", (0.0, 0.0, 0.0, 1.0), 10 * SECOND, (0.0, 0.0, 0.2))
    pitched = tuple(Rotation.from_euler("y", 90, degrees=True).as_quat())
    tree.put("base_link", "neck", pitched, None, (0.1, 0.0, 1.0))
    tree.put("neck", "optical", tuple(OPTICAL.as_quat()), None, (0.05, 0.0, 0.0))
    camera = tree.motion("base_footprint", "optical", 10 * SECOND, 0.5)
    np.testing.assert_allclose(camera.shift, [0.1, 0.0, 1.15], atol=1e-12)
    ahead = camera.turn.apply([0, 0, 2.0]) + camera.shift
    np.testing.assert_allclose(ahead, [0.1, 0.0, -0.85], atol=1e-12)  # it looks down
    back = tree.motion("optical", "base_footprint", 10 * SECOND, 0.5)
    np.testing.assert_allclose(back.turn.apply(ahead) + back.shift, [0, 0, 2.0], atol=1e-12)


def test_a_place_that_is_none():
    tree = FrameTree()
    tree.put("base_link", "broken", (0.0, 0.0, 0.0, 1.0), None, (np.nan, 0.0, 0.0))
    with pytest.raises(TransformError):
        up(tree, "broken")


@pytest.mark.parametrize("age_s", [-0.6, 0.6])
def test_an_old_transform_is_refused(tree, age_s):
    with pytest.raises(TransformError, match="from head to base_link is not within"):
        up(tree, "optical", stamp_ns=int((10 + age_s) * SECOND))


def test_a_newer_transform_replaces_the_older(tree):
    tree.put("base_link", "head", (0.0, 0.0, 0.0, 1.0), 11 * SECOND)
    np.testing.assert_allclose(up(tree, "optical", stamp_ns=11 * SECOND), [0, -1, 0], atol=1e-12)


def test_a_frame_is_static_or_moves_as_its_last_transform_says(tree):
    tree.put("base_link", "lamp", (0.0, 0.0, 0.0, 1.0), 10 * SECOND, (1.0, 0.0, 0.0))
    tree.put("base_link", "lamp", (0.0, 0.0, 0.0, 1.0), 11 * SECOND, (2.0, 0.0, 0.0))
    np.testing.assert_allclose(tree.motion("base_link", "lamp", int(10.5 * SECOND)).shift, [1.5, 0, 0])
    tree.put("base_link", "lamp", (0.0, 0.0, 0.0, 1.0), None, (3.0, 0.0, 0.0))
    np.testing.assert_allclose(tree.motion("base_link", "lamp", 10 * SECOND).shift, [3, 0, 0])
    tree.put("base_link", "lamp", (0.0, 0.0, 0.0, 1.0), 12 * SECOND, (4.0, 0.0, 0.0))
    np.testing.assert_allclose(tree.motion("base_link", "lamp", 12 * SECOND).shift, [4, 0, 0])


def test_a_circle_has_an_end():
    tree = FrameTree()
    tree.put("a", "b", (0.0, 0.0, 0.0, 1.0), None)
    tree.put("b", "a", (0.0, 0.0, 0.0, 1.0), None)
    with pytest.raises(TransformError):
        up(tree, "c", "a")


@pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 1.0), (np.inf, 0.0, 0.0, 1.0)])
def test_no_rotation_is_none(tree, quaternion):
    tree.put("base_link", "broken", quaternion, None)
    with pytest.raises(TransformError):
        up(tree, "broken")


def test_names_that_come_and_go_do_not_fill_the_memory(tree):
    for number in range(60_000):
        tree.put("optical", f"person_{number}/head", (0.0, 0.0, 0.0, 1.0), 10 * SECOND)
    assert len(tree._moving) == 50_000
    with pytest.raises(TransformError, match="no TF between person_1/head"):
        up(tree, "optical", "person_1/head")
    up(tree, "optical", "person_59999/head")


def test_time_may_jump_back_again_and_again(monkeypatch):
    monkeypatch.setattr("pose3d_ros.ros.frame_tree._MOST_MOVING", 100)
    tree = FrameTree()
    for lap in range(6):
        for tenths in range(40):
            tree.put("odom", "base_link", (0.0, 0.0, 0.0, 1.0), tenths * SECOND // 10, (float(lap), 0.0, 0.0))
            tree.put("base_link", f"person_{lap}", (0.0, 0.0, 0.0, 1.0), tenths * SECOND // 10)
            motion = tree.motion("odom", f"person_{lap}", tenths * SECOND // 10)
            np.testing.assert_allclose(motion.shift, [lap, 0, 0])
    assert not set(tree._cleared) - {"base_link"}


@pytest.fixture
def robot():
    """odom -> base_link drives 1 m/s along x and turns by 90 degrees/s from 10 s on; base_link -> camera is fixed."""
    tree = FrameTree()
    for tenths in range(100, 121):
        turn = Rotation.from_euler("z", 9 * (tenths - 100), degrees=True).as_quat()
        tree.put("odom", "base_link", tuple(turn), tenths * SECOND // 10, (0.1 * (tenths - 100), 0.0, 0.0))
    tree.put("base_link", "camera", (0.0, 0.0, 0.0, 1.0), None, (0.5, 0.0, 1.2))
    return tree


def place(motion, point):
    return motion.turn.apply(point) + motion.shift


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0, 1.98])
def test_a_motion_is_interpolated_at_the_stamp(robot, t):
    motion = robot.motion("odom", "camera", int((10 + t) * SECOND))
    angle = np.pi / 2 * t
    ahead = np.array([np.cos(angle), np.sin(angle), 0])  # where the robot looks
    np.testing.assert_allclose(place(motion, [2, 0, 0]), [t, 0, 1.2] + 2.5 * ahead, atol=1e-9)
    back = robot.motion("camera", "odom", int((10 + t) * SECOND))
    np.testing.assert_allclose(place(back, place(motion, [2, -1, 3])), [2, -1, 3], atol=1e-9)


def test_nothing_is_guessed_before_the_first_and_after_the_last_transform(robot):
    with pytest.raises(TransformError, match=r"base_link to odom is not within 0 s .* newest is 0.050 s older"):
        robot.motion("odom", "camera", int(12.05 * SECOND))
    with pytest.raises(TransformError, match=r"oldest is 0.100 s newer"):
        robot.motion("odom", "camera", int(9.9 * SECOND))


def test_what_lies_beyond_the_common_ancestor_does_not_matter(robot):
    robot.put("map", "odom", (0.0, 0.0, 0.0, 1.0), 3 * SECOND)
    robot.motion("odom", "camera", 11 * SECOND)
    with pytest.raises(TransformError, match="from odom to map"):
        robot.motion("map", "camera", 11 * SECOND)


def test_late_transforms_find_their_place_and_a_jump_back_begins_anew(robot):
    robot.put("odom", "base_link", (0.0, 0.0, 0.0, 1.0), int(11.95 * SECOND), (9.0, 0.0, 0.0))
    np.testing.assert_allclose(robot.motion("odom", "base_link", int(11.95 * SECOND)).shift, [9, 0, 0])
    np.testing.assert_allclose(robot.motion("odom", "base_link", 12 * SECOND).shift, [2, 0, 0])
    robot.put("odom", "base_link", (0.0, 0.0, 0.0, 1.0), 4 * SECOND, (7.0, 0.0, 0.0))
    np.testing.assert_allclose(robot.motion("odom", "base_link", 4 * SECOND).shift, [7, 0, 0])
    with pytest.raises(TransformError):
        robot.motion("odom", "base_link", 11 * SECOND)


def test_who_waits_gets_the_transform_when_it_comes_and_an_error_in_time_when_it_does_not(robot):
    late = threading.Timer(
        0.1, robot.put, ("odom", "base_link", (0.0, 0.0, 0.0, 1.0), int(12.2 * SECOND), (2.2, 0.0, 0.0))
    )
    late.start()
    motion = robot.wait_for_motion("odom", "base_link", int(12.1 * SECOND), 30.0)
    np.testing.assert_allclose(motion.shift, [2.1, 0, 0], atol=1e-9)
    late.join()
    began = time.monotonic()
    with pytest.raises(TransformError, match="older"):
        robot.wait_for_motion("odom", "base_link", int(12.3 * SECOND), 0.2)
    assert time.monotonic() - began >= 0.19


def test_a_point_from_one_camera_to_the_other():
    tree = FrameTree()
    tree.put("base", "mast", (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)), None, (1.0, 0.0, 2.0))
    tree.put("mast", "front", tuple(OPTICAL.as_quat()), 10 * SECOND, (0.5, 0.0, 0.0))
    tree.put("base", "left", (0.0, 0.0, 0.0, 1.0), None, (0.0, -3.0, 0.0))
    way = tree.motion("base", "front", 10 * SECOND, 0.5)
    # Two metres ahead of the camera: the mast looks along the base's y.
    np.testing.assert_allclose(way.turn.apply([0, 0, 2.0]) + way.shift, [1.0, 2.5, 2.0], atol=1e-9)
    way = tree.motion("left", "front", 10 * SECOND, 0.5)
    np.testing.assert_allclose(way.turn.apply([0, 0, 2.0]) + way.shift, [1.0, 5.5, 2.0], atol=1e-9)
    back = tree.motion("front", "left", 10 * SECOND, 0.5)
    np.testing.assert_allclose(back.turn.apply([1.0, 5.5, 2.0]) + back.shift, [0, 0, 2.0], atol=1e-9)
    with pytest.raises(TransformError, match="not within"):
        tree.motion("base", "front", 20 * SECOND, 0.5)
