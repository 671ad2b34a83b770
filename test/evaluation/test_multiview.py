from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose3d_ros import skeleton
from pose3d_ros.camera import Camera
from pose3d_ros.evaluation import multiview
from pose3d_ros.evaluation.multiview import View
from pose3d_ros.person import Person

PERSON = np.random.default_rng(0).uniform([-0.4, -0.4, 0], [0.4, 0.4, 1.8], (24, 3))
"""World joints, metres, z up."""


def rig() -> list[View]:
    """Four cameras 4 m round the origin, 1.5 m high, that look at (0, 0, 1)."""
    views = []
    for i in range(4):
        angle = 0.4 + i * np.pi / 2
        centre = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.5])
        forward = np.array([0, 0, 1.0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        camera = Camera(
            640, 480, np.array([[600, 0, 320], [0, 600, 240], [0, 0, 1.0]]), np.array([-0.1, 0.02, 0, 0, 0])
        )
        views.append(View(f"cam{i}", camera, R, -R @ centre, Path(), 30.0))
    return views


def seen(view: View, joints_world: np.ndarray, stretch: float = 1.0) -> Person:
    """What a perfect pipeline says, or one that takes people for larger, and so farther, by `stretch`."""
    joints = view.to_camera(joints_world)
    px = view.camera.project(joints)
    return Person(
        1,
        np.r_[px.min(0), px.max(0)],
        1.0,
        px,
        np.zeros((24, 2, 2)),
        np.ones(24),
        np.zeros(24, np.uint8),
        stretch * joints,
    )


def test_world_and_camera_are_inverse() -> None:
    for view in rig():
        assert np.allclose(view.to_world(view.to_camera(PERSON)), PERSON)


def test_triangulation_recovers_the_joints() -> None:
    views = rig()
    rays = np.stack([view.camera.rays(view.camera.project(view.to_camera(PERSON))) for view in views])
    R, t = np.stack([v.R for v in views]), np.stack([v.t for v in views])
    assert np.abs(multiview.triangulate(rays, R, t) - PERSON).max() < 1e-6
    rays[1:, 5], rays[2, 7] = np.nan, np.nan
    points = multiview.triangulate(rays, R, t)
    assert np.isnan(points[5]).all()
    assert np.abs(np.delete(points - PERSON, 5, 0)).max() < 1e-6


def test_angles() -> None:
    assert np.allclose(multiview.angles(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0, 0, 2.0]])), [0, np.pi / 4])


@pytest.mark.parametrize("missing", [None, 2])
def test_the_person_whom_all_cameras_see_is_chosen(missing: int | None) -> None:
    views = rig()
    candidates = [[view.camera.rays(seen(view, PERSON).joints_px)] for view in views]
    # A bystander in one camera only, first in its list; and two wrong people in a second.
    candidates[0].insert(0, candidates[0][0] + 0.4)
    candidates[3] += [candidates[3][0] - 0.3, candidates[3][0] + 0.3]
    expected: list[int | None] = [1, 0, 0, 0]
    if missing is not None:
        candidates[missing] = []
        expected[missing] = None
    assert multiview.choose_person(candidates, views) == expected


def test_people_who_do_not_fit_are_not_chosen() -> None:
    views = rig()
    lonely = [[view.camera.rays(seen(view, PERSON).joints_px) + 0.5 * i] for i, view in enumerate(views)]
    assert multiview.choose_person([lonely[0], [], [], []], views) == [None] * 4
    assert multiview.choose_person([lonely[0], [], lonely[2], []], views) == [None] * 4


def test_figures_of_a_perfect_and_of_a_stretching_pipeline() -> None:
    views = rig()
    perfect = multiview.report([[seen(view, PERSON)] * 3 for view in views], views)
    assert perfect["pelvis_median_mm"] == pytest.approx(0, abs=1e-3)
    assert perfect["root_aligned_median_mm"] == pytest.approx(0, abs=1e-3)
    assert perfect["found_share"] == dict.fromkeys((v.name for v in views), 1.0)
    assert max(perfect["reprojection_median_px"].values()) < 1e-3
    json.dumps(perfect, allow_nan=False)

    stretched = multiview.report([[seen(view, PERSON, 1.1)] * 3 for view in views], views)
    assert stretched["distance_error_share"]["cam0"] == pytest.approx(0.1, abs=1e-3)
    # Opposite cameras err in opposite directions: 2 x 10 % of 4 m.
    assert stretched["pelvis_median_mm_by_pair"]["cam0-cam2"] == pytest.approx(800, rel=0.1)
    # All make the same larger person of it.
    assert stretched["root_aligned_median_mm"] == pytest.approx(0, abs=1e-3)


