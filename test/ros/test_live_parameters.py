"""Parameters that change while the real node works: as a set, and between images; and what nobody listens to."""

import time

import pytest
from camera_driver import Driver

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.srv import GetParameters

from pose3d_ros.ros.camera_conversion import stamp_to_ns
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
    yield
    assert not robot.set_parameters(
        tf_prefix="person_", score_threshold=0.3, new_person_threshold=0.5, visible_threshold=0.5, max_rate_hz=0.0
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
    client = robot.node.create_client(SetParametersAtomically, "pose3d/set_parameters_atomically")
    robot.spin_until(client.service_is_ready, 20, "the service")
    robot.spin_for(0.3)
    for messages in robot.heard.values():
        messages.clear()
    together = (("seen", {0}), ("guessed", {1}))

    def pairs():
        """(start of the frames' names, states) of each image that both were heard of."""
        frames = {
            stamp_to_ns(m.transforms[0].header.stamp): m.transforms[0].child_frame_id.split("_")[0]
            for m in robot.heard["tf"]
        }
        joints = {stamp_to_ns(m.header.stamp): set(cloud_to_joints(m)["state"].ravel()) for m in robot.heard["joints"]}
        return [(frames[stamp], states) for stamp, states in joints.items() if frames.get(stamp, "person") != "person"]

    futures = []
    deadline = time.monotonic() + 60
    while min(map(pairs().count, together)) < 8:
        assert time.monotonic() < deadline, pairs()
        for number in range(30):
            parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in kinds[number % 2].items()]
            futures.append(client.call_async(SetParametersAtomically.Request(parameters=parameters)))
            driver.images.publish(driver.message())
            robot.spin_for(0.01)
    robot.spin_until(lambda: all(future.done() for future in futures), 20, "all answers")
    assert all(future.result().result.successful for future in futures)
    robot.spin_for(1.0)
    assert all(pair in together for pair in pairs())


def test_the_rate_is_limited_by_the_stamps(driver, robot):
    assert robot.set_parameters(max_rate_hz=10.0) == ""
    _, _, before = robot.report("images")
    for _ in range(60):
        driver.images.publish(driver.message())
        robot.spin_for(0.04)  # slow enough for each to be worked on
    _, _, after = robot.report("images")
    gained = {name: int(after[name]) - int(before[name]) for name in ("received", "processed", "dropped_over_rate")}
    assert gained["received"] == 60
    assert gained["dropped_over_rate"] == pytest.approx(40, abs=2)
    assert gained["processed"] <= 22


def test_joints_predicted_to_now(driver, robot):
    driver.stamp_ns = time.time_ns() - 1_000_000_000
    for _ in range(3):
        driver.answer()
    driver.stamp_ns = time.time_ns() - int(0.04e9)  # stamps of images that were just taken
    robot.heard["joints_predicted"].clear()
    assert robot.set_parameters(max_prediction_s=1.0) == ""
    measured = driver.answer()
    robot.spin_until(lambda: robot.heard["joints_predicted"], 5, "predicted joints")
    predicted = robot.heard["joints_predicted"][0]
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


def test_without_a_listener_no_image_is_worked_on(driver, robot):
    driver.stamp_ns = time.time_ns() - 10_000_000_000
    outputs = ("markers", "joints", "joints_predicted", "overlay", "tf")
    robot.stop_listening(*outputs)
    robot.spin_for(1.0)
    for output in outputs:
        robot.heard[output].clear()
    _, _, before = robot.report("images")
    for _ in range(20):
        driver.images.publish(driver.message())
        robot.spin_for(0.03)
    _, _, after = robot.report("images")
    assert int(after["dropped_unwanted"]) - int(before["dropped_unwanted"]) == 20
    assert after["processed"] == before["processed"]
    assert int(after["received"]) == sum(int(after[name]) for name in ("processed", "dropped", "rejected", "waiting"))
    for output in ("markers", "joints", "overlay", "tf"):
        robot.listen(output)
        robot.spin_for(1.0)
        driver.images.publish(driver.message())
        robot.spin_until(lambda: robot.heard[output], 20, f"{output} for its only listener")  # noqa: B023
        robot.stop_listening(output)
        robot.spin_for(0.3)
        assert not any(robot.heard[other] for other in set(outputs) - {output})
        robot.heard[output].clear()
    robot.listen(*outputs)
    robot.spin_for(0.5)
