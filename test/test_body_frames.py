"""Links and angles from joints: poses of known angles, the model's own chain, other frames, what is not known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose3d_ros.body_frames import (
    ANGLES,
    LINKS,
    MAX_SIGMA_M,
    STRAIGHT_DEG,
    angles_of,
    known_joints,
    origins_of,
    tree_of,
    turns_of,
)
from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS

LEFT = {
    "hip": (0, 0.1, 0), "knee": (0, 0.1, -0.45), "ankle": (0, 0.1, -0.9), "toe": (0.15, 0.1, -0.95),
    "shoulder": (0, 0.18, 0.48), "elbow": (0, 0.18, 0.18), "wrist": (0, 0.18, -0.08), "eye": (0.08, 0.03, 0.72),
    "ear": (0, 0.07, 0.7),
}  # fmt: skip
MIDDLE = {
    "pelvis": (0, 0, 0), "spine": (0, 0, 0.25), "thorax": (0, 0, 0.5), "neck": (0, 0, 0.6), "head": (0, 0, 0.85),
    "nose": (0.12, 0, 0.68),
}  # fmt: skip
LIMBS = (("shoulder", "elbow", "wrist", 0.3, 0.26), ("hip", "knee", "ankle", 0.45, 0.45))
EARS = np.array([0, 0, 0.7])
HEAD = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
QUARTER = np.pi / 2


def body(**changes):
    """[24, 3] of somebody who stands upright with hanging arms, x ahead, y left, z up; changes: of both sides."""
    joints = np.zeros((NUM_JOINTS, 3))
    for name, place in MIDDLE.items():
        joints[INDEX[name]] = place
    for name, place in {**LEFT, **changes}.items():
        joints[INDEX[f"left_{name}"]] = place
        joints[INDEX[f"right_{name}"]] = np.array(place) * (1, -1, 1)
    return joints


def angles(joints):
    """By name."""
    return dict(zip(ANGLES, np.moveaxis(angles_of(turns_of(joints)), -1, 0), strict=True))


def of_both(name):
    """An angle's name without its side."""
    return name if name == "waist" or name.endswith("_head") else name[2:]


POSES = {
    "standing": (body(), {}),
    "T": (body(elbow=(0, 0.48, 0.48), wrist=(0, 0.74, 0.48)), {"p_shoulder": QUARTER}),
    "arms ahead": (
        body(elbow=(0.3, 0.18, 0.48), wrist=(0.56, 0.18, 0.48)),
        {"y_shoulder": QUARTER, "p_shoulder": QUARTER, "r_shoulder": QUARTER},
    ),
    "arms up": (body(elbow=(0, 0.18, 0.78), wrist=(0, 0.18, 1.04)), {"p_shoulder": np.pi}),
    "forearms ahead": (body(wrist=(0.26, 0.18, 0.18)), {"elbow": QUARTER}),
    "T, forearms ahead": (
        body(elbow=(0, 0.48, 0.48), wrist=(0.26, 0.48, 0.48)),
        {"p_shoulder": QUARTER, "elbow": QUARTER},
    ),
    "hands on the belly": (body(wrist=(0, -0.08, 0.18)), {"elbow": QUARTER, "r_shoulder": -QUARTER}),
    "sitting": (body(knee=(0.45, 0.1, 0), ankle=(0.45, 0.1, -0.45)), {"r_hip": QUARTER, "knee": -QUARTER}),
    "kneeling": (body(ankle=(-0.45, 0.1, -0.45)), {"knee": -QUARTER}),
    "legs spread by 30 degrees": (
        body(knee=(0, 0.1 + 0.225, -0.45 * 0.75**0.5), ankle=(0, 0.1 + 0.45, -0.9 * 0.75**0.5)),
        {"p_hip": np.pi / 6},
    ),
    "elbows a little backwards": (body(wrist=(-0.05, 0.18, -0.08)), {}),
}


