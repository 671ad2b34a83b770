"""What the tests of the ROS room share: people to convert, and a node in a process of its own to talk to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from pose3d_ros import skeleton
from pose3d_ros.person import Person

# DDS discovery takes 0.2 s or, at random, 3 s; a loaded machine may take longer.
DISCOVERY_TIMEOUT_S = 60.0
WAIT_S = 60.0  # for all else that comes by itself, on a machine that is busy with other things
_CALLS_AT_ONCE = 8


@pytest.fixture
def make_person():
    """Makes a person who stands `depth_m` in front of the camera; `metres=False`: known in pixels only."""

    def make(person_id=1, depth_m=3.0, metres=True, state=0):
        count = skeleton.NUM_JOINTS
        random = np.random.default_rng(person_id)
        joints_m = random.normal(0, 0.4, (count, 3)) + np.array([0, 0, depth_m])
        spread = random.normal(0, 0.02, (count, 3, 3))
        return Person(
            id=person_id,
            box=np.array([100.0, 50, 300, 450]),
            score=0.9,
            joints_px=320 + 500 * joints_m[:, :2] / joints_m[:, 2:],
            joints_px_cov=np.tile(4.0 * np.eye(2), (count, 1, 1)),
            joint_score=random.uniform(0.5, 1, count),
            joint_state=np.full(count, state, np.uint8),
            joints_m=joints_m if metres else None,
            joints_m_cov=spread @ spread.transpose(0, 2, 1) if metres else None,
        )

    return make


@pytest.fixture(scope="session")
def ros_environment():
    """Variables of a DDS domain of this session's own, in this process' environment too."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from pose3d_ros.ros.processes import ros_environment

    before = dict(os.environ)
    os.environ.pop("ROS_DOMAIN_ID", None)
    os.environ.update(ros_environment())
    yield dict(os.environ)
    os.environ.clear()
    os.environ.update(before)


