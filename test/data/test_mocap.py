"""The mocap reader, the augmentation and the virtual cameras; on a made-up body, so that no data is needed."""

import os
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.data import mocap
from pose3d_ros.data.pose_augmentation import (
    REFERENCE_STATURE_M,
    augment,
    bend_legs,
    bow,
    free_arms,
    lean,
    mirror,
    mix_halves,
    resize,
    scale_bones,
    stature,
)
from pose3d_ros.data.virtual_cameras import (
    ErrorModel,
    _taken_for,
    observe,
    observe_clean,
    sample_views,
    self_occluded,
)
from pose3d_ros.skeleton import BONES, INDEX, NUM_JOINTS, PARENTS, ROOT

DATA = Path(os.environ.get("POSE3D_DATA", Path(__file__).parents[2].parent / "shared" / "data"))

# A standing body in the file's joints, metres, facing +x, left is +y, z up.
BODY = {
    "pelvis": (0, 0, 0.93), "spine": (0, 0, 1.15), "thorax": (0, 0, 1.42), "neck": (0, 0, 1.50),
    "head": (0.02, 0, 1.60), "head_top": (0.02, 0, 1.72), "nose": (0.135, 0, 1.58),
    "l_hip": (0, 0.09, 0.93), "l_knee": (0.01, 0.1, 0.5), "l_ankle": (0, 0.1, 0.08), "l_toe": (0.14, 0.1, 0.03),
    "l_shoulder": (0, 0.19, 1.40), "l_elbow": (-0.02, 0.22, 1.12), "l_wrist": (0.05, 0.22, 0.87),
}  # fmt: skip
BODY |= {f"r_{name[2:]}": (x, -y, z) for name, (x, y, z) in BODY.items() if name.startswith("l_")}
NAMES = list(BODY)


def body(frames: int = 1) -> np.ndarray:
    """The standing body as our joints [frames,24,3]."""
    points = np.array([BODY[name] for name in NAMES], np.float32)
    return mocap.to_our_joints(np.repeat(points[None], frames, axis=0), NAMES)


def sequences(count: int = 6, frames: int = 8) -> np.ndarray:
    return np.stack([body(frames)] * count)


def lengths(joints: np.ndarray) -> np.ndarray:
    bones = np.array(BONES)
    return np.linalg.norm(joints[..., bones[:, 1], :] - joints[..., bones[:, 0], :], axis=-1)


def test_joints_and_face():
    joints = body()[0]
    assert len(mocap.MOCAP_JOINTS) == 20
    np.testing.assert_allclose(joints[INDEX["head"]], BODY["head_top"])
    assert joints[INDEX["left_eye"], 1] == pytest.approx(0.0315, abs=1e-5)
    assert joints[INDEX["right_ear"], 1] == pytest.approx(-0.0725, abs=1e-5)
    np.testing.assert_allclose(joints[INDEX["left_ear"], [0, 2]], (0.02, 1.60), atol=1e-5)
    eyes, nose = joints[INDEX["left_eye"]], joints[INDEX["nose"]]
    assert eyes[0] < nose[0]
    assert eyes[2] > nose[2]


def test_a_file_without_a_joint_is_refused():
    with pytest.raises(ValueError, match="l_wrist"):
        mocap.to_our_joints(np.zeros((1, 20, 3), np.float32), [n for n in NAMES if n != "l_wrist"])


def test_missing_file_and_unknown_split_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="cmu_joints"):
        mocap.load_mocap(tmp_path, "test")
    with pytest.raises(ValueError, match="unknown mocap split"):
        mocap.load_mocap(tmp_path, "holdout")


