"""Stage 1's shipped file against labelled people: PCK, calibration, coverage."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import CROP_MARGIN, box_of_joints
from pose3d_ros.data.coco import read_coco
from pose3d_ros.data.lspet import read_lspet
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.metrics import mahalanobis_squared
from pose3d_ros.evaluation.pose2d import MAHALANOBIS_SQUARED, RIGHT, THRESHOLDS, TORSO, leaning_deg, torso_length
from pose3d_ros.models import models_dir, record_figures
from pose3d_ros.skeleton import BONES, JOINTS, LIMBS_12
from pose3d_ros.stages.pose2d import PoseEstimator

_EVERYDAY_MARGIN = 1.4
_EVERYDAY_LEAST_JOINTS, _EVERYDAY_LEAST_TORSO_PX, _EVERYDAY_LEAST_BOX_PX = 8, 12, 80
_BINS = 15
_LEANING_DEG = (0, 30, 90, 135, 180)
_CHART_PX, _CHART_EDGE_PX = 360, 48
_CHART_COLOURS = ((180, 90, 20), (20, 120, 230), (60, 150, 60), (150, 60, 150))  # BGR


class Case(NamedTuple):
    """A labelled person. image: BGR. box: what is cropped round, [4]. joints_px: [24, 2]. counted: [24]."""

    image: NDArray[np.uint8]
    box: NDArray[np.float64]
    joints_px: NDArray[np.floating]
    counted: NDArray[np.bool_]
    torso_px: float


class Reliability(NamedTuple):
    """Per bin of the score: its mean, the share of joints that are right, and the share of joints in the bin."""

    said: NDArray[np.floating]
    true: NDArray[np.floating]
    share: NDArray[np.floating]

    def error(self) -> float:
        """The expected calibration error."""
        return float((np.abs(self.said - self.true) * self.share).sum())


class Scores(NamedTuple):
    """What n people gave: error [n, 24] over the torso, score [n, 24], squared Mahalanobis distance [n, 24] of the
    error, counted [n, 24]."""

    error: NDArray[np.floating]
    score: NDArray[np.floating]
    distance: NDArray[np.floating]
    counted: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        found_px: NDArray[np.floating],
        cov_px: NDArray[np.floating],
        score: NDArray[np.floating],
        true_px: NDArray[np.floating],
        torso_px: NDArray[np.floating],
        counted: NDArray[np.bool_],
    ) -> Scores:
        """Of found joints [n, 24, 2] with their covariance [n, 24, 2, 2] and score [n, 24], the true ones, and the
        torso's length [n], all in pixels."""
        offset = found_px - true_px
        error = np.linalg.norm(offset, axis=-1) / np.maximum(torso_px, 1e-6)[:, None]
        distance = mahalanobis_squared(offset, cov_px)
        return cls(error, score, distance, counted)

    def pck(self, threshold: float) -> float:
        """Percentage of the counted joints within a share of the torso."""
        return 100 * float((self.error <= threshold)[self.counted].mean())

    def reliability(self) -> Reliability:
        """What the score says, as P(error <= 0.2 torso), and what is true; in 15 equal bins, of those not empty."""
        score, right = self.score[self.counted], (self.error <= RIGHT)[self.counted]
        index = np.minimum((score * _BINS).astype(int), _BINS - 1)
        bins = [index == b for b in np.unique(index)]
        columns = ((score[b].mean(), right[b].mean(), b.mean()) for b in bins)
        return Reliability(*(np.array(column) for column in zip(*columns, strict=True)))

    def coverage(self, percent: int) -> float:
        """Percentage of the counted joints inside the ellipse that ought to hold `percent` of them."""
        return 100 * float((self.distance <= MAHALANOBIS_SQUARED[percent])[self.counted].mean())

    def figures(self) -> dict[str, float]:
        """What models.json tells of them: per cent, and the expected calibration error."""
        return {
            "PCK@0.2": round(self.pck(0.2), 1),
            "PCK@0.1": round(self.pck(0.1), 1),
            "ECE": round(self.reliability().error(), 3),
        }


def lspet_cases(folder: Path) -> Iterator[Case]:
    """The validation photos whose four torso joints are labelled; the crop from the labels."""
    photos = read_lspet(folder, "val")
    for i in range(len(photos)):
        known, joints = photos.labelled[i], photos.joints_px[i]
        if known[TORSO].all():
            torso = float(torso_length(joints[None])[0])
            yield Case(photos.image(i), box_of_joints(joints[known]), joints, known, torso)


class LabelledPerson(NamedTuple):
    """Somebody in an everyday photo: box, joints [24, 2], those that count [24] and the torso's length, in pixels."""

    path: Path
    box: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    counted: NDArray[np.bool_]
    torso_px: float