class Robot:
    """The robot's side: a camera driver's publishers, subscriptions to all that the node sends, and services."""

    def __init__(self, context):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import Image, PointCloud2
        from tf2_msgs.msg import TFMessage
        from visualization_msgs.msg import MarkerArray

        self.node = rclpy.create_node("robot", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.heard = defaultdict(list)
        self._topics = {
            "markers": (MarkerArray, "pose3d/markers"),
            "joints": (PointCloud2, "pose3d/joints"),
            "joints_predicted": (PointCloud2, "pose3d/joints_predicted"),
            "overlay": (Image, "pose3d/overlay"),
            "tf": (TFMessage, "/tf"),
            "diagnostics": (DiagnosticArray, "/diagnostics"),
        }
        self._subscriptions = {}
        self._publishers = {}
        self._clients = {}
        self.listen(*self._topics)

    def spin_until(self, condition, timeout_s, what):
        """Handles messages until the condition holds; fails with `what` when it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s:g} s in vain for {what}; {self._last_report()}")
            self._executor.spin_once(timeout_sec=0.02)

    def _last_report(self):
        """How long ago the node last reported, and what it said of its images."""
        if not (heard := self.heard["diagnostics"]):
            return "the node never reported"
        stamp = heard[-1].header.stamp
        images = [f"{s.level[0]} {s.message}" for s in heard[-1].status if s.name == "pose3d: images"]
        return f"the node reported {time.time() - stamp.sec - 1e-9 * stamp.nanosec:.1f} s ago: {images}"

    def spin_for(self, seconds):
        """Handles messages for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)

    def listen(self, *names):
        """Subscribes to outputs of the node."""
        from rclpy.qos import QoSProfile

        for name in names:
            kind, topic = self._topics[name]
            append = self.heard[name].append
            self._subscriptions[name] = self.node.create_subscription(kind, topic, append, QoSProfile(depth=100))

    def stop_listening(self, *names):
        """Ends subscriptions."""
        for name in names:
            self.node.destroy_subscription(self._subscriptions.pop(name))

    def advertise(self, message_type, topic, reliability="reliable"):
        """A publisher that the node listens to with the publisher's own reliability.

        The node subscribes anew once it has seen who publishes; what is sent in between is lost.
        """
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        policy = ReliabilityPolicy[reliability.upper()]
        qos = QoSProfile(depth=10, reliability=policy)
        publisher = self._publishers[topic] = self.node.create_publisher(message_type, topic, qos)

        def matched():
            listeners = self.node.get_subscriptions_info_by_topic(publisher.topic_name)
            as_offered = [listener.qos_profile.reliability == policy for listener in listeners]
            return publisher.get_subscription_count() and as_offered and all(as_offered)

        self.spin_until(matched, DISCOVERY_TIMEOUT_S, f"a subscriber of {topic} that is {reliability}")
        self.spin_for(0.3)  # the graph knows of the new subscription a moment before the publisher does
        return publisher

    def silence(self, topic):
        """Ends a publisher."""
        self.node.destroy_publisher(self._publishers.pop(topic))

    def silence_all(self):
        """Ends all publishers."""
        for topic in list(self._publishers):
            self.silence(topic)

    def header(self, stamp_ns=None, frame_id="camera_optical_frame"):
        """A header with this stamp, or now."""
        from std_msgs.msg import Header

        header = Header(frame_id=frame_id)
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        return header

    def answer_to(self, publisher, message, output="joints"):
        """Publishes an image and returns the output that carries its stamp."""
        publisher.publish(message)

        def found():
            return [m for m in self.heard[output] if m.header.stamp == message.header.stamp]

        self.spin_until(found, WAIT_S, f"{output} of an image")
        return found()[0]

    def forget(self):
        """Forgets what was heard so far, before another node is started."""
        for messages in self.heard.values():
            messages.clear()

    def figure(self, name):
        """A value of the node's last report about images; None before the first."""
        for message in reversed(self.heard["diagnostics"]):
            for status in message.status:
                if status.name == "pose3d: images":
                    return {value.key: value.value for value in status.values}[name]
        return None

    def report(self, part):
        """The node's next two diagnostics (the first may be old) of one part: level, message, values."""
        seen = len(self.heard["diagnostics"])
        self.spin_until(lambda: len(self.heard["diagnostics"]) >= seen + 2, WAIT_S, "diagnostics")
        (status,) = [s for s in self.heard["diagnostics"][-1].status if s.name == f"pose3d: {part}"]
        return status.level[0], status.message, {v.key: v.value for v in status.values}

    def balanced_books(self):
        """The counters, by name, once no image is in hand: each image received was processed, dropped or rejected."""
        deadline = time.monotonic() + WAIT_S
        while (figures := self.report("images")[2])["waiting"] != "0":
            assert time.monotonic() < deadline, "the image in hand is never done"
        counts = {name: int(figures[name]) for name in ("received", "processed", "dropped", "rejected")}
        assert counts["received"] == counts["processed"] + counts["dropped"] + counts["rejected"]
        return counts

    def wait_for_status(self, part, condition, what, since=None):
        """Waits for a diagnostics status of one part whose (level, message) fulfil the condition.

        since: how many diagnostics had been heard when what shall be told began; those of before do not count.
        None: all that were heard until now.
        """
        since = len(self.heard["diagnostics"]) if since is None else since

        def found():
            statuses = [s for message in self.heard["diagnostics"][since:] for s in message.status]
            return any(s.name == f"pose3d: {part}" and condition(s.level[0], s.message) for s in statuses)

        self.spin_until(found, WAIT_S, what)

    def stats(self):
        """The node's figures of this moment."""
        from std_srvs.srv import Trigger

        response = self.call(Trigger, "pose3d/stats", Trigger.Request())
        assert response.success
        return json.loads(response.message)

    def deliver(self, publisher, message):
        """Publishes an image, and waits until the node has taken it in, whatever it makes of it."""

        def received():
            return self.stats()["cameras"][""]["images"]["received"]

        before = received()
        publisher.publish(message)
        self.spin_until(lambda: received() > before, WAIT_S, "an image to arrive")

    def leave_unwanted(self, driver):
        """Stops listening to what images are worked on for, waits until the node knows and has done those that came
        before, and returns those outputs."""
        outputs = ("markers", "joints", "joints_predicted", "overlay", "tf")
        self.stop_listening(*outputs)

        def is_unwanted():
            before = self.stats()["cameras"][""]["images"]["unwanted"]
            self.deliver(driver.images, driver.message())
            after = self.stats()["cameras"][""]["images"]
            return after["unwanted"] > before and not after["waiting"]

        self.spin_until(is_unwanted, 60, "the node to know that nobody listens")
        return outputs

    def call_often(self, service_type, name, requests, between=lambda number: None):
        """Calls a service again and again, and returns the responses.

        DDS keeps no more than ten calls that were not taken yet: so many are never open.
        between: is called with the number of each call after it was made.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
        client = self._clients[name]
        self.spin_until(client.service_is_ready, DISCOVERY_TIMEOUT_S, f"service {name}")
        futures = []
        for number, request in enumerate(requests):
            self.spin_until(lambda: all(f.done() for f in futures[:-_CALLS_AT_ONCE]), WAIT_S, f"answers of {name}")
            futures.append(client.call_async(request))
            between(number)
        self.spin_until(lambda: all(future.done() for future in futures), WAIT_S, f"all answers of {name}")
        return [future.result() for future in futures]

    def call(self, service_type, name, request):
        """Calls a service and returns its response."""
        (response,) = self.call_often(service_type, name, [request])
        return response

    def wait_for_reports(self, process):
        """Until the node's reports arrive."""

        def ready():
            if process.exit_status is not None:
                pytest.fail(f"{process.name} ended:\n{process.output()}")
            return self.heard["diagnostics"]

        self.spin_until(ready, DISCOVERY_TIMEOUT_S, "the node")

    def wait_for_node(self, process):
        """Until the node's reports arrive, and every subscription of ours has its publisher."""
        self.wait_for_reports(process)
        topics = ("pose3d/markers", "pose3d/joints", "pose3d/overlay", "/tf")
        self.spin_until(lambda: all(map(self.node.count_publishers, topics)), DISCOVERY_TIMEOUT_S, "its publishers")
        self.spin_for(0.5)

    def change_state(self, transition):
        """Asks the node for a transition, by its label; True if it was made."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, "pose3d/change_state", request).success

    def state(self):
        """The label of the node's lifecycle state."""
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, "pose3d/get_state", GetState.Request()).current_state.label

    def set_parameters(self, **values):
        """Changes parameters of the node, all or none of them; returns why it refused, or an empty text."""
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self.call(SetParametersAtomically, "pose3d/set_parameters_atomically", request).result
        assert result.successful != bool(result.reason)
        return result.reason

    def close(self):
        """Leaves the network."""
        self._executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope="module")
