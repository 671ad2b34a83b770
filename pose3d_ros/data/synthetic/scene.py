"""Random pictures: who stands where, in which pose, in which light, seen by which camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.data.synthetic import backgrounds, lighting, looks, person, photograph, poses, render, retarget
from pose3d_ros.data.synthetic.assets import Humans, load_humans
from pose3d_ros.data.synthetic.body import Rig
from pose3d_ros.data.synthetic.types import ByteArray, FloatArray, IntArray
from pose3d_ros.skeleton import indices

CROP_SIZE = 256
SCENE_SIZE = (320, 256)
KINDS = ("crops", "scenes", "acrobats")
MOCAP_SPLIT = {"train": 0, "test": 2}
POOL_SIZE = {"train": 240, "test": 40}
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Studio:
    """Everything that stays the same from picture to picture."""

    humans: Humans
    pool: person.Pool
    wardrobe: looks.Wardrobe
    mocap: poses.Mocap
    environments: list[lighting.Environment]
    photos: list[ByteArray]
    parents: IntArray
    stream: tuple[int, ...]
    """Of random numbers: those of the test's pictures, or theirs would be the twins of those trained on."""


def open_studio(
    assets: Path, cache: Path, split: str, seed: int, pool_size: int | None = None, photos: bool = True
) -> Studio:
    """Load the assets and the pool of people.

    Args:
        assets: the folder with humans/, scenes/ and mocap/.
        cache: where parsed assets and the pool are kept.
        split: "train" or "test": other bodies, outfits, motion, panoramas and photographs.
        seed: seed of the pool.
        pool_size: number of people; None is ``POOL_SIZE``.
        photos: use photographs and cloth photographs too (they are not CC0).
    """
    humans = load_humans(assets, cache)
    return Studio(
        humans=humans,
        pool=person.load_pool(humans, cache, split, pool_size or POOL_SIZE[split], seed),
        wardrobe=looks.Wardrobe(humans, fabrics=photos),
        mocap=poses.Mocap(assets, MOCAP_SPLIT[split]),
        environments=lighting.load_environments(assets, split),
        photos=backgrounds.load_photos(assets, split) if photos else [],
        parents=np.array([bone.parent for bone in humans.bones]),
        stream=(1,) if split == "test" else (),
    )


def picture(studio: Studio, kind: str, seed: int, index: int) -> tuple[bytes, FloatArray, list[render.Label]]:
    """Picture ``index`` of a kind as (JPEG, K, labels); depends on nothing but the studio, the seed and the index."""
    rng = np.random.default_rng([seed, KINDS.index(kind), index, *studio.stream])
    if kind == "scenes":
        return scene(rng, studio)
    pose = poses.random_pose if kind == "crops" else poses.acrobatic_pose
    return crop(rng, studio, pose(rng, studio.mocap))


def pose_person(rng: np.random.Generator, studio: Studio, pose: FloatArray) -> render.Solid:
    """A random person of the pool in a pose [21, 3], standing on the floor at the origin."""
    one = studio.pool[int(rng.integers(len(studio.pool)))]
    return solid_person(rng, studio, one, studio.wardrobe.dress(rng, one.looks), pose)


def solid_person(
    rng: np.random.Generator,
    studio: Studio,
    one: person.Person,
    materials: FloatArray,
    pose: FloatArray,
    relaxed: bool = False,
) -> render.Solid:
    """A given person in a pose [21, 3], its lowest point on the floor, its pelvis over the origin."""
    rig = Rig(one.heads, studio.parents, one.joints, one.joint_bones)
    rotations = retarget.bone_rotations(rng, studio.humans.bones, rig, pose, relaxed)
    transforms = retarget.forward_kinematics(rig, rotations)
    joints = retarget.pose_joints(rig, transforms)
    vertices = retarget.skin(one.vertices, one.bone_index, one.bone_weight, transforms.astype(np.float32))
    shift = np.array([-joints[0, 0], -float(vertices[:, 1].min()), -joints[0, 2]])
    return render.Solid(
        vertices=vertices + shift.astype(np.float32),
        rest=one.vertices,
        cut=one.cut,
        triangles=one.triangles,
        uv=one.uv,
        part=one.part,
        materials=materials,
        joints=joints + shift,
    )


def moved(solid: render.Solid, offset: FloatArray) -> render.Solid:
    """The solid moved by ``offset`` [3] metres."""
    joints = None if solid.joints is None else solid.joints + offset
    return render.Solid(
        solid.vertices + offset.astype(np.float32), solid.rest, solid.cut, solid.triangles, solid.uv, solid.part,
        solid.materials, joints,
    )  # fmt: skip