def everyday_people(annotations: Path) -> list[LabelledPerson]:
    """People of everyday photos that are large enough, by photo; the 12 joints of the limbs count."""
    limbs = np.zeros(len(JOINTS), bool)
    limbs[LIMBS_12] = True
    people = []
    for person in read_coco(annotations):
        torso = float(torso_length(person.joints_px[None], person.labelled[None])[0])
        size = person.box[2:] - person.box[:2]
        if (
            person.labelled.sum() >= _EVERYDAY_LEAST_JOINTS
            and torso >= _EVERYDAY_LEAST_TORSO_PX
            and size.max() >= _EVERYDAY_LEAST_BOX_PX
        ):
            people.append(LabelledPerson(person.path, person.box, person.joints_px, person.labelled & limbs, torso))
    return sorted(people, key=lambda person: person.path)


def everyday_cases(annotations: Path) -> Iterator[Case]:
    """The people of everyday photos in a crop of 1.4 x box."""
    for person in everyday_people(annotations):
        size = person.box[2:] - person.box[:2]
        middle, half = person.box[:2] + size / 2, size / 2 * _EVERYDAY_MARGIN / CROP_MARGIN
        box = np.concatenate([middle - half, middle + half])
        image = np.asarray(cv2.imread(str(person.path)), np.uint8)
        yield Case(image, box, person.joints_px, person.counted, person.torso_px)


def rendered_cases(folder: Path) -> Iterator[Case]:
    """Rendered people whose joints are visible or hidden by themselves."""
    from pose3d_ros.training.synthetic_source import SyntheticSource

    source = SyntheticSource(folder)
    rng = np.random.default_rng(0)
    for i in range(len(source)):
        person = source.labels(i, rng)
        torso = float(torso_length(person.joints_px[None])[0])
        yield Case(person.image, np.asarray(person.box, float), person.joints_px, person.located >= 1, torso)


def unseen_cases(folder: Path) -> Iterator[Case]:
    """Rendered people with joints behind other things or outside the picture; these alone count."""
    for case in rendered_cases(folder):
        if not case.counted.all():
            yield case._replace(counted=~case.counted)


class Look(NamedTuple):
    """How one person was seen: mean error over the torso, how far they lean, found joints on the crop's part."""

    error: float
    leaning_deg: float
    picture: NDArray[np.uint8]


def score_cases(estimator: PoseEstimator, cases: Iterable[Case]) -> tuple[Scores, list[Look]]:
    """Scores of all cases, and how each was seen."""
    rows: list[Scores] = []
    looks = []
    for case in cases:
        pose = estimator.estimate(case.image, case.box[None])
        truth = case.joints_px[None], np.array([case.torso_px]), case.counted[None]
        rows.append(Scores.of(pose.joints_px, pose.cov_px, pose.score, *truth))
        leaning = float(leaning_deg(case.joints_px)) if case.counted[TORSO].all() else float("nan")
        error = float(rows[-1].error[0, case.counted].mean())
        looks.append(Look(error, leaning, _picture(case, pose.joints_px[0])))
    return Scores(*(np.concatenate(column) for column in zip(*rows, strict=True))), looks


def _picture(case: Case, joints_px: NDArray) -> NDArray[np.uint8]:
    """The person's part of the picture, 192 x 192: found joints in green, labelled ones as red dots."""
    low, high = case.box[:2], case.box[2:]
    side = CROP_MARGIN * float((high - low).max())
    scale = 192 / side
    shift = 96 - scale * (low + high) / 2
    canvas = cv2.warpAffine(case.image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (192, 192))
    found, truth = joints_px * scale + shift, case.joints_px * scale + shift
    for a, b in BONES:
        cv2.line(canvas, _pixel(found[a]), _pixel(found[b]), (0, 255, 0), 1, cv2.LINE_AA)
    for joint in truth[case.counted]:
        cv2.circle(canvas, _pixel(joint), 2, (0, 0, 255), -1)
    return np.asarray(canvas, np.uint8)


def _pixel(point: NDArray) -> tuple[int, int]:
    return int(np.clip(point[0], -999, 999)), int(np.clip(point[1], -999, 999))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--model", type=Path, help="stage 1's ONNX file; default: the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--rendered", type=Path, help="folder of rendered test crops (pose3d render --split test)")
    parser.add_argument("--reliability", type=Path, help="picture to write: what scores say against what is true")
    parser.add_argument("--worst", type=Path, help="folder for a contact sheet of each set's 20 worst cases")
    parser.add_argument("--record", action="store_true", help="enter the main figures in the models.json beside it")


