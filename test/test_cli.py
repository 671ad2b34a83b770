from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pose3d_ros import cli, draw, run_video, skeleton, video
from pose3d_ros.camera import CameraError
from pose3d_ros.camera_file import camera_for_image, read_camera
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.video import VideoError, open_source

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "pose3d_ros" / "assets" / "clip.mp4"
CALIBRATION = {"K": [[550, 0, 319.5], [0, 550, 239.5], [0, 0, 1]], "distortion": [-0.1, 0.01, 0, 0, 0]}
CALIBRATION |= {"image_size": [640, 480], "distortion_model": "OpenCV k1,k2,p1,p2,k3"}
YAML = """\
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [550, 0, 319.5, 0, 550, 239.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}
"""


def pose3d(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs the command as a person would, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "SILENT"}
    command = [sys.executable, "-m", "pose3d_ros.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    return tiny_networks.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bright video of 12 frames, an image and a calibration."""
    folder = tmp_path_factory.mktemp("inputs")
    writer = cv2.VideoWriter(str(folder / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (640, 480))
    for _ in range(12):
        writer.write(np.full((480, 640, 3), 240, np.uint8))
    writer.release()
    cv2.imwrite(str(folder / "photo.png"), np.full((333, 221, 3), 240, np.uint8))
    (folder / "camera.json").write_text(json.dumps(CALIBRATION))
    (folder / "camera.yaml").write_text(YAML)
    return folder


def check_records(path: Path, frames: int, metric: bool) -> int:
    """The documented schema; returns how many people there are in all."""
    lines = path.read_text().splitlines()
    assert len(lines) == frames
    count = 0
    for index, line in enumerate(lines):
        record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert set(record) == {"frame", "stamp", "people"}
        assert record["frame"] == index
        for person in record["people"]:
            count += 1
            assert set(person) == {"id", "box", "score", "joints"}
            assert len(person["box"]) == 4
            assert tuple(person["joints"]) == skeleton.JOINTS
            for joint in person["joints"].values():
                assert set(joint) == {"px", "score", "state", "xyz", "sigma"}
                assert joint["state"] in ("visible", "inferred", "predicted")
                assert 0 <= joint["score"] <= 1
                assert (joint["xyz"] is not None) == (joint["sigma"] is not None) == metric
                if metric:
                    assert math.dist(joint["xyz"], (0, 0, 0)) > 0.1
                    assert min(joint["sigma"]) > 0
    return count


@pytest.mark.parametrize("calibration", ["camera.yaml", "none"])
def test_run_on_a_video(inputs: Path, models: Path, tmp_path: Path, calibration: str) -> None:
    how = [] if calibration == "none" else ["--camera-info", inputs / calibration]
    done = pose3d("run", inputs / "walk.mp4", *how, "--models", models, "--output", tmp_path / "out", "--frames", 5)
    assert done.returncode == 0, done.stderr
    assert ("no metres" in done.stderr) == (calibration == "none")
    assert check_records(tmp_path / "out" / "walk.jsonl", 5, metric=calibration != "none") == 5
    picture = cv2.imread(str(tmp_path / "out" / "walk.png"))
    assert picture.shape == (480, 640 if calibration == "none" else 1120, 3)
    with open_source(str(tmp_path / "out" / "walk.mp4")) as video:
        assert [image.shape for image, _ in video] == [picture.shape] * 5
    assert all(str(tmp_path / "out" / name) in done.stdout for name in ("walk.jsonl", "walk.png", "walk.mp4"))


def test_run_on_a_photo_of_odd_size(inputs: Path, models: Path, tmp_path: Path) -> None:
    done = pose3d("run", inputs / "photo.png", "--fov", 50, "--models", models, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert check_records(tmp_path / "photo.jsonl", 1, metric=True) == 1
    assert cv2.imread(str(tmp_path / "photo.png")).shape[0] == 333
    assert not (tmp_path / "photo.mp4").exists()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("gone.mp4", [], "no file"),
        (".", [], "is a folder"),
        ("camera.json", [], "not a video or image that OpenCV can decode"),
        ("empty.png", [], "is not an image that OpenCV can decode"),
        ("cut.mp4", [], "not a video or image that OpenCV can decode"),
        ("photo.png", ["--fov", "190"], "must lie between 0 and 180"),
        ("photo.png", ["--camera-info", "gone.json"], "cannot read camera-info"),
        ("photo.png", ["--camera-info", "camera.json"], "another shape"),
        ("photo.png", ["--threads", "0"], "threads is 0"),
        ("photo.png", ["--models", "gone"], "models.json"),
        ("photo.png", ["--output", "camera.json"], "cannot make the output folder"),
        ("photo.png", ["--output", "/proc/self"], "photo.jsonl: "),
        ("photo.png", ["--frames", "0"], "give 1 or more"),
    ],
)
def test_bad_input_is_explained_in_one_line(
    inputs: Path,
    models: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    source: str,
    options: list[str],
    message: str,
) -> None:
    (inputs / "empty.png").write_bytes(b"")
    (inputs / "cut.mp4").write_bytes((inputs / "walk.mp4").read_bytes()[:300])
    words = [inputs / word if word.startswith(("gone", "camera.")) else word for word in options]
    status = cli.main(["run", *map(str, [inputs / source, "--models", models, "--output", tmp_path, *words])])
    assert status == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("pose3d: ")
    assert message in last


@pytest.mark.parametrize("what", ["multiview", "health"])
def test_no_frames_cannot_be_evaluated(models: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", what, "--frames", "0", "--models", str(models)]) == 1
    assert capsys.readouterr().err == "pose3d: --frames is 0: give 1 or more\n"


@pytest.mark.parametrize(("name", "scheme"), [("walk.mp4", ""), ("photo.png", ""), ("walk.mp4", "file://")])
def test_what_is_read_is_not_written_over(
    inputs: Path, models: Path, tmp_path: Path, name: str, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / name
    source.write_bytes((inputs / name).read_bytes())
    assert cli.main(["run", f"{scheme}{source}", "--models", str(models), "--output", str(tmp_path)]) == 1
    assert "is what is read: name another folder with --output" in capsys.readouterr().err
    assert source.read_bytes() == (inputs / name).read_bytes()


INTERRUPTED_RUN = """
import signal, sys
from pose3d_ros import cli, run_video

class Interrupted(run_video.Pipeline):
    done = 0

    def process(self, frame):
        if self.done == int(sys.argv[2]):
            signal.raise_signal(number)
        self.done += 1
        return super().process(frame)

number = signal.Signals[sys.argv[1]]
# Whoever runs the tests may ignore signals, and children inherit that.
signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
run_video.Pipeline = Interrupted
sys.exit(cli.main(sys.argv[3:]))
"""


def interrupted(name: str, frames: int, *words: object) -> subprocess.CompletedProcess[str]:
    """`pose3d …` to which a signal comes after so many frames."""
    command = [sys.executable, "-c", INTERRUPTED_RUN, name, str(frames), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupted_run_writes_what_was_done(inputs: Path, models: Path, tmp_path: Path, name: str) -> None:
    done = interrupted(name, 3, "run", inputs / "walk.mp4", "--models", models, "--output", tmp_path)
    assert (done.returncode, "what was done is written" in done.stderr) == (130, True), done.stderr
    assert "somebody in 3 of 3 frames" in done.stderr
    assert "damaged" not in done.stderr
    check_records(tmp_path / "walk.jsonl", 3, metric=False)
    with open_source(str(tmp_path / "walk.mp4")) as film:
        assert len(list(film)) == 3


def test_an_interrupt_before_the_first_frame_leaves_nothing(inputs: Path, models: Path, tmp_path: Path) -> None:
    done = interrupted("SIGINT", 0, "run", inputs / "walk.mp4", "--models", models, "--output", tmp_path)
    assert done.returncode == 130, done.stderr
    assert "pose3d:" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".jsonl", ".png"])
def test_a_full_disk_is_told_with_the_file(
    inputs: Path, models: Path, tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"walk{suffix}").symlink_to("/dev/full")
    words = [inputs / "walk.mp4", "--models", models, "--output", tmp_path, "--no-video"]
    assert cli.main(["run", *map(str, words)]) == 1
    assert f"pose3d: {tmp_path}/walk{suffix}: No space left on device" in capfd.readouterr().err


def test_a_video_that_cannot_be_finished_is_named(tmp_path: Path) -> None:
    code = """
import resource, sys
import numpy as np
from pathlib import Path
from pose3d_ros.video import VideoWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as if the disk were full
writer = VideoWriter(Path(sys.argv[1]), 25.0)
for seed in range(5):
    writer.write(np.random.default_rng(seed).integers(0, 255, (240, 320, 3), np.uint8))
writer.close()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "noise.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert f"VideoError: cannot finish {tmp_path}/noise.mp4: is the disk full?" in done.stderr


@pytest.mark.parametrize(("options", "told"), [([], True), (["--frames", "2"], False)])
def test_a_cut_video_is_told(
    models: Path, tmp_path: Path, options: list[str], told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for seed in range(20):
        writer.write(np.random.default_rng(seed).integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    for path, size in ((whole, None), (cut, whole.stat().st_size // 2)):
        path.with_name(cut.name).write_bytes(whole.read_bytes()[:size])
        where = ["--models", str(models), "--output", str(tmp_path / "out"), "--no-video", *options]
        assert cli.main(["run", str(cut), *where]) == 0
        assert ("of about 20 frames: damaged?" in capfd.readouterr().err) == (told and path == cut)


class Capture:
    """A camera or film in cv2.VideoCapture's place: bright images, at these times of the film's own."""

    def __init__(self, times_ms: list[float], count: int) -> None:
        self.times_ms = times_ms
        self.facts = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_COUNT: count}
        self.index = -1

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.index += 1
        there = self.index < len(self.times_ms)
        return there, np.full((240, 320, 3), 240, np.uint8) if there else None

    def get(self, what: int) -> float:
        at = min(self.index, len(self.times_ms) - 1)
        return self.times_ms[at] if what == cv2.CAP_PROP_POS_MSEC else self.facts[what]

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("times_ms", "stamps_ms"),
    [
        ([0, 100, 200, 600, 1000], [0, 100, 200, 600, 1000]),
        ([40, 80, 120], [0, 40, 80]),
        ([0, 0, 0, 0], [0, 33, 67, 100]),
        ([0, 100, 40, 9e7, 9e7 + 50], [0, 100, 133, 167, 217]),
    ],
    ids=["its own", "from 0", "none", "broken"],
)
def test_stamps_follow_the_films_own_times(
    monkeypatch: pytest.MonkeyPatch, inputs: Path, times_ms: list[float], stamps_ms: list[int]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Capture(times_ms, len(times_ms)))
    with open_source(str(inputs / "walk.mp4")) as source:
        assert [round(stamp_ns / 1e6) for _, stamp_ns in source] == stamps_ms


def test_a_slow_cameras_film_lasts_as_long_as_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, models: Path, tmp_path: Path
) -> None:
    """It promises 30 images a second and gives 5; at the end two at once."""
    clock = iter(int(second * 1e9) for second in (7.0, 7.2, 7.4, 7.6, 8.0, 8.001))
    monkeypatch.setattr(video, "time", SimpleNamespace(monotonic_ns=lambda: next(clock)))
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda what: Capture([0] * 6, -1) if what == 0 else opened(what))
    assert cli.main(["run", "0", "--models", str(models), "--output", str(tmp_path)]) == 0
    check_records(tmp_path / "camera0.jsonl", 6, metric=False)
    with open_source(str(tmp_path / "camera0.mp4")) as film:
        assert (film.fps, len(list(film))) == (30, 31)


def test_the_view_is_as_calm_whatever_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (draw.View(np.full(3, x)) for x in (0.0, 1.0))
    monkeypatch.setattr(draw.View, "around", lambda *_, **__: there)
    once = run_video._calm_view(here, [], 0.4, None)
    twice = run_video._calm_view(run_video._calm_view(here, [], 0.2, None), [], 0.2, None)
    assert np.allclose(once.centre, twice.centre)
    assert 0.3 < once.centre[0] < 0.6


def test_a_stream_is_named_by_host_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Capture([0], -1))
    assert open_source("rtsp://me:secret@door.local:554/live/1?rate=5").name == "door.local_live_1"
    assert open_source("rtsp://").name == "stream"


def test_an_address_that_does_not_answer_has_its_own_hint() -> None:
    with pytest.raises(VideoError, match=r"cannot read http://127\.0\.0\.1:9/a\.mp4: check the address"):
        open_source("http://127.0.0.1:9/a.mp4")


def test_help_tells_what_is_written_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ('"sigma": [x, y, z]', "monotonic clock", '"image_size"', "camera_matrix"))


@pytest.mark.skipif(not CLIP.is_file(), reason="the rendered clip is not there")
@pytest.mark.skipif(not (ROOT / "models" / "models.json").is_file(), reason="the networks are not there")
def test_run_on_our_clip_with_the_shipped_networks(tmp_path: Path) -> None:
    done = pose3d(
        "run", CLIP, "--camera-info", CLIP.with_suffix(".json"), "--output", tmp_path, "--frames", 40, "--no-video"
    )
    assert done.returncode == 0, done.stderr
    assert check_records(tmp_path / "clip.jsonl", 40, metric=True) >= 10  # the person is inside from frame 24 on


@pytest.mark.parametrize(("words", "precision"), [([], "fp16"), (["--precision", "int8"], "int8")])
def test_a_file_waits_for_the_better_networks(
    inputs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], precision: str
) -> None:
    asked = []

    class Noted(Pipeline):
        def __init__(self, folder: Path, settings: PipelineSettings) -> None:
            asked.append(settings.precision)
            super().__init__(folder, settings)

    monkeypatch.setattr("pose3d_ros.run_video.Pipeline", Noted)
    cli.main(["run", *map(str, [inputs / "photo.png", "--models", models, "--output", tmp_path, *words])])
    assert asked == [precision]


def test_bench_measures_against_the_matmul(inputs: Path, models: Path) -> None:
    done = pose3d("bench", "--image", inputs / "photo.png", "--models", models, "--frames", 3, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures["stages_ms"]) == {"find", "pose2d", "lift", "place", "track"}
    assert figures["ratio_to_matmul"] == pytest.approx(figures["total_ms"]["median"] / figures["matmul_ms"]["median"])
    assert figures["people_mean"] == 1
    assert {role: set(times) for role, times in figures["networks_ms"].items()} == {
        "find": {"1"},
        "pose2d": {"1", "2", "4", "8"},
        "lift": {"1", "2", "4", "8"},
    }
    assert min(min(times.values()) for times in figures["networks_ms"].values()) > 0


def test_commands_import_no_torch_until_they_need_it() -> None:
    code = "import sys, pose3d_ros.cli, pose3d_ros.run_video, pose3d_ros.bench; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("run", "bench", "evaluate"))


@pytest.mark.parametrize("name", ["camera.json", "camera.yaml"])
def test_camera_files(inputs: Path, name: str) -> None:
    camera = read_camera(inputs / name)
    assert (camera.width, camera.height, camera.model) == (640, 480, "plumb_bob")
    assert camera.K[0, 0] == 550
    assert camera.distortion[0] == -0.1
    half = camera_for_image(camera, 320, 240)
    assert half.K[0, 0] == 275
    with pytest.raises(CameraError, match="another shape"):
        camera_for_image(camera, 480, 640)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "no calibration"),
        ("a.json", "{}", "lacks 'image_size'"),
        ("a.json", '{"image_size": [640, 480], "K": [1, 2]}', "cannot reshape"),
        ("a.json", '{"image_size": [640, 480], "K": [0, 0, 0, 0, 0, 0, 0, 0, 0]}', "not calibrated"),
        ("a.json", json.dumps(CALIBRATION | {"distortion_model": "Kannala-Brandt"}), "model 'Kannala-Brandt'"),
        ("a.json", json.dumps(CALIBRATION | {"K": np.transpose(CALIBRATION["K"]).tolist()}), "is K transposed"),
        ("a.json", '{"image_size": [1e400, 480], "K": []}', "infinity"),
        ("a.yaml", "a: [", "not valid YAML(.|\n)*image_size, or be camera_calibration's YAML"),
        ("a.yaml", "camera_matrix: {}", "lacks 'image_width'"),
    ],
)
def test_bad_camera_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CameraError, match=message) as error:
        read_camera(tmp_path / name)
    assert name in str(error.value)


def test_a_video_gives_its_frames_at_its_rate(inputs: Path) -> None:
    with open_source(str(inputs / "walk.mp4")) as source:
        assert source.fps == pytest.approx(25)
        stamps = [stamp_ns for _, stamp_ns in source]
    assert stamps == [40_000_000 * i for i in range(12)]


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(VideoError, match="cannot read camera 97"):
        open_source("97")
