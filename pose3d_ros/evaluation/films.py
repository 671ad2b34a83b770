"""Rendered films through the pipeline, frame by frame, beside their truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import read_camera
from pose3d_ros.person import Frame, Person
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.video import open_source


class Played(NamedTuple):
    """A frame: what its film's file tells of it, who was found in it, and its camera."""

    true: Any
    people: list[Person]
    camera: Camera


def play(pipeline: Pipeline, folder: Path, truth: str, kind: str) -> Iterator[Played]:
    """The frames of a folder's film. truth: what is read of its clip.json. kind: of films that have that.

    Raises ValueError when the file does not tell it, CameraError when it has no calibration.
    """
    file = folder / "clip.json"
    true_of_frames = json.loads(file.read_text(encoding="utf-8")).get(truth)
    if true_of_frames is None:
        raise ValueError(f"{file} has no {truth}: films that have it are made by pose3d render --kind {kind}")
    camera = read_camera(file)
    pipeline.reset()
    with open_source(str(folder / "clip.mp4")) as source:
        for (image, stamp_ns), true in zip(source, true_of_frames, strict=False):
            yield Played(true, pipeline.process(Frame(image, stamp_ns, camera)), camera)
