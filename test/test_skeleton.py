import numpy as np
import pytest

from pose3d_ros import skeleton
from pose3d_ros.skeleton import COCO_17, H36M_17, HRI_18, INDEX, JOINTS, LIMBS_12, LSP_14, MIRROR, PARENTS


def test_the_24_joints_are_named_once_and_start_with_human36m() -> None:
    assert len(JOINTS) == skeleton.NUM_JOINTS == len(set(JOINTS)) == 24
    assert JOINTS[:4] == ("pelvis", "right_hip", "right_knee", "right_ankle")
    assert JOINTS[16] == "right_wrist"
    assert set(skeleton.DEFINITIONS) == set(JOINTS)
    # Human3.6M's published parents
    assert PARENTS[:17] == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert np.array_equal(H36M_17, np.arange(17))


def test_the_tree_has_one_root_and_reaches_every_joint() -> None:
    assert [j for j, parent in enumerate(PARENTS) if parent < 0] == [skeleton.ROOT]
    assert len(skeleton.BONES) == 23
    for joint in range(24):
        ancestor = joint
        for _ in range(24):
            ancestor = PARENTS[ancestor] if PARENTS[ancestor] >= 0 else ancestor
        assert ancestor == skeleton.ROOT


def test_mirror_exchanges_left_and_right_and_keeps_the_bones() -> None:
    assert np.array_equal(MIRROR[MIRROR], np.arange(24))
    for j, name in enumerate(JOINTS):
        if name.startswith("left_"):
            assert JOINTS[MIRROR[j]] == name.replace("left_", "right_")
        assert (MIRROR[j] == j) == (not name.startswith(("left_", "right_")))
        if PARENTS[j] >= 0:
            assert PARENTS[MIRROR[j]] == MIRROR[PARENTS[j]]


@pytest.mark.parametrize(
    ("selection", "first", "last"),
    [
        (COCO_17, "nose", "right_ankle"),
        (LSP_14, "right_ankle", "head"),
        (LIMBS_12, "left_shoulder", "right_ankle"),
        (HRI_18, "nose", "right_ear"),
    ],
)
def test_maps_to_data_sets(selection: np.ndarray, first: str, last: str) -> None:
    assert (JOINTS[selection[0]], JOINTS[selection[-1]]) == (first, last)
    assert len(set(selection.tolist())) == len(selection)


def test_coco_order_is_left_before_right() -> None:
    names = [JOINTS[j] for j in COCO_17]
    assert len(names) == 17
    assert all(names[i].startswith("left_") and names[i + 1].startswith("right_") for i in range(1, 17, 2))


def test_indices_by_name() -> None:
    assert skeleton.indices("pelvis", "right_toe").tolist() == [0, 23]
    with pytest.raises(KeyError):
        skeleton.indices("tail")
    assert INDEX["nose"] == 17