@pytest.mark.parametrize("pose", POSES)
def test_angles_of_known_poses(pose):
    joints, expected = POSES[pose]
    for name, angle in angles(joints).items():
        assert angle == pytest.approx(expected.get(of_both(name), 0), abs=1e-9), name


def test_links_of_who_stands_are_upright_and_at_their_joints():
    np.testing.assert_allclose(turns_of(body()), np.tile(np.eye(3), (15, 1, 1)), atol=1e-12)
    place = dict(zip(LINKS, origins_of(body()), strict=True))
    np.testing.assert_allclose(place["body"], 0)
    np.testing.assert_allclose(place["torso"], MIDDLE["thorax"])
    np.testing.assert_allclose(place["head"], [0, 0, 0.7])
    np.testing.assert_allclose(place["l_wrist"], LEFT["wrist"])
    np.testing.assert_allclose(place["r_knee"], np.array(LEFT["knee"]) * (1, -1, 1))


@pytest.mark.parametrize(("name", "turn"), [("y_head", (0, 0, 0.5)), ("p_head", (0, -0.4, 0)), ("r_head", (0.3, 0, 0))])
def test_a_head_that_turns_left_looks_up_and_tilts_right(name, turn):
    joints = body()
    joints[HEAD] = Rotation.from_rotvec(turn).apply(joints[HEAD] - EARS) + EARS
    for each, angle in angles(joints).items():
        assert angle == pytest.approx(np.abs(turn).max() if each == name else 0, abs=1e-9), each


def model_pose(angle):
    """[24, 3] of human_description's model with these angles: the axes of its chain of joints, one after the other."""

    def turn(axis, name):
        return Rotation.from_rotvec(np.array(axis) * float(angle[name]))

    joints = body()
    head = turn((1, 0, 0), "r_head") * turn((0, 0, 1), "y_head") * turn((0, -1, 0), "p_head")
    joints[HEAD] = head.apply(joints[HEAD] - EARS) + EARS
    for side, s in (("left", 1), ("right", -1)):
        k = side[0]
        arm = turn((0, 0, -s), f"{k}_y_shoulder") * turn((s, 0, 0), f"{k}_p_shoulder")
        arm *= turn((0, 0, s), f"{k}_r_shoulder")
        leg = turn((0, 0, -1), f"{k}_y_hip") * turn((s, 0, 0), f"{k}_p_hip") * turn((0, -1, 0), f"{k}_r_hip")
        for upper, (root, hinge, end, upper_m, lower_m) in zip((arm, leg), LIMBS, strict=True):
            lower = upper * turn((0, -1, 0), f"{k}_{hinge}")
            at = [INDEX[f"{side}_{name}"] for name in (root, hinge, end)]
            joints[at[1]] = joints[at[0]] + upper.apply([0, 0, -upper_m])
            joints[at[2]] = joints[at[1]] + lower.apply([0, 0, -lower_m])
    return joints


RANGES = {  # of the model's angles, so that elbows and knees show their hinge
    "waist": (0, 0), "r_head": (-1, 1), "y_head": (-1.4, 1.4), "p_head": (-1.5, 1.5), "y_shoulder": (-1.1, 1.9),
    "p_shoulder": (0.1, 3.0), "r_shoulder": (-1.7, 1.5), "elbow": (0.4, 2.5), "y_hip": (-0.6, 0.6),
    "p_hip": (-0.4, 1.2), "r_hip": (-0.4, 1.9), "knee": (-2.5, -0.4),
}  # fmt: skip


def test_the_angles_are_those_with_which_the_model_takes_the_pose():
    rng = np.random.default_rng(0)
    wanted = {name: rng.uniform(*RANGES[of_both(name)], 50) for name in ANGLES}
    joints = np.stack([model_pose({name: values[k] for name, values in wanted.items()}) for k in range(50)])
    for name, found in angles(joints).items():
        np.testing.assert_allclose(found, wanted[name], atol=1e-9, err_msg=name)


