"""The node's findings about itself, from its figures. Knows no ROS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pose3d_ros.person import Ground
from pose3d_ros.ros.beside import Use
from pose3d_ros.ros.calibration import CalibrationState
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.ros.stream_monitor import NOTABLE_LOSS, StreamStatistics

WARN_AHEAD_S = 0.05
"""Stamps in the future: more than two synchronised computers differ by."""
WARN_AGE_S = 5.0
"""Stamps in the past: more than any driver takes."""
_SLOW_SHARE = 0.5  # of the expected rate
_SILENT_PERIODS = 2.5  # of the camera, which may be as long as a second
_PROFILE_ADVICE = (
    "start camera driver and this node with pose3d_ros' Fast DDS profile "
    "(FASTRTPS_DEFAULT_PROFILES_FILE=<share/pose3d_ros>/config/fastdds.xml, from Kilted on FASTDDS_…), or send smaller "
    "or compressed images"
)
_SIMULATED_ADVICE = "use_sim_time is set, and /clock is not of these images: unset it, or play their bag with --clock"
_AHEAD_ADVICE = "synchronise the camera's computer with this one (chrony, PTP), or set use_sim_time for a bag"
_AGE_ADVICE = "set use_sim_time for a bag (played with --clock), or have the driver stamp with the system's time"


class ImageSource(NamedTuple):
    """Where images come from: topic, what we ask for, who publishes, what is wrong with them, their frame.

    simulated: use_sim_time is set. clock_runs: False if the node waits for the first /clock. input: the topic's name
    before it was remapped. elsewhere: where images come that nobody asked for, and what to do; empty if nowhere.
    expected_rate_hz: images per second that the camera should send; 0: unknown.
    """

    topic: str
    reliability: str
    publishers: int
    problem: str
    frame_id: str
    simulated: bool = False
    clock_runs: bool = True
    input: str = "image"
    elsewhere: str = ""
    expected_rate_hz: float = 0.0


def image_finding(now: StreamStatistics, before: StreamStatistics | None, source: ImageSource) -> Finding:
    """The state of the stream of images. before: the reading at the last report, to tell what is new."""
    values = {
        "topic": source.topic,
        "frame_id": source.frame_id,
        "publishers": str(source.publishers),
        "reliability": source.reliability,
        "input_rate_hz": f"{now.input_rate_hz:.1f}",
        "expected_rate_hz": f"{source.expected_rate_hz:.1f}",
        "output_rate_hz": f"{now.output_rate_hz:.1f}",
        "latency_p50_ms": f"{1e3 * now.latency_p50_s:.1f}",
        "latency_p95_ms": f"{1e3 * now.latency_p95_s:.1f}",
        "latency_p99_ms": f"{1e3 * now.latency_p99_s:.1f}",
        "age_ms": f"{1e3 * now.age_s:.1f}",
        "received": str(now.received),
        "processed": str(now.processed),
        "dropped": str(now.dropped),
        "dropped_unwanted": str(now.unwanted),
        "dropped_over_rate": str(now.over_rate),
        "dropped_not_ready": str(now.not_ready),
        "rejected": str(now.rejected),
        "waiting": str(now.waiting),
        "last_rejection": now.last_rejection,
        "gaps": str(now.gaps.number),
        "gap_share": f"{now.gaps.share:.3f}",
        "lost_share": f"{now.lost_share:.3f}",
        "time_jumps": str(now.time_jumps),
        "last_jump_s": f"{now.last_jump_s:.3f}",
        "last_stamp_ns": str(now.last_stamp_ns),
    }
    level, message = next(_troubles(now, before, source), (Level.OK, _well(now, before)))
    return Finding("images", level, message, values)


def _well(now: StreamStatistics, before: StreamStatistics | None) -> str:
    if now.unwanted > (before.unwanted if before else 0):
        return "nobody subscribes to any output, so images are not worked on"
    return f"{now.output_rate_hz:.1f} of {now.input_rate_hz:.1f} Hz processed, latency {1e3 * now.latency_p50_s:.0f} ms"


def _troubles(
    now: StreamStatistics, before: StreamStatistics | None, source: ImageSource
) -> Iterator[tuple[Level, str]]:
    """What is wrong with the images, the worst first."""
    if source.problem:
        yield Level.ERROR, source.problem
    yield from _silence(now, before, source)
    if now.rejected > (before.rejected if before else 0):
        if now.processed == (before.processed if before else 0):
            yield Level.ERROR, f"every image is rejected: {now.last_rejection}"
        yield Level.WARN, f"some images are rejected: {now.last_rejection}"
    # What waits at one report may have come just before; it has time until the next.
    if before and before.waiting and (now.processed, now.rejected) == (before.processed, before.rejected):
        yield (
            Level.ERROR,
            "images come, but none was finished since the last report: the networks hang or are far too slow",
        )
    yield from _time_troubles(now, before, source)
    if now.processed and not source.frame_id:
        yield Level.WARN, "images have no frame_id, so there is no TF: set the driver's frame_id"
    # A topic that was throttled comes evenly, and has no image for most of the camera_info.
    is_throttled = now.gaps.period_ns > 0 and now.gaps.share <= NOTABLE_LOSS
    if now.lost_share > NOTABLE_LOSS and not is_throttled:
        yield Level.WARN, f"{100 * now.lost_share:.0f} % of the images are lost on the way: {_PROFILE_ADVICE}"
    if now.gaps.share > NOTABLE_LOSS:
        missing = f"{100 * now.gaps.share:.0f} % of the images are missing, as the gaps in their stamps tell"
        if math.isnan(now.lost_share):
            yield Level.WARN, f"{missing}: {_PROFILE_ADVICE}"
        yield Level.WARN, f"{missing}, but none is lost on the way: the camera or its computer is too slow"
    if 0 < now.gaps.steady_rate_hz < _SLOW_SHARE * source.expected_rate_hz:
        yield (
            Level.WARN,
            (
                f"the camera takes {now.gaps.steady_rate_hz:.1f} images a second, not half of the "
                f"{source.expected_rate_hz:.1f} expected: look at its exposure time (in the dark), its USB port and "
                "the load of its computer, or set expected_rate_hz"
            ),
        )


def _silence(
    now: StreamStatistics, before: StreamStatistics | None, source: ImageSource
) -> Iterator[tuple[Level, str]]:
    """Why no image comes, the surest first; nothing if some do."""
    # Not every report on a camera of 1 Hz finds a new image.
    is_due = now.silence_s * max(now.input_rate_hz, 1.0) < _SILENT_PERIODS
    if now.received == (before.received if before else 0) and not is_due:
        if source.publishers == 0 and source.elsewhere:
            yield Level.WARN, f"nobody publishes {source.topic}, but {source.elsewhere}"
        if source.publishers == 0:
            yield Level.WARN, f"nobody publishes {source.topic}: start the camera, or remap the topic `{source.input}`"
        if now.camera_infos > (before.camera_infos if before else 0) + 1:  # one may belong to the last image
            yield Level.WARN, f"camera_info comes, but no image on {source.topic}: if it is sent, {_PROFILE_ADVICE}"
        yield Level.WARN, f"no image on {source.topic} since the last report, though it has a publisher"


def _time_troubles(
    now: StreamStatistics, before: StreamStatistics | None, source: ImageSource
) -> Iterator[tuple[Level, str]]:
    """What is wrong with the images' stamps."""
    jumps = now.time_jumps - (before.time_jumps if before else 0)
    if jumps > 1 and source.publishers > 1:
        yield Level.ERROR, f"{source.publishers} publishers on {source.topic} with different clocks: stop one"
    if jumps:
        yield (
            Level.WARN,
            (
                f"the images' time jumped back by {now.last_jump_s:.3f} s, so that everybody was forgotten: "
                "a bag began again, the camera was restarted, or its clock was set"
            ),
        )
    if not source.clock_runs:
        yield Level.WARN, "use_sim_time is set, but nobody publishes /clock: play the bag with --clock, or unset it"
    elif now.age_s < -WARN_AHEAD_S:
        advice = _SIMULATED_ADVICE if source.simulated else _AHEAD_ADVICE
        yield Level.WARN, f"the images' stamps lie {-now.age_s:.3f} s in the future: {advice}"
    elif now.age_s > WARN_AGE_S:
        advice = _SIMULATED_ADVICE if source.simulated else _AGE_ADVICE
        yield Level.WARN, f"the images' stamps lie {now.age_s:.0f} s in the past: {advice}"


