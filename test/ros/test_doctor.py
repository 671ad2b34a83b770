"""The doctor's findings, and the doctor itself beside real nodes that are well and that are not."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.engines import cache
from pose3d_ros.engines.cache import EngineKey
from pose3d_ros.models import Model, models_dir, record_model
from pose3d_ros.ros import doctor_checks
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.doctor_checks import Observed, SeenCamera, governor_finding, machine_findings, system_findings
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.health import Level
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.processes import PROFILE_VARIABLES

NOW_NS = 1_700_000_000_000_000_000
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def image(stamp_ns=NOW_NS - 20_000_000, frame_id="camera_optical_frame", size=(640, 480), **fields):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message = bgr_to_image(np.zeros((size[1], size[0], 3), np.uint8), header)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


INFO = camera_to_info(Camera.from_horizontal_fov(640, 480, 60.0), Header())
NARROW = camera_to_info(Camera.from_horizontal_fov(640, 480, 5.0), Header())
TREE = FrameTree()
TREE.put("base_link", "camera_optical_frame", (0.0, 0.0, 0.0, 1.0), None)
CAMERA = SeenCamera(
    name="",
    image_topic="/image",
    image_publishers=1,
    image_problem="",
    image=image(),
    now_ns=NOW_NS,
    info_topic="/camera_info",
    info_publishers=1,
    info_problem="",
    info=INFO,
)
WELL = Observed(
    node="/pose3d",
    node_runs=True,
    namesakes=(),
    parameters={"model_dir": "", "backend": "auto", "precision": "auto", "target_frame": "base_link"},
    reports={"lifecycle": (Level.OK, "active")},
    mismatches=(),
    cameras=(CAMERA,),
    frames=TREE,
    target="base_link",
)


def test_a_system_that_is_well():
    assert {finding.level for finding in system_findings(WELL)} == {Level.OK}


@pytest.mark.parametrize(
    ("change", "part", "level", "text"),
    [
        ({"node_runs": False, "reports": {}}, "node", Level.ERROR, "no node /pose3d: ros2 launch"),
        (
            {"node_runs": False, "namesakes": ("/a/pose3d", "/b/pose3d")},
            "node",
            Level.ERROR,
            "no node /pose3d: give --node /a/pose3d or /b/pose3d",
        ),
        ({"reports": {}}, "node", Level.ERROR, "restart it"),
        ({"reports": {"images": (Level.WARN, "lossy")}}, "node: images", Level.WARN, "lossy"),
        ({"mismatches": ("rviz gets nothing",)}, "quality of service", Level.ERROR, "rviz"),
        ({"image_problem": "remap it"}, "images", Level.ERROR, "remap it"),
        ({"image_publishers": 0, "image": None}, "images", Level.ERROR, "start the camera"),
        ({"image": None}, "images", Level.ERROR, "no image came on /image, though"),
        ({"image": image(encoding="16UC1")}, "images", Level.ERROR, "16UC1"),
        ({"image": image(frame_id="")}, "images", Level.WARN, "frame_id"),
        ({"image": image(stamp_ns=0)}, "stamps", Level.ERROR, "must stamp"),
        ({"image": image(NOW_NS - 9_000_000_000)}, "stamps", Level.WARN, "9.00 s in the past"),
        ({"image": image(NOW_NS - 4_900_000_000)}, "stamps", Level.OK, "4900 ms old"),
        ({"image": image(NOW_NS + 60_000_000)}, "stamps", Level.WARN, "0.06 s in the future"),
        ({"image": image(NOW_NS + 40_000_000)}, "stamps", Level.OK, "-40 ms old"),
        ({"info_problem": "remap it"}, "camera_info", Level.ERROR, "remap it"),
        ({"info_publishers": 0, "info": None}, "camera_info", Level.ERROR, "nobody publishes /camera_info"),
        ({"info": None}, "camera_info", Level.ERROR, "none came"),
        (
            {"info": None, "parameters": {"assumed_horizontal_fov_deg": 70.0}},
            "camera_info",
            Level.WARN,
            "by an assumed field of view of 70 degrees",
        ),
        ({"info": CameraInfo(width=640, height=480)}, "camera_info", Level.ERROR, "calibrat"),
        ({"image": image(size=(640, 360))}, "camera_info", Level.ERROR, "another shape"),
        ({"info": NARROW}, "camera_info", Level.WARN, "implausible: "),
        ({"target": "map"}, "TF", Level.ERROR, "no TF between camera_optical_frame"),
        ({"parameters": {"target_frame": "map"}}, "TF", Level.ERROR, "no TF between camera_optical_frame"),
        ({"parameters": {"fusion_frame": "odom"}}, "TF", Level.ERROR, "and odom"),
        ({"parameters": {"ground_frame": "floor"}}, "TF", Level.ERROR, "and floor"),
        ({"parameters": {"ground_frame": "base_link"}, "target": ""}, "TF", Level.OK, "with base_link"),
    ],
)
def test_what_is_wrong_is_found_with_its_remedy(change, part, level, text):
    of_camera = {name: value for name, value in change.items() if name in SeenCamera._fields}
    others = {name: value for name, value in change.items() if name not in of_camera}
    seen = WELL._replace(cameras=(CAMERA._replace(**of_camera),), **others)
    found = [f for f in system_findings(seen) if f.part == part and f.level == level]
    assert any(text in finding.message for finding in found)


def test_each_of_several_cameras_is_looked_at():
    left = CAMERA._replace(name="left", image_publishers=0, image=None)
    found = {f.part: f.level for f in system_findings(WELL._replace(cameras=(CAMERA._replace(name="front"), left)))}
    assert found["front images"] == found["front camera_info"] == found["front TF"] == Level.OK
    assert found["left images"] == Level.ERROR
    assert found["left camera_info"] == Level.OK


def test_frames_that_are_asked_for_twice_are_told_once():
    assert [f.part for f in system_findings(WELL)].count("TF") == 1


@pytest.mark.parametrize(("distribution", "level"), [("jazzy", Level.OK), ("kilted", Level.WARN)])
def test_the_dds_profile_is_looked_for_where_this_ros_reads_it(monkeypatch, distribution, level):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(variable, raising=False)
    dds = next(finding for finding in machine_findings({}) if finding.part == "DDS")
    assert dds.level == level
    assert ("export FASTDDS_DEFAULT_PROFILES_FILE=" in dds.message) == (level == Level.WARN)


def networks_finding(node):
    return next(finding for finding in machine_findings(node) if finding.part == "networks")


def test_this_machines_networks_are_loaded():
    networks = networks_finding({})
    assert networks.level == Level.OK
    assert ".onnx" in networks.message


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of files that are no networks at all: whoever loads them fails. The parameters of a node that runs."""
    monkeypatch.setattr(doctor_checks, "Pipeline", None)
    for role in ("find", "pose2d", "lift"):
        for name in (role, f"{role}_int8"):
            (tmp_path / f"{name}.onnx").write_bytes(name.encode())
        in_8_bits = Model(role, tmp_path / f"{role}_int8.onnx", sha256="")
        record_model(Model(role, tmp_path / f"{role}.onnx", sha256="", int8=in_8_bits))
    return {"model_dir": str(tmp_path), "backend": "onnxruntime", "precision": "auto"}


