"""Learning from what a network found in the photos before."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.data.lspet import Photos  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS  # noqa: E402
from pose3d_ros.training.bystanders import Bystanders  # noqa: E402
from pose3d_ros.training.crop_data import (  # noqa: E402
    LEAST_CONFIDENCE,
    Augmentation,
    BystanderSource,
    PhotoSource,
    augmented,
    cut_off,
)
from pose3d_ros.training.findings import PLACES, Findings, FoundBystanders, find, find_bystanders  # noqa: E402
from pose3d_ros.training.train_pose2d import Pose2DConfig, Pose2DLoss  # noqa: E402

PLAIN = Augmentation(rotated=0, cut_out=0, blur=0, coarse=0, grey=0, noise=0, half_body=0)
LABELLED, UNLABELLED, NEVER_ASKED = INDEX["left_wrist"], INDEX["right_knee"], INDEX["nose"]


@pytest.fixture
def photos():
    """Two photos with the same person, whose right knee is labelled in the second only, and the nose in none."""
    rng = np.random.default_rng(0)
    jpegs = [cv2.imencode(".jpg", rng.integers(0, 256, (90, 120, 3), np.uint8))[1].tobytes() for _ in range(2)]
    joints = np.tile(rng.uniform([30, 20], [90, 70], (NUM_JOINTS, 2)), (2, 1, 1)).astype(np.float32)
    labelled = np.ones((2, NUM_JOINTS), bool)
    labelled[0, UNLABELLED] = False
    labelled[:, NEVER_ASKED] = False
    return Photos(jpegs, ["a.jpg", "b.jpg"], joints, labelled)


@pytest.fixture
def findings(photos):
    """Every joint found where it is, but for the labelled one, which was found elsewhere; seen to 80 %."""
    places = np.repeat(photos.joints_px[:, :, None], PLACES, 2)
    places[:, LABELLED] += 10
    probability = np.full((2, NUM_JOINTS, PLACES), 0.5 / PLACES, np.float32)
    return Findings(np.array(photos.names), places, probability, np.full((2, NUM_JOINTS), 0.8, np.float32))


def test_a_network_finds_places_in_the_photos_and_the_file_keeps_them(photos, tmp_path):
    torch.manual_seed(0)
    found = find(Pose2DNet(18, 8, 16).eval(), photos)
    assert found.places_px.shape == (2, NUM_JOINTS, PLACES, 2)
    assert (np.abs(found.places_px - [60, 45]) < 100).all()
    assert (found.probability >= 0).all()
    assert (found.probability.sum(-1) <= 1 + 1e-5).all()
    assert ((found.visible >= 0) & (found.visible <= 1)).all()
    found.write(tmp_path / "new" / "findings.npz")
    again = Findings.read(tmp_path / "new" / "findings.npz", photos)
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_findings_of_other_photos_are_refused(photos, findings, tmp_path):
    findings.write(tmp_path / "findings.npz")
    others = Photos(photos.jpegs, ["a.jpg", "c.jpg"], photos.joints_px, photos.labelled)
    with pytest.raises(ValueError, match="of other photos: make it anew with `pose3d findings`"):
        Findings.read(tmp_path / "findings.npz", others)


def test_labels_and_findings_share_the_weight(photos, findings):
    labels = PhotoSource(photos, findings, 0.25).labels(0, np.random.default_rng(0))
    np.testing.assert_allclose(labels.located[[LABELLED, UNLABELLED, NEVER_ASKED]], [0.75, 0, 0])
    np.testing.assert_allclose(labels.found.sum(-1), 0.25 * 0.8 * 0.5, rtol=1e-5)
    # A labelled joint, one that was not labelled (trusted to 0.3 not to be visible), and one that nobody labels.
    np.testing.assert_allclose(
        labels.visible[[LABELLED, UNLABELLED, NEVER_ASKED]], [0.75 + 0.25 * 0.8, 0.2 / (0.225 + 0.25), 0.8], rtol=1e-5
    )
    np.testing.assert_allclose(labels.visible_weight[[LABELLED, UNLABELLED, NEVER_ASKED]], [1, 0.475, 0.25])


def test_a_joint_without_a_label_is_seen_where_it_was_found(photos, findings):
    """The photos' reader puts joints that it does not know into the corner, which hardly any crop has."""
    place = photos.joints_px[0, NEVER_ASKED].copy()
    photos.joints_px[:, NEVER_ASKED] = 0
    rng = np.random.default_rng(0)
    labels = PhotoSource(photos, findings, 0.5).labels(0, rng)
    np.testing.assert_allclose(labels.joints_px[NEVER_ASKED], place)
    assert labels.located[NEVER_ASKED] == 0
    samples = [augmented(labels, 96, PLAIN, rng) for _ in range(20)]
    seen = [sample.visible[NEVER_ASKED] for sample in samples]
    within = [
        (sample.places[NEVER_ASKED] >= 0).all() and (sample.places[NEVER_ASKED] <= 95).all() for sample in samples
    ]
    assert sum(within) > 10
    np.testing.assert_allclose(seen, np.where(within, 0.8, 0.0), rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_places_move_with_the_crop(photos, findings, seed):
    """Found where the label says, they lie where the label lies, whatever is turned, cut off or mirrored."""
    rng = np.random.default_rng(seed)
    labels = PhotoSource(photos, findings, 0.5).labels(1, rng)
    sample = augmented(cut_off(labels, rng), 96, Augmentation(rotated=1), rng)
    agreeing = np.setdiff1d(np.arange(NUM_JOINTS), [LABELLED, MIRROR[LABELLED]])
    apart = sample.places[agreeing] - sample.joints[agreeing, None]
    np.testing.assert_allclose(apart, 0, atol=1e-3)
    unknown = (sample.located[agreeing] == 0) & (agreeing != NEVER_ASKED)
    assert (sample.found[agreeing][unknown] == 0).all()


def test_the_loss_is_least_between_label_and_findings_by_their_weights(photos, findings):
    """A map with both places, each as far as it counts, is better than either alone."""
    rng = np.random.default_rng(0)
    sample = augmented(PhotoSource(photos, findings, 0.5).labels(1, rng), 96, PLAIN, rng)
    batch = [torch.from_numpy(np.asarray(array))[None] for array in sample]
    joint = int(np.argmax(np.linalg.norm(sample.places[:, 0] - sample.joints, axis=-1)))
    batch[2] = batch[2] * (torch.arange(NUM_JOINTS) == joint)
    batch[6] = batch[6] * (torch.arange(NUM_JOINTS) == joint)[:, None]
    label, place = sample.joints[joint], sample.places[joint, 0]
    weight = float(sample.located[joint] / (sample.located[joint] + sample.found[joint].sum()))

    def loss(share_of_label):
        y, x = np.mgrid[:24, :24] * 4 + 1.5
        maps = [np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 6.0**2)) for at in (label, place)]
        both = share_of_label * maps[0] + (1 - share_of_label) * maps[1]
        logits = torch.from_numpy(np.log(both + 1e-9)).float().expand(1, NUM_JOINTS, -1, -1)
        return float(Pose2DLoss(Pose2DConfig()).of_found(logits, torch.zeros(1, NUM_JOINTS), batch))

    assert 0.5 < weight < 1
    assert loss(weight) < min(loss(weight - 0.2), loss(min(weight + 0.1, 1.0)), loss(0.0), loss(1.0))


