"""The renderer of synthetic people, on made-up meshes and skeletons: needs no assets."""

import os
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("numba")

from pose3d_ros.data.synthetic import backgrounds, cli, lighting, photograph, poses, raster, render, retarget, shards
from pose3d_ros.data.synthetic.assets import files_state, read_garment, read_obj, strongest_four
from pose3d_ros.data.synthetic.body import Rig

WHITE = lighting.Light(np.concatenate([np.ones((1, 3)), np.zeros((8, 3))]), np.array([0.0, -1.0, 0.0]), np.zeros(3))
NO_TEXTURES = np.zeros((1, 4, 4, 4), np.uint8)


def material(red=1.0, green=1.0, blue=1.0):
    row = np.zeros(raster.MATERIAL_COLUMNS, np.float32)
    row[raster.M_TEXTURE] = -1
    row[raster.M_KIND] = raster.KIND_FABRIC
    row[[raster.M_R, raster.M_G, raster.M_B]] = red, green, blue
    return row


def cube(centre, half=0.5, colour=(1.0, 1.0, 1.0), joints=None):
    corners = np.array([[x, y, z] for z in (-half, half) for y in (-half, half) for x in (-half, half)])
    solid = render.box_solid(corners + centre, material(*colour))
    return render.Solid(**{**vars(solid), "joints": joints})


def camera(position=(0.0, 1.0, 4.0), target=(0.0, 1.0, 0.0), size=64, focal=64.0):
    position, target = np.array(position), np.array(target)
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    return render.Camera(K, render.look_at(position, target, 0.0), position, size, size)


def standing():
    """A mocap-like pose: upright, facing +z, arms hanging, a slight bend in elbows and knees."""
    p = np.zeros((21, 3))
    for sign, side in ((1, "L"), (-1, "R")):
        for name, x, y, z in (
            ("HIP", 0.09, 0.95, 0), ("KNEE", 0.09, 0.53, 0.04), ("ANKLE", 0.09, 0.1, 0), ("TOE", 0.1, 0.03, 0.13),
            ("SHOULDER", 0.18, 1.45, 0), ("ELBOW", 0.22, 1.17, -0.02), ("WRIST", 0.22, 0.95, 0.05),
        ):  # fmt: skip
            p[getattr(retarget, f"{side}_{name}")] = sign * x, y, z
    for name, y, z in (("PELVIS", 0.95, 0), ("SPINE", 1.2, 0), ("THORAX", 1.47, 0), ("NECK", 1.57, 0.02),
                       ("HEAD", 1.63, 0.03), ("HEAD_TOP", 1.75, 0.03), ("NOSE", 1.61, 0.145)):  # fmt: skip
        p[getattr(retarget, name)] = 0, y, z
    return p


def turn(angle, axis=(0.0, 1.0, 0.0)):
    return np.asarray(retarget.axis_rotation(np.array(axis), angle))


