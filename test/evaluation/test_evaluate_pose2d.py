"""What scores say against what is true."""

import json

import cv2
import numpy as np
import pytest

from pose3d_ros import cli
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.evaluate_pose2d import (
    Look,
    Reliability,
    Scores,
    _write_worst,
    draw_reliability,
    everyday_cases,
)
from pose3d_ros.evaluation.pose2d import leaning_deg
from pose3d_ros.models import read_models
from pose3d_ros.skeleton import COCO_17, INDEX, NUM_JOINTS
from pose3d_ros.stages.pose2d import PoseEstimator


def scores(said, right):
    """One person with a joint per entry."""
    error = np.where(right, 0.05, 0.6)[None]
    return Scores(error, np.array(said, float)[None], np.zeros_like(error), np.ones(error.shape, bool))


def test_reliability_by_bins():
    found = scores([0.9, 0.9, 0.9, 0.9, 0.1, 0.1], [1, 1, 1, 0, 0, 1]).reliability()
    np.testing.assert_allclose(found.said, [0.1, 0.9])
    np.testing.assert_allclose(found.true, [0.5, 0.75])
    np.testing.assert_allclose(found.share, [1 / 3, 2 / 3])
    assert found.error() == pytest.approx(0.4 / 3 + 0.15 * 2 / 3)


def test_the_picture_has_a_curve_where_the_figures_are():
    curve = Reliability(np.array([0.25, 0.75]), np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    with_curve, without = draw_reliability({"photos": curve}), draw_reliability({})
    rows, columns = np.nonzero((with_curve != without).any(-1)[100:-100])
    height, width = with_curve.shape[:2]
    assert abs(np.median(rows) + 100 - height / 2) < 8
    assert np.ptp(columns) == pytest.approx(0.5 * width, rel=0.3)


@pytest.mark.parametrize("angle", [0, 40, 90, 180])
def test_how_far_a_person_leans(angle):
    """To either side; a torso turned by an angle leans by it."""
    for turn in (np.radians(angle), -np.radians(angle)):
        up, right = np.array([np.sin(turn), -np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
        joints = np.zeros((NUM_JOINTS, 2))
        for side, away in (("left", 1), ("right", -1)):
            joints[INDEX[f"{side}_hip"]] = [50, 60] + 6 * away * right
            joints[INDEX[f"{side}_shoulder"]] = [50, 60] + 10 * away * right + 30 * up
        assert leaning_deg(joints) == pytest.approx(angle, abs=1e-6)


def write_everyday(folder, joints_px):
    """An everyday photo, bright, of one person with these joints [24, 2]; returns the annotations."""
    person = {"image_id": 1, "bbox": [100, 40, 100, 160]}
    person["keypoints"] = np.pad(joints_px[COCO_17], ((0, 0), (0, 1)), constant_values=2).ravel().tolist()
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "photo.png"), np.full((240, 320, 3), 204, np.uint8))
    path = folder / "person_keypoints.json"
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "photo.png"}], "annotations": [person]}))
    return path


def test_figures_are_recorded(tmp_path, capsys):
    """Of somebody whose joints lie where the tiny stage 1 puts them, with a score of 0.8; the ankles lie elsewhere."""
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    model = tiny_networks.write_models(tmp_path / "models") / "pose2d.onnx"
    anywhere = np.random.default_rng(0).uniform(50, 200, (NUM_JOINTS, 2))
    [case] = everyday_cases(write_everyday(tmp_path / "everyday", anywhere))
    joints = PoseEstimator(OnnxRuntimeEngine(model, threads=1)).estimate(case.image, case.box[None]).joints_px[0]
    for side in ("left", "right"):
        joints[INDEX[f"{side}_ankle"]] += 100
    write_everyday(tmp_path / "everyday", joints)
    words = ["evaluate", "pose2d", "--model", str(model), "--data", str(tmp_path)]
    assert cli.main(words) == 0
    assert not read_models(model.parent)["pose2d"].figures
    assert cli.main([*words, "--record"]) == 0
    found = read_models(model.parent)["pose2d"]
    found.verify()
    assert found.figures == {"everyday: PCK@0.2": 83.3, "everyday: PCK@0.1": 83.3, "everyday: ECE": 0.033}
    assert "83.3     83.3  0.033" in capsys.readouterr().out
    pictures = ["--worst", str(tmp_path / "new"), "--reliability", str(tmp_path / "reliability.png")]
    assert cli.main([*words, *pictures]) == 0
    sheet = cv2.imread(str(tmp_path / "new/worst_everyday.png"))
    assert sheet.shape[1] == 5 * sheet.shape[0]
    assert sheet[:, sheet.shape[0] :].max() == 0, "one person, and four places left empty"
    assert cv2.imread(str(tmp_path / "reliability.png")).std() > 0


def test_the_sheet_has_the_twenty_worst_first(tmp_path):
    looks = [Look(float(k), 0.0, np.full((4, 4, 3), 10 * k, np.uint8)) for k in range(23)]
    _write_worst(looks, tmp_path / "worst.png")
    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet[::4, ::4, 0].ravel().tolist() == [10 * k for k in range(22, 2, -1)]
