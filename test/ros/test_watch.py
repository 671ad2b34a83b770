"""The real node with tiny networks: what it says of bad pictures, of its figures, and what it keeps."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")

import tiny_networks
from camera_driver import Driver

from pose3d_ros.evaluation.evaluate_health import record
from pose3d_ros.model_health import FIGURES, Reference
from pose3d_ros.ros.health import Level

SIZE = (480, 640, 3)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny networks whose people's score is the picture's brightness; the reference allows 0.7 and more."""
    folder = tiny_networks.write_models(tmp_path_factory.mktemp("models"))
    record(folder, {"mean_score": Reference(0.8, 0.7)})
    return folder


@pytest.fixture(scope="module")
def node(start_node, robot, models, tmp_path_factory):
    process = start_node("pose3d_node", {"model_dir": str(models), "score_threshold": 0.1, "new_person_threshold": 0.2})
    robot.wait_for_node(process)
    return process


@pytest.fixture(scope="module")
def driver(node, robot, clip):
    return Driver(robot, clip)


def grain(level, seed):
    """An evenly lit picture with the noise of a sensor."""
    return np.clip(np.random.default_rng(seed).normal(level, 3, SIZE), 0, 255).astype(np.uint8)


def send(driver, pictures, step_s=0.2):
    """Sends pictures one after the other, each once the one before is answered."""
    for picture in pictures:
        driver.picture = picture
        driver.robot.answer_to(driver.images, driver.message(step_s))


def test_a_good_picture_is_well(driver, robot):
    send(driver, [grain(200, i) for i in range(12)])
    assert robot.report("picture")[:2] == (Level.OK, "well")


def test_a_dark_camera_is_told_and_forgiven(driver, robot):
    send(driver, [grain(5, i) for i in range(12)])
    level, message, values = robot.report("picture")
    assert (level, values["troubles"]) == (Level.WARN, "dark")
    assert "cover off the lens" in message
    send(driver, [grain(200, i) for i in range(12)])
    assert robot.report("picture")[0] == Level.OK


@pytest.mark.parametrize(
    ("spoil", "trouble", "advice"),
    [
        (lambda picture: cv2.GaussianBlur(picture, (0, 0), 0.01 * SIZE[1]), "blurred", "focus the lens"),
        (lambda picture: 0.2 * picture, "underexposed", "raise exposure"),
        (lambda picture: 4.0 * picture, "overexposed", "lower exposure"),
    ],
)
def test_a_camera_that_is_out_of_focus_or_wrongly_exposed_is_told_and_forgiven(
    driver, robot, clip, spoil, trouble, advice
):
    def sensed(pictures):
        """With the noise of a sensor."""
        random = np.random.default_rng(1)
        return [np.clip(picture + random.normal(0, 2, SIZE), 0, 255).astype(np.uint8) for picture in pictures]

    pictures = clip[0][60:180:10]
    send(driver, sensed(map(spoil, pictures)))
    level, message, values = robot.report("picture")
    assert level == Level.WARN
    assert trouble in values["troubles"].split()
    assert advice in message
    send(driver, sensed(pictures))
    assert robot.report("picture")[:2] == (Level.OK, "well")


def test_a_frozen_camera_is_told(driver, robot):
    send(driver, [grain(200, 1)] * 30)
    level, message, values = robot.report("picture")
    assert (level, values["troubles"]) == (Level.WARN, "frozen")
    assert "restart the camera" in message


def test_drift_is_told(driver, robot):
    send(driver, [grain(130, i) for i in range(30)], step_s=0.5)
    send(driver, [grain(130, i) for i in range(30)], step_s=0.5)

    def warned(level, message):
        return level == Level.WARN and message.startswith("mean_score is 0.")

    robot.wait_for_status("people", warned, "the warning")
    _, _, values = robot.report("people")
    assert float(values["mean_score"]) == pytest.approx(0.5, abs=0.12)


def test_stats_hold_every_figure(driver, robot):
    snapshot = robot.stats()
    assert (snapshot["node"], snapshot["state"]) == ("/pose3d", "active")
    camera = snapshot["cameras"][""]
    images = camera["images"]
    assert images["received"] == images["processed"] + images["dropped"] + images["rejected"] + images["waiting"] > 0
    assert set(FIGURES) <= set(camera["people"])
    assert camera["people"]["drift"]
    assert camera["picture"]["mean"] == pytest.approx(130, abs=3)
    assert camera["calibration"]["level"] == 0
    assert snapshot["networks"]["stages_ms"]["pose2d"] > 0
    assert snapshot["reference"] == {"mean_score": {"value": 0.8, "limit": 0.7}}


def test_nothing_is_kept_unless_asked_for(node, robot):
    assert robot.stats()["cameras"][""]["hard_frames"] == {"written": 0, "lost": 0, "problem": ""}
    assert "personal data" not in node.output()


def test_hard_frames_are_kept_and_bounded(driver, robot, node, tmp_path):
    assert robot.set_parameters(record_hard_frames=True, hard_frames_dir=str(tmp_path), hard_frames_max_mb=1) == ""
    foreign = tmp_path / "holiday.jpg"
    foreign.write_bytes(b"0" * 3_000_000)
    loud = [np.clip(np.random.default_rng(i).normal(100, 60, SIZE), 0, 255).astype(np.uint8) for i in range(6)]
    send(driver, loud * 11, step_s=0.4)

    def written():
        return robot.stats()["cameras"][""]["hard_frames"]["written"]

    robot.spin_until(lambda: written() >= 4, 60, "hard frames")
    assert robot.set_parameters(record_hard_frames=False) == ""
    send(driver, [grain(200, 2)])
    ours = []

    def settled():
        before = list(ours)
        ours[:] = sorted(path for path in tmp_path.iterdir() if path != foreign)
        return ours == before and not any(path.suffix == ".part" for path in ours)

    robot.spin_until(settled, 60, "the end of the writing")
    assert 2 <= len(ours) < 2 * written()
    assert sum(path.stat().st_size for path in ours) <= 1_000_000
    assert foreign.stat().st_size == 3_000_000
    label = json.loads(next(path for path in ours if path.suffix == ".json").read_text())
    assert len(label["annotations"][0]["keypoints"]) == 72
    assert "personal data" in node.output()


def test_a_folder_that_cannot_be_written_is_a_warning(driver, robot, node, tmp_path):
    (tmp_path / "file").write_text("")
    assert robot.set_parameters(record_hard_frames=True, hard_frames_dir=str(tmp_path / "file")) == ""
    send(driver, [grain(100, i) for i in range(30)], step_s=0.4)
    robot.wait_for_status("people", lambda level, text: "cannot be written" in text, "a warning")
    assert robot.set_parameters(record_hard_frames=False) == ""
    send(driver, [grain(200, 3)])  # it lives
    assert node.exit_status is None


def test_an_implausible_calibration_is_told(driver, robot):
    before = driver.camera
    driver.camera = replace(before, K=before.K * [[10, 1, 1], [1, 10, 1], [1, 1, 1]])

    def is_told():
        send(driver, [grain(200, 4), grain(200, 5)])
        level, message, _ = robot.report("camera_info")
        return level == Level.WARN and "field of view of 7 degrees" in message

    robot.spin_until(is_told, 60, "the doubt")
    driver.camera = before


def test_stats_of_a_node_that_is_unconfigured(node, robot):
    assert robot.change_state("deactivate")
    assert robot.stats()["state"] == "inactive"
    assert robot.change_state("cleanup")
    assert robot.stats()["cameras"] == {}