def test_a_running_nodes_networks_are_looked_at_but_not_loaded(models):
    networks = networks_finding(models)
    assert networks.level == Level.OK, networks
    assert all(text in networks.message for text in (models["model_dir"], "find.onnx", "pose2d.onnx", "lift.onnx"))


@pytest.mark.parametrize(
    ("file", "precision", "level"),
    [
        ("pose2d.onnx", "fp32", Level.ERROR),
        ("pose2d_int8.onnx", "auto", Level.ERROR),
        ("pose2d_int8.onnx", "fp32", Level.OK),
    ],
)
def test_a_network_that_is_not_the_one_that_was_exported(models, tmp_path, file, precision, level):
    (tmp_path / file).write_bytes(b"another network")
    networks = networks_finding({**models, "precision": precision})
    assert networks.level == level
    assert level == Level.OK or f"{file} is damaged or replaced" in networks.message


def test_a_running_node_without_a_folder_of_its_own_has_the_packages_networks():
    networks = networks_finding({"model_dir": "", "backend": "auto", "precision": "auto"})
    assert networks.level == Level.OK
    assert "pose2d" in networks.message


def test_a_folder_of_networks_that_is_not_there(models):
    networks = networks_finding({**models, "model_dir": "/nowhere"})
    assert networks.level == Level.ERROR
    assert "/nowhere" in networks.message