def crop(rng: np.random.Generator, studio: Studio, pose: FloatArray) -> tuple[bytes, FloatArray, list[render.Label]]:
    """A square picture around one main person in a pose [21, 3]."""
    main = pose_person(rng, studio, pose)
    assert main.joints is not None
    middle = render.extent(main.vertices).mean(0, np.float64)
    distance = float(np.exp(rng.uniform(np.log(1.3), np.log(8.0))))
    elevation = float(np.radians(np.clip(rng.normal(8, 14), -25, 65)))
    azimuth = float(rng.uniform(-np.pi, np.pi))
    away = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    position = middle + away * distance
    position[1] = max(position[1], 0.12)
    aim = middle + rng.normal(0, 0.15, 3) * distance * 0.6
    rotation = render.look_at(position, aim, float(np.radians(rng.normal(0, 4))))
    K = _frame_person(rng, main, rotation, position)
    camera = render.Camera(K, rotation, position, CROP_SIZE, CROP_SIZE)
    solids = [main]
    forward, right = -away * [1, 0, 1], rotation[0] * [1, 0, 1]
    forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.74, 0.2, 0.06]))):
        other = pose_person(rng, studio, poses.random_pose(rng, studio.mocap))
        deep = float(rng.normal(0.4, 0.9))
        side = float(rng.choice([-1, 1]) * rng.uniform(0.25, 1.1))
        if abs(deep) < 0.35:
            side = float(np.sign(side)) * max(abs(side), 0.45)
        deep = max(deep, -(distance - 1.0))
        solids.append(moved(other, forward * deep + right * side))
    for solid in list(solids):
        solids += _seat(rng, solid)
    if rng.random() < 0.4:
        solids += _furniture(rng, middle, forward, right, distance)
    return _finish(rng, studio, solids, camera, main_alone_below=0.3)


def _frame_person(
    rng: np.random.Generator, main: render.Solid, rotation: FloatArray, position: FloatArray
) -> FloatArray:
    """Intrinsics [3, 3] that put the person (or, in about a fifth of the pictures, a part of it) into the square."""
    points = (main.vertices[::7] - position) @ rotation.T
    assert main.joints is not None
    joints = (main.joints - position) @ rotation.T
    whole = points[:, :2] / np.maximum(points[:, 2:], 0.2)
    low, high = render.extent(whole)
    fill = float(rng.uniform(0.55, 0.95))
    jitter = 0.5 * (1 - fill)
    choice = rng.random()
    if choice < 0.18:  # half-body: legs out of the picture
        keep = ["head", "thorax", "left_shoulder", "right_shoulder", "pelvis"]
        keep += ["left_elbow", "right_elbow"] if rng.random() < 0.6 else []
        keep += ["left_knee", "right_knee"] if rng.random() < 0.4 else []
        part = joints[indices(*keep)]
        flat = part[:, :2] / np.maximum(part[:, 2:], 0.2)
        low, high = render.extent(flat)
        fill, jitter = float(rng.uniform(0.7, 0.95)), 0.05
    elif choice < 0.25:  # cut anywhere
        fill, jitter = float(rng.uniform(0.8, 1.3)), 0.3
    size = float((high - low).max())
    focal = CROP_SIZE * fill / max(size, 1e-3)
    middle = (low + high) / 2
    centre = CROP_SIZE * (0.5 + rng.uniform(-jitter, jitter, 2)) - 0.5 - focal * middle
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])


def scene(rng: np.random.Generator, studio: Studio) -> tuple[bytes, FloatArray, list[render.Label]]:
    """A whole camera picture with nobody to six people."""
    width, height = SCENE_SIZE
    focal = 0.5 * width / np.tan(np.radians(rng.uniform(40, 95)) / 2)
    middle = np.array([width - 1, height - 1]) / 2 + rng.normal(0, 5, 2)
    K = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    eye = float(np.clip(rng.normal(1.1, 0.5), 0.2, 3.0))
    pitch = float(np.radians(rng.normal(-3 - 6 * (eye - 1), 8)))
    position = np.array([0.0, eye, 0.0])
    aim = position + np.array([0, np.sin(pitch), -np.cos(pitch)])
    rotation = render.look_at(position, aim, float(np.radians(rng.normal(0, 4))))
    camera = render.Camera(K, rotation, position, width, height)
    solids: list[render.Solid] = []
    placed: list[FloatArray] = []
    count = int(rng.choice(7, p=[0.15, 0.27, 0.2, 0.14, 0.1, 0.08, 0.06]))
    furthest = focal * 1.7 / 22
    group = float(np.exp(rng.uniform(np.log(1.2), np.log(furthest))))
    for _ in range(count):
        solid = pose_person(rng, studio, poses.random_pose(rng, studio.mocap))
        for _attempt in range(8):
            far = group * float(np.exp(rng.normal(0, 0.25))) if rng.random() < 0.5 else float(
                np.exp(rng.uniform(np.log(0.9), np.log(furthest))))  # fmt: skip
            spread = 0.5 * width / focal * (1.05 if rng.random() < 0.85 else 1.4)
            spot = np.array([float(rng.uniform(-spread, spread)) * far, 0.0, -far])
            if all(np.linalg.norm(spot - other) > 0.45 for other in placed):
                placed.append(spot)
                person_here = moved(solid, spot)
                solids += [person_here, *_seat(rng, person_here)]
                break
    if rng.random() < 0.45:
        far = float(rng.uniform(1.2, 5.0))
        middle = np.array([float(rng.normal(0, 0.3)) * far, 0.9, -far])
        solids += _furniture(rng, middle, np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0]), far)
    return _finish(rng, studio, solids, camera)


