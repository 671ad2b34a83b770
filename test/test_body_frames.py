"""Links and angles from joints: poses whose angles are known, the model's own chain, other frames, straight limbs."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose3d_ros.body_frames import ANGLES, LINKS, angles_of, links_of
from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS

LEFT = {
    "hip": (0, 0.1, 0), "knee": (0, 0.1, -0.45), "ankle": (0, 0.1, -0.9), "toe": (0.15, 0.1, -0.95),
    "shoulder": (0, 0.18, 0.48), "elbow": (0, 0.18, 0.18), "wrist": (0, 0.18, -0.08), "eye": (0.07, 0.03, 0.72),
    "ear": (0, 0.07, 0.7),
}  # fmt: skip
MIDDLE = {
    "pelvis": (0, 0, 0), "spine": (0, 0, 0.25), "thorax": (0, 0, 0.5), "neck": (0, 0, 0.6), "head": (0, 0, 0.85),
    "nose": (0.1, 0, 0.68),
}  # fmt: skip
UPPER_ARM, FOREARM, THIGH, SHANK = 0.3, 0.26, 0.45, 0.45
SHIFT = np.array([1.0, 2, 3])
HALF_TURN, QUARTER = np.pi, np.pi / 2


def body(**changes) -> np.ndarray:
    """[24, 3] of somebody who stands upright with hanging arms (x forward, y left, z up); changes: of both sides."""
    joints = np.zeros((NUM_JOINTS, 3))
    for name, place in MIDDLE.items():
        joints[INDEX[name]] = place
    for name, place in {**LEFT, **changes}.items():
        joints[INDEX[f"left_{name}"]] = place
        joints[INDEX[f"right_{name}"]] = np.array(place) * (1, -1, 1)
    return joints


def angles(joints) -> dict[str, float]:
    return dict(zip(ANGLES, angles_of(links_of(joints)), strict=True))


POSES = {
    "standing": (body(), {}),
    "T": (body(elbow=(0, 0.48, 0.48), wrist=(0, 0.74, 0.48)), {"p_shoulder": QUARTER}),
    "arms forward, palms in": (
        body(elbow=(0.3, 0.18, 0.48), wrist=(0.56, 0.18, 0.48)),
        {"y_shoulder": QUARTER, "p_shoulder": QUARTER, "r_shoulder": QUARTER},
    ),
    "arms up": (body(elbow=(0, 0.18, 0.78), wrist=(0, 0.18, 1.04)), {"p_shoulder": HALF_TURN}),
    "forearms forward": (body(wrist=(0.26, 0.18, 0.18)), {"elbow": QUARTER}),
    "T, forearms forward": (
        body(elbow=(0, 0.48, 0.48), wrist=(0.26, 0.48, 0.48)),
        {"p_shoulder": QUARTER, "elbow": QUARTER},
    ),
    "hands on the belly": (
        body(wrist=(0, -0.08, 0.18)),
        {"elbow": QUARTER, "r_shoulder": -QUARTER},
    ),
    "sitting": (body(knee=(0.45, 0.1, 0), ankle=(0.45, 0.1, -0.45)), {"r_hip": QUARTER, "knee": -QUARTER}),
    "kneeling": (body(ankle=(-0.45, 0.1, -0.45)), {"knee": -QUARTER}),
    "legs spread by 30 degrees": (
        body(knee=(0, 0.1 + 0.225, -0.45 * 0.75**0.5), ankle=(0, 0.1 + 0.45, -0.9 * 0.75**0.5)),
        {"p_hip": np.pi / 6},
    ),
}


@pytest.mark.parametrize("pose", POSES)
def test_angles_of_known_poses(pose):
    joints, expected = POSES[pose]
    for name, angle in angles(joints).items():
        of_side = name if name in ("waist", "r_head", "y_head", "p_head") else name[2:]
        assert angle == pytest.approx(expected.get(of_side, 0), abs=1e-9), name


def test_links_of_who_stands_are_upright_and_at_their_joints():
    links = links_of(body())
    np.testing.assert_allclose(links.turn, np.tile(np.eye(3), (15, 1, 1)), atol=1e-12)
    place = dict(zip(LINKS, links.origin_m, strict=True))
    np.testing.assert_allclose(place["body"], 0)
    np.testing.assert_allclose(place["torso"], MIDDLE["thorax"])
    np.testing.assert_allclose(place["head"], [0, 0, 0.7])
    np.testing.assert_allclose(place["l_wrist"], LEFT["wrist"])


@pytest.mark.parametrize(("name", "turn"), [("y_head", (0, 0, 0.5)), ("p_head", (0, -0.4, 0)), ("r_head", (0.3, 0, 0))])
def test_a_head_that_turns_left_looks_up_and_tilts_right(name, turn):
    joints = body()
    head = [INDEX[part] for part in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
    joints[head] = (joints[head] - [0, 0, 0.7]) @ Rotation.from_rotvec(turn).as_matrix().T + [0, 0, 0.7]
    found = angles(joints)
    assert found[name] == pytest.approx(np.abs(turn).max())
    assert sum(abs(found[part]) for part in ("y_head", "p_head", "r_head")) == pytest.approx(np.abs(turn).max())


def model_pose(angle: dict[str, float]) -> np.ndarray:
    """[24, 3] of REP-155's model with these angles: its chain, as its URDF writes it."""

    def turn(axis, name):
        return Rotation.from_rotvec(np.array(axis) * angle[name])

    joints = body()
    for side, s in (("left", 1), ("right", -1)):
        k = side[0]
        arm = turn((0, 0, -s), f"{k}_y_shoulder") * turn((s, 0, 0), f"{k}_p_shoulder")
        arm *= turn((0, 0, s), f"{k}_r_shoulder")
        leg = turn((0, 0, -1), f"{k}_y_hip") * turn((s, 0, 0), f"{k}_p_hip") * turn((0, -1, 0), f"{k}_r_hip")
        for upper, names, lengths in (
            (arm, ("shoulder", "elbow", "wrist"), (UPPER_ARM, FOREARM)),
            (leg, ("hip", "knee", "ankle"), (THIGH, SHANK)),
        ):
            root, hinge, end = (INDEX[f"{side}_{name}"] for name in names)
            joints[hinge] = joints[root] + upper.apply([0, 0, -lengths[0]])
            lower = upper * turn((0, -1, 0), f"{k}_{names[1]}")
            joints[end] = joints[hinge] + lower.apply([0, 0, -lengths[1]])
    return joints


