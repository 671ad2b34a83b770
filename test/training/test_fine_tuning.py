"""Fine-tuning stage 1 on a person's own pictures in COCO's format, by the shipped command, from an exported file."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from torchrun import run_in_two_processes

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.cli import main  # noqa: E402
from pose3d_ros.data.coco import as_photos, held_out, read_coco  # noqa: E402
from pose3d_ros.models import read_models  # noqa: E402
from pose3d_ros.networks.calibrate_file import photo_crops  # noqa: E402
from pose3d_ros.networks.calibration import UNCALIBRATED  # noqa: E402
from pose3d_ros.networks.export_pose2d import Pose2DGraph, write_onnx  # noqa: E402
from pose3d_ros.networks.finder import FinderNet  # noqa: E402
from pose3d_ros.networks.onnx_file import read_weights  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.skeleton import COCO_17, INDEX  # noqa: E402
from pose3d_ros.training.coco_source import CocoSource  # noqa: E402
from pose3d_ros.training.config import read_config  # noqa: E402
from pose3d_ros.training.crop_data import HIDDEN_WEIGHT  # noqa: E402
from pose3d_ros.training.train_pose2d import Pose2DConfig  # noqa: E402
from pose3d_ros.training.trainer import Trainer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MODELS, CONFIGS = ROOT / "models", ROOT / "pose3d_ros" / "training" / "configs"

PHOTOS = 30
TINY = {
    "depth": 18, "width": 8, "head_width": 16, "input_size": 64, "batch": 16, "samples": 1600,
    "evaluate_every": 320, "warmup_samples": 96, "learning_rate": 0.01, "ema_decay": 0.9,
    "shares": {"coco": 0.95, "nobody": 0.05},
    "augmentation": {"cut_out": 0, "half_body": 0, "rotated": 0, "noise": 0, "blur": 0, "coarse": 0},
}  # fmt: skip


@pytest.fixture
def annotations(tmp_path):
    """Photos of a figure of coloured spots, somewhere on grey; one joint is called hidden, one is not labelled."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, people = [], []
    colours = rng.integers(0, 256, (len(COCO_17), 3))
    for i in range(PHOTOS):
        middle = rng.uniform([60, 60], [140, 100])
        grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(-1, 2)[: len(COCO_17)]
        joints = middle + (grid - [2, 1.5]) * [14, 20]
        picture = np.full((160, 200, 3), 90, np.uint8)
        low, high = joints.min(0) - 6, joints.max(0) + 6
        cv2.rectangle(picture, low.astype(int).tolist(), high.astype(int).tolist(), (255, 255, 255), -1)
        for joint, colour in zip(joints, colours, strict=True):
            cv2.circle(picture, joint.astype(int).tolist(), 5, colour.tolist(), -1)
        cv2.imwrite(str(tmp_path / "images" / f"{i:02d}.png"), picture)
        flags = np.full(len(COCO_17), 2)
        flags[0], flags[1] = 1, 0
        images.append({"id": i, "file_name": f"{i:02d}.png"})
        keypoints = np.column_stack([joints, flags]).ravel().tolist()
        people.append({"image_id": i, "bbox": [*low, *(high - low)], "keypoints": keypoints, "iscrowd": 0})
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"images": images, "annotations": people}))
    return file


def test_labels_say_what_is_hidden_and_what_is_not_known(annotations):
    source = CocoSource(read_coco(annotations))
    labels = source.labels(0, np.random.default_rng(0))
    hidden, unknown, seen = (COCO_17[k] for k in (0, 1, 2))
    assert (labels.located[hidden], labels.visible[hidden], labels.visible_weight[hidden]) == (HIDDEN_WEIGHT, 0, 1)
    assert (labels.located[unknown], labels.visible[unknown], labels.visible_weight[unknown]) == (0, 0, 0.3)
    assert (labels.located[seen], labels.visible[seen], labels.visible_weight[seen]) == (1, 1, 1)
    assert labels.visible_weight[INDEX["spine"]] == 0  # COCO does not know it


def test_a_photo_is_trained_on_or_measured_on(annotations):
    kept, measured = held_out(read_coco(annotations))
    assert 1 <= len(measured) <= PHOTOS // 5
    assert len(kept) + len(measured) == PHOTOS
    assert {p.path for p in kept}.isdisjoint(p.path for p in measured)


