"""When people of several cameras are fused anew, and when a camera is only late."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.ros import fusion
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.fusion import Fusion, Seen

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
