"""The parameters of pose3d_node: one table for the node, its configuration file and its documentation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from pose3d_ros.backend import BACKENDS, PRECISIONS
from pose3d_ros.pipeline_settings import PipelineSettings

Value = bool | int | float | str | list[str]


class Change(Enum):
    """When a parameter may be changed."""

    NEVER = "at the start only"
    UNCONFIGURED = "while unconfigured"
    LIVE = "any time"


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter. Its type is that of `default`.

    minimum, maximum: the range of a number. choices: all values of a text that may only be one of a few.
    pattern: a regular expression that a text, or each of a list, must match as a whole, and what to say if it does not.
    change: when it may be changed. What is changed at any time holds from the next image on that comes; what is changed
    while the node is unconfigured, from its next configuration on.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: tuple[str, str] | None = None
    change: Change = Change.UNCONFIGURED

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, and what to do; None if nothing is."""
        kind = type(self.default)
        if type(value) is not kind or (isinstance(value, list) and not all(isinstance(text, str) for text in value)):
            return f"{self.name} must be a {_TYPE_NAMES[kind]}, not {value!r}{_TYPE_ADVICE.get(kind, '')}"
        if self.minimum is not None and self.maximum is not None and isinstance(value, (int, float)):
            if not (math.isfinite(value) and self.minimum <= value <= self.maximum):
                return f"{self.name} is {value}: it must lie between {self.minimum:g} and {self.maximum:g}"
        elif self.choices and value not in self.choices:
            return f"{self.name} is '{value}': it must be one of {', '.join(self.choices)}"
        elif self.pattern:
            texts = value if isinstance(value, list) else [value]
            wrong = (text for text in texts if not re.fullmatch(self.pattern[0], str(text)))
            return next((f"{self.name} is '{text}': {self.pattern[1]}" for text in wrong), None)
        return None


_TYPE_NAMES: dict[type, str] = {
    bool: "bool",
    int: "whole number",
    float: "number with a decimal point",
    str: "text",
    list: "list of texts",
}
_TF_FRAME = (r"([A-Za-z_][A-Za-z0-9_/.-]*)?", "frame names begin with a letter, not with /")
_TYPE_ADVICE: dict[type, str] = {float: " (write 1.0, not 1)"}

PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "autostart",
        True,
        "Configure and activate at the start. If not, a lifecycle manager or `ros2 lifecycle set` does it.",
        change=Change.NEVER,
    ),
    ParameterSpec(
        "model_dir",
        "",
        "Folder with models.json and the networks it names; what it lacks, or all when empty, are those that ship with "
        "the package.",
    ),
    ParameterSpec("threads", PipelineSettings.threads, "CPU threads of one run of a network.", 1, 64),
    ParameterSpec(
        "backend",
        PipelineSettings.backend,
        "What runs the networks: tensorrt (NVIDIA GPU), onnxruntime, or auto: TensorRT where it works, else the other. "
        "Missing TensorRT engines are built first, in minutes.",
        choices=BACKENDS,
    ),
    ParameterSpec(
        "precision",
        PipelineSettings.precision,
        "Of the networks. auto: fp16 in TensorRT, 8 bits on a CPU. In TensorRT, one that ruins a network is found out, "
        "and fp32 taken instead.",
        choices=PRECISIONS,
    ),
    ParameterSpec(
        "cameras",
        [""],
        "Names of the cameras, as [front, left]: each has its topics <name>/image and <name>/camera_info, outputs "
        "~/<name>/…, joint frames <name>_<tf_prefix>… and diagnostics. One empty name: one camera without all these.",
        pattern=(r"([A-Za-z][A-Za-z0-9_]*)?", "camera names begin with a letter and hold letters, digits and _"),
    ),
    ParameterSpec(
        "fusion_frame",
        "",
        "Frame, z up, that TF connects with those of all cameras: people whom several see are fused there into one, on "
        "~/fused/joints, ~/fused/markers and /tf. Empty: they are not.",
        pattern=_TF_FRAME,
    ),
    ParameterSpec(
        "max_people",
        PipelineSettings.max_people,
        "Most people followed at once, by each camera.",
        1,
        50,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "score_threshold",
        PipelineSettings.score_threshold,
        "Least confidence, 0 to 1, for a person to be kept. Lower keeps more people and more ghosts.",
        0.01,
        0.99,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "new_person_threshold",
        PipelineSettings.new_person_threshold,
        "Least probability, 0 to 1, that somebody new is a person, by finder and joints; not below score_threshold.",
        0.01,
        0.99,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "visible_threshold",
        PipelineSettings.visible_threshold,
        "Least confidence, 0 to 1, for a joint to count as visible; below, it is called inferred.",
        0.01,
        0.99,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "smoothing",
        PipelineSettings.smoothing,
        "How calm joints are over time: 1 as tuned for people who act, more is calmer and lags, less is livelier.",
        0.1,
        10.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "find_every_n_frames",
        PipelineSettings.find_every_n_frames,
        "Look for new people in every n-th frame; people already known are followed in each. More costs less.",
        1,
        1000,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "track_timeout_s",
        PipelineSettings.track_timeout_s,
        "Seconds that a person is carried on, predicted, after being lost from sight.",
        0.0,
        10.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "max_rate_hz",
        0.0,
        "Most images of each camera worked on per second of their stamps; the others are dropped. 0: all.",
        0.0,
        1000.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "expected_rate_hz",
        0.0,
        "Images per second that each camera should send; below half of it, diagnostics warn. 0: the best rate since "
        "activation.",
        0.0,
        1000.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "image_transport",
        "raw",
        "Which images to read: raw (topic image) or compressed (JPEG or PNG, topic image/compressed).",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "reliability",
        "auto",
        "Reliability of the subscriptions. auto: reliable if all of a topic's publishers are, else best effort. "
        "A change is taken up within a second.",
        choices=("auto", "reliable", "best_effort"),
        change=Change.LIVE,
    ),
    ParameterSpec(
        "image_is_rectified",
        False,
        "The image was undistorted (image_proc's image_rect): use P of camera_info, and no distortion.",
        change=Change.LIVE,
    ),
    ParameterSpec(
        "camera_info_timeout_s",
        2.0,
        "Seconds of images to wait for camera_info before saying so and, if allowed, assuming a field of view.",
        0.0,
        3600.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "assumed_horizontal_fov_deg",
        0.0,
        "Horizontal field of view in degrees to assume where there is no usable camera_info; metres are rough then. "
        "0: assume nothing; without camera_info only the 2D overlay is published.",
        0.0,
        170.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "use_depth",
        False,
        "Read depth images that are registered to the image (topic depth): they place people far better than an image "
        "alone can.",
    ),
    ParameterSpec(
        "use_detections",
        False,
        "Look for people in the boxes of an outside detector (topic detections, vision_msgs) in place of the own "
        "finder's; images without any are searched by the own finder.",
    ),
    ParameterSpec(
        "person_class_ids",
        "person,0",
        "Which class_ids of detections are people, separated by commas.",
        pattern=(r"[^,]+(,[^,]+)*", "write one or more class_ids, separated by commas"),
        change=Change.LIVE,
    ),
    ParameterSpec(
        "sync_tolerance_s",
        0.03,
        "Most by which the stamp of depth may differ from the image's, and longest time that an image waits for depth "
        "and detections.",
        0.001,
        1.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "detections_tolerance_s",
        0.2,
        "Most by which the stamp of detections may differ from the image's: a detector slower than the camera tells "
        "where people were a little earlier.",
        0.001,
        1.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "camera_height_m",
        0.0,
        "Height of the camera over level ground on which people stand; 0: unknown. It needs camera_pitch_deg.",
        0.0,
        100.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "camera_pitch_deg",
        0.0,
        "By how much the camera looks down, in degrees; up: negative. It must not be rolled. It needs "
        "camera_height_m: set both together.",
        -90.0,
        90.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "ground_frame",
        "",
        "TF frame on the ground, z up, for example base_footprint: tells where up and the ground are, in place of "
        "camera_height_m. Empty: none.",
        pattern=_TF_FRAME,
    ),
    ParameterSpec(
        "max_prediction_s",
        0.25,
        "Longest time, from an image's stamp to now, over which ~/joints_predicted carries people on; and from one "
        "camera's image to another's for them to be fused.",
        0.0,
        1.0,
        change=Change.LIVE,
    ),
    ParameterSpec(
        "target_frame",
        "",
        "Frame of ~/joints, ~/joints_predicted and ~/markers, such as base_link or map, by TF at the image's stamp. "
        "Empty: the camera's. /tf is always relative to the camera's.",
        pattern=_TF_FRAME,
    ),
    ParameterSpec(
        "target_frame_timeout_s",
        0.1,
        "Longest time that an image's joints wait for target_frame, while no other image is worked on; then they and "
        "the markers are withheld.",
        0.0,
        1.0,
        change=Change.LIVE,
    ),
    ParameterSpec("publish_markers", True, "Publish ~/markers for RViz.", change=Change.LIVE),
    ParameterSpec("publish_tf", True, "Publish a transform per joint on /tf.", change=Change.LIVE),
    ParameterSpec(
        "publish_hri",
        False,
        "Publish people as ROS4HRI's bodies too (REP-155, hri_msgs): topics below /humans/bodies, and frames.",
    ),
    ParameterSpec(
        "tf_prefix",
        "person_",
        "Start of the joints' frame names, which are <tf_prefix><id>/<joint>. Give each node its own.",
        pattern=(r"[A-Za-z_][A-Za-z0-9_/]*", "frame names begin with a letter and hold letters, digits, _ and /"),
        change=Change.LIVE,
    ),
    ParameterSpec(
        "record_hard_frames",
        False,
        "Keep pictures in which the networks do badly, with their estimate, to train them further. They show people, "
        "so they are personal data: see docs/privacy.md.",
        change=Change.LIVE,
    ),
    ParameterSpec(
        "hard_frames_dir",
        "",
        "Folder for hard frames. Empty: pose3d_hard_frames in $ROS_HOME, or in ~/.ros.",
        pattern=(r"(~(/.*)?|[^~].*)?", "of homes only one's own can be named, by ~/"),
        change=Change.LIVE,
    ),
    ParameterSpec(
        "hard_frames_max_mb",
        200,
        "Most megabytes of hard frames; the oldest are removed for new ones.",
        1,
        100_000,
        change=Change.LIVE,
    ),
)


