"""The reader of LSPET, on a data set of three grey photos."""

import io
import tarfile

import cv2
import numpy as np
import pytest

from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.skeleton import INDEX, NUM_JOINTS


@pytest.fixture
def folder(tmp_path):
    joints = np.zeros((3, 14, 3), np.float32)
    joints[:, 0] = [7, 8, 1]
    joints[:, 13] = [1, 2, 1]
    np.savez(
        tmp_path / "labels.npz",
        joints=joints,
        files=np.array(["a.jpg", "b.jpg", "c.jpg"]),
        split=np.array([0, 0, 1], np.int8),
    )
    jpeg = cv2.imencode(".jpg", np.full((20, 30, 3), 99, np.uint8))[1].tobytes()
    for name, members in (("train-00", "ab"), ("val-00", "c")):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for member in members:
                info = tarfile.TarInfo(f"{member}.jpg")
                info.size = len(jpeg)
                tar.addfile(info, io.BytesIO(jpeg))
    return tmp_path


def test_splits_are_disjoint_and_joints_renamed(folder):
    names = {split: read_lspet(folder, split).names for split in ("train", "calibration", "val")}
    assert names == {"train": ["b.jpg"], "calibration": ["a.jpg"], "val": ["c.jpg"]}
    photos = read_lspet(folder, "val")
    assert photos.labelled[0].sum() == 2
    np.testing.assert_allclose(photos.joints_px[0, INDEX["right_ankle"]], [7, 8])
    np.testing.assert_allclose(photos.joints_px[0, INDEX["head"]], [1, 2])
    assert photos.image(0).shape == (20, 30, 3)


def test_unknown_split_and_missing_photos_are_named(folder):
    with pytest.raises(ValueError, match="no split 'test'"):
        read_lspet(folder, "test")
    (folder / "val-00.tar").unlink()
    with pytest.raises(FileNotFoundError, match="no photos of LSPET"):
        read_lspet(folder, "val")


def test_some_photos_are_evenly_spaced_and_no_more_than_there_are():
    names = [f"{i}.jpg" for i in range(5)]
    joints = np.arange(5, dtype=np.float32)[:, None, None] + np.zeros((5, NUM_JOINTS, 2), np.float32)
    photos = Photos([b"%d" % i for i in range(5)], names, joints, joints[..., 0] > 2)
    some = photos.thinned(2)
    assert (some.jpegs, some.names) == ([b"0", b"2"], ["0.jpg", "2.jpg"])
    np.testing.assert_array_equal(some.joints_px, joints[[0, 2]])
    np.testing.assert_array_equal(photos.thinned(5).labelled, photos.labelled)
    for count in (0, 6):
        with pytest.raises(ValueError, match=f"{count} photos of 5"):
            photos.thinned(count)
