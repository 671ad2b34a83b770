"""The renderer of synthetic people with the real assets; skipped where they are not present."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from pose3d_ros import skeleton
from pose3d_ros.data.synthetic import (
    assets,
    body,
    cli,
    clothes,
    crossing,
    film,
    person,
    poses,
    retarget,
    scene,
    shards,
)

ROOT = Path(os.environ.get("POSE3D_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (ROOT / "humans" / "base.obj").is_file() or not (ROOT / "mocap" / "cmu_joints.npz").is_file(),
    reason=f"no assets at {ROOT}: set POSE3D_DATA",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def studio(cache):
    return scene.open_studio(ROOT, cache, "train", seed=0, pool_size=3)


def test_a_picture_depends_on_seed_and_index_only(studio):
    first = scene.picture(studio, "crops", 7, 3)
    scene.picture(studio, "scenes", 7, 0)
    again = scene.picture(studio, "crops", 7, 3)
    assert first[0] == again[0]
    assert np.array_equal(first[2][0].joints_m, again[2][0].joints_m)
    assert scene.picture(studio, "crops", 8, 3)[0] != first[0]


def test_the_tests_pictures_are_no_twins_of_those_trained_on(studio):
    """The same camera, furniture and places of the same number would be learned by heart."""
    of_test = replace(studio, stream=(1,))
    for kind in scene.KINDS:
        assert not np.allclose(scene.picture(studio, kind, 0, 5)[1], scene.picture(of_test, kind, 0, 5)[1])


def test_the_tests_studio_has_random_numbers_of_its_own(studio, cache):
    assert studio.stream != scene.open_studio(ROOT, cache, "test", seed=0, pool_size=2).stream


@pytest.mark.parametrize("kind", scene.KINDS)
def test_labels_are_consistent(studio, kind):
    for index in range(4):
        _, K, labels = scene.picture(studio, kind, 1, index)
        for label in labels:
            projected = label.joints_m @ K.T
            assert np.allclose(projected[:, :2] / projected[:, 2:], label.joints_px, atol=0.05)
            inside = label.visibility != 3
            low, high = label.box_full[:2] - 2, label.box_full[2:] + 2
            assert (label.joints_px[inside] > low).all(), "joints lie within the silhouette's box"
            assert (label.joints_px[inside] < high).all()
            assert 0 <= label.visible_fraction <= 1


def test_acrobats_lean_and_stand_on_their_heads(studio):
    """At any angle to upright, with limbs as long as anybody's."""
    rng = np.random.default_rng(0)
    found = np.stack([poses.acrobatic_pose(rng, studio.mocap) for _ in range(200)])
    up = found[:, retarget.THORAX] - found[:, retarget.PELVIS]
    share = np.histogram(up[:, 1] / np.linalg.norm(up, axis=1), [-1, -0.5, 0, 0.5, 1])[0] / len(up)
    assert (share > 0.1).all()
    assert share[-1] < 0.6
    for chain in (*poses.ARMS.values(), *poses.LEGS.values()):
        lengths = np.linalg.norm(np.diff(found[:, list(chain)], axis=1), axis=-1)
        assert (lengths > 0.05).all()
        assert (lengths < 0.65).all()


def test_heads_of_every_subject_look_straight_ahead(studio):
    """Motion capture's zero differs from subject to subject."""
    frames = studio.mocap.frames[studio.mocap.upright].astype(float)
    up, forward = (frames[:, joint] - frames[:, retarget.HEAD] for joint in (retarget.HEAD_TOP, retarget.NOSE))
    ahead = np.cross(np.cross(up, forward), up)
    pitch = np.degrees(np.arcsin(ahead[:, 1] / np.linalg.norm(ahead, axis=1)))
    assert abs(np.median(pitch)) < 3
    assert (np.abs(pitch) < 30).mean() > 0.9


def test_joints_follow_their_definitions(studio):
    """On the unposed people: heights, sides and lengths that the definitions imply."""
    for k in range(len(studio.pool)):
        joints = dict(zip(skeleton.JOINTS, studio.pool[k].joints, strict=True))
        assert np.allclose(joints["pelvis"], (joints["left_hip"] + joints["right_hip"]) / 2)
        assert joints["left_toe"][1] == pytest.approx(0.03)
        shoulders = (joints["left_shoulder"][1] + joints["right_shoulder"][1]) / 2
        assert 0.02 <= joints["thorax"][1] - shoulders <= 0.03
        for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist", "eye", "ear", "toe"):
            assert joints[f"left_{name}"][0] > 0 > joints[f"right_{name}"][0]
        assert joints["nose"][2] == max(point[2] for name, point in joints.items() if "wrist" not in name)
        assert joints["head"][1] == max(point[1] for point in joints.values())
        height = joints["head"][1]
        assert 1.2 < height < 2.05
        assert 0.21 < np.linalg.norm(joints["left_knee"] - joints["left_hip"]) / height < 0.27
        assert 0.08 < np.linalg.norm(joints["left_hip"] - joints["right_hip"]) / height < 0.13


