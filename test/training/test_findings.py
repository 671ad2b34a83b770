"""Learning from what a network found in the photos before."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.data.lspet import Photos  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS  # noqa: E402
from pose3d_ros.training.crop_data import Augmentation, PhotoSource, augmented, cut_off  # noqa: E402
from pose3d_ros.training.findings import PLACES, Findings, find  # noqa: E402
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
    with pytest.raises(ValueError, match="findings of other photos: make them anew"):
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