def test_the_model_points_every_limb_where_it_was_measured():
    rng = np.random.default_rng(1)
    joints = body() + rng.normal(0, 0.2, (60, NUM_JOINTS, 3))
    joints = np.concatenate([joints, body() + rng.normal(0, 0.02, (60, NUM_JOINTS, 3))])  # and nearly straight ones
    turns = turns_of(joints)
    found = angles(joints)
    straight = 0
    for k in range(len(joints)):
        model = model_pose({name: values[k] for name, values in found.items()})
        measured = (joints[k] - joints[k, 0]) @ turns[k, 0]
        for root, hinge, end, *_ in LIMBS:
            for side in ("left", "right"):
                at = [INDEX[f"{side}_{name}"] for name in (root, hinge, end)]
                bones = [np.diff(pose[at], axis=0) for pose in (measured, model)]
                unit, model_unit = (b / np.linalg.norm(b, axis=1, keepdims=True) for b in bones)
                np.testing.assert_allclose(model_unit[0], unit[0], atol=1e-9)
                if abs(np.degrees(np.arcsin(np.linalg.norm(np.cross(*unit))))) > STRAIGHT_DEG:
                    np.testing.assert_allclose(model_unit[1], unit[1], atol=1e-9)
                else:
                    straight += 1
                    assert np.degrees(np.arccos(model_unit[1] @ unit[1])) <= STRAIGHT_DEG + 1e-6
    assert straight > 60


def test_neither_the_frame_nor_the_place_matters():
    joints = body() + np.random.default_rng(1).normal(0, 0.05, (20, NUM_JOINTS, 3))
    turn = Rotation.from_euler("xyz", [0.3, -1.1, 2.0])
    moved = joints @ turn.as_matrix().T + [1, 2, 3]
    np.testing.assert_allclose(turns_of(moved), turn.as_matrix() @ turns_of(joints), atol=1e-9)
    np.testing.assert_allclose(angles_of(turns_of(moved)), angles_of(turns_of(joints)), atol=1e-6)


def test_in_the_tree_all_links_are_relative_to_the_body():
    joints = np.random.default_rng(2).normal([1, 2, 3], 0.5, (4, NUM_JOINTS, 3))
    joints[3, INDEX["thorax"]] = np.nan
    origins, turns = origins_of(joints), turns_of(joints)
    places, relative = tree_of(origins, turns)
    np.testing.assert_array_equal(places[:, 0], origins[:, 0])
    np.testing.assert_array_equal(relative[:, 0], turns[:, 0])
    for k in range(1, len(LINKS)):
        place = origins[:3, 0] + (turns[:3, 0] @ places[:3, k, :, None])[..., 0]
        np.testing.assert_allclose(place, origins[:3, k], atol=1e-9)
        np.testing.assert_allclose(turns[:3, 0] @ relative[:3, k], turns[:3, k], atol=1e-9)
    assert np.isnan(relative[3]).all()  # nothing is known in a body that is not


