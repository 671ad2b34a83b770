"""Anything in any field, sent to the real nodes; the whole of it is `python -m pose3d_ros.ros.fuzz`."""

from itertools import islice

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.ros.fuzz import FuzzError, fuzz
from pose3d_ros.ros.fuzzed_messages import fuzzed_depths, fuzzed_messages

MESSAGES = 2000


def test_a_seed_gives_the_same_messages_again_and_another_others():
    first, again, other = ([repr(m) for m in islice(fuzzed_messages(seed), 50)] for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_every_kind_is_spoiled_in_every_field():
    seen = {}
    for message in islice(fuzzed_messages(5), 2000):
        for name in message.get_fields_and_field_types():
            seen.setdefault((type(message), name), set()).add(repr(getattr(message, name))[:2000])
    for kind in (Image, CompressedImage, CameraInfo):
        for name in kind.get_fields_and_field_types():
            assert len(seen[kind, name]) > 2, f"{kind.__name__}.{name} is always the same"


def test_depths_are_spoiled_and_often_sound():
    encodings = [message.encoding for message in islice(fuzzed_depths(5), 500)]
    assert sum(encoding in ("16UC1", "32FC1") for encoding in encodings) > 300
    assert len(set(encodings)) > 10


def test_the_nodes_live_through_thousands_of_messages(ros_environment, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed: it makes this test's networks")
    from tiny_networks import write_models

    fuzzed = fuzz(MESSAGES, 7, ros_environment, tmp_path, write_models(tmp_path / "models"))
    for name in ("raw", "compressed"):
        received, processed, rejected = (
            int(fuzzed.figures[name][key]) for key in ("received", "processed", "rejected")
        )
        assert received > 0.05 * MESSAGES  # a machine that is busy with other things takes in less
        assert processed > 10
        assert rejected > 10
        assert fuzzed.people[name] > 5


def test_a_node_that_dies_is_told(ros_environment, tmp_path):
    with pytest.raises(FuzzError, match=r"did not come up:\n(.|\n)*rmw_of_nobody"):
        fuzz(10, 1, {**ros_environment, "RMW_IMPLEMENTATION": "rmw_of_nobody"}, tmp_path)
