"""The managed node: every transition from every state, over its real services."""

import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from pose3d_ros.models import models_dir
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import cloud_to_joints

WAYS = {
    "unconfigured": [],
    "inactive": ["configure"],
    "active": ["configure", "activate"],
}
AFTER = {
    ("unconfigured", "configure"): "inactive",
    ("unconfigured", "shutdown"): "finalized",
    ("inactive", "activate"): "active",
    ("inactive", "cleanup"): "unconfigured",
    ("inactive", "shutdown"): "finalized",
    ("active", "deactivate"): "inactive",
    ("active", "shutdown"): "finalized",
}
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown")
GOOD_FRAMES = range(150, 154)


@pytest.fixture(scope="module")
def node(start_node, robot):
    process = start_node("pose3d_node", {"autostart": False})
    robot.wait_for_reports(process)
    return process


def bring_to(robot, state):
    """From wherever the node is to a state of WAYS."""
    back = {"active": ["deactivate", "cleanup"], "inactive": ["cleanup"], "unconfigured": []}
    for transition in [*back[robot.state()], *WAYS[state]]:
        assert robot.change_state(transition)


def resident_mib(process):
    """The process' memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def test_without_autostart_the_node_waits_unconfigured(node, robot):
    assert robot.state() == "unconfigured"
    assert robot.report("lifecycle")[:2] == (0, "unconfigured")
    assert not robot.node.count_publishers("pose3d/joints")
    assert not robot.node.count_subscribers("image")


@pytest.mark.parametrize("transition", TRANSITIONS[:-1])
@pytest.mark.parametrize("state", WAYS)
def test_every_transition_from_every_state(node, robot, state, transition):
    bring_to(robot, state)
    after = AFTER.get((state, transition))
    assert robot.change_state(transition) == (after is not None)
    assert robot.state() == (after or state)
    wrong = f"{state}: the node is {state}, from where there is no transition '{transition}'"
    told = (0, after) if after else (2, wrong)
    robot.wait_for_status("lifecycle", lambda *status: status == told, f"diagnostics to say {told}")


def test_a_transition_that_does_not_exist_is_refused(node, robot):
    bring_to(robot, "inactive")
    assert not robot.change_state("fly")
    for number in (0, 10, 62, 99, 201, 255):  # of other packages, of rcl itself, of nobody
        request = ChangeState.Request(transition=Transition(id=number))
        assert not robot.call(ChangeState, "pose3d/change_state", request).success
    assert robot.state() == "inactive"


def test_topics_come_and_go_with_the_states(node, robot):
    bring_to(robot, "inactive")
    robot.spin_until(lambda: robot.node.count_publishers("pose3d/joints") == 1, 60, "the outputs")
    assert not robot.node.count_subscribers("image")
    assert robot.change_state("activate")
    robot.spin_until(lambda: robot.node.count_subscribers("image") == 1, 60, "the inputs")
    assert robot.change_state("deactivate")
    robot.spin_until(lambda: not robot.node.count_subscribers("image"), 60, "the inputs to go")
    assert robot.change_state("cleanup")
    robot.spin_until(lambda: not robot.node.count_publishers("pose3d/joints"), 60, "the outputs to go")


def find_person(robot, clip, offset_ns):
    """Sends a few frames of the clip; the ids of the people in the last answer."""
    frames, stamps, camera = clip
    images, infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")
    for index in GOOD_FRAMES:
        header = robot.header(offset_ns + stamps[index])
        infos.publish(camera_to_info(camera, header))
        answer = robot.answer_to(images, bgr_to_image(frames[index], header))
    for topic in ("image", "camera_info"):
        robot.silence(topic)
    return cloud_to_joints(answer)["person"][:, 0].tolist()


def test_a_deactivated_node_keeps_its_networks_and_forgets_the_people(node, robot, clip):
    bring_to(robot, "active")
    now = time.time_ns() - 60_000_000_000
    assert find_person(robot, clip, now) == [1]
    assert robot.change_state("deactivate")
    robot.spin_until(lambda: robot.heard["markers"][-1].markers[0].action == 3, 60, "RViz to be cleared")
    loaded = node.output().count("finder.onnx")
    assert robot.change_state("activate")
    assert find_person(robot, clip, now) == [1]  # with the same stamps again, as nothing of before is remembered
    assert node.output().count("finder.onnx") == loaded


def test_a_failed_configuration_tells_why_and_can_be_mended(node, robot, tmp_path):
    bring_to(robot, "unconfigured")
    models = tmp_path / "models"
    assert not robot.set_parameters(model_dir=str(models))
    assert not robot.change_state("configure")
    assert robot.state() == "unconfigured"
    reason = f"cannot configure: cannot read {models}"
    robot.wait_for_status("lifecycle", lambda level, text: level == 2 and reason in text, "diagnostics to say why")
    assert reason in node.output()
    shutil.copytree(models_dir(), models)
    assert robot.change_state("configure")
    robot.wait_for_status("lifecycle", lambda *status: status == (0, "inactive"), "diagnostics to be well")
    assert "the node is inactive; clean it up first" in robot.set_parameters(model_dir="")
    assert robot.change_state("cleanup")
    assert not robot.set_parameters(model_dir="")


def test_cleaning_up_frees_the_networks(node, robot):
    bring_to(robot, "unconfigured")
    held = []
    for _ in range(6):
        assert robot.change_state("configure")
        assert robot.change_state("activate")
        assert robot.change_state("deactivate")
        assert robot.change_state("cleanup")
        held.append(resident_mib(node))
    assert held[-1] < held[1] + 15  # one set of networks holds about 60


@pytest.mark.parametrize("state", WAYS)
def test_a_node_that_was_shut_down_stays_so_and_ends_by_signal(start_node, robot, node, state):
    node.stop()
    robot.spin_until(lambda: not robot.node.count_publishers("/diagnostics"), 60, "the node to leave")
    robot.forget()
    process = start_node("pose3d_node", {"autostart": False})
    robot.wait_for_reports(process)
    bring_to(robot, state)
    assert robot.change_state("shutdown")
    assert robot.state() == "finalized"
    for transition in TRANSITIONS:
        assert not robot.change_state(transition)
    assert robot.state() == "finalized"
    robot.spin_until(lambda: not robot.node.count_publishers("pose3d/joints"), 60, "the outputs to go")
    assert process.stop() == 0
    assert "Traceback" not in process.output()
    robot.spin_until(lambda: not robot.node.count_publishers("/diagnostics"), 60, "the node to leave")


# ---- in one process --------------------------------------------------------------------------------------------------


class BrokenPipeline:
    """Stands in for a mistake of ours."""

    def __init__(self, *_):
        raise ZeroDivisionError("a mistake")


def test_an_unexpected_error_is_told_and_leaves_the_node_unconfigured(ros_environment):
    import rclpy
    from rclpy.context import Context

    from pose3d_ros.ros.managed_node import TransitionError
    from pose3d_ros.ros.pose3d_node import Pose3DNode

    context = Context()
    rclpy.init(context=context)
    node = Pose3DNode("broken", BrokenPipeline, context=context)
    for _ in range(2):
        with pytest.raises(TransitionError, match="cannot configure: ZeroDivisionError: a mistake"):
            node.start()
        assert node.state == "unconfigured"
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_two_nodes_in_one_process_keep_their_cameras_apart(ros_environment, robot, clip):
    import threading

    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    from pose3d_ros.ros.pose3d_node import Pose3DNode

    context = Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    nodes = [Pose3DNode(context=context, namespace=side) for side in ("left", "right")]
    for node in nodes:
        node.start()
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    heard = {side: [] for side in ("left", "right")}
    for side, messages in heard.items():
        robot.node.create_subscription(PointCloud2, f"{side}/pose3d/joints", messages.append, 10)
    images = {side: robot.advertise(Image, f"{side}/image") for side in heard}
    robot.spin_until(lambda: all(robot.node.count_publishers(f"{s}/pose3d/joints") for s in heard), 60, "the outputs")
    robot.spin_for(0.5)

    def both_answer():
        for side, publisher in images.items():
            publisher.publish(bgr_to_image(clip[0][150], robot.header(frame_id=f"{side}_optical_frame")))
        robot.spin_for(0.5)
        return all(heard.values())

    robot.spin_until(both_answer, 60, "the joints of both")
    for side, messages in heard.items():
        assert {message.header.frame_id for message in messages} == {f"{side}_optical_frame"}
    executor.shutdown()
    thread.join(5)
    for node in nodes:
        node.release()
        node.destroy_node()
    rclpy.try_shutdown(context=context)
