"""The finder's shipped file: labelled people found, average precision in rendered crowds, false alarms.

`pose3d evaluate finder --rendered FOLDER`, the folder made by `pose3d render --kind scenes --split test`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.backend import open_engines
from pose3d_ros.crop import box_of_joints, iou
from pose3d_ros.data.lspet import read_lspet
from pose3d_ros.data.nobody import pictures_without_people
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.models import Model, file_sha256, models_dir, pipeline_models, record_figures
from pose3d_ros.person import Frame
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.stages.find import Finder

Image = NDArray[np.uint8]
Boxes = NDArray[np.float64]

_OVERLAP = 0.5
_SCORE = 0.3
"""From which on a find counts: what the pipeline asks for (`score_threshold`)."""
_ALL = 0.01
# Of scikit-image's pictures, those without people (astronaut, camera, lily's microscope and the like left out).
_NOBODY = (
    "brick", "cat", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "horse", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "rocket", "text",
)  # fmt: skip


class Scene(NamedTuple):
    """image: [h, w, 3] BGR. boxes: [n, 4] of the people to be found. hidden: [m, 4] of those who need not be."""

    image: Image
    boxes: Boxes
    hidden: Boxes


def lspet_people(folder: Path) -> Iterator[Scene]:
    """The validation photos; the box is the extent of the labelled joints grown by 15 %."""
    photos = read_lspet(folder, "val")
    for i in range(len(photos)):
        box = box_of_joints(photos.joints_px[i][photos.labelled[i]])
        yield Scene(photos.image(i), box[None], np.zeros((0, 4)))


def share_found(finder: Finder, scenes: Iterable[Scene]) -> float:
    """Percentage of the people whose box some find overlaps by half."""
    found = []
    for scene in scenes:
        boxes, _ = finder.find(scene.image, _SCORE)
        best = iou(scene.boxes, boxes).max(1, initial=0)
        found += (best >= _OVERLAP).tolist()
    return 100 * float(np.mean(found))


def average_precision(finder: Finder, scenes: Iterable[Scene]) -> float:
    """AP50: area under precision over recall of the finds by score; finds of hidden people count neither way.

    Precision is made monotonous, as COCO has it, and integrated over every recall.
    """
    scores: list[float] = []
    hits: list[bool] = []
    people = 0
    for scene in scenes:
        boxes, certainty = finder.find(scene.image, _ALL)
        people += len(scene.boxes)
        for right, score in zip(matches(boxes, scene), certainty, strict=True):
            if right is not None:
                hits.append(right)
                scores.append(float(score))
    hit = np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")]
    right_so_far = np.cumsum(hit)
    precision = right_so_far / np.arange(1, len(hit) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hit].sum() / max(people, 1))


def matches(boxes: Boxes, scene: Scene) -> list[bool | None]:
    """For each find [n, 4], best first: is it somebody not found before? None: it is somebody who need not be found."""
    free = np.ones(len(scene.boxes), bool)
    answers: list[bool | None] = []
    for box in boxes:
        overlap = np.where(free, iou(box[None], scene.boxes)[0], 0)
        if overlap.max(initial=0) >= _OVERLAP:
            free[overlap.argmax()] = False
            answers.append(True)
        else:
            answers.append(None if iou(box[None], scene.hidden).max(initial=0) >= _OVERLAP else False)
    return answers


def pictures_of_nobody(data: Path) -> dict[str, list[Image]]:
    """Pictures without people by where they are from: the data folder's, and scikit-image's where that is installed.

    The data folder's are among the finder's training pictures; scikit-image's are not.
    """
    pictures = {"backgrounds, textures": pictures_without_people(data)}
    try:
        from skimage import data as others
    except ImportError:
        return pictures
    pictures["scikit-image"] = [_bgr(getattr(others, name)()) for name in _NOBODY]
    return pictures


def _bgr(picture: NDArray) -> Image:
    eight = (255 * picture).astype(np.uint8) if picture.dtype == bool else picture
    code = cv2.COLOR_GRAY2BGR if eight.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(eight, code), np.uint8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--model", type=Path, help="the finder's ONNX file; default: the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--rendered", type=Path, help="folder of rendered test scenes")
    parser.add_argument("--record", action="store_true", help="enter the figures in the models.json beside it")


def run(args: argparse.Namespace) -> None:
    """Prints a line per measure whose data are there."""
    model = args.model or models_dir() / "finder.onnx"
    finder = Finder(OnnxRuntimeEngine(model))
    figures: dict[str, float] = {}
    if (args.data / "lspet").is_dir():
        found = share_found(finder, lspet_people(args.data / "lspet"))
        figures["LSPET val-00: found %"] = round(found, 1)
        print(f"LSPET val-00, labelled people found: {found:.1f} %")
    if args.rendered is not None:
        from pose3d_ros.training.synthetic_source import labelled_scenes

        scenes = [Scene(*parts) for parts in labelled_scenes(args.rendered)]
        people = sum(len(scene.boxes) for scene in scenes)
        precision = average_precision(finder, scenes)
        figures["rendered crowds: AP50"] = round(precision, 3)
        print(f"rendered crowds, {people} people in {len(scenes)} pictures: AP50 {precision:.3f}")
    if args.record:
        record_figures(model, figures)
    pipeline = _pipeline_with(model)
    for name, pictures in pictures_of_nobody(args.data).items():
        if pictures:
            alone = sum(len(finder.find(picture, _SCORE)[0]) > 0 for picture in pictures)
            print(
                f"pictures without people ({name}, {len(pictures)}): the finder sees somebody in {alone}, "
                f"the whole pipeline in {sum(_people(pipeline, picture) > 0 for picture in pictures)}"
            )


def _pipeline_with(finder: Path) -> Pipeline:
    """The package's pipeline, but for its finder."""
    models = pipeline_models() | {"find": Model("find", finder, file_sha256(finder))}
    return Pipeline(engines=open_engines(models, PipelineSettings().wish))


def _people(pipeline: Pipeline, picture: Image) -> int:
    pipeline.reset()
    return len(pipeline.process(Frame(picture, 0, None)))