def _seat(rng: np.random.Generator, solid: render.Solid) -> list[render.Solid]:
    """Something to sit on for a person who sits, in most cases."""
    assert solid.joints is not None
    left, right, *knees = solid.joints[indices("left_hip", "right_hip", "left_knee", "right_knee")]
    hip = (left + right) / 2
    height = float(hip[1]) - 0.1
    sits = 0.25 < height < 0.75 and max(abs(hip[1] - knee[1]) for knee in knees) < 0.22
    if not sits or rng.random() < 0.2:
        return []
    across = (left - right) * [1, 0, 1]
    yaw = float(np.arctan2(-across[2], across[0]))
    w, d = float(rng.uniform(0.2, 0.35)), float(rng.uniform(0.2, 0.28))
    kind = rng.random()
    boxes = [(np.array([-w, 0.0 if kind < 0.4 else height - 0.05, -d]), np.array([w, height, d * 0.8]))]
    if kind >= 0.4:
        boxes += [(np.array([x - 0.02, 0, z - 0.02]), np.array([x + 0.02, height - 0.05, z + 0.02]))
                  for x in (0.02 - w, w - 0.02) for z in (0.02 - d, d * 0.8 - 0.02)]  # fmt: skip
    if rng.random() < 0.6:
        back = float(rng.uniform(0.25, 0.6))
        boxes.append((np.array([-w, height, -d - 0.04]), np.array([w, height + back, -d])))
    spot = hip * [1, 0, 1]
    return [turned_box(low, high, yaw, spot, material) for material in [looks.furniture_material(rng)]
            for low, high in boxes]  # fmt: skip


def turned_box(low: FloatArray, high: FloatArray, yaw: float, spot: FloatArray, material: FloatArray) -> render.Solid:
    """A box from its lower and upper corner, turned about the vertical and moved to ``spot``."""
    corners = np.array([[x, y, z] for z in (low[2], high[2]) for y in (low[1], high[1]) for x in (low[0], high[0])])
    return render.box_solid(corners @ retarget.axis_rotation(_UP, yaw).T + spot, material)


def _furniture(
    rng: np.random.Generator, middle: FloatArray, forward: FloatArray, right: FloatArray, distance: float
) -> list[render.Solid]:
    """Tables, chairs, pillars, boxes and bars, one to three, near ``middle``, before or behind it."""
    result = []
    for _ in range(int(rng.integers(1, 4))):
        deep = float(rng.choice([rng.uniform(-0.9, -0.3), rng.uniform(0.3, 1.5)], p=[0.6, 0.4]))
        deep = max(deep, -(distance - 0.6))
        side = float(rng.normal(0, 0.5))
        spot = (middle + forward * deep + right * side) * [1, 0, 1]
        material = looks.furniture_material(rng)
        yaw = float(rng.uniform(-np.pi, np.pi))
        result += [turned_box(low, high, yaw, spot, material) for low, high in _furniture_boxes(rng)]
    return result


def _furniture_boxes(rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
    """Lower and upper corners of the boxes of one piece of furniture that stands at the origin."""
    kind = str(rng.choice(["table", "chair", "pillar", "box", "bar"], p=[0.3, 0.2, 0.1, 0.3, 0.1]))
    w, d = float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.2, 0.5))
    if kind == "pillar":
        r = float(rng.uniform(0.03, 0.15))
        return [(np.array([-r, 0, -r]), np.array([r, 3.0, r]))]
    if kind == "box":
        h = float(rng.uniform(0.3, 1.3))
        return [(np.array([-w / 2, 0, -d / 2]), np.array([w / 2, h, d / 2]))]
    if kind == "bar":
        h = float(rng.uniform(0.3, 1.6))
        return [(np.array([-2.0, h, -0.03]), np.array([2.0, h + rng.uniform(0.03, 0.15), 0.03]))]
    h, leg = (float(rng.uniform(0.65, 0.85)), 0.03) if kind == "table" else (float(rng.uniform(0.4, 0.5)), 0.02)
    if kind == "chair":
        w, d = 0.22, 0.22
    boxes = [(np.array([-w, h - 0.04, -d]), np.array([w, h, d]))]
    boxes += [
        (np.array([x - leg, 0, z - leg]), np.array([x + leg, h - 0.04, z + leg]))
        for x in (-w + leg, w - leg)
        for z in (-d + leg, d - leg)
    ]
    if kind == "chair":
        boxes.append((np.array([-w, h, d - 0.03]), np.array([w, h + 0.45, d])))
    return boxes


