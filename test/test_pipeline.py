from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests make small networks with onnx")
import onnx
import tiny_networks

from pose3d_ros.backend import open_engines
from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import read_camera
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.follower import Follower
from pose3d_ros.loaded_networks import Networks
from pose3d_ros.models import Model, pipeline_models, read_models, record_model
from pose3d_ros.person import Frame, JointState, Person
from pose3d_ros.pipeline import Pipeline, View, process_together
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.stage_times import STAGES, StageTimes
from pose3d_ros.video import open_source

pytestmark = pytest.mark.usefixtures("crops_of_one_size")

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "pose3d_ros" / "assets" / "clip.mp4"
FRAME_NS = 33_000_000
CAMERA = Camera.from_horizontal_fov(640, 480, 60)
PREDICTED = JointState.PREDICTED
TIMES = StageTimes()
BRIGHT, DARK = (np.full((480, 640, 3), value, np.uint8) for value in (240, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_networks.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def pipeline(folder: Path) -> Pipeline:
    return Pipeline(folder, PipelineSettings(threads=1))


def play(pipeline: Pipeline, images: list[np.ndarray], camera: Camera | None = CAMERA) -> list[list[Person]]:
    return [pipeline.process(Frame(image, i * FRAME_NS, camera)) for i, image in enumerate(images)]


def test_a_person_is_found_and_placed(pipeline: Pipeline) -> None:
    [person] = play(pipeline, [BRIGHT])[0]
    assert person.id == 1
    assert person.joints_px.shape == (24, 2)
    assert person.joints_px_cov.shape == (24, 2, 2)
    assert set(person.joint_state.tolist()) == {JointState.VISIBLE}
    assert person.joints_m is not None
    assert person.joints_m_cov is not None
    assert np.allclose(person.joints_m - person.joints_m[0], tiny_networks.standing_pose(), atol=1e-6)
    # The pose stands where its pixels are.
    assert np.abs(CAMERA.project(person.joints_m) - person.joints_px).max() < 8
    assert (np.linalg.eigvalsh(person.joints_m_cov) > 0).all()
    assert person.score == pytest.approx(240 / 255, abs=0.05)
    assert set(pipeline.timings_ms) == set(STAGES)
    assert all(pipeline.timings_ms[stage] > 0 for stage in STAGES)


def test_outside_the_picture_no_joint_is_visible(tmp_path: Path) -> None:
    """Of somebody who stands at its left edge."""
    folder = tiny_networks.write_models(tmp_path / "models", [(-12.0, 20.0, 28.0, 110.0)])
    [[person]] = play(Pipeline(folder, PipelineSettings(threads=1)), [BRIGHT])
    outside = person.joints_px[:, 0] < -0.5
    assert outside.any()
    assert (person.joint_state[outside] == JointState.INFERRED).all()
    assert (person.joint_state[~outside] == JointState.VISIBLE).all()


def test_without_a_calibration_there_are_no_metres(pipeline: Pipeline) -> None:
    people = play(pipeline, [BRIGHT] * 3, camera=None)
    assert [[person.id for person in frame] for frame in people] == [[1]] * 3
    assert all(person.joints_m is None and person.joints_m_cov is None for frame in people for person in frame)
    assert pipeline.timings_ms["lift"] == 0


def test_the_finder_runs_every_k_frames_while_tracking(folder: Path) -> None:
    pipeline = Pipeline(folder, PipelineSettings(threads=1, find_every_n_frames=4))
    searched = []
    for i in range(9):
        pipeline.process(Frame(BRIGHT, i * FRAME_NS, CAMERA))
        searched.append(pipeline.timings_ms["find"] > 0)
    assert searched == [True, False, False, False] * 2 + [True]


def test_with_nobody_in_view_every_frame_is_searched(pipeline: Pipeline) -> None:
    for i in range(3):
        assert pipeline.process(Frame(DARK, i * FRAME_NS, CAMERA)) == []
        assert pipeline.timings_ms["find"] > 0


def test_somebody_who_leaves_is_carried_on_until_the_timeout(folder: Path) -> None:
    pipeline = Pipeline(folder, PipelineSettings(threads=1, track_timeout_s=0.1))
    frames = play(pipeline, [BRIGHT] * 6 + [DARK] * 6 + [BRIGHT])
    assert [len(people) for people in frames] == [1] * 6 + [1, 1, 1] + [0] * 3 + [1]
    gone = frames[7][0]
    assert set(gone.joint_state.tolist()) == {JointState.PREDICTED}
    assert gone.id == 1
    assert frames[-1][0].id == 1, "known again"
    assert np.linalg.det(gone.joints_m_cov[5]) > np.linalg.det(frames[5][0].joints_m_cov[5])


def test_who_has_long_been_doubtful_is_given_up(folder: Path) -> None:
    """A score of 0.4 keeps somebody who was seen well for a while, and nobody for ever."""
    doubtful = np.full((480, 640, 3), 102, np.uint8)
    frames = play(Pipeline(folder, PipelineSettings(threads=1, track_timeout_s=0.1)), [BRIGHT] * 20 + [doubtful] * 40)
    seen = [any((person.joint_state != PREDICTED).any() for person in people) for people in frames]
    assert 30 < sum(seen) < 50
    assert not any(seen[50:])
    assert frames[-1] == []


def test_a_longer_timeout_brings_back_who_was_not_shown_any_more(folder: Path) -> None:
    pipeline = Pipeline(folder, PipelineSettings(threads=1, track_timeout_s=0.3))
    for number in range(8):
        pipeline.process(Frame(BRIGHT, number * FRAME_NS, CAMERA))
    missing_ns = 8 * FRAME_NS + 600_000_000
    assert pipeline.process(Frame(DARK, missing_ns, CAMERA)) == []
    pipeline.change(PipelineSettings(threads=1, track_timeout_s=5.0))
    [person] = pipeline.process(Frame(DARK, missing_ns + FRAME_NS, CAMERA))
    assert person.id == 1


def test_time_going_backwards_resets(pipeline: Pipeline) -> None:
    play(pipeline, [BRIGHT] * 3)
    pipeline.process(Frame(DARK, 4 * FRAME_NS, CAMERA))
    [person] = pipeline.process(Frame(BRIGHT, 0, CAMERA))
    assert person.id == 1
    assert person.joint_state[0] == JointState.VISIBLE
    assert pipeline.process(Frame(BRIGHT, 0, CAMERA))[0].id == 1  # the same stamp twice is no jump


def test_another_calibration_is_at_once_the_one_that_holds(pipeline: Pipeline, folder: Path) -> None:
    """An assumed field of view, say, and then the camera's own; ids stay."""
    wide = Camera.from_horizontal_fov(640, 480, 90)
    play(pipeline, [BRIGHT] * 5)
    [person] = pipeline.process(Frame(BRIGHT, 5 * FRAME_NS, wide))
    [afresh] = play(Pipeline(folder, PipelineSettings(threads=1)), [BRIGHT], wide)[0]
    assert person.id == 1
    assert np.allclose(person.joints_m, afresh.joints_m, atol=1e-3)


def follow(pipeline: Pipeline, focal_shares: np.ndarray) -> Person:
    """Who is there after images of a camera whose focal length varies by these shares of CAMERA's."""
    for i, share in enumerate(focal_shares):
        camera = Camera.from_horizontal_fov(640, 480, 2 * np.degrees(np.arctan(np.tan(np.radians(30)) / share)))
        [person] = pipeline.process(Frame(BRIGHT, i * FRAME_NS, camera))
    return person


def test_autofocus_forgets_no_metres(pipeline: Pipeline, folder: Path) -> None:
    """What was learned of place and size stays, or every image would be as uncertain as the first."""
    steady = play(Pipeline(folder, PipelineSettings(threads=1)), [BRIGHT] * 20)[-1][0]
    person = follow(pipeline, 1 + np.random.default_rng(0).normal(0, 0.001, 20))
    assert np.allclose(person.joints_m, steady.joints_m, rtol=0.01)
    assert np.allclose(person.joints_m_cov, steady.joints_m_cov, rtol=0.01)


def test_a_focal_length_that_drifts_is_followed(pipeline: Pipeline, folder: Path) -> None:
    """Against that by which the metres began, however little it changes from one image to the next."""
    person = follow(pipeline, np.array([1.0] * 20 + [1.004, 1.008]))
    afresh = follow(Pipeline(folder, PipelineSettings(threads=1)), np.array([1.008]))
    assert np.allclose(person.joints_m, afresh.joints_m, atol=1e-3)


def test_an_image_of_another_size_resets(pipeline: Pipeline) -> None:
    play(pipeline, [BRIGHT] * 3)
    small = np.full((240, 320, 3), 240, np.uint8)
    [person] = pipeline.process(Frame(small, 10 * FRAME_NS, Camera.from_horizontal_fov(320, 240, 60)))
    assert person.id == 1
    assert (person.joints_px < [320, 240]).all()


def test_the_same_frames_give_the_same_people(folder: Path) -> None:
    images = [BRIGHT, BRIGHT, DARK, BRIGHT, BRIGHT]
    pipeline = Pipeline(folder, PipelineSettings(threads=2))
    first = play(pipeline, images)
    pipeline.reset()
    for again in (play(pipeline, images), play(Pipeline(folder), images)):
        for a, b in zip(first, again, strict=True):
            assert [p.id for p in a] == [p.id for p in b]
            for p, q in zip(a, b, strict=True):
                assert np.array_equal(p.joints_m, q.joints_m)
                assert np.array_equal(p.joints_m_cov, q.joints_m_cov)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (37, 53)])
