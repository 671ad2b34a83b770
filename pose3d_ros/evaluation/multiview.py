"""`pose3d evaluate multiview`: does the shipped pipeline say the same from four synchronised, calibrated cameras?

No joint positions come with these videos, so that agreement stands in for truth: each camera's people are estimated
from that camera alone, brought into the world by its calibration (x_cam = R X + t), and compared. The person on the
platform is the one whose 2D joints fit together over the cameras; others in view are left out. All cameras' people are
fused, too (`stages.fuse`), and held like each camera's against the triangulation of the 2D joints.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros import draw, skeleton
from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import read_camera
from pose3d_ros.evaluation.metrics import mahalanobis_squared
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.person import Frame, Ground, Person
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.stages.fuse import Fuser, in_frame
from pose3d_ros.video import VideoError, check_frames, open_source

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SAME_PERSON_RAD = np.radians(4.0)
"""A person belongs to the others' triangulation if half of its joints lie within this angle; 21 cm at 3 m."""
_ONE_SIGMA = 3.53
"""Within this chi² of three degrees of freedom lie 68.3 %."""
_SHEET_FRAMES = 10
_SHEET_COLUMNS = 5
_SHEET_CELL_PX = 560


@dataclass(frozen=True, eq=False)
class View:
    """One camera of the rig: its calibration, and where it stands: x_cam = R X + t, metres. video: its file."""

    name: str
    camera: Camera
    R: Array
    t: Array
    video: Path
    fps: float

    def to_world(self, points_m: Array) -> Array:
        """Points [..., 3] of the optical frame in the world."""
        return (points_m - self.t) @ self.R

    def to_camera(self, points_m: Array) -> Array:
        """World points [..., 3] in the optical frame."""
        return points_m @ self.R.T + self.t