def test_same_seed_same_person(cache):
    humans = assets.load_humans(ROOT, cache)
    where = clothes.map_body(humans)
    one, two = (person.make_person(np.random.default_rng(5), humans, where, "train") for _ in range(2))
    assert np.array_equal(one.vertices, two.vertices)
    assert one.looks == two.looks


def test_average_adult_stands_on_the_floor(cache):
    humans = assets.load_humans(ROOT, cache)
    vertices = body.morph(humans, body.random_shape(np.random.default_rng(0), humans))
    assert vertices[humans.groups["body"], 1].min() == pytest.approx(0)


def test_splits_share_no_outfit_motion_or_panorama(cache):
    from pose3d_ros.data.synthetic import lighting

    train, test = (poses.Mocap(ROOT, scene.MOCAP_SPLIT[split]) for split in ("train", "test"))
    assert not set(train.names) & set(test.names)
    names = [{e.name for e in lighting.load_environments(ROOT, split)} for split in ("train", "test")]
    assert len(names[1]) == 2
    assert not names[0] & names[1]
    assert set(assets.TEST_OUTFITS) < set(assets.load_humans(ROOT, cache).garments["outfits"])


def test_shards_do_not_depend_on_how_the_work_is_divided(tmp_path, cache):
    def render(out, *extra):
        cli.main(
            ["--count", "4", "--shard-size", "2", "--pool", "3", "--assets", str(ROOT), "--cache", str(cache),
             "--out", str(tmp_path / out), *extra]
        )  # fmt: skip

    render("whole")
    for part in ("0/2", "1/2"):
        render("parts", "--shard", part)
    render("parts", "--count", "3")  # all there already
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == ["crops-train-0-0000000.npz", "crops-train-0-0000002.npz"]
    for name in files:
        one, two = (shards.read_shard(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert np.array_equal(one.bytes, two.bytes)
        assert np.array_equal(one.joints_px, two.joints_px)
        assert one.picture(0).shape == (256, 256, 3)
        assert one.image[0] == 0


def test_a_shard_is_made_longer(tmp_path, cache):
    options = ["--pool", "3", "--assets", str(ROOT), "--cache", str(cache), "--out", str(tmp_path)]
    for count in ("1", "2", "1"):
        cli.main(["--count", count, *options])
    assert shards.pictures_in(tmp_path / "crops-train-0-0000000.npz") == 2


@pytest.mark.parametrize("seed", range(3))
def test_ways_cross(cache, monkeypatch, tmp_path, seed):
    """Two come to the middle of the picture in every kind of film; no film is drawn."""
    cast = []

    def shot(studio, out, seed, people):
        cast.extend(people)
        return film.Film(out / "clip.mp4", np.eye(3), [[None] * len(people)])

    monkeypatch.setattr(crossing, "shoot", shot)
    studio = scene.open_studio(ROOT, cache, "test", seed=0, pool_size=2, photos=False)
    crossing.render_crossing(studio, tmp_path, seed)
    first, second = ([step.spot[0] for step in steps] for steps in cast[:2])
    apart = [a - b for a, b in zip(first, second, strict=False)]
    assert len(cast) == (3 if seed == 1 else 2)
    assert apart[0] < -1, "they come from both sides"
    assert min(map(abs, apart)) < 1
    assert (apart[-1] > 1) == (seed != 2), "and pass, or turn back"


def test_a_film_has_the_truth_of_each_person(cache, tmp_path):
    studio = scene.open_studio(ROOT, cache, "test", seed=0, pool_size=2, photos=False)
    walk = film.walk(film.recorded(studio, "02_01"), 0.0, end=np.array([0.0, 0.0, -4.0]))[-3:]
    beside = [replace(step, spot=step.spot + np.array([1.0, 0, 0])) for step in walk[:2]]
    shown = film.shoot(studio, tmp_path, 0, [walk, beside])
    assert [[joints is not None for joints in frame] for frame in shown.joints[:4]] == [[True, True]] * 2 + [
        [True, False],
        [False, False],
    ]
    assert len(shown.joints) == 3 + film.EMPTY_S * film.FPS
    one, other = np.array(shown.joints[0])
    np.testing.assert_allclose(other[0] - one[0], [1, 0, 0], atol=0.1)
    assert one[0, 2] == pytest.approx(4, abs=0.15)
