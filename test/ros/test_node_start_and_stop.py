"""The node's first and last moments: what it refuses to start with, and how it ends. Real processes."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.models import INDEX_FILE, file_sha256, models_dir

START_TIMEOUT_S = 60


@pytest.fixture
def models(tmp_path):
    """A copy of the package's models, to be spoiled."""
    return Path(shutil.copytree(models_dir(), tmp_path / "models"))


def entries(models):
    return json.loads((models / INDEX_FILE).read_text(encoding="utf-8"))


def missing(models):
    (models / entries(models)["models"]["pose2d"]["file"]).unlink()
    return "no network at"


def truncated(models):
    path = models / entries(models)["models"]["pose2d"]["file"]
    path.write_bytes(path.read_bytes()[:1000])
    return "cut off"


def no_index(models):
    (models / INDEX_FILE).unlink()
    return "cannot read"


def of_another_shape(models):
    """A sound network, but the one of another stage, with its own hash."""
    content = entries(models)
    entry = content["models"]["pose2d"]
    entry["file"] = content["models"]["lift"]["file"]
    entry["sha256"] = file_sha256(models / entry["file"])
    entry.pop("int8")  # what a CPU would run instead
    (models / INDEX_FILE).write_text(json.dumps(content), encoding="utf-8")
    return entry["file"]


@pytest.mark.parametrize("spoil", [missing, truncated, no_index, of_another_shape])
def test_unusable_networks_end_the_node_with_a_reason(start_node, models, spoil):
    text = spoil(models)
    node = start_node("pose3d_node", {"model_dir": str(models)})
    assert node.wait(START_TIMEOUT_S) == 1
    assert text in node.output()
    assert str(models) in node.output()
    assert "Traceback" not in node.output()


@pytest.mark.parametrize(
    ("module", "parameters", "text"),
    [
        ("pose3d_node", {"model_dir": "/nowhere"}, "/nowhere"),
        ("pose3d_node", {"score_threshold": 7.5, "threads": 0}, "score_threshold is 7.5: it must lie between"),
        ("pose3d_node", {"score_threshold": 1}, "write 1.0"),
        ("pose3d_node", {"reliability": "sometimes"}, "auto, reliable, best_effort"),
        ("video_publisher", {"video": "/nowhere.mp4"}, "no file /nowhere.mp4"),
        ("video_publisher", {"camera_info": "/nowhere.yaml"}, "/nowhere.yaml"),
        ("video_publisher", {"video": __file__}, "cannot read"),
        ("video_publisher", {"video": "a.mp4", "camera": 0}, "leave one of them out"),
    ],
)
def test_wrong_parameters_end_a_node_with_a_reason(start_node, module, parameters, text):
    node = start_node(module, parameters)
    assert node.wait(START_TIMEOUT_S) == 1
    assert text in node.output()
    assert "Traceback" not in node.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_at_work(start_node, robot, number, shutdown_limit_s):
    robot.forget()
    node = start_node("pose3d_node")
    publisher = start_node("video_publisher", {"wait_for_subscribers": 1})
    robot.wait_for_node(node)
    robot.spin_until(lambda: len(robot.heard["joints"]) > 3, 60, "joints")
    for process in (node, publisher):
        started = time.monotonic()
        assert process.stop(number) == 0
        assert time.monotonic() - started < shutdown_limit_s
        assert "Traceback" not in process.output()


def test_a_misspelt_parameter_is_told(start_node, robot):
    robot.forget()
    node = start_node("pose3d_node", {"max_poeple": 3})
    robot.wait_for_node(node)
    assert "there is no parameter 'max_poeple'" in node.output()
    assert "use_sim_time" not in node.output()