def test_odd_images_do_no_harm(pipeline: Pipeline, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pipeline.process(Frame(noise, 0, Camera.from_horizontal_fov(shape[1], shape[0], 60)))
    assert len(pipeline.process(Frame(BRIGHT, FRAME_NS, CAMERA))) == 1


# ---- several cameras -------------------------------------------------------------------------------------------------


@pytest.fixture
def networks(folder: Path) -> Networks:
    return Networks(open_engines(pipeline_models(folder), PipelineSettings(threads=1).wish))


def test_ids_are_counted_since_the_first_frame_after_a_reset(networks: Networks) -> None:
    follower, since = Follower(), []
    for number, image in enumerate([BRIGHT, BRIGHT, BRIGHT[:400], BRIGHT[:400]]):
        process_together(networks, [View(follower, Frame(image, number * FRAME_NS))], TIMES)
        since.append(follower.since_ns)
    assert since == [0, 0, 2 * FRAME_NS, 2 * FRAME_NS]


def test_cameras_share_the_networks_and_nothing_else(networks: Networks, folder: Path) -> None:
    """Three cameras together, one of them uncalibrated, are as each alone; calls of a network are shared."""
    cameras = [CAMERA, Camera.from_horizontal_fov(640, 480, 90), None]
    images = [[BRIGHT] * 4, [DARK, BRIGHT, BRIGHT, DARK], [BRIGHT, DARK, BRIGHT, BRIGHT]]
    followers = [Follower() for _ in cameras]
    calls: list[int] = []
    locate = networks.locate
    networks.locate = lambda questions: (calls.append(len(questions)), locate(questions))[1]  # type: ignore
    alone = [play(Pipeline(folder), own, camera) for own, camera in zip(images, cameras, strict=True)]
    for i in range(4):
        frames = [Frame(own[i], i * FRAME_NS, camera) for own, camera in zip(images, cameras, strict=True)]
        calls.clear()
        outcomes = process_together(
            networks, [View(f, frame) for f, frame in zip(followers, frames, strict=True)], TIMES
        )
        assert len(calls) <= 3  # all crops at once, then those of new people zoomed, then once more
        assert calls[0] == 3
        for people, expected in zip(outcomes, alone, strict=True):
            assert isinstance(people, list)
            assert [p.id for p in people] == [p.id for p in expected[i]]
            for p, q in zip(people, expected[i], strict=True):
                assert np.allclose(p.joints_px, q.joints_px)
                assert (p.joints_m is None) == (q.joints_m is None)
                if p.joints_m is not None and q.joints_m is not None:
                    assert np.allclose(p.joints_m, q.joints_m, atol=1e-5)


def test_one_cameras_trouble_is_not_the_others(networks: Networks) -> None:
    class Broken(Camera):
        def rays_with_jacobian(self, points_px: object) -> tuple[np.ndarray, np.ndarray]:
            raise ArithmeticError("no rays today")

    broken = Broken(640, 480, CAMERA.K, CAMERA.distortion)
    frames = [Frame(BRIGHT, 0, CAMERA), Frame(BRIGHT, 0, broken), Frame(BRIGHT, 0, CAMERA)]
    first, second, third = process_together(networks, [View(Follower(), frame) for frame in frames], TIMES)
    assert isinstance(second, ArithmeticError)
    for people in (first, third):
        assert isinstance(people, list)
        assert len(people) == 1


def test_a_network_that_fails_fails_all_that_asked_it(networks: Networks) -> None:
    def fail(questions: object) -> list:
        raise EngineError("out of memory")

    networks.lift = fail  # type: ignore
    frames = [Frame(BRIGHT, 0, CAMERA), Frame(BRIGHT, 0, None)]
    lifted, flat = process_together(networks, [View(Follower(), frame) for frame in frames], TIMES)
    assert isinstance(lifted, EngineError)
    assert isinstance(flat, list)


def test_no_cameras_no_people(networks: Networks) -> None:
    assert process_together(networks, [], TIMES) == []


def test_the_description_names_networks_and_device(pipeline: Pipeline, folder: Path) -> None:
    for model in read_models(folder).values():
        assert f"{model.path.name} {model.short_hash}" in pipeline.description
    assert "CPU" in pipeline.description


def test_on_a_cpu_the_network_in_8_bits_runs_unless_it_shall_not(folder: Path, monkeypatch) -> None:
    rough = folder / "rough.onnx"
    rough.write_bytes((folder / "pose2d.onnx").read_bytes())
    whole = read_models(folder)["pose2d"]
    record_model(replace(whole, int8=Model("pose2d", rough, sha256="")))
    assert "rough.onnx" in Pipeline(folder).description
    assert "rough.onnx" not in Pipeline(folder, PipelineSettings(precision="fp32")).description
    with monkeypatch.context() as there_is_a_gpu:
        # ONNX Runtime for GPUs lists them, and loads what it can: here nothing.
        present = ("CUDAExecutionProvider", "CPUExecutionProvider")
        there_is_a_gpu.setattr("pose3d_ros.backend.providers_present", lambda: present)
        with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
            description = Pipeline(folder).description
    assert "rough.onnx" in description
    assert "(CUDA did not load)" in description
    rough.write_bytes(b"")
    with pytest.raises(EngineError, match=r"rough\.onnx is cut off"):
        Pipeline(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"max_people": -1}, "max_people is -1"),
        ({"find_every_n_frames": 2.5}, "find_every_n_frames is 2.5"),
        ({"score_threshold": 1.5}, "between 0 and 1"),
        ({"score_threshold": float("nan")}, "between 0 and 1"),
        ({"track_timeout_s": -0.1}, "0 s or more"),
    ],
)
def test_settings_are_checked(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PipelineSettings(**changes)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot read .*models\.json"):
        Pipeline(tmp_path / "nowhere")


@pytest.mark.parametrize("role", ["find", "pose2d", "lift"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "another's", "no network"])
def test_unusable_networks_are_named(tmp_path: Path, role: str, harm: str) -> None:
    folder = tiny_networks.write_models(tmp_path)
    path = folder / f"{role}.onnx"
    if harm == "missing":
        path.unlink()
        message = "no network at"
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
        message = "is cut off"
    elif harm == "another's":
        other = {"find": "pose2d", "pose2d": "lift", "lift": "find"}[role]
        path.write_bytes((folder / f"{other}.onnx").read_bytes())
        record_model(read_models(folder)[role])
        message = "this is not a"
    else:
        path.write_bytes(b"not a network" * 10)
        record_model(read_models(folder)[role])
        message = "not a readable ONNX network"
    with pytest.raises(EngineError, match=message) as error:
        Pipeline(folder)
    assert role in str(error.value)


def test_a_stage_1_of_other_joints_is_refused(tmp_path: Path) -> None:
    folder = tiny_networks.write_models(tmp_path)
    onnx.save(tiny_networks.pose2d(joints=17), str(folder / "pose2d.onnx"))
    record_model(read_models(folder)["pose2d"])
    with pytest.raises(EngineError, match=r"pose2d\.onnx"):
        Pipeline(folder)


@pytest.mark.skipif(not CLIP.is_file(), reason="the rendered clip is not there")
@pytest.mark.skipif(not (ROOT / "models" / "models.json").is_file(), reason="the networks are not there")
def test_the_shipped_networks_see_our_clip() -> None:
    """Every third frame of a rendered person who walks in, turns, waves and walks out; then nobody."""
    truth = json.loads(CLIP.with_suffix(".json").read_text())
    camera = read_camera(CLIP.with_suffix(".json"))
    pipeline = Pipeline()
    inside, found, pixels, aligned, distance, late = 0, 0, [], [], [], []
    with open_source(str(CLIP)) as source:
        for i, (image, stamp_ns) in enumerate(source):
            if i % 3:
                continue
            people = [p for p in pipeline.process(Frame(image, stamp_ns, camera)) if p.joint_state[0] != PREDICTED]
            if truth["joints_m"][i] is None:
                late += people if i > 290 else []  # after the last frame with the person, and the timeout
                continue
            joints = np.array(truth["joints_m"][i])
            expected = camera.project(joints)
            if ((expected < 0) | (expected > [639, 479])).any():
                continue
            inside += 1
            if len(people) != 1:
                continue
            [person] = people
            found += 1
            assert person.joints_m is not None
            pixels.append(np.median(np.linalg.norm(person.joints_px - expected, axis=-1)))
            aligned.append(np.mean(np.linalg.norm(person.joints_m - person.joints_m[0] - joints + joints[0], axis=-1)))
            distance.append(np.linalg.norm(person.joints_m[0] - joints[0]) / joints[0, 2])
    assert inside > 50
    assert found >= 0.95 * inside
    assert np.median(pixels) < 8
    assert np.median(aligned) < 0.15
    assert np.median(distance) < 0.2
    assert not late