def test_frames_without_the_person_are_counted() -> None:
    views = rig()
    chosen: list[list[Person | None]] = [[seen(view, PERSON), None] for view in views]
    chosen[0][1] = seen(views[0], PERSON)
    figures = multiview.report(chosen, views)
    assert list(figures["found_share"].values()) == [1.0, 0.5, 0.5, 0.5]
    assert multiview.report([[None] * 2] * 4, views)["pelvis_median_mm"] is None


def test_pick_chooses_frame_by_frame() -> None:
    views = rig()
    people = [[[seen(view, PERSON)], []] for view in views]
    chosen = multiview.pick(people, views)
    assert all(row[0] is people[c][0][0] and row[1] is None for c, row in enumerate(chosen))


def test_contact_sheet_shows_ten_frames(tmp_path: Path) -> None:
    view = rig()[0]
    writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (640, 480))
    for _ in range(23):
        writer.write(np.full((480, 640, 3), 90, np.uint8))
    writer.release()
    view = View(view.name, view.camera, view.R, view.t, tmp_path / "v.mp4", 30.0)
    people: list[Person | None] = [seen(view, PERSON)] * 22 + [None]
    sheet = multiview.contact_sheet(view, people)
    assert sheet.shape[0] % 2 == 0
    assert sheet.shape[1] % 5 == 0
    assert multiview.contact_sheet(view, [None] * 4).shape[1] % 5 == 0


def test_reads_a_camera_of_the_rig(tmp_path: Path) -> None:
    content = {"name": "cam09", "video": "cam09.mp4", "fps": 60.0, "image_size": [640, 480], "R": np.eye(3).tolist()}
    content |= {"t": [0, 0, 1], "K": [[600, 0, 320], [0, 600, 240], [0, 0, 1]], "distortion": [0.1, 0, 0, 0, 0]}
    (tmp_path / "cam09.json").write_text(json.dumps(content))
    view = multiview.read_view(tmp_path / "cam09.json")
    assert (view.name, view.fps, view.video) == ("cam09", 60.0, tmp_path / "cam09.mp4")
    assert view.camera.distortion[0] == 0.1


def test_the_agreement_is_by_joint() -> None:
    joints = np.zeros((2, 1, 24, 3))
    joints[1, 0, :, 0] = 0.5
    joints[1, 0, skeleton.INDEX["head"], 1] = 0.2
    pelvis, by_joint = multiview.agreement(joints)
    assert pelvis.shape == (1, 1)
    assert pelvis[0, 0] == pytest.approx(0.5)
    assert by_joint[0, 0, skeleton.INDEX["head"]] == pytest.approx(0.2)
    assert by_joint[0, 0, skeleton.INDEX["neck"]] == pytest.approx(0)


def depth_err(view: View, joints_world: np.ndarray, share: float) -> Person:
    """A person placed too far by a share of the distance, who knows the distance to 5 %."""
    person = seen(view, joints_world)
    assert person.joints_m is not None
    root = person.joints_m[0]
    cov = np.outer(0.05 * root, 0.05 * root) + 0.02**2 * np.eye(3)
    return replace(person, joints_m=person.joints_m + share * root, joints_m_cov=np.broadcast_to(cov, (24, 3, 3)))


def test_fused_people_are_nearer_to_the_triangulation_than_each_cameras() -> None:
    views = rig()
    shares = (0.06, -0.04, 0.03, -0.05)
    people = [[[depth_err(view, PERSON, share)]] * 3 for view, share in zip(views, shares, strict=True)]
    chosen = multiview.pick(people, views)
    points = multiview.triangulated(chosen, views)
    assert np.allclose(points, PERSON, atol=1e-6)
    rows: dict = {v.name: [multiview.in_world(p, v) for p in row] for v, row in zip(views, chosen, strict=True)}
    rows["fused"] = multiview.nearest(multiview.fuse_all(people, views), points)
    figures = multiview.against_triangulation(rows, points)
    fused = figures.pop("fused")
    assert fused["ids"] == 1
    assert fused["joint_median_mm"] < 0.3 * min(row["joint_median_mm"] for row in figures.values())
    assert multiview.against_triangulation({"nobody": [None] * 3}, points)["nobody"]["joint_median_mm"] is None


DATA = Path(os.environ.get("POSE3D_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.mark.skipif(
    not (DATA / "video/cam01.json").is_file(), reason="no video/cam01.json in POSE3D_DATA or ../shared/data"
)
def test_four_real_cameras_fused_are_better_than_each(tmp_path: Path) -> None:
    """The shipped networks on the first frames: one person under one id, nearer to where the rays meet."""
    from pose3d_ros.cli import main

    assert main(["evaluate", "multiview", "--data", str(DATA), "--frames", "25", "--output", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "multiview.json").read_text())["against_triangulation"]
    fused = figures.pop("fused")
    assert len(figures) == 4
    assert fused["ids"] == 1
    assert fused["joint_median_mm"] < 0.75 * min(row["joint_median_mm"] for row in figures.values())
    assert fused["within_1_sigma_share"] > 0.6