def test_reads_a_file_by_split(tmp_path):
    points = np.repeat(np.array([BODY[n] for n in NAMES], np.float32)[None], 7, axis=0)
    file = tmp_path / "small.npz"
    np.savez(
        file, positions=points, clip_start=[0, 3, 7], clip_name=["a", "b"], joint_names=NAMES, split=[0, 2], fps=30
    )  # fmt: skip
    clips = mocap.load_mocap(file, "test")
    assert (len(clips), clips.names, clips[0].shape) == (1, ("b",), (4, NUM_JOINTS, 3))
    windows = mocap.sample_windows(np.random.default_rng(0), clips, 5, 20)  # longer than the clip
    assert windows.shape == (5, 20, NUM_JOINTS, 3)


def test_arms_have_human_lengths_and_point_where_they_did():
    clip = sequences()[0]
    changed = mocap.human_arms(clip)
    height = stature(clip[None])[0]
    upper, fore = (lengths(changed)[:, [c for c, p in enumerate(PARENTS) if p >= 0].index(INDEX[f"left_{part}"])]
                   for part in ("elbow", "wrist"))  # fmt: skip
    np.testing.assert_allclose(np.median(upper) / height, 0.160, rtol=1e-3)
    np.testing.assert_allclose(np.median(fore) / height, 0.153, rtol=1e-3)

    def direction(joints):
        bone = joints[:, INDEX["left_wrist"]] - joints[:, INDEX["left_elbow"]]
        return bone / np.linalg.norm(bone, axis=-1, keepdims=True)

    np.testing.assert_allclose(direction(changed), direction(clip), atol=1e-4)
    others = [j for name, j in INDEX.items() if not name.endswith(("elbow", "wrist"))]
    np.testing.assert_allclose(changed[:, others], clip[:, others], atol=1e-5)


@pytest.mark.skipif(not (DATA / mocap.FILE_NAME).is_file(), reason="no ../shared/data")
def test_the_real_file_has_sane_people():
    clips = mocap.load_mocap(DATA, "val")
    assert 1.5 < np.median([stature(clips[k][None])[0] for k in range(len(clips))]) < 1.9
    ears = clips.positions[:, INDEX["left_ear"]] - clips.positions[:, INDEX["right_ear"]]
    shoulders = clips.positions[:, INDEX["left_shoulder"]] - clips.positions[:, INDEX["right_shoulder"]]
    assert ((ears * shoulders).sum(-1) > 0).mean() > 0.99


def test_bones_scale_and_statures_hit_their_target():
    joints = sequences()
    factors = np.random.default_rng(0).uniform(0.8, 1.2, (6, NUM_JOINTS)).astype(np.float32)
    expected = lengths(joints) * factors[:, None, [c for c, p in enumerate(PARENTS) if p >= 0]]
    np.testing.assert_allclose(lengths(scale_bones(joints, factors)), expected, rtol=1e-4)
    np.testing.assert_allclose(stature(resize(joints, np.full(6, 1.5))), 1.56 - 0.06, rtol=0.05)


@pytest.mark.parametrize("change", [bend_legs, free_arms, lambda rng, j: lean(rng, j, 0.5), lambda rng, j: mirror(j)])
def test_pose_changes_keep_the_bones(change):
    joints = sequences()
    changed = change(np.random.default_rng(1), joints)
    np.testing.assert_allclose(lengths(changed), lengths(joints), atol=2e-3)
    assert np.isfinite(changed).all()


def test_mirror_exchanges_left_and_right():
    joints = mirror(body())[0]
    across = joints[INDEX["left_hip"]] - joints[INDEX["right_hip"]]
    facing = joints[INDEX["nose"]] - joints[INDEX["neck"]]
    assert np.cross(facing, across)[2] > 0  # left is left of where the person looks


def test_mixed_halves_join_at_the_pelvis():
    joints, other = sequences(), sequences()
    other[..., INDEX["left_wrist"], 2] += 1.0
    mixed = mix_halves(joints, other + np.array([3.0, 0, 0], np.float32))
    np.testing.assert_allclose(mixed[..., INDEX["left_wrist"], :], other[..., INDEX["left_wrist"], :], atol=1e-5)
    np.testing.assert_allclose(mixed[..., INDEX["left_knee"], :], joints[..., INDEX["left_knee"], :])