class TestRaster:
    def test_camera_looks_along_its_axis(self):
        c = camera()
        assert np.allclose(c.from_world(np.array([0.0, 1.0, 0.0])), [0, 0, 4])
        x, y, _ = c.from_world(np.array([1.0, 2.0, 0.0]))
        assert x > 0, "the world's x is the picture's right when looking along -z"
        assert y < 0, "up in the world is up in the picture"

    def test_covers_the_pixels_it_should(self):
        picture = render.draw([cube((0, 1, 0))], camera(), WHITE, NO_TEXTURES)
        # The front face is 1 m wide at 3.5 m: 64 / 3.5 = 18.3 pixels.
        assert picture.coverage.sum() == pytest.approx((64 / 3.5) ** 2, rel=0.06)
        assert picture.colour[32, 32] == pytest.approx([1, 1, 1], abs=1e-3)
        assert 1 / picture.depth[64, 64] == pytest.approx(3.5, abs=1e-3)

    def test_the_middle_of_what_is_drawn_lies_where_the_label_says(self):
        """A pixel's middle is a whole number."""
        solids = [cube((0, 1, 0), joints=np.tile((0.0, 1.0, 0.0), (24, 1)))]
        picture = render.draw(solids, camera(), WHITE, NO_TEXTURES)
        rows, columns = np.mgrid[:64, :64]
        drawn = [(picture.coverage * at).sum() / picture.coverage.sum() for at in (columns, rows)]
        assert np.allclose(drawn, render.label(solids, 0, camera(), picture).joints_px[0], atol=0.1)

    def test_the_nearer_solid_wins_in_either_order(self):
        near, far = cube((0, 1, 1), 0.2, (1, 0, 0)), cube((0, 1, 0), 0.5, (0, 1, 0))
        for solids in ([near, far], [far, near]):
            picture = render.draw(solids, camera(), WHITE, NO_TEXTURES)
            assert picture.colour[32, 32] == pytest.approx([1, 0, 0], abs=1e-3)
            assert picture.colour[32, 25] == pytest.approx([0, 1, 0], abs=1e-3)

    def test_where_two_materials_meet_every_sample_has_its_own_colour(self):
        """Elsewhere one of two neighbours has the other's."""
        red, green = cube((0.01, 1, 1), 0.2, (1, 0, 0)), cube((0, 1, 0), 0.5, (0, 1, 0))
        beside = camera(position=(0.3, 1.2, 4.0))
        alone = render.draw([red], beside, WHITE, NO_TEXTURES).coverage
        both = render.draw([red, green], beside, WHITE, NO_TEXTURES)
        assert both.colour[..., 0] == pytest.approx(alone, abs=1e-3)
        assert both.colour[..., 1] == pytest.approx(both.coverage - alone, abs=1e-3)

    def test_nothing_behind_the_camera(self):
        assert render.draw([cube((0, 1, 8))], camera(), WHITE, NO_TEXTURES).coverage.sum() == 0

    def test_shadow_falls_under_an_object(self):
        light = lighting.Light(WHITE.harmonics * 0.1, camera().rotation @ [0.0, 1.0, 0.0], np.ones(3))
        eye = camera(position=(0.0, 3.0, 4.0), target=(0.0, 0.0, 0.0))
        shadow = render.draw([cube((0, 1, 0), 0.3)], eye, WHITE, NO_TEXTURES).floor_shadow
        light = lighting.Light(light.harmonics, eye.rotation @ np.array([0.0, 1.0, 0.0]), np.ones(3))
        shadow = render.draw([cube((0, 1, 0), 0.3)], eye, light, NO_TEXTURES).floor_shadow
        assert shadow[32, 32] < 0.6
        assert shadow[60, 4] == pytest.approx(1.0, abs=1e-3)

    def test_patterns_mix_two_colours(self):
        row = material(1, 0, 0)
        row[[raster.M_R2, raster.M_G2, raster.M_B2]] = 0, 1, 0
        row[[raster.M_PATTERN, raster.M_FREQUENCY, raster.M_DUTY]] = raster.PATTERN_STRIPES, 5, 0.5
        solid = cube((0, 1, 0))
        solid = render.Solid(**{**vars(solid), "materials": row[None]})
        colour = render.draw([solid], camera(), WHITE, NO_TEXTURES).colour
        inside = colour[25:40, 25:40].reshape(-1, 3)
        assert (inside[:, 0] > 0.9).any()
        assert (inside[:, 1] > 0.9).any()


class TestVisibility:
    def label(self, joint, *others):
        """Visibility of a joint of a cube-shaped person, all joints in one place."""
        solids = [cube((0, 1, 0), joints=np.tile(np.asarray(joint, float), (24, 1))), *others]
        return render.label(solids, 0, camera(), render.draw(solids, camera(), WHITE, NO_TEXTURES))

    def test_just_under_the_surface_is_visible(self):
        assert (self.label((0, 1, 0.45)).visibility == render.VISIBLE).all()

    def test_deep_inside_is_hidden_by_oneself(self):
        assert (self.label((0, 1, -0.4)).visibility == render.SELF_OCCLUDED).all()

    def test_hidden_by_another(self):
        label = self.label((0, 1, 0.45), cube((0, 1, 1.2), 0.3))
        assert (label.visibility == render.OCCLUDED).all()
        assert label.visible_fraction < 0.9

    def test_another_behind_hides_nothing(self):
        assert (self.label((0, 1, 0.45), cube((0, 1, -2), 0.6)).visibility == render.VISIBLE).all()

    def test_outside_the_picture(self):
        assert (self.label((9, 1, 0)).visibility == render.OUTSIDE).all()

    def test_pixels_and_metres_agree(self):
        label, c = self.label((0.2, 1.3, 0.45)), camera()
        projected = label.joints_m @ c.K.T
        assert np.allclose(projected[:, :2] / projected[:, 2:], label.joints_px, atol=1e-3)

    def test_box_is_clipped_but_box_full_is_not(self):
        solids = [cube((1.9, 1, 0), joints=np.zeros((24, 3)))]
        label = render.label(solids, 0, camera(), render.draw(solids, camera(), WHITE, NO_TEXTURES))
        assert label.box[2] == 63.5
        assert label.box_full[2] > 64
        assert 0 < label.visible_fraction < 1