def read_view(path: Path) -> View:
    """A camera from its JSON file; the video lies beside it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return View(
        content["name"],
        read_camera(path),
        np.array(content["R"], float),
        np.array(content["t"], float),
        path.parent / content["video"],
        float(content["fps"]),
    )


def triangulate(rays: Array, R: Array, t: Array) -> Array:
    """World points [n, 3] nearest to the rays [c, n, 2] (x/z, y/z) of c cameras with R [c, 3, 3], t [c, 3].

    Least squares of the linear equations x_cam - ray z_cam = 0 (direct linear transform). NaN where fewer than two
    rays are finite.
    """
    # Two rows per camera: (R_0 - u R_2) X = u t_2 - t_0, likewise for v.
    rows = R[:, None, :2, :] - rays[..., None] * R[:, None, 2:, :]
    right = rays * t[:, None, 2:] - t[:, None, :2]
    known = np.asarray(np.isfinite(rays).all(-1))
    rows, right = np.where(known[..., None, None], rows, 0.0), np.where(known[..., None], right, 0.0)
    normal = np.einsum("cnij,cnik->njk", rows, rows)
    side = np.einsum("cnij,cni->nj", rows, right)
    enough = known.sum(0) >= 2
    points = np.full((rays.shape[1], 3), np.nan)
    points[enough] = np.linalg.solve(normal[enough], side[enough][..., None])[..., 0]
    return points


def angles(rays: Array, points_cam: Array) -> Array:
    """Angle in radians between rays [..., 2] and points [..., 3] of the optical frame."""
    directions = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
    cross = np.linalg.norm(np.cross(directions, points_cam), axis=-1)
    return np.arctan2(cross, (directions * points_cam).sum(-1))


def choose_person(candidates: Sequence[Sequence[Array]], views: Sequence[View]) -> list[int | None]:
    """Per camera, which candidate (rays [24, 2] each) is the person that all cameras see; None where it is missing.

    Every pair of candidates of two cameras is triangulated, and the other cameras' candidates are held against it;
    the pair with which most cameras agree wins, and among equals the one that fits best.
    """
    nobody: list[int | None] = [None] * len(views)
    best = (0, 0.0, nobody)
    for a, b in combinations(range(len(views)), 2):
        R, t = np.stack([views[a].R, views[b].R]), np.stack([views[a].t, views[b].t])
        for first, second in product(candidates[a], candidates[b]):
            points = triangulate(np.stack([first, second]), R, t)
            choice, errors = list(nobody), []
            for c, view in enumerate(views):
                if not len(candidates[c]):
                    continue
                error = np.nanmedian(angles(np.stack(candidates[c]), view.to_camera(points)), axis=-1)
                nearest = int(np.argmin(error))
                if error[nearest] < _SAME_PERSON_RAD:
                    choice[c] = nearest
                    errors.append(float(error[nearest]))
            if len(errors) < 2:
                continue
            rated = (len(errors), -float(np.mean(errors)), choice)
            best = max(best, rated, key=lambda item: item[:2])
    return best[2]


def agreement(joints_m: Array) -> tuple[Array, Array]:
    """How far cameras disagree on world joints [c, f, 24, 3], NaN where a camera misses the person.

    Returns the pelvis distances [pairs, f] and the root-aligned joint distances [pairs, f, 24], metres.
    """
    aligned = joints_m - joints_m[..., [skeleton.ROOT], :]
    pairs = list(combinations(range(len(joints_m)), 2))
    pelvis = np.stack([np.linalg.norm(joints_m[a, :, 0] - joints_m[b, :, 0], axis=-1) for a, b in pairs])
    joints = np.stack([np.linalg.norm(aligned[a] - aligned[b], axis=-1) for a, b in pairs])
    return pelvis, joints


def triangulated(chosen: Sequence[Sequence[Person | None]], views: Sequence[View]) -> Array:
    """World joints [f, 24, 3] where the 2D joints of the person chosen in each camera and frame [c][f] meet.

    NaN where fewer than three cameras see the person: two rays meet anyway along one direction, and check little.
    """
    points = np.full((len(chosen[0]), skeleton.NUM_JOINTS, 3), np.nan)
    for f in range(len(points)):
        seen = [(view, person) for view, row in zip(views, chosen, strict=True) if (person := row[f]) is not None]
        if len(seen) >= 3:
            rays = np.stack([view.camera.rays(person.joints_px) for view, person in seen])
            points[f] = triangulate(rays, np.stack([v.R for v, _ in seen]), np.stack([v.t for v, _ in seen]))
    return points


def in_world(person: Person, view: View) -> Person:
    """The person, who has metres, in the world."""
    return in_frame(person, view.R.T, -view.R.T @ view.t)


def fuse_all(people: Sequence[Sequence[Sequence[Person]]], views: Sequence[View]) -> list[list[Person]]:
    """The fused people of every frame, in the world, of all people [c][f][…]."""
    fuser, fused = Fuser(), []
    for f in range(min(len(row) for row in people)):
        metric = {
            view.name: [in_world(p, view) for p in row[f] if p.joints_m is not None]
            for view, row in zip(views, people, strict=True)
        }
        fused.append(fuser.fuse(metric))
    return fused


def against_triangulation(rows: Mapping[str, Sequence[Person | None]], points_m: Array) -> dict[str, Any]:
    """How far people [f], in the world, are from triangulated joints [f, 24, 3], by row."""
    figures = {}
    for name, people in rows.items():
        off, aligned, squared = (np.full(points_m.shape[:2], np.nan) for _ in range(3))
        for f, person in enumerate(people):
            if person is None or person.joints_m is None or person.joints_m_cov is None:
                continue
            gap = person.joints_m - points_m[f]
            off[f] = np.linalg.norm(gap, axis=-1)
            aligned[f] = np.linalg.norm(gap - gap[skeleton.ROOT], axis=-1)
            squared[f] = mahalanobis_squared(gap, person.joints_m_cov)
        known = np.isfinite(squared)
        figures[name] = {
            "joint_median_mm": _mm(off),
            "joint_p90_mm": round(1e3 * float(np.nanpercentile(off, 90)), 1) if known.any() else None,
            "root_aligned_median_mm": _mm(np.delete(aligned, skeleton.ROOT, axis=-1)),
            "within_1_sigma_share": round(float((squared[known] < _ONE_SIGMA).mean()), 3) if known.any() else None,
            "ids": len({person.id for person in people if person is not None}),
        }
    return figures


def nearest(people: Sequence[Sequence[Person]], points_m: Array) -> list[Person | None]:
    """Of each frame's people [f][…], in the world, the one nearest to the joints [f, 24, 3]; None without joints."""
    chosen: list[Person | None] = []
    for own, points in zip(people, points_m, strict=True):
        known = bool(own) and bool(np.isfinite(points).all())
        off = [float(np.linalg.norm(np.asarray(p.joints_m) - points, axis=-1).mean()) for p in own] if known else []
        chosen.append(own[int(np.argmin(off))] if off else None)
    return chosen