def test_this_machines_engines_and_how_their_checks_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "engine" not in {finding.part for finding in machine_findings({})}
    key = EngineKey("lifter", "ab", "10.3.0", ("Orin", 8, 7, 8, True), "fp16", (1,), "")
    facts = {"precision": "fp32", "check": "0.01 m off", "warning": "in fp16 off by 1 m: built in fp32 instead"}
    cache.write_plan(key, b"plan", {**facts, "frugal": False, "built": "today", "seconds": 60.0})
    (engine,) = [finding for finding in machine_findings({}) if finding.part == "engine"]
    assert engine.level == Level.WARN
    assert all(text in engine.message for text in (key.plan.name, "TensorRT 10.3.0, Orin", *facts.values()))
    without = {"model_dir": "", "backend": "onnxruntime", "precision": "auto"}
    assert "engine" not in {finding.part for finding in machine_findings(without)}


@pytest.mark.parametrize(
    ("driver", "governor", "level"),
    [
        ("acpi-cpufreq", "powersave", Level.WARN),
        ("acpi-cpufreq", "performance", Level.OK),
        ("intel_pstate", "powersave", Level.OK),
        ("amd-pstate-epp", "powersave", Level.OK),
        ("amd-pstate", "powersave", Level.WARN),
    ],
)
def test_the_processors_governor(tmp_path, driver, governor, level):
    folder = tmp_path / "cpu0" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_driver").write_text(f"{driver}\n")
    (folder / "scaling_governor").write_text(f"{governor}\n")
    assert governor_finding(tmp_path).level == level


def test_a_processor_that_is_switched_off_has_no_governor(tmp_path):
    folder = tmp_path / "cpu1" / "cpufreq"
    (folder / "scaling_governor").mkdir(parents=True)  # cannot be read, as the real one
    (folder / "scaling_driver").write_text("acpi-cpufreq\n")
    assert governor_finding(tmp_path).level == Level.OK