def test_augmented_adults_have_the_reference_stature():
    joints = augment(np.random.default_rng(2), sequences(64))
    heights = stature(joints)
    assert (np.abs(heights - REFERENCE_STATURE_M) < 0.03).mean() > 0.75
    assert heights.min() > 0.8


def test_cameras_see_people_in_front_of_them():
    rng = np.random.default_rng(3)
    joints = augment(rng, sequences(64))
    views = sample_views(rng, joints)
    np.testing.assert_allclose(lengths(views.joints_m), lengths(joints), atol=2e-3)  # a rigid motion
    assert views.joints_m[..., 2].min() > 0.4
    assert views.inside().mean() > 0.7
    head, pelvis = views.joints_m[:, 0, INDEX["head"]], views.joints_m[:, 0, 0]
    assert (head[:, 1] < pelvis[:, 1]).mean() > 0.7  # y points down


def test_the_far_arm_is_hidden_by_the_trunk():
    joints = body()  # facing +x; a camera on the left sees +x as right... looking along -y
    seen = np.stack([-joints[..., 0], -(joints[..., 2] - 1.2), 4.0 - joints[..., 1]], axis=-1)
    hidden = self_occluded(seen)[0]
    assert hidden[INDEX["right_elbow"]]
    assert hidden[INDEX["right_ear"]]
    assert not hidden[INDEX["left_elbow"]]
    assert not hidden[INDEX["left_shoulder"]]
    assert not hidden[INDEX["nose"]]


def test_error_model_is_seeded_and_has_the_errors_it_reports():
    joints = augment(np.random.default_rng(4), sequences(200, 12))
    views = sample_views(np.random.default_rng(4), joints)
    model = ErrorModel(miss_sigma_m=0.0)
    seen = observe(np.random.default_rng(5), views, model)
    again = observe(np.random.default_rng(5), views, model)
    np.testing.assert_array_equal(seen.rays, again.rays)
    error = (seen.rays - views.rays())[seen.reliable] / np.sqrt(seen.cov[seen.reliable][:, [0, 1], [0, 1]])
    assert 0.6 < (np.abs(error) < 1).mean() < 0.75
    assert seen.score[seen.reliable].mean() > 0.8 > seen.score[~seen.reliable].mean()


def test_exact_2d_tells_nothing_but_rays():
    """Were its sigma the same in metres for all, it would tell how far away people are."""
    views = sample_views(np.random.default_rng(4), augment(np.random.default_rng(4), sequences(400, 3)))
    clean = observe_clean(np.random.default_rng(6), views)
    np.testing.assert_array_equal(clean.rays, views.rays())
    assert clean.reliable.all()
    sigma_m = np.sqrt(clean.cov[:, 0, 0, 0, 0]) * views.joints_m[:, 0, ROOT, 2]
    assert np.log(sigma_m).std() > 0.8


def test_a_2d_stage_may_misjudge_itself_in_a_whole_sequence():
    views = sample_views(np.random.default_rng(4), augment(np.random.default_rng(4), sequences(300, 12)))

    def log_overstated(misjudged: float) -> np.ndarray:
        model = ErrorModel(miss_sigma_m=0.0, sigma_error=0.0, outlier_visible=0.0, misjudged=misjudged)
        seen = observe(np.random.default_rng(5), views, model)
        error = (seen.rays - views.rays()) / np.sqrt(seen.cov[..., [0, 1], [0, 1]])
        of_sequence = [np.square(e[good]).mean() for e, good in zip(error, seen.reliable, strict=True) if good.any()]
        return -0.5 * np.log(of_sequence)

    assert log_overstated(0.0).std() < 0.25  # chance, and the noise that lasts
    assert log_overstated(0.6).std() == pytest.approx(0.6, abs=0.12)