def report(chosen: Sequence[Sequence[Person | None]], views: Sequence[View]) -> dict[str, Any]:
    """The figures of the person chosen in each camera and frame [c][f]."""
    frames = len(chosen[0])
    nobody = np.full((skeleton.NUM_JOINTS, 3), np.nan)
    joints_m = np.stack(
        [
            np.stack([nobody if p is None or p.joints_m is None else view.to_world(p.joints_m) for p in people])
            for people, view in zip(chosen, views, strict=True)
        ]
    )
    pelvis, joints = agreement(joints_m)
    off_px = np.full((len(views), frames, skeleton.NUM_JOINTS), np.nan)
    along_m = np.full((len(views), frames), np.nan)
    for f, points in enumerate(triangulated(chosen, views)):
        for c, view in enumerate(views):
            person = chosen[c][f]
            if person is None or not np.isfinite(points).all():
                continue
            in_camera = view.to_camera(points)
            off_px[c, f] = np.linalg.norm(view.camera.project(in_camera) - person.joints_px, axis=-1)
            if person.joints_m is not None:
                root = in_camera[skeleton.ROOT]
                along_m[c, f] = np.linalg.norm(person.joints_m[skeleton.ROOT]) / np.linalg.norm(root) - 1
    by_joint = {name: _mm(joints[..., j]) for j, name in enumerate(skeleton.JOINTS) if j != skeleton.ROOT}
    names = [view.name for view in views]
    return {
        "frames": frames,
        "found_share": {n: float(np.mean([p is not None for p in row])) for n, row in zip(names, chosen, strict=True)},
        "pelvis_median_mm": _mm(pelvis),
        "pelvis_median_mm_by_pair": {
            f"{names[a]}-{names[b]}": _mm(pelvis[i]) for i, (a, b) in enumerate(combinations(range(len(names)), 2))
        },
        "root_aligned_median_mm": _mm(np.delete(joints, skeleton.ROOT, axis=-1)),
        "root_aligned_median_mm_by_joint": by_joint,
        "distance_error_share": {n: _median(along_m[c]) for c, n in enumerate(names)},
        "reprojection_median_px": {n: _median(off_px[c]) for c, n in enumerate(names)},
    }


def run_pipeline(pipeline: Pipeline, view: View, frames: int | None, gravity: bool = False) -> list[list[Person]]:
    """The people in every frame of a camera's video; `gravity`: with the calibration's upward direction."""
    from tqdm import tqdm

    pipeline.reset()
    ground = Ground(view.R[:, 2]) if gravity else None
    people = []
    with open_source(str(view.video)) as source:
        for index, (image, _) in enumerate(tqdm(source, view.name, source.count, unit="frame", disable=None)):
            if index == frames:
                break
            stamp_ns = round(1e9 * index / view.fps)
            people.append(pipeline.process(Frame(image, stamp_ns, view.camera, ground=ground)))
    return people


