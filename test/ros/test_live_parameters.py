"""Parameters that change while the real node works: as a set, and between images; and what nobody listens to."""

import time

import numpy as np
import pytest
from camera_driver import Driver

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.srv import GetParameters

from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.health import Level
from pose3d_ros.ros.people_conversion import cloud_to_joints


@pytest.fixture(scope="module")
def driver(start_node, robot, clip):
    robot.wait_for_node(start_node("pose3d_node"))
    driver = Driver(robot, clip)
    for _ in range(4):
        assert driver.answer().width == 24
    return driver


@pytest.fixture(autouse=True)
def defaults(driver, robot):
    picture = driver.picture
    yield
    driver.picture = picture
    assert not robot.set_parameters(
        tf_prefix="person_",
        score_threshold=0.3,
        new_person_threshold=0.5,
        visible_threshold=0.5,
        max_rate_hz=0.0,
        smoothing=1.0,
        track_timeout_s=0.5,
    )


def value(robot, name):
    (answer,) = robot.call(GetParameters, "pose3d/get_parameters", GetParameters.Request(names=[name])).values
    return answer.double_value


def test_values_that_do_not_fit_together_are_refused_and_together_taken(robot):
    reason = robot.set_parameters(score_threshold=0.6)
    assert "new_person_threshold is 0.5, below the score_threshold of 0.6" in reason
    assert value(robot, "score_threshold") == 0.3
    assert robot.set_parameters(score_threshold=0.6, new_person_threshold=0.7) == ""
    assert value(robot, "score_threshold") == 0.6


@pytest.mark.parametrize("wrong", [{"visible_threshold": 1.5}, {"tf_prefix": "/no good"}, {"threads": 3}])
def test_of_a_set_with_one_wrong_value_none_is_taken(driver, robot, wrong):
    assert next(iter(wrong)) in robot.set_parameters(score_threshold=0.4, **wrong)
    assert value(robot, "score_threshold") == 0.3


def test_a_threshold_holds_from_the_next_image_on(driver, robot):
    def states():
        return set(cloud_to_joints(driver.answer())["state"].ravel().tolist())

    assert robot.set_parameters(visible_threshold=0.99) == ""
    assert states() == {1}
    assert robot.set_parameters(visible_threshold=0.01) == ""
    assert states() == {0}


def test_a_change_never_falls_into_an_image(driver, robot):
    """Two parameters change together, again and again, while images come: no result has the one without the other."""
    from rcl_interfaces.srv import SetParametersAtomically
    from rclpy.parameter import Parameter

    kinds = ({"tf_prefix": "seen_", "visible_threshold": 0.01}, {"tf_prefix": "guessed_", "visible_threshold": 0.99})
    requests = [
        SetParametersAtomically.Request(parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in kind.items()])
        for kind in kinds
    ]
    robot.forget()
    together = (("seen", {0}), ("guessed", {1}))

    def pairs():
        """(start of the frames' names, states) of each image that both were heard of."""
        frames = {
            stamp_to_ns(m.transforms[0].header.stamp): m.transforms[0].child_frame_id.split("_")[0]
            for m in robot.heard["tf"]
        }
        joints = {stamp_to_ns(m.header.stamp): set(cloud_to_joints(m)["state"].ravel()) for m in robot.heard["joints"]}
        return [(frames[stamp], states) for stamp, states in joints.items() if frames.get(stamp, "person") != "person"]

    def send_image(number):
        driver.images.publish(driver.message())
        robot.spin_for(0.01)

    deadline = time.monotonic() + 60
    while min(map(pairs().count, together)) < 8:
        assert time.monotonic() < deadline, pairs()
        responses = robot.call_often(
            SetParametersAtomically, "pose3d/set_parameters_atomically", 15 * requests, send_image
        )
        assert all(response.result.successful for response in responses)
    assert all(pair in together for pair in pairs())


@pytest.mark.parametrize(("parameter", "output"), [("publish_tf", "tf"), ("publish_markers", "markers")])
def test_an_output_ends_and_comes_back(driver, robot, parameter, output):
    """None comes with the images in between; the last output of an image tells that it is done."""
    assert robot.set_parameters(**{parameter: False}) == ""
    for _ in range(5):
        driver.answer("overlay")
    robot.spin_for(0.3)
    robot.forget()
    for _ in range(5):
        driver.answer("overlay")
    robot.spin_for(0.3)
    assert robot.heard["joints"]
    assert not robot.heard[output]
    assert robot.set_parameters(**{parameter: True}) == ""
    driver.answer("overlay")
    robot.spin_until(lambda: robot.heard[output], 60, f"{output} again")


def test_smoothing_holds_from_the_next_image_on(driver, robot, clip):
    """A calmer node follows people whose movement changes less."""

    def acceleration():
        driver.stamp_ns += 2_000_000_000
        path = []
        for picture in clip[0][100:140]:
            driver.picture = picture
            joints = cloud_to_joints(driver.answer())
            path.append(np.stack([joints[0][axis] for axis in "xyz"], 1))
        return float(np.linalg.norm(np.diff(path, 2, axis=0), axis=2).mean())

    found = []
    for smoothing in (0.1, 10.0):
        assert robot.set_parameters(smoothing=smoothing) == ""
        found.append(acceleration())
    assert found[1] < 0.8 * found[0], found


