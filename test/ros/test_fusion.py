"""When people of several cameras are fused anew, and when a camera is only late."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.ros import fusion
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.fusion import Fusion, Seen
from pose3d_ros.ros.target_frame import place_at

MS = 1_000_000
VALUES = {"publish_markers": True, "publish_tf": False, "tf_prefix": "person_", "max_prediction_s": 0.3}
NODE = SimpleNamespace(context=SimpleNamespace(ok=lambda: True), get_logger=lambda: pytest.fail("it failed"))


class Outputs:
    """What is published: stamps in ms and fused ids by distance, the nearest first."""

    def __init__(self, *_):
        self.told = []

    def publish_transforms(self, *_):
        pass

    def publish(self, header, people, *_):
        ids = [person.id for person in sorted(people, key=lambda person: person.joints_m[0, 2])]
        self.told.append((header.stamp.sec * 1000 + header.stamp.nanosec // MS, ids))


@pytest.fixture
def fused(monkeypatch):
    monkeypatch.setattr(fusion, "PeopleOutputs", Outputs)
    frames = FrameTree()
    frames.put("base", "optical", (0.0, 0.0, 0.0, 1.0), None)
    return Fusion(NODE, "base", frames, None)


def seen(ms, *people, since_ms=1000):
    return Seen(SimpleNamespace(ahead=lambda _: list(people)), "optical", since_ms * MS, ms * MS, list(people))


@pytest.fixture
def near(make_person):
    return make_person(1, depth_m=3.0)


@pytest.fixture
def far(make_person):
    return make_person(2, depth_m=13.0)


def test_a_late_camera_does_not_count_people_anew(fused, near, far):
    """Its link hung for more than half a second, and brings an old image now."""
    fused.update(1000 * MS, {"a": seen(1000, near, far), "b": seen(1000, far)}, VALUES)
    fused.update(1640 * MS, {"a": seen(1640, far), "b": seen(1000, far)}, VALUES)
    fused.update(1050 * MS, {"a": seen(1640, far), "b": seen(1050, far)}, VALUES)
    fused.update(1680 * MS, {"a": seen(1680, far), "b": seen(1050, far)}, VALUES)
    assert fused._outputs.told == [(1000, [1, 2]), (1640, [2]), (1680, [2])]


def test_time_that_jumps_back_counts_them_anew(fused, near, far):
    """A bag that begins again; one camera after the other notes it."""
    fused.update(9000 * MS, {"a": seen(9000, near, far), "b": seen(9000, far)}, VALUES)
    fused.update(1000 * MS, {"a": seen(1000, far), "b": seen(9000, far)}, VALUES)
    fused.update(1040 * MS, {"a": seen(1000, far), "b": seen(1040, far)}, VALUES)
    assert fused._outputs.told == [(9000, [1, 2]), (1000, [1]), (1040, [1])]
    assert np.isclose(fused._figures, (1, 2)).all()


def test_images_of_the_same_time_are_fused_together(fused, near, far):
    """A trigger's come a moment apart, and each is worked on by itself."""
    for ms in (1000, 1033, 1066):
        fused.update(ms * MS, {"a": seen(ms, near, far), "b": seen(ms - 33 if ms > 1000 else 1000, far)}, VALUES)
        fused.update(ms * MS, {"a": seen(ms, near, far), "b": seen(ms, far)}, VALUES)
    assert [ms for ms, _ in fused._outputs.told] == [1000, 1033, 1066]
    assert fused._figures == (2, 2)


def test_a_camera_of_a_pair_that_dies_is_not_waited_for(fused, near):
    for ms in (1000, 1033):
        fused.update(ms * MS, {"a": seen(ms, near), "b": seen(ms, near)}, VALUES)
    for ms in (1066, 1099, 1132):
        fused.update(ms * MS, {"a": seen(ms, near), "b": seen(1033, near)}, VALUES)
    assert [ms for ms, _ in fused._outputs.told] == [1000, 1033, 1099, 1132]


def test_a_camera_that_was_ahead_and_died_does_not_silence_the_others(fused, far, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(fusion.time, "monotonic", lambda: now_s[0])
    fused.update(1000 * MS, {"a": seen(1000, far), "b": None}, VALUES)
    fused.update(9000 * MS, {"a": seen(1000, far), "b": seen(9000, far)}, VALUES)
    for k in range(1, 60):
        now_s[0] += 0.033
        fused.update((1000 + 33 * k) * MS, {"a": seen(1000 + 33 * k, far), "b": seen(9000, far)}, VALUES)
    assert fused._outputs.told[1][0] == 9000
    assert 1900 < fused._outputs.told[2][0] < 2200
    assert fused._outputs.told[-1][0] == 1000 + 33 * 59


def test_time_that_jumps_back_beside_an_old_image_counts_them_anew(fused, far):
    """The bag's last image of one camera, and its first of another, come together."""
    fused.update(9000 * MS, {"a": seen(9000, far), "b": seen(8990, far)}, VALUES)
    fused.update(9020 * MS, {"a": seen(1000, far), "b": seen(9020, far)}, VALUES)
    fused.update(1040 * MS, {"a": seen(1040, far), "b": seen(9020, far)}, VALUES)
    assert [ms for ms, _ in fused._outputs.told] == [9000, 9020, 1040]


def test_what_was_left_out_is_forgotten_at_a_restart(fused, far):
    fused.update(1000 * MS, {"a": seen(1000, far), "b": None}, VALUES)
    assert "b is left out" in fused.finding().message
    fused.restart()
    assert "b is left out" not in fused.finding().message


def test_people_before_a_turning_camera_stay_where_they_are(make_person):
    """Carried on, they are where they stand, not where the camera has turned to; and they do not move."""
    frames, rate = FrameTree(), 1.0  # rad/s, about the camera's y
    for k in range(40):
        angle = rate * 0.01 * k
        frames.put("odom", "optical", (0.0, np.sin(angle / 2), 0.0, np.cos(angle / 2)), round(1e9 + 1e7 * k))
    stamp_ns = round(1e9 + 3e8)
    person = make_person(1, depth_m=4.0)
    stands = frames.motion("odom", "optical", stamp_ns).apply(person.joints_m)
    turning = np.cross([0.0, -rate, 0.0], person.joints_m)  # in the camera's frame
    place = place_at(frames, "odom", "optical", stamp_ns, frames.motion("odom", "optical", stamp_ns))
    carried = replace(person, joints_m=person.joints_m + 0.1 * turning, joints_m_s=turning)
    (there,) = place.people([carried], 0.1)
    assert np.abs(there.joints_m - stands).max() < 0.1  # 0.4 otherwise
    assert np.abs(there.joints_m_s).max() < 0.8  # 4 otherwise