def camera_finding(state: CalibrationState, stream: StreamStatistics, topic: str, problem: str) -> Finding:
    """The state of the calibration."""
    values = {"topic": topic, "rate_hz": f"{stream.camera_info_rate_hz:.1f}"}
    if problem and state.level != Level.OK:
        return Finding("camera_info", Level.ERROR, problem, values)
    return Finding("camera_info", state.level, state.text, values)


def companion_finding(part: str, topic: str, publishers: int, problem: str, now: Use, before: Use) -> Finding:
    """The state of what comes beside the images, depth or detections. before: at the last report."""
    values = {
        "topic": topic,
        "publishers": str(publishers),
        "images_with": str(now.used),
        "images_without": str(now.unused),
        "last_problem": now.problem,
    }
    used, unused = now.used - before.used, now.unused - before.unused
    if problem:
        return Finding(part, Level.ERROR, problem, values)
    if publishers == 0:
        return Finding(part, Level.WARN, f"nobody publishes {topic}: start it, or remap the topic `{part}`", values)
    if unused and not used:  # a slow sensor or detector serves only some
        return Finding(part, Level.WARN, f"{unused} images without {part}: {now.problem}", values)
    return Finding(part, Level.OK, f"{used} of {used + unused} images with {part} since the last report", values)


def ground_finding(ground: Ground | None, problem: str) -> Finding:
    """The state of the ground's place. problem: why it is not known."""
    if ground is None:
        return Finding("ground", Level.WARN if problem else Level.OK, problem or "waiting for the first image", {})
    values = {"up": " ".join(f"{x:.3f}" for x in ground.up), "camera_height_m": f"{ground.camera_height_m:.3f}"}
    return Finding("ground", Level.OK, f"the camera is {ground.camera_height_m:.2f} m above the ground", values)