def test_a_mirrored_pose_has_the_other_side_s_angles():
    joints = body() + np.random.default_rng(3).normal(0, 0.1, (20, NUM_JOINTS, 3))
    found, mirrored = angles(joints), angles((joints * (1, -1, 1))[:, MIRROR])
    for name, angle in found.items():
        other = {"l": "r", "r": "l"}[name[0]] + name[1:] if of_both(name) != name else name
        # The model turns these about the same axis on both sides: to the person's left, or right, not outwards.
        sign = -1 if name in ("r_head", "y_head", "l_y_hip", "r_y_hip") else 1
        np.testing.assert_allclose(mirrored[other], sign * angle, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("bend_deg", [0, 1, 19.9, 20.1, 90, 179, 180])
def test_straight_and_folded_limbs_in_any_direction_have_a_rotation(bend_deg):
    rng = np.random.default_rng(0)
    axes = [(0, 0, 1.0), (0, 0, -1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (1e-9, 0, 1)]
    directions = np.array([*axes, *rng.normal(size=(50, 3))])
    along = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    across = np.cross(along, [0.6, 0, 0.8])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    lower = Rotation.from_rotvec(np.radians(bend_deg) * across).apply(along)
    joints = np.tile(body(), (len(along), 1, 1))
    for root, hinge, end, *_ in LIMBS:
        for side in ("left", "right"):
            joints[:, INDEX[f"{side}_{hinge}"]] = joints[:, INDEX[f"{side}_{root}"]] + 0.3 * along
            joints[:, INDEX[f"{side}_{end}"]] = joints[:, INDEX[f"{side}_{hinge}"]] + 0.3 * lower
    turns = turns_of(joints)
    np.testing.assert_allclose(turns @ np.swapaxes(turns, -1, -2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    np.testing.assert_allclose(-turns[:, LINKS.index("l_shoulder"), :, 2], along, atol=1e-9)
    np.testing.assert_allclose(-turns[:, LINKS.index("r_ankle"), :, 2], lower, atol=1e-9)
    assert np.isfinite(angles_of(turns)).all()


@pytest.mark.parametrize(
    ("missing", "links", "names"),
    [
        ("left_wrist", {"l_elbow", "l_wrist"}, {"l_elbow", "l_r_shoulder"}),
        ("right_ankle", {"r_knee", "r_ankle"}, {"r_knee"}),
        (
            "left_elbow",
            {"l_shoulder", "l_elbow", "l_wrist"},
            {"l_y_shoulder", "l_p_shoulder", "l_r_shoulder", "l_elbow"},
        ),
        ("nose", {"head"}, {"r_head", "y_head", "p_head"}),
        ("pelvis", {"body", "torso"}, set(ANGLES) - {"l_elbow", "r_elbow", "l_knee", "r_knee"}),
    ],
)
def test_what_is_not_known_is_nan_and_the_rest_stays(missing, links, names):
    joints = body(wrist=(0.2, 0.18, 0.1), ankle=(-0.2, 0.1, -0.8))
    whole = angles(joints)
    joints[INDEX[missing]] = np.nan
    turns = turns_of(joints)
    assert {link for link, turn in zip(LINKS, turns, strict=True) if np.isnan(turn).any()} == links
    for name, angle in angles(joints).items():
        assert np.isnan(angle) if name in names else angle == pytest.approx(whole[name], abs=1e-9), name


@pytest.mark.parametrize("part", ["hip", "shoulder"])
def test_a_trunk_is_known_by_its_hips_or_its_shoulders(part):
    joints = body()
    joints[INDEX[f"left_{part}"]] = np.nan
    np.testing.assert_allclose(turns_of(joints)[LINKS.index("torso")], np.eye(3), atol=1e-12)


def test_joints_that_coincide_have_no_direction_and_make_no_trouble():
    with np.errstate(all="raise"):
        turns = turns_of(np.zeros((NUM_JOINTS, 3)))
        assert np.isnan(turns).all()
        assert np.isnan(angles_of(turns)).all()


def test_known_is_who_is_certain_relative_to_the_pelvis():
    cov = np.tile(np.diag([0.0, 0.0, 0.3**2]), (NUM_JOINTS, 1, 1))  # nobody knows how far away the person is
    cov[INDEX["left_wrist"]] += 1.01 * MAX_SIGMA_M**2 * np.eye(3)
    cov[INDEX["left_elbow"]] += 0.99 * MAX_SIGMA_M**2 * np.eye(3)
    cov[INDEX["nose"]] = np.nan
    known = known_joints(body(), cov)
    unknown = {name for name, k in INDEX.items() if np.isnan(known[k]).any()}
    assert unknown == {"left_wrist", "nose"}
    np.testing.assert_array_equal(known[INDEX["left_elbow"]], body()[INDEX["left_elbow"]])