def test_sides_are_mistaken_as_often_as_asked_for():
    joints = augment(np.random.default_rng(4), sequences(300, 20))
    views = sample_views(np.random.default_rng(4), joints, full_view_fraction=1.0)
    exact = {"outlier_visible": 0.0, "outlier_occluded": 0.0, "joint_drop": 0.0, "occluder_fraction": 0.0}
    model = ErrorModel(sigma_m=(1e-6, 1e-6), side_errors=0.3, **exact)
    seen = observe(np.random.default_rng(5), views, model)
    left, right = INDEX["left_ankle"], INDEX["right_ankle"]
    inside = views.inside()[..., [left, right]].all(-1)

    def lies_on(joint: int, other: int) -> np.ndarray:
        gap = np.linalg.norm(seen.rays[:, :, joint] - views.rays()[:, :, other], axis=-1)
        return (gap * views.joints_m[..., 0, 2] < 0.03)[inside]

    own = lies_on(left, left) & lies_on(right, right)
    both_on_one = (lies_on(left, left) & lies_on(right, left)) | (lies_on(left, right) & lies_on(right, right))
    exchanged = lies_on(left, right) & lies_on(right, left)
    assert own.mean() == pytest.approx(0.7 * 0.9, abs=0.06)  # for a third of the time, the whole body is turned
    assert (both_on_one & ~own).mean() == pytest.approx(0.3 * 2 / 3, abs=0.06)
    assert (exchanged & ~own).mean() > 0.1
    wrong = ~own
    assert not seen.reliable[..., [left, right]][inside][wrong].all(-1).any()
    nose = seen.rays[..., INDEX["nose"], :] - views.rays()[..., INDEX["nose"], :]
    assert np.abs(nose[views.inside()[..., INDEX["nose"]]]).max() < 0.05


def test_sides_are_mistaken_in_the_sequences_asked_for():
    views = sample_views(np.random.default_rng(4), augment(np.random.default_rng(4), sequences(40, 20)))
    part = np.where(np.arange(40) % 2, 0.5, 0.0)
    taken = _taken_for(np.random.default_rng(5), views.joints_m.shape[:3], ErrorModel(side_errors=part))
    mistaken = (taken != np.arange(NUM_JOINTS)).any((1, 2))
    assert not mistaken[::2].any()
    assert mistaken[1::2].mean() > 0.9


def test_who_bows_stands_on_the_same_legs_with_bones_of_the_same_length():
    joints = sequences(200, 8)
    bowed = bow(np.random.default_rng(0), joints)
    legs = [INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("hip", "knee", "ankle", "toe")]
    np.testing.assert_array_equal(bowed[..., legs, :], joints[..., legs, :])
    for parent, child in BONES:
        before, after = (np.linalg.norm(j[..., child, :] - j[..., parent, :], axis=-1) for j in (joints, bowed))
        np.testing.assert_allclose(after, before, atol=1e-4)
    trunk = bowed[..., INDEX["thorax"], :] - bowed[..., INDEX["pelvis"], :]
    upright = joints[..., INDEX["thorax"], :] - joints[..., INDEX["pelvis"], :]
    toe = joints[..., INDEX["left_toe"], :] - joints[..., INDEX["left_ankle"], :]
    ahead = ((trunk - upright) * toe).sum(-1)
    assert (ahead > 0).mean() > 0.75  # forward, but for some degrees
    assert (trunk[..., 2] < 0.5 * upright[..., 2]).mean() > 0.2
    across = joints[..., INDEX["left_hip"], :] - joints[..., INDEX["right_hip"], :]
    sideways = (trunk * across).sum(-1) / np.linalg.norm(trunk, axis=-1) / np.linalg.norm(across, axis=-1)
    assert (sideways > 0.5).mean() > 0.03 < (sideways < -0.5).mean()  # by 30 degrees or more, to either side
    assert np.abs(np.diff(trunk, axis=1)).max() < 0.1