def pick(people: Sequence[Sequence[Sequence[Person]]], views: Sequence[View]) -> list[list[Person | None]]:
    """The person whom the cameras see together [c][f], of all people [c][f][…]."""
    chosen: list[list[Person | None]] = [[] for _ in views]
    for f in range(min(len(row) for row in people)):
        rays = [[view.camera.rays(p.joints_px) for p in row[f]] for view, row in zip(views, people, strict=True)]
        for c, index in enumerate(choose_person(rays, views)):
            chosen[c].append(None if index is None else people[c][f][index])
    return chosen


def contact_sheet(view: View, people: Sequence[Person | None]) -> Image:
    """Evenly spaced frames of one camera, cut to the person, with the skeleton on it; "not found" where it is not."""
    wanted = {round(i): None for i in np.linspace(0, len(people) - 1, min(_SHEET_FRAMES, len(people)))}
    boxes = [p.box for i in wanted if (p := people[i]) is not None]
    size = np.array([view.camera.width, view.camera.height])
    corner, opposite = np.zeros(2, int), size
    if boxes:
        low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
        margin = 0.12 * float((high - low).max())
        corner = np.clip(low - margin, 0, size - 2).astype(int)
        opposite = np.clip(high + margin, corner + 2, size).astype(int)
    cells = []
    with open_source(str(view.video)) as source:
        for i, (image, _) in enumerate(source):
            if i not in wanted:
                continue
            person = people[i]
            # Whole and plain: the sheet is for judging positions, not scores.
            plain = [] if person is None else [replace(person, joint_score=np.ones(skeleton.NUM_JOINTS))]
            drawn = draw.draw_people(image, plain, labels=False)
            cut = drawn[corner[1] : opposite[1], corner[0] : opposite[0]]
            cell = np.asarray(cv2.resize(cut, _fitted(cut), interpolation=cv2.INTER_AREA), np.uint8)
            text = f"{view.name} #{i}" + ("" if person is not None else " not found")
            cv2.putText(cell, text, (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.putText(cell, text, (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 1, cv2.LINE_AA)
            cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % _SHEET_COLUMNS)
    rows = [np.concatenate(cells[i : i + _SHEET_COLUMNS], 1) for i in range(0, len(cells), _SHEET_COLUMNS)]
    return np.concatenate(rows, 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pose3d evaluate multiview`."""
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds video/ (%(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write contact sheets and figures here")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames")
    parser.add_argument("--gravity", action="store_true", help="tell the lifter which way is up, as a robot may know")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs, prints the figures, and writes what a person should look at."""
    check_frames(args.frames)
    folder = args.data / "video"
    files = sorted(folder.glob("cam*.json"))
    if len(files) < 2:
        raise VideoError(f"{folder} holds no calibrated cameras (cam01.json, …): name the data folder with --data")
    views = [read_view(path) for path in files]
    pipeline = open_pipeline(args)
    people = [run_pipeline(pipeline, view, args.frames, args.gravity) for view in views]
    chosen = pick(people, views)
    points = triangulated(chosen, views)
    rows: dict[str, Sequence[Person | None]] = {
        view.name: [None if p is None or p.joints_m is None else in_world(p, view) for p in row]
        for view, row in zip(views, chosen, strict=True)
    }
    rows["fused"] = nearest(fuse_all(people, views), points)
    figures = {"models": pipeline.description, "gravity": args.gravity, **report(chosen, views)}
    figures["against_triangulation"] = against_triangulation(rows, points)
    print(json.dumps(figures, indent=1))
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "multiview.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        for view, row in zip(views, chosen, strict=True):
            cv2.imwrite(str(args.output / f"{view.name}.png"), contact_sheet(view, row))
    return 0


def _fitted(image: Image) -> tuple[int, int]:
    """Width and height of the image scaled into a cell."""
    scale = _SHEET_CELL_PX / max(image.shape[:2])
    return max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))


def _median(values: Array) -> float | None:
    return round(float(np.nanmedian(values)), 3) if np.isfinite(values).any() else None


def _mm(values: Array) -> float | None:
    return round(1e3 * float(np.nanmedian(values)), 1) if np.isfinite(values).any() else None
