"""`python -m pose3d_ros.ros.demo`: the real node on a video, over real ROS 2 topics, and what came of it.

Starts video_publisher and pose3d_node as processes of their own, listens to the node's topics, and writes

- demo.mp4: the node's overlay with the 3D skeletons beside it, in the video's own time;
- demo.png: the frame that shows most;
- pose3d_node.log, video_publisher.log: what the nodes printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import rclpy

from pose3d_ros import skeleton
from pose3d_ros.camera_file import read_camera
from pose3d_ros.draw import View, draw_3d
from pose3d_ros.person import JointState, Person
from pose3d_ros.ros.image_conversion import Picture
from pose3d_ros.ros.people_conversion import joints_to_people
from pose3d_ros.ros.processes import NodeProcess, ros_environment
from pose3d_ros.ros.recorder import Recorder, Shot
from pose3d_ros.ros.video_publisher import DEFAULT_VIDEO
from pose3d_ros.video import VideoWriter, open_source

_LIVE_SECONDS = 20.0
_LONGEST_SECONDS = 120.0
_START_TIMEOUT_S = 60.0
_FIRST_FRAME_TIMEOUT_S = 20.0
_ASSUMED_FOV_DEG = 60.0
_VIEW_FOLLOWS = 0.05


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's options."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--video", type=Path, help="a video file; default: the package's own clip")
    source.add_argument("--camera", help="a camera's number, or its device")
    parser.add_argument(
        "--camera-info", type=Path, metavar="FILE", help="calibration: JSON or camera_calibration's YAML"
    )
    parser.add_argument(
        "--fov",
        type=float,
        default=_ASSUMED_FOV_DEG,
        metavar="DEG",
        help="horizontal field of view to assume without a calibration; 0: none, and then no 3D (%(default)g)",
    )
    parser.add_argument("--output", type=Path, default=Path("output/demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--max-side",
        type=int,
        default=720,
        metavar="PX",
        help="larger videos are scaled until their shorter side has so many pixels (%(default)s)",
    )
    parser.add_argument("--seconds", type=float, help="how long; default: the video's length, for a camera 20")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns the exit status. Raises DemoError or VideoError."""
    name, fps, length_s, size = _inspect(args)
    seconds = args.seconds or (min(length_s, _LONGEST_SECONDS) if length_s else _LIVE_SECONDS)
    calibration = _calibration(args)
    args.output.mkdir(parents=True, exist_ok=True)
    os.environ.update(ros_environment())
    domain = os.environ["ROS_DOMAIN_ID"]
    print(f"pose3d_ros demo: {name}, {seconds:.0f} s, over ROS 2 topics in domain {domain}")
    print(f"  look on with:  ROS_DOMAIN_ID={domain} rviz2   or   ROS_DOMAIN_ID={domain} ros2 topic list")
    if calibration is None:
        told = f"{args.fov:g} degrees assumed, so distances are rough" if args.fov else "none, so there is no 3D"
        print(f"  no calibration given (--camera-info): field of view {told}")
    rclpy.init()
    try:
        recorder = Recorder()
        node_parameters = {
            "assumed_horizontal_fov_deg": args.fov,
            "camera_info_timeout_s": 0.5 if not calibration else 2.0,
        }
        video_parameters = _video_parameters(args, calibration, size)
        log = args.output / "pose3d_node.log"
        with NodeProcess("pose3d_node", node_parameters, os.environ, log) as node:
            _wait_for_node(recorder, node)
            log = args.output / "video_publisher.log"
            with NodeProcess("video_publisher", video_parameters, os.environ, log) as video:
                _record(recorder, node, video, seconds)
    finally:
        rclpy.try_shutdown()
    shots = recorder.shots()
    if not shots:
        raise DemoError(f"no frame came back; {node.log} and {video.log} may tell why")
    written = _write(shots, fps, args.output)
    _print_table(recorder, shots, written)
    return 0