SURE, UNSURE = INDEX["left_hip"], INDEX["left_toe"]


@pytest.fixture
def found_bystanders(photos):
    """One person behind the one labelled in the second photo, of whom all but a toe was found for sure."""
    joints = np.random.default_rng(1).uniform([70, 20], [110, 80], (1, NUM_JOINTS, 2)).astype(np.float32)
    confidence = np.full((1, NUM_JOINTS), 0.9, np.float32)
    confidence[0, UNSURE] = LEAST_CONFIDENCE - 0.1
    visible = np.full((1, NUM_JOINTS), 0.7, np.float32)
    box = np.array([[65, 15, 115, 85]], np.float32)
    return FoundBystanders(np.array(photos.names), np.array([1]), box, joints, confidence, visible)


def test_a_network_finds_joints_of_bystanders_large_enough_to_tell(photos, tmp_path):
    """The first may be nobody, and the third is too small."""
    torch.manual_seed(0)
    boxes = np.array([[5, 5, 60, 85], [60, 5, 115, 85], [10, 10, 30, 40]], np.float32)
    bystanders = Bystanders(np.array(photos.names), np.array([0, 1, 1]), boxes, np.array([False, True, True]))
    found = find_bystanders(Pose2DNet(18, 8, 16).eval(), photos, bystanders)
    assert found.photo.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_px, boxes[1:2])
    assert found.joints_px.shape == (1, NUM_JOINTS, 2)
    assert ((found.confidence >= 0) & (found.confidence <= 1 + 1e-5)).all()
    found.write(tmp_path / "found.npz")
    again = FoundBystanders.read(tmp_path / "found.npz", photos)
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_places_that_agree_make_a_joint_sure(monkeypatch, photos):
    """Of three looks two name the same place to within a few pixels."""
    boxes = np.array([[20, 5, 80, 65]], np.float32)
    bystanders = Bystanders(np.array(photos.names), np.array([0]), boxes, np.array([True]))
    places = np.zeros((1, NUM_JOINTS, PLACES, 2), np.float32)
    places[:, :, 0], places[:, :, 1], places[:, :, 2] = (50, 40), (51, 40), (70, 60)
    probability = np.zeros((1, NUM_JOINTS, PLACES), np.float32)
    probability[:, :, :3] = 0.3, 0.25, 0.2
    visible = np.ones((1, NUM_JOINTS), np.float32)
    monkeypatch.setattr("pose3d_ros.training.findings._find", lambda *_: (places, probability, visible))
    found = find_bystanders(Pose2DNet(18, 8, 16), photos, bystanders)
    np.testing.assert_array_equal(found.joints_px, np.full((1, NUM_JOINTS, 2), (50, 40)))
    np.testing.assert_allclose(found.confidence, 0.55, rtol=1e-5)


def test_a_bystander_is_learned_from_as_far_as_they_were_found(photos, found_bystanders):
    source = BystanderSource(photos, found_bystanders)
    assert len(source) == 1
    labels = source.labels(0, np.random.default_rng(0))
    np.testing.assert_array_equal(labels.image, photos.image(1))
    np.testing.assert_allclose(labels.located[[SURE, UNSURE]], [0.9, 0])
    np.testing.assert_allclose(labels.visible, 0.7)
    assert not labels.all_known


def test_bystanders_of_whom_hardly_anything_was_found_are_left_out(photos, found_bystanders):
    found_bystanders.confidence[:, 4:] = 0
    assert len(BystanderSource(photos, found_bystanders)) == 0