LIMITS = {  # of the model's angles, so that elbows and knees show their hinge
    "y_shoulder": (-1.1, 1.9), "p_shoulder": (0.1, 3.0), "r_shoulder": (-1.7, 1.5), "elbow": (0.2, 2.5),
    "y_hip": (-0.6, 0.6), "p_hip": (-0.4, 1.2), "r_hip": (-0.4, 1.9), "knee": (-2.5, -0.2),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_the_angles_are_those_with_which_the_model_takes_the_pose(seed):
    rng = np.random.default_rng(seed)
    wanted = {f"{side}_{name}": rng.uniform(*limits) for name, limits in LIMITS.items() for side in "lr"}
    found = angles(model_pose(wanted))
    for name, angle in wanted.items():
        assert found[name] == pytest.approx(angle, abs=1e-9), name


@pytest.mark.parametrize("pose", POSES)
def test_the_frame_does_not_matter(pose):
    joints = POSES[pose][0] + np.random.default_rng(1).normal(0, 0.02, (NUM_JOINTS, 3))
    turn = Rotation.random(random_state=5)
    links, moved = links_of(joints), links_of(turn.apply(joints) + SHIFT)
    np.testing.assert_allclose(moved.turn, turn.as_matrix() @ links.turn, atol=1e-9)
    np.testing.assert_allclose(moved.origin_m, turn.apply(links.origin_m) + SHIFT, atol=1e-9)
    np.testing.assert_allclose(angles_of(moved), angles_of(links), atol=1e-7)


def test_a_mirrored_pose_has_the_other_side_s_angles():
    rng = np.random.default_rng(3)
    joints = body() + rng.normal(0, 0.1, (NUM_JOINTS, 3))
    found, mirrored = angles(joints), angles((joints * (1, -1, 1))[MIRROR])
    for name, angle in found.items():
        other = name if name.endswith("head") else {"l": "r", "r": "l"}.get(name[0], name[0]) + name[1:]
        # The model turns these about the same axis on both sides: to the person's left, or right, not outwards.
        sign = -1 if name in ("r_head", "y_head", "l_y_hip", "r_y_hip") else 1
        assert mirrored[other] == pytest.approx(sign * angle, abs=1e-9), name


@pytest.mark.parametrize("bend_deg", [0, 1, 9.9, 10.1, 90, 179, 180])
def test_straight_and_folded_limbs_in_any_direction_have_a_rotation(bend_deg):
    rng = np.random.default_rng(0)
    straight = [(0, 0, 1.0), (0, 0, -1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (1e-9, 0, 1), *rng.normal(size=(50, 3))]
    for direction in straight:
        along = np.array(direction) / np.linalg.norm(direction)
        joints = body()
        bend = Rotation.from_rotvec(np.radians(bend_deg) * np.cross(along, [0.6, 0, 0.8]))
        for root, hinge, end in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            for side in ("left", "right"):
                start = joints[INDEX[f"{side}_{root}"]]
                joints[INDEX[f"{side}_{hinge}"]] = start + 0.3 * along
                joints[INDEX[f"{side}_{end}"]] = start + 0.3 * along + 0.3 * bend.apply(along)
        links = links_of(joints)
        np.testing.assert_allclose(
            links.turn @ links.turn.transpose(0, 2, 1), np.tile(np.eye(3), (15, 1, 1)), atol=1e-9
        )
        np.testing.assert_allclose(np.linalg.det(links.turn), 1)
        assert np.isfinite(angles_of(links)).all()
        np.testing.assert_allclose(-links.turn[LINKS.index("l_shoulder"), :, 2], along, atol=1e-9)


@pytest.mark.parametrize(
    ("missing", "links", "names"),
    [
        ("left_wrist", {"l_elbow", "l_wrist"}, {"l_elbow"}),
        ("right_hip", {"body", "torso"}, None),
        ("nose", {"head"}, {"r_head", "y_head", "p_head"}),
    ],
)
def test_what_is_not_known_is_nan_and_the_rest_stays(missing, links, names):
    joints = body(wrist=(0.2, 0.18, 0.1))
    whole = angles(joints)
    joints[INDEX[missing]] = np.nan
    found = links_of(joints)
    unknown = {link for link, turn in zip(LINKS, found.turn, strict=True) if np.isnan(turn).any()}
    assert links <= unknown
    if names is None:
        return
    assert unknown == links
    for name, angle in angles(joints).items():
        assert np.isnan(angle) if name in names else angle == whole[name]


def test_joints_that_coincide_have_no_direction_and_make_no_trouble():
    with np.errstate(all="raise"):
        assert np.isnan(links_of(np.zeros((NUM_JOINTS, 3))).turn).all()