def _finish(
    rng: np.random.Generator,
    studio: Studio,
    solids: list[render.Solid],
    camera: render.Camera,
    main_alone_below: float = 0.0,
) -> tuple[bytes, FloatArray, list[render.Label]]:
    """Light, background, drawing, the camera's imperfections, labels.

    With ``main_alone_below`` the first solid is the main person: when less than that share of it can be seen, the
    others are left out. Its background may also be drawn with a wider lens than the person.
    """
    environment = studio.environments[int(rng.integers(len(studio.environments)))]
    yaw = float(rng.uniform(-np.pi, np.pi))
    light = lighting.light_in_camera(environment, camera.rotation, yaw)
    exposure = float(np.exp(rng.normal(0, 0.3))) * 0.75 / max(light.grey_level(), 1e-6)
    light = light.scaled(exposure)
    kind = str(rng.choice(["panorama", "photo", "room", "clutter"], p=[0.22, 0.33, 0.27, 0.18]))
    if kind == "photo" and not studio.photos:
        kind = "room"
    if kind == "panorama" and not environment.clean:
        kind = "room"
    if kind != "panorama":
        # The light no longer belongs to what is seen behind: take most of its colour out.
        grey = light.harmonics[0].mean() / np.maximum(light.harmonics[0], 1e-6)
        light = light.scaled(grey ** float(rng.uniform(0.5, 1.0)))
    width, height = camera.width, camera.height
    if kind == "panorama":
        view = camera.K.copy()
        if main_alone_below > 0:  # a narrow view of a 1k panorama is mush: look at a wider one
            widest = 0.5 * width / np.tan(np.radians(rng.uniform(20, 40)))
            wider = min(1.0, widest / view[0, 0])
            middle = np.array([width - 1, height - 1]) / 2
            view[0, 0], view[1, 1] = wider * view[0, 0], wider * view[1, 1]
            view[:2, 2] = middle + wider * (view[:2, 2] - middle)
        background = lighting.panorama_view(environment, lighting.pixel_rays(view, camera.rotation, width, height), yaw)
        background = background * exposure
    elif kind == "photo":
        background = backgrounds.photo_background(rng, studio.photos[int(rng.integers(len(studio.photos)))], width,
                                                  height)  # fmt: skip
        background = background * float(np.exp(rng.normal(0.1, 0.3)))
    elif kind == "room":
        rays = lighting.pixel_rays(camera.K, camera.rotation, width, height)
        corners = np.vstack([camera.position, *(render.extent(solid.vertices) for solid in solids)])
        background = backgrounds.room(rng, rays.astype(np.float32), camera.position, corners)
        background = background * float(np.exp(rng.normal(0, 0.25)))
    else:
        background = backgrounds.clutter(rng, studio.humans.textures[-8:], width, height)
    background = _vary_background(rng, background)
    rendering = render.draw(solids, camera, light, studio.humans.textures)
    if main_alone_below and render.label(solids, 0, camera, rendering).visible_fraction < main_alone_below:
        solids = solids[:1]
        rendering = render.draw(solids, camera, light, studio.humans.textures)
    shadow = rendering.floor_shadow if kind != "clutter" else np.ones_like(rendering.floor_shadow)
    linear = rendering.colour + (1 - rendering.coverage[..., None]) * (background * shadow[..., None])
    image = photograph.develop(rng, linear.astype(np.float32))
    labels = [render.label(solids, k, camera, rendering) for k, solid in enumerate(solids) if solid.joints is not None]
    labels = [label for label in labels if label.box[2] > label.box[0] and label.box[3] > label.box[1]]
    return photograph.encode(rng, image), camera.K, labels


def _vary_background(rng: np.random.Generator, background: FloatArray) -> FloatArray:
    """Few places, many looks: another tint, a shallow depth of field."""
    if rng.random() < 0.5:
        background = background * np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
    if rng.random() < 0.25:
        blurred = cv2.GaussianBlur(background.astype(np.float32), (0, 0), float(rng.uniform(0.8, 4.0)))
        return np.asarray(blurred, np.float32)
    return background
