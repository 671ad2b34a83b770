"""What `pose3d doctor` makes of what it saw: each finding says what to do. Knows no rclpy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pose3d_ros.camera import CameraError
from pose3d_ros.camera_check import implausibility
from pose3d_ros.camera_file import camera_for_image
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.kept import kept_engines
from pose3d_ros.models import models_dir, pipeline_models
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.ros.camera_conversion import camera_from_info, stamp_to_ns
from pose3d_ros.ros.diagnosis import WARN_AGE_S, WARN_AHEAD_S
from pose3d_ros.ros.frame_tree import FrameTree, TransformError
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.ros.image_conversion import BadImageError, Picture, compressed_to_bgr, image_to_bgr
from pose3d_ros.ros.processes import PROFILE_VARIABLES, profile_file

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

FRAME_PARAMETERS = ("target_frame", "fusion_frame", "ground_frame")
NODE_PARAMETERS = ("model_dir", "backend", "precision", "assumed_horizontal_fov_deg", *FRAME_PARAMETERS)
"""What to ask the node for."""
_TF_TOLERANCE_S = 5.0  # whether frames are connected at all; how late TF may be, the node says itself
_BEFORE_KILTED = ("humble", "iron", "jazzy")  # Fast DDS 2, which reads another variable than 3 does
_START_ADVICE = "ros2 launch pose3d_ros pose3d.launch.py"
_GOVERNORS = Path("/sys/devices/system/cpu")
_DRIVERS_THAT_CHOOSE = ("intel_pstate", "amd-pstate-epp")


class SeenCamera(NamedTuple):
    """What came of a camera within some seconds. The messages are the newest; None: none came.

    name: among the node's cameras; empty if it has only one. image_problem, info_problem: why the topic's messages
    cannot come. now_ns: the clock when the image came.
    """

    name: str
    image_topic: str
    image_publishers: int
    image_problem: str
    image: Image | CompressedImage | None
    now_ns: int
    info_topic: str
    info_publishers: int
    info_problem: str
    info: CameraInfo | None


class Observed(NamedTuple):
    """What was seen within some seconds.

    node: the name that was looked for, in full. namesakes: nodes of the same name in other namespaces, in full.
    parameters: the node's, of NODE_PARAMETERS; empty: it did not tell them. reports: the node's last diagnostics by
    part. mismatches: connections of the node that cannot work, in words. target: a frame that the cameras should be
    connected with, besides those that the node uses; empty: none.
    """

    node: str
    node_runs: bool
    namesakes: tuple[str, ...]
    parameters: Mapping[str, Any]
    reports: Mapping[str, tuple[Level, str]]
    mismatches: tuple[str, ...]
    cameras: tuple[SeenCamera, ...]
    frames: FrameTree
    target: str


# ---- the machine -----------------------------------------------------------------------------------------------------


def machine_findings(node: Mapping[str, Any]) -> Iterator[Finding]:
    """Networks, their TensorRT engines, Fast DDS, NumPy and the processor of this machine.

    node: NODE_PARAMETERS of the running node, whose networks are looked at; empty: the package's own are.
    """
    yield _networks_of(node) if node else _own_networks()
    for engine in kept_engines() if node.get("backend") != "onnxruntime" else ():
        level = Level.WARN if engine.warnings else Level.OK
        yield Finding("engine", level, "; ".join([f"{engine.plan.name}: {engine.about}", *engine.warnings]), {})
    yield _fast_dds(os.environ)
    if find_spec("cv_bridge") is not None:
        yield _cv_bridge()
    yield governor_finding(_GOVERNORS)


def _networks_of(node: Mapping[str, Any]) -> Finding:
    """Whether the files are those that were exported; the node tells itself how they run, and a second set of them
    would take its memory and its time."""
    try:
        folder = Path(node["model_dir"]).expanduser() if node["model_dir"] else models_dir()
        models = pipeline_models(folder).values()
        for model in models:
            if model.int8 is not None and node["precision"] in ("auto", "int8"):
                model.int8.verify()
    except EngineError as error:
        return Finding("networks", Level.ERROR, f"{error} (the node's model_dir, on this machine)", {})
    names = ", ".join(f"{model.path.name} {model.short_hash}" for model in models)
    return Finding("networks", Level.OK, f"{folder}: {names}", {})


def _own_networks() -> Finding:
    try:
        pipeline = Pipeline()
    except EngineError as error:
        return Finding("networks", Level.ERROR, str(error), {})
    pipeline.close()
    return Finding("networks", Level.OK, pipeline.description, {})


def _fast_dds(environment: Mapping[str, str]) -> Finding:
    other = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" not in other:
        return Finding("DDS", Level.OK, f"{other}: see that it has room for large images", {})
    before_kilted = environment.get("ROS_DISTRO", "jazzy") in _BEFORE_KILTED
    name = PROFILE_VARIABLES[0 if before_kilted else 1]
    if environment.get(name):
        return Finding("DDS", Level.OK, f"{name} is {environment[name]}", {})
    return Finding(
        "DDS",
        Level.WARN,
        "Fast DDS has no profile here, so that most large images are lost: in the camera driver's terminal and in "
        f"this one, export {name}={profile_file()} (our launch files do)",
        {},
    )


def _cv_bridge() -> Finding:
    tried = subprocess.run(
        [sys.executable, "-c", "import cv_bridge.boost.cv_bridge_boost"], capture_output=True, text=True, check=False
    )
    if tried.returncode == 0:
        return Finding("cv_bridge", Level.OK, f"works with NumPy {np.__version__}", {})
    return Finding(
        "cv_bridge",
        Level.WARN,
        f"cannot be loaded with NumPy {np.__version__}; pose3d does without it, other nodes may need it: "
        "pip install 'numpy<2', or remove pip's NumPy so that apt's is used",
        {},
    )


def governor_finding(folder: Path) -> Finding:
    """The processor's frequency governor, from /sys/devices/system/cpu."""
    slow = []
    for file in sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_governor")):
        try:
            driver, governor = ((file.parent / name).read_text().strip() for name in ("scaling_driver", file.name))
        except OSError:  # switched off
            continue
        # Under these drivers, powersave only means that the processor chooses by itself.
        if governor == "powersave" and driver not in _DRIVERS_THAT_CHOOSE:
            slow.append(file.parent.parent.name)
    if slow:
        advice = "sudo cpupower frequency-set -g performance (on a Jetson: sudo jetson_clocks)"
        return Finding("processor", Level.WARN, f"{', '.join(slow)} kept slow by the governor powersave: {advice}", {})
    return Finding("processor", Level.OK, "not kept slow by its governor", {})