class TestRetarget:
    @pytest.fixture
    def rig(self):
        """A rig whose joints are those of ``standing``, every joint its own bone."""
        return standing()

    @pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, -2.0])
    def test_turning_the_pose_turns_every_segment(self, rig, angle):
        segments = retarget._segments(standing() @ turn(angle).T, rig)
        # Legs are hinged about the body's axis, not about their own slight bend: a degree of difference.
        assert np.allclose(segments, turn(angle), atol=0.03)
        assert np.allclose(segments[:9], turn(angle), atol=1e-6)

    def test_rotations_are_rotations(self, rig):
        rng = np.random.default_rng(0)
        for _ in range(50):
            segments = retarget._segments(standing() + rng.normal(0, 0.1, (21, 3)), rig)
            assert np.allclose(segments @ segments.transpose(0, 2, 1), np.eye(3), atol=1e-6)
            assert np.allclose(np.linalg.det(segments), 1)

    def test_limbs_follow_their_directions(self, rig):
        pose = standing()
        poses._set_arm(pose, "left", np.eye(3), np.array([1.0, 0.2, 0.1]), np.array([0.3, 1.0, 0.4]))
        segments = dict(zip(retarget.SEGMENTS, retarget._segments(pose, rig), strict=True))
        for name, a, b in (("l_arm", retarget.L_SHOULDER, retarget.L_ELBOW), ("l_forearm", retarget.L_ELBOW,
                                                                             retarget.L_WRIST)):  # fmt: skip
            moved = segments[name] @ (rig[b] - rig[a])
            assert np.allclose(moved / np.linalg.norm(moved), (pose[b] - pose[a]) / np.linalg.norm(pose[b] - pose[a]))

    def test_a_straight_arm_does_not_spin(self, rig):
        """Around the straight arm the hinge's plane is undefined; the rotation must stay continuous."""
        previous = None
        for bend in np.linspace(-0.05, 0.05, 21):
            pose = standing()
            poses._set_arm(pose, "left", np.eye(3), np.array([0.1, -1.0, 0.0]), np.array([0.1, -1.0, bend]))
            segment = retarget._segments(pose, rig)[4]
            if previous is not None:
                assert np.abs(segment - previous).max() < 0.1
            previous = segment

    def test_forward_kinematics_keeps_bone_lengths(self):
        rng = np.random.default_rng(1)
        heads = np.cumsum(rng.normal(0, 0.2, (4, 3)), axis=0)
        rig = Rig(heads, np.array([-1, 0, 1, 2]), np.zeros((24, 3)), np.zeros((24, 2), int))
        rotations = np.stack([turn(a, (1.0, 0.0, 0.0)) for a in (0.3, -0.5, 1.2, 0.0)])
        transforms = retarget.forward_kinematics(rig, rotations)
        moved = np.einsum("bij,bj->bi", transforms[:, :, :3], heads) + transforms[:, :, 3]
        before = np.linalg.norm(np.diff(heads, axis=0), axis=1)
        assert np.allclose(np.linalg.norm(np.diff(moved, axis=0), axis=1), before)

    def test_skin_blends_two_bones(self):
        transforms = np.zeros((2, 3, 4), np.float32)
        transforms[:, :, :3] = np.eye(3)
        transforms[1, 0, 3] = 1.0
        index, weight = strongest_four(np.array([[0.5, 0.5, 0, 0, 0]], np.float32))
        out = retarget.skin(np.zeros((1, 3), np.float32), index % 2, weight, transforms)
        assert out[0] == pytest.approx([0.5, 0, 0])


