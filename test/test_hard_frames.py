"""Which frames are hard, and how they are kept."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pose3d_ros.data.coco import read_coco
from pose3d_ros.hard_frames import HardFrame, HardFrameFolder, HardFramePicker
from pose3d_ros.person import Frame, JointState, Person
from pose3d_ros.skeleton import JOINTS, NUM_JOINTS

STEP_NS = 100_000_000
SIZE = (480, 640, 3)


def somebody(score: float = 0.8, scale: float = 1.0) -> Person:
    pose = np.random.default_rng(7).normal(0, 0.4, (NUM_JOINTS, 3))
    return Person(
        id=3,
        box=np.array([100.0, 50, 300, 450]),
        score=0.9,
        joints_px=320 + 100 * pose[:, :2],
        joints_px_cov=np.tile(4.0 * np.eye(2), (NUM_JOINTS, 1, 1)),
        joint_score=np.full(NUM_JOINTS, score),
        joint_state=np.full(NUM_JOINTS, JointState.VISIBLE, np.uint8),
        joints_m=scale * pose + [0, 0, 4],
    )


def picked(frames, drift=(), step_ns=STEP_NS) -> list[list[str]]:
    picker = HardFramePicker()
    return [reasons for i, people in enumerate(frames) if (reasons := picker.reasons(i * step_ns, people, drift))]


def hard(stamp_ns: int, camera: str = "", people=(), seed: int | None = None) -> HardFrame:
    """Noise makes large files."""
    image = np.random.default_rng(seed or stamp_ns).integers(0, 256, SIZE).astype(np.uint8)
    return HardFrame(Frame(image, stamp_ns), camera, people, ["drift: mean_score"], "net 1")


def test_people_who_are_well_are_not_hard():
    assert picked([[somebody()]] * 100) == []
    assert picked([[]] * 100, drift=["mean_score is low"]) == []


def test_a_low_score_is_hard_once_somebody_is_followed():
    assert picked([[somebody(0.3)]] * 10) == []
    assert picked([[somebody(0.3)]] * 11) == [["person 3: mean score 0.30"]]


def test_a_bone_that_jumps_is_hard():
    assert picked([[somebody()]] * 3 + [[somebody(scale=1.5)]] * 3) == [["person 3: a bone's length jumped"]]
    assert picked([[somebody()]] * 3 + [[somebody(scale=1.1)]] * 3) == []


def test_drift_is_hard_at_most_once_in_five_seconds():
    assert len(picked([[somebody()]] * 101, drift=["mean_score"])) == 3
    assert len(picked([[somebody()]] * 2, drift=["mean_score"], step_ns=-STEP_NS * 100)) == 2


def test_picture_and_label(tmp_path):
    state = np.array([JointState.VISIBLE] * 20 + [JointState.INFERRED] * 3 + [JointState.PREDICTED], np.uint8)
    lost = replace(somebody(), joints_px=np.full((NUM_JOINTS, 2), np.nan))
    frame = hard(1_700_000_000_000_000_000, "front", [replace(somebody(), joint_state=state), lost])
    picture = HardFrameFolder(tmp_path / "new" / "folder", 10).write(frame)
    assert picture.name == "hard_front_1700000000000000000.jpg"
    assert cv2.imread(str(picture)).shape == SIZE
    label = json.loads(picture.with_suffix(".json").read_text())
    assert label["images"] == [{"id": 1, "file_name": picture.name, "width": 640, "height": 480}]
    assert label["categories"][0]["keypoints"] == list(JOINTS)
    [person] = label["annotations"]
    keypoints = np.array(person["keypoints"]).reshape(-1, 3)
    np.testing.assert_allclose(keypoints[:, :2], somebody().joints_px, atol=0.051)
    assert keypoints[:, 2].tolist() == [2] * 20 + [1] * 3 + [0]
    assert (person["num_keypoints"], person["bbox"], person["track_id"]) == (23, [100, 50, 200, 400], 3)
    assert label["info"]["reasons"] == ["drift: mean_score"]


def test_only_the_owner_may_look(tmp_path):
    picture = HardFrameFolder(tmp_path / "kept", 10).write(hard(5))
    assert stat.S_IMODE(picture.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600


def test_the_folder_is_bounded_and_other_files_are_left_alone(tmp_path):
    foreign = [tmp_path / "holiday.jpg", tmp_path / "hard_work.jpg", tmp_path / "notes.json"]
    for file in foreign:
        file.write_bytes(b"0" * 2_000_000)
        os.utime(file, (1, 1))
    folder = HardFrameFolder(tmp_path, 1)
    for i in range(1, 7):
        folder.write(hard(i))
    ours = {p for p in tmp_path.iterdir() if p not in foreign}
    assert all(file.stat().st_size == 2_000_000 for file in foreign)
    assert sum(p.stat().st_size for p in ours) <= 1_000_000
    assert max(p.name for p in ours) == f"hard_{6:019d}.json"
    assert len({p.suffix for p in ours}) == 2
    assert {p.stem for p in ours if p.suffix == ".jpg"} == {p.stem for p in ours if p.suffix == ".json"}
    assert f"hard_{1:019d}" not in {p.stem for p in ours}


def test_a_picture_larger_than_the_folder_removes_nothing(tmp_path):
    folder = HardFrameFolder(tmp_path, 1)
    kept = folder.write(hard(1))
    image = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3)).astype(np.uint8)
    with pytest.raises(OSError, match="hard_frames_max_mb"):
        folder.write(HardFrame(Frame(image, 2), "", [], ["x"], ""))
    assert kept.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_leaves_no_half_files(tmp_path):
    (tmp_path / f"hard_{1:019d}.jpg.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        HardFrameFolder(tmp_path, 10).write(hard(1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        HardFrameFolder(tmp_path / "file", 10).write(hard(1))


def test_a_folder_of_them_can_be_trained_with(tmp_path):
    """Of joints that were predicted only nothing is labelled, and inferred ones are hidden."""
    person = somebody()
    person.joint_state[:3] = [JointState.VISIBLE, JointState.INFERRED, JointState.PREDICTED]
    folder = HardFrameFolder(tmp_path / "frames", 10)
    pictures = [folder.write(hard(stamp_ns, people=[person])) for stamp_ns in (1, 2)]
    people = read_coco(folder.path)
    assert [read.path for read in people] == pictures
    np.testing.assert_allclose(people[0].joints_px, person.joints_px, atol=0.051)
    np.testing.assert_allclose(people[0].box, person.box)
    assert people[0].asked.all()
    assert people[0].labelled[:3].tolist() == [True, True, False]
    assert people[0].hidden[:3].tolist() == [False, True, False]