def test_people_are_kept_as_long_as_track_timeout_s_says(driver, robot):
    """After a picture of nobody, predicted; then not at all."""
    still = driver.picture

    def people_in_the_dark(step_s):
        driver.picture = still
        for _ in range(8):  # until it is sure of them
            assert driver.answer().width
        driver.picture = np.zeros_like(still)
        return robot.answer_to(driver.images, driver.message(step_s)).width

    for timeout_s, width in ((2.0, 24), (0.2, 0), (2.0, 24)):
        assert robot.set_parameters(track_timeout_s=timeout_s) == ""
        assert people_in_the_dark(step_s=0.4) == width


def test_the_rate_is_limited_by_the_stamps(driver, robot):
    assert robot.set_parameters(max_rate_hz=10.0) == ""
    before = robot.stats()["cameras"][""]["images"]
    for _ in range(60):
        robot.deliver(driver.images, driver.message())
    after = robot.stats()["cameras"][""]["images"]
    assert after["received"] - before["received"] == 60
    assert after["over_rate"] - before["over_rate"] == pytest.approx(40, abs=2)
    assert after["processed"] - before["processed"] <= 22


@pytest.mark.parametrize(("asked", "had"), [("best_effort", "best_effort"), ("auto", "reliable")])
def test_a_reliability_that_is_asked_for_is_taken_up(driver, robot, asked, had):
    assert robot.set_parameters(reliability=asked) == ""
    robot.spin_until(lambda: robot.figure("reliability") == had, 60, had)


def test_joints_predicted_to_now(driver, robot):
    driver.stamp_ns = time.time_ns() - 1_000_000_000
    for _ in range(3):
        driver.answer()
    assert robot.set_parameters(max_prediction_s=1.0) == ""

    def pair():
        """Joints of an image that was just taken, and the predicted ones, unless a busy machine took too long."""
        driver.stamp_ns = time.time_ns() - int(0.04e9)
        robot.heard["joints_predicted"].clear()
        overlay = driver.answer("overlay")  # the last of the outputs
        robot.spin_for(0.2)
        measured = [cloud for cloud in robot.heard["joints"] if cloud.header.stamp == overlay.header.stamp]
        return [*measured, *robot.heard["joints_predicted"]]

    pairs = []
    robot.spin_until(lambda: pairs.append(pair()) or len(pairs[-1]) == 2, 60, "predicted joints")
    measured, predicted = pairs[-1]
    ahead_s = 1e-9 * (stamp_to_ns(predicted.header.stamp) - stamp_to_ns(measured.header.stamp))
    assert 0 < ahead_s <= 1
    assert predicted.header.frame_id == measured.header.frame_id
    before, after = cloud_to_joints(measured), cloud_to_joints(predicted)
    assert after["person"].tolist() == before["person"].tolist()
    assert set(after["state"].ravel().tolist()) == {2}
    assert (after["sigma"] > before["sigma"]).all()
    # Too old an image is not carried on to now, and a stamp from the future not back to it.
    for stamp_ns in (time.time_ns() + 5_000_000_000, time.time_ns() - 20_000_000_000):
        driver.stamp_ns = stamp_ns
        robot.heard["joints_predicted"].clear()
        driver.answer("overlay")  # the last of the outputs
        assert not robot.heard["joints_predicted"]


def test_a_camera_that_is_slower_than_expected_is_told(driver, robot):
    def begin_now():
        """The stamps of a busy machine, whose timer comes late, lag behind the time."""
        driver.stamp_ns = max(driver.stamp_ns, time.time_ns() - 500_000_000)

    driver.stamp_ns = 0
    begin_now()
    timer = robot.node.create_timer(1 / 30, lambda: driver.images.publish(driver.message()))
    robot.wait_for_status("images", lambda level, _: level == Level.OK, "a camera that is fast enough")
    begin_now()
    assert robot.set_parameters(expected_rate_hz=100.0) == ""
    slow = "not half of the 100.0 expected"
    robot.wait_for_status("images", lambda level, text: level == Level.WARN and slow in text, "the warning")
    begin_now()
    assert robot.set_parameters(expected_rate_hz=0.0) == ""
    robot.wait_for_status("images", lambda level, _: level == Level.OK, "the end of the warning")
    robot.node.destroy_timer(timer)


def test_without_a_listener_no_image_is_worked_on(driver, robot):
    driver.stamp_ns = time.time_ns() - 10_000_000_000

    def figures():
        return robot.stats()["cameras"][""]["images"]

    outputs = robot.leave_unwanted(driver)
    robot.forget()
    before = figures()
    for _ in range(20):
        robot.deliver(driver.images, driver.message())
    after = figures()
    assert after["unwanted"] - before["unwanted"] == 20
    assert after["processed"] == before["processed"]
    assert after["received"] == sum(after[name] for name in ("processed", "dropped", "rejected", "waiting"))
    for output in ("markers", "joints", "overlay", "tf"):
        robot.listen(output)

        def heard(output=output):
            driver.images.publish(driver.message())
            robot.spin_for(0.2)
            return robot.heard[output]

        robot.spin_until(heard, 60, f"{output} for its only listener")
        robot.stop_listening(output)
        assert not any(robot.heard[other] for other in set(outputs) - {output})
        robot.heard[output].clear()
    robot.listen(*outputs)
    robot.spin_for(0.5)