class TestPoses:
    def test_mirror_twice_is_the_same(self):
        pose = standing() + np.random.default_rng(0).normal(0, 0.1, (21, 3))
        assert np.allclose(poses.mirror(poses.mirror(pose)), pose)

    @pytest.mark.parametrize("side", [1.0, -1.0])
    def test_limbs_hang_and_swing(self, side):
        """Down at rest, to the front by a quarter turn, outwards by another; up by a half."""
        for ahead, aside, direction in (
            (0, 0, [0, -1, 0]),
            (90, 0, [0, 0, 1]),
            (0, 90, [side, 0, 0]),
            (180, 0, [0, 1, 0]),
        ):
            assert np.allclose(poses._swung(side, np.radians(ahead), np.radians(aside)), direction)

    @pytest.mark.parametrize("change", [poses._perturb, poses._with_arms, poses._turn_head])
    def test_changes_keep_bone_lengths(self, change):
        pose = standing()
        changed = change(np.random.default_rng(3), pose)
        for chain in (*poses.ARMS.values(), *poses.LEGS.values()):
            for a, b in pairwise(chain):
                length = np.linalg.norm(pose[a] - pose[b])
                assert np.linalg.norm(changed[a] - changed[b]) == pytest.approx(length, rel=1e-6)

    def test_motion_capture_as_documented(self, tmp_path):
        """Two clips of one person, z up, of which the second is to be rendered."""
        (tmp_path / "mocap").mkdir()
        upright = standing()[:, [0, 2, 1]] * [1, -1, 1]
        np.savez(
            tmp_path / "mocap/cmu_joints.npz",
            positions=np.repeat(upright[None], 5, 0).astype(np.float32),
            clip_start=[0, 3, 5],
            clip_name=["walk_1", "walk_2"],
            subject=["a", "a"],
            split=[1, 0],
            joint_names=retarget.MOCAP_JOINTS,
            fps=30,
        )
        mocap = poses.Mocap(tmp_path, split=0)
        assert mocap.names == ["walk_2"]
        assert mocap.frames.shape == (2, 21, 3)
        assert np.allclose(mocap.frames[0, retarget.L_ANKLE], standing()[retarget.L_ANKLE])


class TestPhotograph:
    def test_same_seed_same_jpeg(self):
        linear = np.random.default_rng(0).random((32, 40, 3)).astype(np.float32)

        def shoot(seed):
            rng = np.random.default_rng(seed)
            return photograph.encode(rng, photograph.develop(rng, linear))

        assert shoot(1) == shoot(1)
        assert shoot(1) != shoot(2)

    def test_noise_is_the_same_in_all_colours_and_belongs_to_none(self):
        noises = [photograph._noise(np.random.default_rng(seed), (200, 200, 3)).reshape(-1, 3) for seed in range(6)]
        for noise in noises:  # some of them blurred
            assert noise.mean(0) == pytest.approx(np.zeros(3), abs=0.05)
            assert 0.6 < noise.std() < 1.1
            assert noise.std(0) == pytest.approx(np.full(3, noise.std()), rel=0.05)
            assert np.corrcoef(noise.T) == pytest.approx(np.eye(3), abs=0.05)


class TestLight:
    def test_uniform_panorama_lights_evenly(self):
        environment = lighting._analyse("even", np.full((64, 128, 3), 2.0, np.float32))
        light = lighting.light_in_camera(environment, np.eye(3), 0.3)
        assert light.harmonics[0] == pytest.approx([2, 2, 2], rel=0.02)
        assert np.abs(light.harmonics[1:]).max() < 0.02

    def test_light_from_above_is_above_in_the_camera(self):
        image = np.zeros((64, 128, 3), np.float32)
        image[:20] = 3.0
        light = lighting.light_in_camera(lighting._analyse("sky", image), camera().rotation, 0.0)
        # Row 1 multiplies the normal's y, which points down in the camera.
        assert light.harmonics[1, 0] < -0.1


def test_nobody_stands_behind_a_wall():
    """Nor above the ceiling, nor below the floor."""
    inside = np.array([[0.0, 1.2, 0.0], [0.3, 0.0, -11.0], [4.0, 2.9, -11.0]])
    for seed in range(20):
        lower, upper = backgrounds.walls(np.random.default_rng(seed), inside)
        assert (lower <= inside).all()
        assert (upper > inside).all()