def lifecycle_finding(state: str, failure: str, name: str, nodes_of_name: int) -> Finding:
    """The managed node's state. failure: why its last transition failed, empty if it did not. name: in full."""
    values = {"state": state, "failure": failure, "nodes_of_this_name": str(nodes_of_name)}
    if failure:
        return Finding("lifecycle", Level.ERROR, f"{state}: {failure}", values)
    if nodes_of_name > 1:
        mixed = "their parameters, services and outputs get mixed up: give each a name or a namespace of its own"
        return Finding("lifecycle", Level.WARN, f"{nodes_of_name} nodes are called {name}: {mixed}", values)
    return Finding("lifecycle", Level.OK, state, values)


def engine_finding(description: str, timings_ms: dict[str, float], failure: str) -> Finding:
    """The state of the networks. failure: the engine's complaint about the last frame, empty if there is none."""
    values = {"networks": description, **{f"{stage}_ms": f"{time:.1f}" for stage, time in timings_ms.items()}}
    if failure:
        return Finding("networks", Level.ERROR, failure, values)
    return Finding("networks", Level.OK, description, values)


def build_finding(news: str, done: float, failure: str) -> Finding:
    """The state of networks whose engines are being built. done: 0...1. failure: why they will never be, empty while
    there is hope."""
    values = {"networks": news, "built_percent": f"{100 * done:.0f}"}
    if failure:
        return Finding("networks", Level.ERROR, failure, values)
    return Finding("networks", Level.WARN, f"{news}, {100 * done:.0f} %; frames are dropped meanwhile", values)


def fusion_finding(frame: str, people: int, cameras: int, left_out: Mapping[str, str]) -> Finding:
    """The state of the fusion: people by so many cameras last time. left_out: why other cameras are, by name."""
    values = {"fusion_frame": frame, "people": str(people), "cameras": str(cameras), **left_out}
    if left_out:
        reasons = "; ".join(f"{name} is left out: {why}" for name, why in left_out.items())
        return Finding("fusion", Level.WARN, reasons, values)
    return Finding("fusion", Level.OK, f"{people} people in {frame} by {cameras} cameras", values)
