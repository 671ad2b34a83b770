"""`pose3d run`: people's joints from a video, a camera or an image, without ROS.

Writes into the output folder, NAME being the source's:

- NAME.mp4 (not for an image): every frame with the skeletons, and their 3D view beside it where metres are known;
- NAME.png: the frame that shows most, likewise;
- NAME.jsonl: one JSON object a frame: {"frame": 0, "stamp": seconds, "people": [person, …]}, where a person is
  {"id": 1, "box": [x0, y0, x1, y1], "score": 0…1, "joints": {"pelvis": joint, …}} and a joint is
  {"px": [x, y], "score": 0…1, "state": "visible" | "inferred" | "predicted", "xyz": [x, y, z], "sigma": [x, y, z]};
  xyz in metres in the camera's optical frame (x right, y down, z forward) with its standard deviations; both null
  without a calibration. A value that is not finite is null. `stamp` counts from a file's begin; a camera's or stream's
  is the host's monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros import camera_file, draw, skeleton
from pose3d_ros.backend import PRECISIONS
from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import camera_for_image, read_camera
from pose3d_ros.person import Frame, Ground, JointState, Person
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.video import ImageSource, Source, TimedVideoWriter, VideoError, check_frames, file_of, open_source

Image = NDArray[np.uint8]

_WRITTEN = (".jsonl", ".png", ".mp4")
_INTERRUPTED = 130
_WHOLE = 0.95  # of the frames: a video's count of them is not always exact
_MAX_VIDEO_HEIGHT = 1080
_VIEW_SECONDS = 0.7
"""The 3D view follows the people with this time constant, so that it does not shake with them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pose3d run`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{__doc__}\n{camera_file.__doc__}"
    parser.add_argument("source", metavar="VIDEO|CAMERA|IMAGE", help="a file, a stream's address or a camera's number")
    parser.add_argument(
        "--camera-info", type=Path, metavar="FILE", help="calibration: JSON or camera_calibration's YAML"
    )
    parser.add_argument("--fov", type=float, metavar="DEG", help="assume a pinhole of this horizontal field of view")
    parser.add_argument(
        "--output", type=Path, default=Path("pose3d_output"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--pitch", type=float, metavar="DEG", help="the camera looks down by so much; makes 3D better")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--models", type=Path, metavar="DIR", help="the folder of the networks; default: the package's")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the networks; default: auto for a camera, fp16 for a file, which can wait: on a CPU, for "
        "networks that see more than those in 8 bits",
    )
    parser.add_argument("--threads", type=int, default=PipelineSettings().threads, help="CPU threads (%(default)s)")
    parser.add_argument("--max-people", type=int, default=PipelineSettings().max_people, help="(%(default)s)")
    parser.add_argument("--ellipses", action="store_true", help="draw each joint's uncertainty (2 sigma)")
    parser.add_argument("--no-video", action="store_true", help="write no video, which takes longer than the networks")


def run(args: argparse.Namespace) -> int:
    """Runs the pipeline over the source; returns the exit status."""
    check_frames(args.frames)
    with _signals_interrupt(), open_source(args.source) as source:
        _keep(file_of(args.source), args.output, source.name)
        precision = args.precision or ("auto" if source.is_live else "fp16")
        settings = PipelineSettings(threads=args.threads, max_people=args.max_people, precision=precision)
        calibration = read_camera(args.camera_info) if args.camera_info else None
        pipeline = Pipeline(args.models, settings)
        print(f"{source.name}: {pipeline.description}", file=sys.stderr)
        if calibration is None and args.fov is None:
            print("no --camera-info and no --fov: joints in pixels only, no metres", file=sys.stderr)
        try:
            args.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VideoError(f"cannot make the output folder {args.output}: {error.strerror}") from error
        return _process(source, pipeline, calibration, args)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """What ends a service or closes a terminal ends the run like Ctrl-C, so that the video is finished."""
    # One that is ignored stays so: nohup does that.
    ours = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _keep(source: Path, output: Path, name: str) -> None:
    """Raises VideoError where what is written would take the place of what is read."""
    for target in (output / f"{name}{suffix}" for suffix in _WRITTEN):
        if target.exists() and source.exists() and target.samefile(source):
            raise VideoError(f"{target} is what is read: name another folder with --output")


def _process(source: Source, pipeline: Pipeline, calibration: Camera | None, args: argparse.Namespace) -> int:
    """Writes everything and prints its paths; returns the exit status."""
    from tqdm import tqdm

    jsonl, picture, film = (args.output / f"{source.name}{suffix}" for suffix in _WRITTEN)
    with_video = not (args.no_video or isinstance(source, ImageSource))
    video = TimedVideoWriter(film, source.fps) if with_video else None
    total = source.count if args.frames is None else min(args.frames, source.count or args.frames)
    best: tuple[float, Image, Sequence[Person]] | None = None
    view: draw.View | None = None
    camera: Camera | None = None
    ground = None if args.pitch is None else Ground.of_tilted_camera(args.pitch)
    up = None if ground is None else ground.up
    metric = calibration is not None or args.fov is not None
    seen = frames = before_ns = status = 0
    try:
        with _naming(jsonl), jsonl.open("w", encoding="utf-8") as lines:
            progress = tqdm(islice(source, args.frames), total=total, unit="frame", disable=None)
            for index, (image, stamp_ns) in enumerate(progress):
                if index == 0:
                    camera = _camera(image, calibration, args.fov)
                people = pipeline.process(Frame(image, stamp_ns, camera, ground=ground))
                seen += bool(people)
                lines.write(json.dumps(frame_record(index, stamp_ns, people), allow_nan=False) + "\n")
                frames = index + 1
                if video is not None:
                    view = _calm_view(view, people, (stamp_ns - before_ns) / 1e9, up)
                    before_ns = stamp_ns
                    # A camera's film leaves images out where they come too fast; a file's shows each.
                    shown_ns = stamp_ns if source.is_live else round(1e9 * index / source.fps)
                    video.write_at(shown_ns, annotated(image, people, metric, view, ellipses=args.ellipses))
                shown = sum(float(np.mean(p.joint_score * (p.joint_state == JointState.VISIBLE))) for p in people)
                if best is None or shown > best[0]:
                    best = (shown, image.copy(), people)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    finally:
        if video is not None:
            video.close()
    if best is None:
        jsonl.unlink(missing_ok=True)
        if status:
            return status
        raise VideoError(f"{source.name} gave no image")
    if status:
        print("stopped; what was done is written", file=sys.stderr)
    elif frames != args.frames and _is_cut(source, frames, stamp_ns):
        print(f"{source.name} ends after {frames} of about {source.count} frames: damaged?", file=sys.stderr)
    still = _view(best[2], up)
    _write_picture(picture, annotated(best[1], best[2], metric, still, ellipses=args.ellipses, max_height=None))
    print(f"somebody in {seen} of {frames} frames", file=sys.stderr)
    for path in [jsonl, picture] + ([film] if video is not None else []):
        print(path)
    return status


def _is_cut(source: Source, frames: int, stamp_ns: int) -> bool:
    """Whether a source that has ended, with this last stamp, is clearly shorter than it says."""
    if source.count is None:
        return False
    # Both, as the count may be the duration times a rate that varies, and a last image may be shown for long.
    return max(frames, stamp_ns / 1e9 * source.fps) < _WHOLE * source.count


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives an OSError the file's name, which those of a full disk lack."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def annotated(
    image: Image,
    people: Sequence[Person],
    metric: bool,
    view: draw.View | None,
    *,
    ellipses: bool = False,
    max_height: int | None = _MAX_VIDEO_HEIGHT,
) -> Image:
    """The image with its skeletons, beside it their 3D view if `metric`; at most `max_height` pixels high."""
    picture = draw.draw_people(image, people, ellipses=ellipses)
    if max_height is not None and picture.shape[0] > max_height:
        width = round(picture.shape[1] * max_height / picture.shape[0])
        picture = np.asarray(cv2.resize(picture, (width, max_height), interpolation=cv2.INTER_AREA), np.uint8)
    return draw.beside_3d(picture, people, view, ellipsoids=ellipses) if metric else picture


def frame_record(index: int, stamp_ns: int, people: Sequence[Person]) -> dict[str, Any]:
    """One frame's line of the JSON lines file."""
    return {"frame": index, "stamp": stamp_ns / 1e9, "people": [_person_record(person) for person in people]}


def _person_record(person: Person) -> dict[str, Any]:
    cov = person.joints_m_cov
    joints = {
        name: {
            "px": _numbers(person.joints_px[j], 2),
            "score": _numbers(person.joint_score[j], 3),
            "state": JointState(int(person.joint_state[j])).name.lower(),
            "xyz": None if person.joints_m is None else _numbers(person.joints_m[j], 4),
            "sigma": None if cov is None else _numbers(np.sqrt(np.diagonal(cov[j])), 4),
        }
        for j, name in enumerate(skeleton.JOINTS)
    }
    return {"id": person.id, "box": _numbers(person.box, 1), "score": _numbers(person.score, 3), "joints": joints}


def _numbers(values: Any, digits: int) -> Any:
    """Rounded plain numbers; null where not finite, which JSON does not know."""
    array = np.asarray(values, float)
    if array.ndim == 0:
        return round(float(array), digits) if np.isfinite(array) else None
    return [_numbers(value, digits) for value in array]


def _camera(image: Image, calibration: Camera | None, fov_deg: float | None) -> Camera | None:
    height, width = image.shape[:2]
    if calibration is not None:
        return camera_for_image(calibration, width, height)
    return None if fov_deg is None else Camera.from_horizontal_fov(width, height, fov_deg)


def _view(people: Sequence[Person], up: NDArray[np.float64] | None) -> draw.View | None:
    return draw.View.around(people) if up is None else draw.View.around(people, up=up)


def _calm_view(
    view: draw.View | None, people: Sequence[Person], seconds: float, up: NDArray[np.float64] | None
) -> draw.View | None:
    """The view `seconds` after `view`."""
    wanted = _view(people, up)
    if view is None or wanted is None:
        return wanted or view
    return view.towards(wanted, 1 - float(np.exp(-seconds / _VIEW_SECONDS)))


def _write_picture(path: Path, image: Image) -> None:
    ok, data = cv2.imencode(path.suffix, image)
    if not ok:
        raise VideoError(f"cannot encode {path}")
    with _naming(path):
        path.write_bytes(data.tobytes())