# ---- the running system ----------------------------------------------------------------------------------------------


def system_findings(seen: Observed) -> Iterator[Finding]:
    """The node, its connections, the cameras and TF."""
    if not seen.node_runs:
        advice = f"give --node {' or '.join(seen.namesakes)}, which runs" if seen.namesakes else _START_ADVICE
        yield Finding("node", Level.ERROR, f"no node {seen.node}: {advice}", {})
    elif not seen.reports:
        yield Finding("node", Level.ERROR, f"{seen.node} sends no /diagnostics: it hangs; restart it", {})
    for part, (level, message) in seen.reports.items():
        yield Finding(f"node: {part}", level, message, {})
    for mismatch in seen.mismatches:
        yield Finding("quality of service", Level.ERROR, mismatch, {})
    for camera in seen.cameras:
        for finding in _camera_findings(seen, camera):
            yield finding._replace(part=f"{camera.name} {finding.part}".lstrip())


def _camera_findings(seen: Observed, camera: SeenCamera) -> Iterator[Finding]:
    yield from _image_findings(camera)
    yield from _info_findings(camera, seen.parameters.get("assumed_horizontal_fov_deg") or 0.0)
    if camera.image is not None:
        targets = (seen.target, *(seen.parameters.get(name, "") for name in FRAME_PARAMETERS))
        for target in dict.fromkeys(filter(None, targets)):
            yield _tf_finding(seen.frames, target, camera.image)