def _inspect(args: argparse.Namespace) -> tuple[str, float, float | None, tuple[int, int]]:
    """The source's name, rate, length in seconds (None: endless), and the size to publish it in (0: as it is)."""
    if args.camera is not None:
        return f"camera {args.camera}", 30.0, None, (0, 0)
    path = args.video or DEFAULT_VIDEO
    with open_source(str(path)) as source:
        image, _ = next(iter(source))
        height, width = image.shape[:2]
        scale = min(1.0, args.max_side / min(height, width))
        size = (0, 0) if scale == 1 else (round(scale * width), round(scale * height))
        return str(path), source.fps, source.count / source.fps if source.count else None, size


def _calibration(args: argparse.Namespace) -> Path | None:
    """The calibration file to use: as given, else the one beside the video."""
    path: Path | None = args.camera_info
    if path is None and args.camera is None:
        beside = (args.video or DEFAULT_VIDEO).with_suffix(".json")
        path = beside if beside.is_file() else None
    if path is not None:
        read_camera(path)  # a mistake in it is told now, not by a node that has died
    return path


def _video_parameters(args: argparse.Namespace, calibration: Path | None, size: tuple[int, int]) -> dict[str, Any]:
    """video_publisher's parameters, of which a camera's number has one of its own."""
    is_number = args.camera is not None and args.camera.isdigit()
    return {
        "video": "" if is_number else str(args.camera or args.video or ""),
        "camera": int(args.camera) if is_number else -1,
        "camera_info": str(calibration or ""),
        "loop": args.seconds is not None,
        "width": size[0],
        "height": size[1],
        "wait_for_subscribers": 1,
    }


def _wait_for_node(recorder: Recorder, node: NodeProcess) -> None:
    print("starting the node ...", flush=True)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not recorder.messages:
        _check_alive(node)
        if time.monotonic() > deadline:
            raise DemoError(f"the node did not report within {_START_TIMEOUT_S:g} s; see {node.log}")
        rclpy.spin_once(recorder, timeout_sec=0.1)
    print(f"  {recorder.messages['networks']}")


def _check_alive(process: NodeProcess) -> None:
    if ending := process.ending():
        raise DemoError(ending)


def _record(recorder: Recorder, node: NodeProcess, video: NodeProcess, seconds: float) -> None:
    """Listens until the time is over or the video is; tells how it goes once a second."""
    begin: float | None = None
    last_told = 0
    started = time.monotonic()
    while begin is None or time.monotonic() - begin < seconds + 1:
        rclpy.spin_once(recorder, timeout_sec=0.1)
        _check_alive(node)
        if begin is None and recorder.number_of_frames:
            begin = time.monotonic()
        if video.exit_status is not None:
            if video.exit_status:
                _check_alive(video)
            break
        if begin is None:
            if time.monotonic() - started > _FIRST_FRAME_TIMEOUT_S:
                raise DemoError(f"no frame came within {_FIRST_FRAME_TIMEOUT_S:g} s; see {video.log} and {node.log}")
            continue
        elapsed = int(time.monotonic() - begin)
        if elapsed > last_told:
            last_told = elapsed
            _tell(recorder, elapsed, seconds)
    # What the node has in hand, and its last report.
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        rclpy.spin_once(recorder, timeout_sec=0.1)


def _tell(recorder: Recorder, elapsed_s: int, seconds: float) -> None:
    figures = recorder.figures
    print(
        f"  {elapsed_s:3d} of {seconds:.0f} s  {recorder.number_of_frames:5d} frames  "
        f"{figures.get('output_rate_hz', '-'):>5} Hz  latency {figures.get('latency_p50_ms', '-'):>6} ms  "
        f"people {recorder.people_now}",
        flush=True,
    )