def test_a_photo_stays_on_its_side_when_others_come(annotations):
    people = read_coco(annotations)
    for some in (people[: PHOTOS // 2], people[PHOTOS // 3 :]):
        measured = {p.path for p in held_out(people)[1]}
        assert {p.path for p in held_out(some)[1]} == measured & {p.path for p in some}


def test_of_ten_photos_there_is_always_one_to_measure_on(annotations):
    people = read_coco(annotations)
    for start in range(PHOTOS - 10):
        assert held_out(people[start : start + 10])[1]
    assert not held_out(people[:9])[1]


def change(annotations, how):
    """Rewrites the file as `how` has changed its content."""
    content = json.loads(annotations.read_text())
    how(content)
    annotations.write_text(json.dumps(content))


@pytest.mark.parametrize("box", [[0, 0, 0, 0], None])
def test_who_has_no_box_has_that_of_the_joints(annotations, box):
    change(annotations, lambda content: [entry.update(bbox=box) for entry in content["annotations"]])
    person = read_coco(annotations)[0]
    joints = person.joints_px[person.labelled]
    assert (person.box[:2] <= joints.min(0)).all()
    assert (person.box[2:] >= joints.max(0)).all()
    assert person.box == pytest.approx(np.concatenate([joints.min(0), joints.max(0)]), abs=30)


def test_photos_that_are_not_there_are_told_before_a_training_begins(annotations):
    (annotations.parent / "images" / "03.png").unlink()
    with pytest.raises(ValueError, match=r"own\.json tells of 1 photos that are not there, as .*03\.png"):
        read_coco(annotations)


def test_names_that_are_not_ours_are_told(annotations):
    names = [f"Joint {k}" for k in range(len(COCO_17))]
    change(annotations, lambda content: content.update(categories=[{"keypoints": names}]))
    with pytest.raises(ValueError, match=r"names none of our joints but Joint 0, .*; ours are pelvis, right_hip"):
        read_coco(annotations)


def test_a_file_that_is_a_list_is_named(tmp_path):
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match=r"list\.json has no COCO keypoints: TypeError"):
        read_coco(tmp_path / "list.json")


@pytest.mark.parametrize("role", ["pose2d", "finder"])
def test_a_training_does_not_begin_from_weights_in_8_bits(role, tmp_path):
    """It would begin from nothing."""
    config = read_config(Pose2DConfig, CONFIGS / "pose2d_finetune.yaml")
    net = FinderNet(18, 32, 64) if role == "finder" else Pose2DNet(config.depth, 32, 64)
    with pytest.raises(ValueError, match=rf"{role}_int8\.onnx has no weights to go on from"):
        Trainer(net, config, tmp_path, MODELS / f"{role}_int8.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": "1e-3"}, r"tiny\.yaml: learning_rate is the text '1e-3', not a number"),
        ({"input_size": 100}, "input_size 100 must be a multiple of 32"),
        ({"augmentation": {"cutout": 0.2}}, r"augmentation: unknown keys \['cutout'\]; known are"),
    ],
)
def test_a_configuration_that_cannot_be_is_told(annotations, tmp_path, capsys, change, message):
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(TINY | change))
    command = ["train", "pose2d", "--config", config, "--coco", annotations, "--data", tmp_path]
    assert main([str(part) for part in [*command, "--output", tmp_path / "out", "--workers", 0]]) != 0
    assert re.search(message, capsys.readouterr().err)


def test_people_without_hips_cannot_calibrate_and_leave_what_was_there(annotations, tmp_path, capsys):
    """A desk's camera sees none. Their 8-bit ranges can be measured all the same."""

    def without_hips(content):
        for entry in content["annotations"]:
            for hip in (11, 12):
                entry["keypoints"][3 * hip + 2] = 0

    change(annotations, without_hips)
    torch.manual_seed(0)
    config = read_config(Pose2DConfig, CONFIGS / "pose2d_finetune.yaml")
    config = replace(config, width=8, head_width=16, input_size=64)
    Trainer(Pose2DNet(config.depth, 8, 16), config, tmp_path / "out", None)._save()
    output = tmp_path / "models" / "pose2d.onnx"
    output.parent.mkdir()
    output.write_bytes(b"what was there")
    command = ["export", "pose2d", "--checkpoint", tmp_path / "out/checkpoint.pt", "--output", output]
    assert main([str(part) for part in [*command, "--data", tmp_path, "--coco", annotations]]) != 0
    assert "nobody of the people of your own has shoulders and hips labelled" in capsys.readouterr().err
    assert output.read_bytes() == b"what was there"
    assert list(output.parent.iterdir()) == [output]
    photos = as_photos(held_out(read_coco(annotations))[1])
    assert len(list(photo_crops(photos, 64))) == len(photos)