def robot(ros_environment):
    """The robot's side of the conversation, for one module's tests."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context)
    robot = Robot(context)
    yield robot
    robot.close()
    rclpy.try_shutdown(context=context)


@pytest.fixture(scope="module")
def start_node(ros_environment, tmp_path_factory):
    """Starts a module of pose3d_ros.ros as a process; it is ended after the module's tests, if not before."""
    from pose3d_ros.ros.processes import NodeProcess

    processes = []

    def start(module, parameters=None, *arguments):
        log = tmp_path_factory.mktemp("log") / f"{module}.log"
        processes.append(NodeProcess(module, parameters or {}, ros_environment, log, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture(scope="module")
def node(start_node, robot):
    """The node as it comes, ready."""
    process = start_node("pose3d_node")
    robot.wait_for_node(process)
    return process


@pytest.fixture
def shutdown_limit_s():
    """Two seconds, and what a machine that is busy with other things makes of it: a Python that does nothing tells."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return 2 + 8 * (time.monotonic() - started)


@pytest.fixture(scope="session")
def clip():
    """The package's clip: frames [n, h, w, 3] in a list, stamps in ns, and its camera."""
    from pose3d_ros.camera_file import read_camera
    from pose3d_ros.ros.video_publisher import DEFAULT_VIDEO
    from pose3d_ros.video import open_source

    with open_source(str(DEFAULT_VIDEO)) as source:
        frames, stamps = zip(*((frame.copy(), stamp) for frame, stamp in source), strict=True)
    return list(frames), list(stamps), read_camera(DEFAULT_VIDEO.with_suffix(".json"))


@pytest.fixture
def start_here(ros_environment, robot):
    """Starts the real node in this process, with a stand-in for its networks; see node_here."""
    from node_here import NodeHere, StandIn

    nodes = []
    robot.spin_until(lambda: not robot.node.count_publishers("/diagnostics"), WAIT_S, "the last node to leave")
    robot.forget()

    def start(parameters=None, networks=None, arguments=()):
        nodes.append(NodeHere(networks or StandIn(), parameters or {}, arguments))
        robot.spin_until(lambda: robot.heard["diagnostics"], DISCOVERY_TIMEOUT_S, "the node")
        return nodes[-1]

    yield start
    for node in nodes:
        node.end()
    robot.silence_all()
    robot.spin_until(lambda: "pose3d" not in robot.node.get_node_names(), WAIT_S, "this node to leave")


@pytest.fixture
def hanging_disk(monkeypatch):
    """Every frame is a hard one, and a disk that hangs with the first, which `hangs` tells, until `go_on` is set."""
    from pose3d_ros.hard_frames import HardFrameFolder, HardFramePicker

    hangs, go_on = threading.Event(), threading.Event()

    def write(self, hard):
        hangs.set()
        go_on.wait(60)

    monkeypatch.setattr(HardFrameFolder, "write", write)
    monkeypatch.setattr(HardFramePicker, "reasons", lambda *_: ["a test"])
    yield SimpleNamespace(hangs=hangs, go_on=go_on)
    go_on.set()