def doctor(*arguments, **environment):
    """Exit status, and lines of (level, rest)."""
    command = [sys.executable, "-m", "pose3d_ros.cli", "doctor", *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert not done.stderr
    return done.returncode, [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def doctor_says(status, not_well, *arguments, **environment):
    """The lines of the first of some runs that finds just these parts not well: a busy machine loses images."""
    for _ in range(8):
        found, lines = doctor(*arguments, **environment)
        if (found, [rest.split()[0] for level, rest in lines if level in ("WARN", "ERROR")]) == (status, not_well):
            return lines
    pytest.fail(f"exit status {found}, not {status}, or others than {not_well} are not well: {lines}")


def test_the_exit_status_is_that_of_the_worst(start_node, robot):
    """A node in a namespace that is well, and whose parameters are asked for; then without a DDS profile."""
    names = ("-r", "__ns:=/apart", "-r", "image:=/apart/image", "-r", "camera_info:=/apart/camera_info")
    node = start_node("pose3d_node", {"target_frame": "camera_optical_frame"}, *names)
    camera = start_node("video_publisher", {}, *names)
    robot.node.create_subscription(PointCloud2, "/apart/pose3d/joints", lambda _: None, 10)
    lines = doctor_says(0, [], "--node", "/apart/pose3d", "--seconds", "3")
    told = {rest.split("  ")[0]: rest for _, rest in lines}
    assert f"{models_dir()}: finder.onnx" in told["networks"]
    assert "connected with camera_optical_frame" in told["TF"]
    without_profile = dict.fromkeys(PROFILE_VARIABLES, "")
    doctor_says(1, ["DDS"], "--node", "/apart/pose3d", "--seconds", "3", **without_profile)
    status, lines = doctor("--seconds", "0.5")
    assert status == 2
    assert "no node /pose3d: give --node /apart/pose3d" in " ".join(rest for _, rest in lines)
    for process in (camera, node):
        process.stop()


def test_nothing_runs(ros_environment):
    status, lines = doctor("--seconds", "0.5", "--node", "/nobody", "--image", "/nowhere/image")
    assert status == 2
    told = " ".join(rest for level, rest in lines if level == "ERROR")
    assert "no node /nobody" in told
    assert "nobody publishes /nowhere/image" in told
    assert "nobody publishes /nowhere/camera_info" in told


def test_a_running_system(start_node, robot):
    """All that the doctor learns from a real node and a real camera; and an RViz that asks for what nobody offers."""
    start_node("pose3d_node", {}, "-r", "image:=/front/image", "-r", "camera_info:=/front/camera_info")
    start_node("video_publisher", {}, "-r", "image:=/front/image", "-r", "camera_info:=/front/camera_info")
    robot.spin_until(lambda: robot.heard["joints"], 60, "joints")
    for _ in range(5):  # on a busy machine it may come too early to know of all
        status, lines = doctor("--seconds", "3", "--frame", "base_link")
        found = {rest.split("  ")[0]: (level, rest) for level, rest in lines}
        if "TF" in found and "camera_info" in found and found["camera_info"][0] == "OK":
            break
    assert status == 2  # of TF
    assert [part for part, (level, _) in found.items() if level == "ERROR"] == ["TF"]
    assert found["images"][0] == found["camera_info"][0] == found["stamps"][0] == "OK"
    assert "640x480 bgr8 on /front/image, frame camera_optical_frame" in found["images"][1]
    assert {"node: lifecycle", "node: images", "node: networks"} <= found.keys()

    robot.node.create_subscription(PointCloud2, "pose3d/joints", lambda _: None, LATCHED)
    wanted = "/robot gets nothing from /pose3d on /pose3d/joints"
    for _ in range(5):  # DDS may know of a subscription before it knows whose it is
        _, lines = doctor("--seconds", "1")
        told = next((rest for _, rest in lines if rest.startswith("quality of service")), "")
        if wanted in told:
            break
    assert wanted in told


def test_images_that_a_camera_sends_as_nobody_should(ros_environment, robot):
    """A driver without a calibration or a clock, and no node."""
    images, infos = (
        robot.node.create_publisher(kind, topic, 10) for kind, topic in ((Image, "rgb"), (CameraInfo, "bad"))
    )
    timer = robot.node.create_timer(0.1, lambda: (images.publish(image(0)), infos.publish(CameraInfo())))
    command = [sys.executable, "-m", "pose3d_ros.ros.doctor", "--node", "/nobody", "--image", "/rgb"]
    log = subprocess.Popen([*command, "--camera-info", "/bad", "--seconds", "6"], stdout=subprocess.PIPE, text=True)
    robot.spin_until(lambda: log.poll() is not None, 120, "the doctor")
    robot.node.destroy_timer(timer)
    told = log.stdout.read()
    assert log.returncode == 2
    assert "must stamp its images" in told
    assert "publish width and height in CameraInfo" in told