def pipeline_settings(values: Mapping[str, Any]) -> PipelineSettings:
    """The pipeline's settings among the values of PARAMETERS."""
    names = {field.name for field in fields(PipelineSettings)}
    return PipelineSettings(**{name: value for name, value in values.items() if name in names})


def person_classes(values: Mapping[str, Any]) -> frozenset[str]:
    """The class_ids of detections that are people."""
    return frozenset(name.strip() for name in values["person_class_ids"].split(","))


def problems_together(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with a whole set of values of PARAMETERS, each of which may be right by itself."""
    problems = _camera_problems(values["cameras"])
    if values["fusion_frame"] and len(values["cameras"]) < 2:
        problems.append(f"fusion_frame is '{values['fusion_frame']}': to fuse people takes two cameras or more")
    try:
        pipeline_settings(values)
    except ValueError as error:
        problems.append(str(error))
    if values["ground_frame"] and values["camera_height_m"] > 0:
        problems.append("ground_frame and camera_height_m both tell where the ground is: set one of them")
    if values["camera_pitch_deg"] != 0 and values["camera_height_m"] == 0:
        problems.append(
            f"camera_pitch_deg is {values['camera_pitch_deg']}: it needs camera_height_m, set both together"
        )
    return problems


def _camera_problems(names: list[str]) -> list[str]:
    if not names:
        return ['cameras is empty: name the cameras, or write [""] for one camera without a name']
    if len(set(names)) < len(names):
        return [f"cameras is {names}: each camera needs a name of its own"]
    if "" in names and len(names) > 1:
        return [f"cameras is {names}: only a single camera may do without a name"]
    if "fused" in names:
        return [f"cameras is {names}: 'fused' is the name of what comes of them all"]
    return []