class TestShards:
    def test_round_trip(self, tmp_path):
        rng = np.random.default_rng(0)

        def label():
            return render.Label(
                rng.random((24, 2), np.float32), rng.random((24, 3), np.float32), np.zeros(24, np.uint8),
                np.zeros(4, np.float32), np.ones(4, np.float32), 0.5,
            )  # fmt: skip

        image = np.full((8, 8, 3), 120, np.uint8)
        jpeg = photograph.encode(rng, image)
        labels = [[label()], [], [label(), label()]]
        path = tmp_path / "a" / "shard.npz"
        shards.write_shard(path, shards.pack([(jpeg, np.eye(3), people) for people in labels]))
        shard = shards.read_shard(path)
        assert len(shard) == 3
        assert shard.image.tolist() == [0, 2, 2]
        assert shard.people(2).tolist() == [1, 2]
        assert shard.people(1).tolist() == []
        assert np.array_equal(shard.joints_m[2], labels[2][1].joints_m)
        assert np.abs(shard.picture(1).astype(int) - 120).max() < 4
        assert list(tmp_path.rglob("*.partial")) == []

    def test_pixels_of_the_first_form_are_moved(self, tmp_path):
        """Their middle was one half."""
        people = [render.Label(np.ones((24, 2), np.float32), np.ones((24, 3), np.float32), np.zeros(24, np.uint8),
                               np.ones(4, np.float32), np.ones(4, np.float32), 1.0)]  # fmt: skip
        shards.write_shard(tmp_path / "new.npz", shards.pack([(b"x", np.eye(3), people)]))
        with np.load(tmp_path / "new.npz") as data:
            np.savez(tmp_path / "old.npz", **{name: data[name] for name in data if name != "form"})
        new, old = (shards.read_shard(tmp_path / name) for name in ("new.npz", "old.npz"))
        for name in ("joints_px", "box", "box_full"):
            assert np.array_equal(getattr(old, name), getattr(new, name) - 0.5)
        assert old.K[0].tolist() == [[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]
        assert np.array_equal(old.joints_m, new.joints_m)

    def test_no_pictures_with_people(self, tmp_path):
        shard = shards.pack([(b"x", np.eye(3), [])])
        assert shard.joints_px.shape == (0, 24, 2)

    def test_another_file_is_refused(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=1)
        with pytest.raises(ValueError, match="not a shard"):
            shards.read_shard(tmp_path / "x.npz")


class TestFiles:
    def test_obj_and_garment(self, tmp_path):
        (tmp_path / "g.obj").write_text("v 0 0 0\nv 10 0 10\nv 0 10 0\nv 10 10 0\nvt 0 0\nvt 1 1\nf 1/1 2/2 4/1 3/2\n")
        (tmp_path / "g.mhclo").write_text(
            "x_scale 0 1 10\ny_scale 0 2 10\nz_scale 0 1 10\nverts 0\n0\n1\n2\n0 1 2 0.5 0.5 0 0 0 1\n"
            "delete_verts\n0 - 2 3\n"
        )
        mesh = read_obj(tmp_path / "g.obj")
        assert mesh.triangles.tolist() == [[0, 1, 3], [0, 3, 2]]
        assert mesh.uv[0, 1].tolist() == [1, 0], "v counts down, as image rows do"
        garment = read_garment(tmp_path, "g")
        assert garment.hidden.tolist() == [0, 1, 2, 3]
        assert garment.fit(mesh.vertices * 2)[3] == pytest.approx([1, 0, 1.2]), "twice the body, twice the offset"

    def test_face_without_texture_coordinates(self, tmp_path):
        (tmp_path / "g.obj").write_text("v 0 0 0\nf 1 1 1\n")
        with pytest.raises(ValueError, match="texture coordinates"):
            read_obj(tmp_path / "g.obj")

    def test_files_that_change_have_another_state(self, tmp_path):
        folders = tmp_path / "humans", tmp_path / "textures"
        for folder in folders:
            (folder / "hair").mkdir(parents=True)
        file, copy = folders[0] / "hair/short01.obj", folders[1] / "hair/wool.jpg"
        file.write_text("v 0 0 0\n")
        states = [files_state(*folders), files_state(*folders)]
        copy.write_bytes(b"cloth")
        states.append(files_state(*folders))
        file.write_text("v 1 0 0 0\n")
        states.append(files_state(*folders))
        os.utime(file, (1, 1))
        states.append(files_state(*folders))
        assert states[0] == states[1]
        assert len(set(states)) == 4


def test_bad_shard_argument(tmp_path):
    with pytest.raises(ValueError, match="--shard"):
        cli.main(["--out", str(tmp_path), "--shard", "3/2"])


def test_missing_assets_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--assets"):
        cli.main(["--out", str(tmp_path / "o"), "--assets", str(tmp_path)])