def _image_findings(seen: SeenCamera) -> Iterator[Finding]:
    part = "images"
    if seen.image_problem:
        yield Finding(part, Level.ERROR, seen.image_problem, {})
    elif not seen.image_publishers:
        yield Finding(part, Level.ERROR, f"nobody publishes {seen.image_topic}: start the camera, or give --image", {})
    elif seen.image is None:
        why = "the camera hangs, or images of this size are lost on the way: see DDS above"
        yield Finding(part, Level.ERROR, f"no image came on {seen.image_topic}, though it has a publisher: {why}", {})
    else:
        yield _content_finding(seen.image, seen.image_topic)
        yield _stamp_finding(seen.image, seen.now_ns)


def _picture(image: Image | CompressedImage) -> Picture:
    return compressed_to_bgr(image) if hasattr(image, "format") else image_to_bgr(image)


def _content_finding(image: Image | CompressedImage, topic: str) -> Finding:
    try:
        height, width = _picture(image).shape[:2]
    except BadImageError as error:
        return Finding("images", Level.ERROR, str(error), {})
    if not image.header.frame_id:
        return Finding("images", Level.WARN, "no frame_id, so there is no TF: set the driver's frame_id", {})
    kind = image.format if hasattr(image, "format") else image.encoding
    return Finding("images", Level.OK, f"{width}x{height} {kind} on {topic}, frame {image.header.frame_id}", {})


def _stamp_finding(image: Image | CompressedImage, now_ns: int) -> Finding:
    stamp_ns = stamp_to_ns(image.header.stamp)
    if stamp_ns <= 0:
        return Finding("stamps", Level.ERROR, "zero: the driver must stamp its images with the time of exposure", {})
    age_s = 1e-9 * (now_ns - stamp_ns)
    if not -WARN_AHEAD_S <= age_s <= WARN_AGE_S:
        where = "in the past" if age_s > 0 else "in the future"
        advice = "synchronise the computers (chrony, PTP); for a bag, --sim-time here and use_sim_time for the node"
        return Finding("stamps", Level.WARN, f"{abs(age_s):.2f} s {where}: {advice}", {})
    return Finding("stamps", Level.OK, f"{1e3 * age_s:.0f} ms old when they come", {})


def _info_findings(seen: SeenCamera, assumed_fov_deg: float) -> Iterator[Finding]:
    part = "camera_info"
    if assumed_fov_deg > 0:
        level, advice = Level.WARN, f"metres are by an assumed field of view of {assumed_fov_deg:g} degrees"
    else:
        level = Level.ERROR
        advice = "without it there are no metres; set the driver's calibration file, or assumed_horizontal_fov_deg"
    if seen.info_problem:
        yield Finding(part, Level.ERROR, seen.info_problem, {})
    elif not seen.info_publishers:
        yield Finding(part, level, f"nobody publishes {seen.info_topic}: {advice}", {})
    elif seen.info is None:
        yield Finding(part, level, f"none came on {seen.info_topic}: {advice}", {})
    else:
        yield _calibration_finding(seen.info, seen.image)


def _calibration_finding(info: CameraInfo, image: Image | CompressedImage | None) -> Finding:
    try:
        camera = camera_from_info(info)
        if image is not None:
            height, width = _picture(image).shape[:2]
            camera = camera_for_image(camera, width, height)
    except CameraError as error:
        return Finding("camera_info", Level.ERROR, str(error), {})
    except BadImageError:
        pass  # told already
    if doubt := implausibility(camera):
        return Finding("camera_info", Level.WARN, f"implausible: {doubt}", {})
    return Finding("camera_info", Level.OK, f"{camera.model}, {camera.width}x{camera.height}", {})


def _tf_finding(frames: FrameTree, target: str, image: Image | CompressedImage) -> Finding:
    try:
        frames.motion(target, image.header.frame_id, stamp_to_ns(image.header.stamp), _TF_TOLERANCE_S)
    except TransformError as error:
        advice = "start robot_state_publisher, or static_transform_publisher for the camera's mount"
        return Finding("TF", Level.ERROR, f"{error}: {advice}", {})
    return Finding("TF", Level.OK, f"{image.header.frame_id} is connected with {target}", {})