def run(args: argparse.Namespace) -> None:
    """Prints a row per data set that is there, and the PCK of each joint."""
    model = args.model or models_dir() / "pose2d.onnx"
    estimator = PoseEstimator(OnnxRuntimeEngine(model))
    sets: dict[str, Iterator[Case]] = {}
    if (args.data / "lspet").is_dir():
        sets["LSPET val-00"] = lspet_cases(args.data / "lspet")
    if (args.data / "everyday").is_dir():
        sets["everyday"] = everyday_cases(args.data / "everyday/person_keypoints.json")
    if args.rendered is not None:
        sets["rendered test"] = rendered_cases(args.rendered)
        sets["unseen rendered"] = unseen_cases(args.rendered)
    if not sets:
        raise ValueError(f"no labelled people in {args.data}: name the folder of the data sets with --data")
    reliability: dict[str, Reliability] = {}
    figures: dict[str, float] = {}
    print(f"{'set':16s} people  PCK@0.2  PCK@0.1    ECE  in 68 %  in 95 %")
    for name, cases in sets.items():
        scores, looks = score_cases(estimator, cases)
        reliability[name] = scores.reliability()
        figures |= {f"{name}: {figure}": value for figure, value in scores.figures().items()}
        print(
            f"{name:16s} {len(scores.error):6d}  {scores.pck(0.2):7.1f}  {scores.pck(0.1):7.1f}  "
            f"{reliability[name].error():5.3f}  {scores.coverage(68):7.1f}  {scores.coverage(95):7.1f}"
        )
        _print_joints(scores)
        _print_leaning(scores, looks)
        if args.worst is not None:
            _write_worst(looks, args.worst / f"worst_{name.split()[0].lower()}.png")
    if args.reliability is not None:
        cv2.imwrite(str(args.reliability), draw_reliability(reliability))
        print(f"reliability: {args.reliability}")
    if args.record:
        record_figures(model, figures)


def _print_joints(scores: Scores) -> None:
    for threshold in THRESHOLDS[::-1]:
        parts = []
        for j, joint in enumerate(JOINTS):
            counted = scores.counted[:, j]
            if counted.any():
                parts.append(f"{joint} {100 * (scores.error[counted, j] <= threshold).mean():.0f}")
        print(f"  @{threshold}: " + ", ".join(parts))


def _print_leaning(scores: Scores, looks: list[Look]) -> None:
    leaning = np.array([look.leaning_deg for look in looks])
    parts = []
    for low, high in pairwise(_LEANING_DEG):
        people = (leaning >= low) & (leaning <= high)
        if people.any():
            right = (scores.error <= RIGHT)[people][scores.counted[people]]
            parts.append(f"{low}-{high} deg {100 * right.mean():.0f} ({people.sum()} people)")
    print(f"  @{RIGHT}, by how far the torso leans: " + ", ".join(parts))


def draw_reliability(sets: Mapping[str, Reliability]) -> NDArray[np.uint8]:
    """A square picture with a curve for each set; a joint that is as often right as its score says is on the grey
    diagonal. The area of a dot goes by the share of joints in its bin."""
    canvas = np.full((_CHART_PX + 2 * _CHART_EDGE_PX, _CHART_PX + 2 * _CHART_EDGE_PX, 3), 255, np.uint8)

    def place(x: float, y: float) -> tuple[int, int]:
        return round(_CHART_EDGE_PX + x * _CHART_PX), round(_CHART_EDGE_PX + (1 - y) * _CHART_PX)

    def write(text: str, at: tuple[int, int], colour: tuple[int, int, int] = (60, 60, 60)) -> None:
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)

    cv2.rectangle(canvas, place(0, 0), place(1, 1), (60, 60, 60))
    cv2.line(canvas, place(0, 0), place(1, 1), (190, 190, 190), 1, cv2.LINE_AA)
    for tick in (0.0, 0.5, 1.0):
        x, y = place(tick, 0)
        write(f"{tick:.1f}", (x - 12, y + 18))
        x, y = place(0, tick)
        write(f"{tick:.1f}", (x - 32, y + 5))
    write("score", (place(0.45, 0)[0], place(0, 0)[1] + 34))
    write("share of joints within 0.2 torso", (place(0, 1)[0], place(0, 1)[1] - 12))
    for (name, (said, true, share)), colour, row in zip(sets.items(), _CHART_COLOURS, count(), strict=False):
        points = [place(x, y) for x, y in zip(said, true, strict=True)]
        cv2.polylines(canvas, [np.array(points)], False, colour, 1, cv2.LINE_AA)
        for point, part in zip(points, share, strict=True):
            cv2.circle(canvas, point, round(2 + 14 * part**0.5), colour, -1, cv2.LINE_AA)
        write(name, (place(0.04, 0)[0], place(0, 0.95)[1] + 18 * row), colour)
    return canvas


def _write_worst(looks: list[Look], path: Path) -> None:
    worst = [look.picture for look in sorted(looks, key=lambda look: -look.error)[:20]]
    worst += [np.zeros_like(worst[0])] * (-len(worst) % 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack([np.hstack(worst[i : i + 5]) for i in range(0, len(worst), 5)]))
    print(f"  20 worst: {path}")
