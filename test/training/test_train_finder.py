"""Training the finder by the shipped command, on a few made-up pictures."""

import csv
import io
import json
import tarfile

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.cli import main
from pose3d_ros.data.synthetic.render import Label
from pose3d_ros.data.synthetic.shards import pack, write_shard
from pose3d_ros.skeleton import NUM_JOINTS

WIDTH, HEIGHT = 96, 64
TINY = {
    "depth": 18, "width": 8, "head_width": 16, "input_width": WIDTH, "input_height": HEIGHT, "batch": 4, "samples": 16,
    "evaluate_every": 8, "warmup_samples": 4,
}  # fmt: skip


def picture(box):
    """A white person before grey, as a JPEG."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    cv2.rectangle(image, box[:2], box[2:], (255, 255, 255), -1)
    return cv2.imencode(".jpg", image)[1].tobytes()


def write_scenes(folder):
    box = (40, 10, 60, 50)
    corners = np.array([box[:2], box[2:]], float)
    label = Label(corners[np.arange(NUM_JOINTS) % 2], np.zeros((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS), box, box, 1.0)
    write_shard(folder / "one.npz", pack([(picture(box), np.eye(3), [label])]))


def write_photos(folder):
    """One to learn from, one to measure on, in LSPET's form."""
    box = (30, 8, 66, 56)
    joints = np.random.default_rng(0).uniform(box[:2], box[2:], (3, 14, 2))
    folder.mkdir()
    np.savez(
        folder / "labels.npz",
        joints=np.concatenate([joints, np.ones((3, 14, 1))], 2).astype(np.float32),
        files=np.array(["kept.jpg", "train.jpg", "val.jpg"]),
        split=np.array([0, 0, 1], np.int8),
    )
    for archive, names in (("train-00", ("kept", "train")), ("val-00", ("val",))):
        with tarfile.open(folder / f"{archive}.tar", "w") as tar:
            for name in names:
                jpeg = picture(box)
                info = tarfile.TarInfo(f"{name}.jpg")
                info.size = len(jpeg)
                tar.addfile(info, io.BytesIO(jpeg))


@pytest.mark.parametrize(
    ("shares", "figures"),
    [
        ({"synthetic": 0.8, "empty": 0.2}, ["loss"]),
        ({"lspet": 0.4, "synthetic": 0.4, "empty": 0.2}, ["loss", "found"]),
    ],
)
def test_it_learns_from_what_is_there(tmp_path, shares, figures):
    """Photos are measured on where there are any; photographs without people there are none."""
    write_scenes(tmp_path / "scenes")
    if "lspet" in shares:
        write_photos(tmp_path / "lspet")
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(TINY | {"shares": shares}))
    command = ["train", "finder", "--config", config, "--data", tmp_path, "--synthetic", tmp_path / "scenes"]
    assert main([str(part) for part in [*command, "--output", tmp_path / "out", "--workers", 0]]) == 0
    rows = list(csv.DictReader((tmp_path / "out/log.csv").open()))
    assert list(rows[0]) == ["samples", "minutes", *figures]
    assert [int(row["samples"]) for row in rows] == [8, 16]
    assert all(np.isfinite(float(row[name])) for row in rows for name in figures)
    assert (tmp_path / "out/checkpoint.pt").is_file()