def _write(shots: Sequence[Shot], fps: float, output: Path) -> list[Path]:
    """The video and the picture."""
    print("writing the video ...", flush=True)
    best = max(range(len(shots)), key=lambda i: _shown(shots[i]))
    writer = VideoWriter(output / "demo.mp4", fps)
    picture_file = output / "demo.png"
    written = 0
    view: View | None = None
    picture: Picture | None = None
    try:
        for index, shot in enumerate(shots):
            if picture is not None:
                # Frames that the node did not get to are bridged by the last one, so that the video keeps its pace.
                due = round((shot.stamp_ns - shots[0].stamp_ns) * 1e-9 * fps)
                while written < due:
                    writer.write(picture)
                    written += 1
            people = joints_to_people(shot.joints)
            wanted = View.around(people)
            view = view.towards(wanted, _VIEW_FOLLOWS) if view and wanted else wanted or view
            picture = _beside(shot, people, view)
            if index == best:
                _save(picture_file, _beside(shot, people, None))
        if picture is not None:
            writer.write(picture)
    finally:
        writer.close()
    return [writer.path, picture_file]


def _shown(shot: Shot) -> float:
    """How much of people a frame shows, to choose the picture: rather in its middle, as a lens gives light."""
    places = np.stack([shot.joints[axis] for axis in "xyz"], -1)
    cosine = places[..., 2] / np.maximum(np.linalg.norm(places, axis=-1), 1e-6)
    return float(np.nansum(shot.joints["confidence"] * (shot.joints["state"] == JointState.VISIBLE) * cosine**4))


def _beside(shot: Shot, people: Sequence[Person], view: View | None) -> Picture:
    overlay = np.asarray(cv2.imdecode(shot.overlay, cv2.IMREAD_COLOR), np.uint8)
    height, width = overlay.shape[:2]
    panel = draw_3d(people, (int(np.clip(width, 0.6 * height, height)), height), view)
    return np.concatenate([overlay, panel], 1)


def _save(path: Path, picture: Picture) -> None:
    if not cv2.imwrite(str(path), picture):
        raise DemoError(f"cannot write {path}: is the folder writable?")


def _print_table(recorder: Recorder, shots: Sequence[Shot], written: Sequence[Path]) -> None:
    figures = recorder.figures
    ids = sorted({int(row["person"][0]) for shot in shots for row in shot.joints})
    with_people = sum(len(shot.joints) > 0 for shot in shots)
    depths = [float(row["z"][skeleton.ROOT]) for shot in shots for row in shot.joints]
    duration_s = (shots[-1].stamp_ns - shots[0].stamp_ns) * 1e-9
    rate = (len(shots) - 1) / duration_s if duration_s else 0.0
    share = f"{100 * with_people / len(shots):.0f} %"
    rows = [
        ("frames that reached the node", figures.get("received", "?")),
        ("  processed", figures.get("processed", "?")),
        ("  given up for newer ones", figures.get("dropped", "?")),
        ("  rejected", figures.get("rejected", "?")),
        ("frames recorded here", f"{len(shots)}, {rate:.1f} Hz"),
        ("latency, stamp to result", f"p50 {figures.get('latency_p50_ms')} ms, p95 {figures.get('latency_p95_ms')} ms"),
        ("people in 3D", f"{len(ids)} (ids {', '.join(map(str, ids)) or '-'}), in {share} of the frames"),
        ("distance of the pelvis", f"{np.median(depths):.2f} m (median)" if depths else "-"),
        ("camera_info", recorder.messages.get("camera_info", "?")),
    ]
    print()
    for name, value in rows:
        print(f"  {name:30s} {value}")
    print()
    for path in written:
        print(f"  {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pose3d_ros.ros.demo", description=(__doc__ or "").split("\n")[0])
    add_arguments(parser)
    args = parser.parse_args(argv)

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)  # through the `with` blocks, which end the nodes

    signal.signal(signal.SIGTERM, end)
    try:
        return run(args)
    except (DemoError, ValueError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