def test_the_shipped_command_learns_a_persons_own_pictures(annotations, tmp_path):
    """On photos that are held out; there are no other data."""
    torch.manual_seed(0)
    start = tmp_path / "start.onnx"
    write_onnx(Pose2DGraph(Pose2DNet(18, 8, 16).eval(), UNCALIBRATED), 64, start)
    first, last = trained("pose2d", annotations, tmp_path, "--init", start)
    assert last > first + 30


@pytest.mark.parametrize(
    ("config", "file"),
    [("pose2d_finetune.yaml", "pose2d.onnx"), ("pose2d_finetune_rendered.yaml", "rendered/pose2d.onnx")],
)
def test_what_ships_goes_on_by_the_configuration_for_it(config, file, tmp_path):
    config = read_config(Pose2DConfig, CONFIGS / config)
    trainer = Trainer(Pose2DNet(config.depth, config.width, config.head_width), config, tmp_path, MODELS / file)
    shipped = read_weights(MODELS / file, "net.")
    assert shipped.keys() == {name for name in trainer.net.state_dict() if "num_batches_tracked" not in name}
    for name, value in shipped.items():
        torch.testing.assert_close(trainer.net.state_dict()[name], value)


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is a wider network, .*: give the configuration the width and head_width"):
        Trainer(Pose2DNet(18, 32, 64), Pose2DConfig(), tmp_path, MODELS / "pose2d.onnx")


def test_two_processes_share_the_shipped_command_and_go_on_together(annotations, tmp_path):
    """A step of each is 32 samples of both."""
    config, output = tmp_path / "tiny.yaml", tmp_path / "out"
    command = ["train", "pose2d", "--config", config, "--coco", annotations, "--data", tmp_path, "--output", output]
    for samples in (64, 128):
        config.write_text(json.dumps(TINY | {"samples": samples, "evaluate_every": 64}))
        script = Path(__file__).with_name("command_process.py")
        run_in_two_processes(script, *command, "--workers", 0, "--threads", 1)
    lines = (output / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["samples", "64", "128"]
    state = torch.load(output / "checkpoint.pt", weights_only=True)
    assert state["samples"] == 128
    assert int(state["ema_count"]) == 4


def test_direct_regression_learns_from_the_same_configuration(annotations, tmp_path):
    first, last = trained("deeppose", annotations, tmp_path)
    assert last > first + 20


def trained(network, annotations, tmp_path, *more):
    """PCK@0.2 on the photos held out after a fifth of a training by the shipped command, and after all of it."""
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(TINY))
    command = ["train", network, "--config", config, "--coco", annotations, "--data", tmp_path, *more]
    assert main([str(part) for part in [*command, "--output", tmp_path / "out", "--workers", 0]]) == 0
    lines = (tmp_path / "out/log.csv").read_text().splitlines()
    column = lines[0].split(",").index("own_pck_0.2")
    return [float(line.split(",")[column]) for line in (lines[1], lines[-1])]


def test_what_was_learned_is_calibrated_and_put_into_8_bits_on_the_photos_held_out(annotations, tmp_path, capsys):
    """There is no other data set."""
    checkpoint, models = tmp_path / "out/checkpoint.pt", tmp_path / "models"
    trained("pose2d", annotations, tmp_path)
    kept = ["--data", tmp_path, "--coco", annotations]
    export = ["export", "pose2d", "--checkpoint", checkpoint, "--output", models / "pose2d.onnx", *kept]
    assert main([str(part) for part in export]) == 0
    assert main([str(part) for part in ["export", "int8", "pose2d", "--models", models, *kept]]) == 0
    said = capsys.readouterr().out
    assert said.count("calibrated on people of your own (") == 2
    assert said.count("so few people say little") == 2
    assert re.search(r"pose2d\.onnx: PCK@0\.1 on people of your own \(\d+\) \d+\.\d, in 8 bits \d", said)
    assert read_models(models)["pose2d"].int8 is not None


def test_without_annotations_it_says_what_to_give(tmp_path, capsys):
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(TINY))
    command = ["train", "pose2d", "--config", str(config), "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(command) != 0
    assert "give their annotations with --coco" in capsys.readouterr().err


def test_a_file_that_is_no_coco_is_named(tmp_path):
    (tmp_path / "other.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"other\.json has no COCO keypoints: KeyError 'annotations'"):
        read_coco(tmp_path / "other.json")
