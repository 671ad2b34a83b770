"""From networks to people on a machine with a GPU (stand-ins): building, the cache, the choice of the backend.

The engines are built once per variant and precision, by the command, and used by all tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the stand-in for TensorRT reads networks with onnx")
import gpu_machine as stand_in
import tiny_networks
from gpu_machine import ROOT

from pose3d_ros import build_engine
from pose3d_ros.backend import open_engines, prepare_engines
from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import read_camera
from pose3d_ros.engines import cache
from pose3d_ros.engines.build_progress import BuildCancelledError
from pose3d_ros.engines.cache import UntrustedFileError
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError
from pose3d_ros.follower import Follower
from pose3d_ros.models import pipeline_models
from pose3d_ros.person import Frame, Person
from pose3d_ros.pipeline import Pipeline, View
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.prepared_networks import PreparedNetworks
from pose3d_ros.video import open_source

CLIP = ROOT / "pose3d_ros" / "assets" / "clip.mp4"
TIMEOUT_S = 120
FP32 = PipelineSettings(threads=1, precision="fp32", backend="tensorrt")


def pose3d(words: list[object], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pose3d_ros.cli", *map(str, words)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S, check=False)


def never() -> bool:
    return False


def silent(_: float | None, __: str) -> None:
    pass


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose engines are quickly built."""
    return tiny_networks.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A cache with engines of the shipped networks."""
    folders: dict[tuple[str, str], Path] = {}

    def make(variant: str, precision: str = "fp32") -> Path:
        if (variant, precision) not in folders:
            folder = tmp_path_factory.mktemp("cache")
            done = pose3d(["build-engine", "--precision", precision], stand_in.environment(variant, folder))
            assert done.returncode == 0, done.stderr
            folders[variant, precision] = folder
        return folders[variant, precision]

    return make


@pytest.fixture(scope="module")
def tiny_cache(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with engines of the tiny networks, in single precision; not to be changed."""
    folder = tmp_path_factory.mktemp("cache")
    words = ["build-engine", "--precision", "fp32", "--models", tiny]
    done = pose3d(words, stand_in.environment("10.13", folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def with_engines(gpu_machine, tiny_cache: Path, tmp_path: Path) -> SimpleNamespace:
    """A machine with a GPU on which the tiny networks' engines are there."""
    shutil.copytree(tiny_cache, tmp_path / "cache")
    return gpu_machine()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Some frames of the clip, with the person in view."""
    camera = read_camera(CLIP.with_suffix(".json"))
    with open_source(str(CLIP)) as source:
        pairs = [(image.copy(), stamp) for i, (image, stamp) in zip(range(132), source, strict=False) if i >= 120]
    return [Frame(image, stamp_ns, camera) for image, stamp_ns in pairs]


def play(pipeline: Pipeline, frames: list[Frame]) -> list[list[Person]]:
    return [pipeline.process(frame) for frame in frames]


# ---- the whole pipeline ----------------------------------------------------------------------------------------------


# The last weakly typed variant and the first strongly typed; ros/test_node_on_the_gpu.py has the oldest and the newest.
@pytest.mark.parametrize("variant", ["10.3", "10.13"])
def test_the_pipeline_gives_the_cpus_joints(gpu_machine, built, frames: list[Frame], variant: str) -> None:
    gpu_machine(variant, cache=built(variant))
    expected = play(Pipeline(settings=replace(FP32, backend="onnxruntime")), frames)
    pipeline = Pipeline(settings=replace(FP32, backend="auto"))
    assert "Stand-in Orin (sm_87), TensorRT" in pipeline.description
    assert "CUDA graphs" in pipeline.description
    found = play(pipeline, frames)
    assert [len(people) for people in found] == [len(people) for people in expected]
    assert len(expected[-1]) == 1
    for ours, theirs in zip(found, expected, strict=True):
        for person, other in zip(ours, theirs, strict=True):
            assert person.joints_m is not None
            assert other.joints_m is not None
            assert np.abs(person.joints_m - other.joints_m).max() < 1e-3
            assert np.abs(person.joints_px - other.joints_px).max() < 1e-3 * 640
    pipeline.close()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_gives_nearly_the_cpus_joints(gpu_machine, built, frames: list[Frame], precision: str) -> None:
    gpu_machine("10.13", cache=built("10.13", precision))
    # One frame only: each crop follows from the last pose, so that small differences grow.
    [expected] = play(Pipeline(settings=replace(FP32, backend="onnxruntime")), frames[:1])
    pipeline = Pipeline(settings=replace(FP32, precision=precision))
    assert f"TensorRT 10.13.3.9, {precision}" in pipeline.description
    [[person]], [other] = play(pipeline, frames[:1]), expected
    sure = other.joint_score > 0.5
    shift = np.linalg.norm(person.joints_px - other.joints_px, axis=-1)[sure]
    assert np.median(shift) < (1 if precision == "fp16" else 4), shift


# ---- the choice of the backend ---------------------------------------------------------------------------------------


def test_auto_says_why_it_is_the_cpu(gpu_machine, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PipelineSettings(threads=1)
    gpu_machine()
    text = Pipeline(tiny, settings).description
    assert "CPU, 1 threads" in text
    assert (
        "auto; not TensorRT: find.onnx has no fp16 engine for this GPU and TensorRT yet (pose3d build-engine)" in text
    )
    gpu_machine(faults="no driver")
    assert "cudaErrorInsufficientDriver (35): there is no NVIDIA driver" in Pipeline(tiny, settings).description
    stand_in.forget()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "auto; not TensorRT: TensorRT's Python package does not load" in Pipeline(tiny, settings).description


def test_auto_takes_the_cpu_where_tensorrt_is_too_old(gpu_machine, tiny: Path, monkeypatch) -> None:
    old = gpu_machine("8.5").trt
    stand_in.forget()
    monkeypatch.setattr(old, "__version__", "8.4.1.5")
    monkeypatch.setattr(old, "DataType", SimpleNamespace(FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4))
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    networks = PreparedNetworks(tiny, PipelineSettings(threads=1))
    assert "CPU, 1 threads" in networks.description
    assert "TensorRT 8.4.1.5 is too old: 8.5 or newer is needed" in networks.description
    networks.close()


def test_whoever_insists_on_tensorrt_gets_an_error(gpu_machine, tiny: Path) -> None:
    gpu_machine()
    with pytest.raises(EngineError, match=r"backend tensorrt cannot be had: find\.onnx has no fp32 engine"):
        Pipeline(tiny, FP32)


def test_whoever_insists_on_onnx_runtime_gets_it_without_a_word_about_tensorrt(gpu_machine, tiny: Path) -> None:
    gpu_machine(faults="no driver")
    assert "TensorRT" not in Pipeline(tiny, replace(FP32, backend="onnxruntime")).description


# ---- building --------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepare(tiny: Path):
    """Prepares the tiny networks' engines; returns them and what was told meanwhile."""

    def run(wish=FP32.wish, is_cancelled=never):
        told: list[tuple[float | None, str]] = []
        engines = prepare_engines(pipeline_models(tiny), wish, lambda *news: told.append(news), is_cancelled)
        return engines, told

    return run


def listed(capsys: pytest.CaptureFixture[str]) -> str:
    """What `pose3d build-engine --list` prints."""
    capsys.readouterr()
    assert build_engine.run(argparse.Namespace(list=True)) == 0
    return capsys.readouterr().out


def test_missing_engines_are_built_once_with_progress(gpu_machine, prepare, tiny: Path) -> None:
    gpu_machine()
    engines, told = prepare()
    assert "fp32" in engines.about
    engines.close()
    known = [done for done, _ in told]
    assert known == sorted(known)
    assert known[0] == 0
    assert known[-1] == 1
    assert any(text.startswith("building pose2d.onnx: ") for _, text in told)
    checks = [cache.read_sidecar(plan)["check"] for plan in cache.kept_plans()]
    assert len(checks) == 3
    assert all(re.fullmatch(r"0 (px|m) from single precision in the median", text) for text in checks), checks
    engines, told = prepare()
    assert not told
    assert open_engines(pipeline_models(tiny), FP32.wish).about == engines.about


@pytest.mark.parametrize(("variant", "fault"), [("8.5", "ruined half"), ("11", "shifted half")])
def test_half_precision_that_ruins_a_network_gives_way_to_single(gpu_machine, variant: str, fault: str, capsys) -> None:
    store = gpu_machine(variant, fault).store
    model = pipeline_models()["lift"]
    key = store.key_of(model.path, model.sha256, "fp16")
    store.build(key, model.path, "lift", silent, never)
    sidecar = cache.read_sidecar(key.plan)
    assert sidecar["precision"] == "fp32"
    reason = "not finite" if fault == "ruined half" else "off by 5.2 m"
    assert reason in sidecar["warning"]
    assert f"fp32 ({sidecar['warning']})" in store.load(key).device
    assert f"warning: {sidecar['warning']}" in listed(capsys)


def test_half_precision_that_cannot_be_built_gives_way_to_single(gpu_machine, tiny: Path) -> None:
    store = gpu_machine().store
    model = pipeline_models(tiny)["lift"]
    key = store.key_of(model.path, model.sha256, "fp16")
    store.build(key, model.path, "lift", silent, never)
    sidecar = cache.read_sidecar(key.plan)
    assert sidecar["precision"] == "fp32"
    assert re.fullmatch("in fp16 this network has no layer .*: built in fp32 instead", sidecar["warning"])


@pytest.mark.parametrize("moment", ["at once", "checking"])
def test_an_engine_is_not_kept_for_a_network_that_was_replaced(gpu_machine, tmp_path: Path, moment: str) -> None:
    store = gpu_machine().store
    from pose3d_ros import engine_worker

    model = pipeline_models(tiny_networks.write_models(tmp_path / "models"))["lift"]
    told = []

    def report(_: float | None, text: str) -> None:
        told.append(text)
        if text == moment:
            model.path.write_bytes(model.path.read_bytes() + b"\x12\x00")  # a producer's name, which is empty

    job = {"network": str(model.path), "sha256": model.sha256, "role": "lift", "precision": "fp32", "frugal": False}
    if moment == "at once":
        report(None, moment)
    with pytest.raises(EngineError, match=r"lift\.onnx has been replaced meanwhile"):
        engine_worker._build_and_keep(SimpleNamespace(job=job, report=report, cancelled=threading.Event()))
    assert ("checking" in told) == (moment == "checking")
    assert not store.key_of(model.path, model.sha256, "fp32").plan.exists()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("build", "cannot build find.onnx: .*Conv_7"),
        ("crash", "the build ended with status -6"),
        ("no builder", "builder does not start"),
        ("plans", "does not take the engine"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(gpu_machine, prepare, fault: str, text: str) -> None:
    gpu_machine(faults=fault)
    with pytest.raises(EngineError, match=f"backend tensorrt cannot be had: .*{text}"):
        prepare()
    assert not cache.kept_plans()


def test_auto_takes_the_cpu_where_a_build_fails(gpu_machine, prepare) -> None:
    gpu_machine(faults="build")
    engines, _ = prepare(FP32.wish._replace(backend="auto"))
    assert engines.about.startswith("CPU, 1 threads, ONNX Runtime")
    assert "(auto; not TensorRT: TensorRT 10.13.3.9 cannot build find.onnx" in engines.about


def test_auto_takes_the_cpu_where_the_cache_cannot_be_written(gpu_machine, prepare, tiny: Path) -> None:
    """And closes the engines that it has opened already."""
    machine = gpu_machine()
    model = pipeline_models(tiny)["lift"]
    lock = machine.store.key_of(model.path, model.sha256, "fp32").plan.with_suffix(".lock")
    lock.mkdir(parents=True)
    engines, _ = prepare(FP32.wish._replace(backend="auto"))
    assert engines.about.startswith("CPU, 1 threads, ONNX Runtime")
    assert f"(auto; not TensorRT: IsADirectoryError: [Errno 21] Is a directory: '{lock}')" in engines.about
    held = machine.cudart.machine
    assert not any((held.device, held.pinned, held.streams, held.executables))
    with pytest.raises(EngineError, match="backend tensorrt cannot be had: IsADirectoryError"):
        prepare()


def test_auto_takes_the_cpu_where_nobody_has_a_home(gpu_machine, prepare, monkeypatch) -> None:
    """As in a container that runs as a user whom it does not know."""
    gpu_machine()

    def nowhere(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", nowhere)
    engines, _ = prepare(FP32.wish._replace(backend="auto"))
    assert "(auto; not TensorRT: RuntimeError: Could not determine home directory.)" in engines.about


@pytest.mark.parametrize("fault", ["out of memory", "killed", "large context"])
def test_a_build_without_memory_is_tried_again_with_little(gpu_machine, tiny: Path, fault: str, capsys) -> None:
    store = gpu_machine(faults=fault).store
    model = pipeline_models(tiny)["lift"]
    key = store.key_of(model.path, model.sha256, "fp32")
    told: list[str] = []
    store.build(key, model.path, "lift", lambda _, text: told.append(text), never)
    assert any("once more with little memory" in text for text in told)
    assert cache.read_sidecar(key.plan)["frugal"]
    assert "warning: built with little memory" in listed(capsys)


def test_a_gpu_that_stays_full_is_tried_with_little_and_then_named(gpu_machine, tiny: Path) -> None:
    store = gpu_machine(faults="gpu full").store
    model = pipeline_models(tiny)["lift"]
    told: list[str] = []
    with pytest.raises(OutOfMemoryError, match="cudaErrorMemoryAllocation"):
        store.build(
            store.key_of(model.path, model.sha256, "fp32"), model.path, "lift", lambda _, t: told.append(t), never
        )
    assert any("once more with little memory" in text for text in told)
    assert not cache.kept_plans()


@pytest.mark.parametrize(
    ("free_mb", "first", "again"),
    [(8192, (1024, 4915), (256, 256)), (1024, (256, 614), (128, 256)), (200, (50, 120), (25, 60))],
)
def test_the_budget_follows_what_is_free_and_is_smaller_the_second_time(
    gpu_machine, free_mb: int, first: tuple[int, int], again: tuple[int, int]
) -> None:
    gpu_machine()
    from pose3d_ros.engine_worker import budget_of

    for frugal, expected in ((False, first), (True, again)):
        budget = budget_of(free_mb << 20, frugal)
        assert (budget.workspace >> 20, budget.tactics >> 20) == expected
        assert budget.level == (1 if frugal else None)


def test_a_cancelled_build_leaves_nothing(gpu_machine, prepare) -> None:
    gpu_machine(faults="slow")
    started: list[str] = []

    def is_cancelled() -> bool:
        started.append("")
        return len(started) > 15

    with pytest.raises(BuildCancelledError):
        prepare(is_cancelled=is_cancelled)
    assert not cache.kept_plans()
    assert not list(cache.cache_folder().glob(".*"))


def test_two_processes_that_want_the_same_engines_build_them_once(gpu_machine, tiny: Path, tmp_path: Path) -> None:
    gpu_machine()
    builds = tmp_path / "builds"
    variables = {**stand_in.environment("10.13", tmp_path / "cache"), "GPU_STAND_IN_BUILDS": str(builds)}
    words = ["build-engine", "--precision", "fp32", "--models", tiny]
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(pose3d(words, variables))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
    assert len(builds.read_text().splitlines()) == 3
    assert len(cache.kept_plans()) == 3
    assert len(list(cache.cache_folder().glob("*.json"))) == 3
    open_engines(pipeline_models(tiny), FP32.wish).close()


def test_a_full_disk_is_named(gpu_machine, prepare) -> None:
    gpu_machine(faults="full disk")
    with pytest.raises(EngineError, match=r"cannot write .*No space left on device; free some space"):
        prepare()
    assert not cache.kept_plans()
    assert not list(cache.cache_folder().glob(".*"))


def test_a_disk_without_room_for_measurements_is_no_reason_to_lose_an_engine(gpu_machine, tiny: Path) -> None:
    store = gpu_machine(faults="nearly full disk").store
    model = pipeline_models(tiny)["lift"]
    key = store.key_of(model.path, model.sha256, "fp32")
    store.build(key, model.path, "lift", silent, never)
    assert store.load(key)
    assert not cache.kept_timing_caches()


def test_an_engine_that_finds_no_memory_is_not_built_again(with_engines, prepare, monkeypatch) -> None:
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "no room")
    monkeypatch.setattr(with_engines.store, "run_worker", lambda *_: pytest.fail("built again"))
    with pytest.raises(EngineError, match="no memory for an engine"):
        prepare()


@pytest.mark.parametrize("harm", ["truncated", "foreign", "other version"])
def test_an_unusable_plan_is_built_again_once(with_engines, prepare, tiny: Path, harm: str) -> None:
    (plan,) = [plan for plan in cache.kept_plans() if plan.name.startswith("pose2d")]
    spoil(plan, harm)
    with pytest.raises(EngineError, match=r"pose3d build-engine builds it again"):
        open_engines(pipeline_models(tiny), FP32.wish)
    engines, told = prepare()
    assert "TensorRT" in engines.about
    assert any("building pose2d.onnx: again, as" in text for _, text in told)
    assert not any("find.onnx" in text for _, text in told)


def spoil(plan: Path, harm: str) -> None:
    content = plan.read_bytes()
    if harm == "truncated":
        plan.write_bytes(content[:-100])
        return
    # A plan that is whole, with a fitting sidecar, but that TensorRT does not take.
    content = content.replace(b"10.13.3.9", b"10.13.2.6") if harm == "other version" else b"another's"
    sidecar = json.loads(plan.with_suffix(".json").read_text())
    key = cache.EngineKey(**{**sidecar["key"], "gpu": tuple(sidecar["key"]["gpu"]), "batches": (1, 2, 4, 8)})
    assert key.plan == plan
    facts = {name: value for name, value in sidecar.items() if name not in ("key", "sha256", "bytes")}
    cache.write_plan(key, content, facts)


def test_a_plan_that_stays_unusable_is_reported(with_engines, prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []
    monkeypatch.setattr(with_engines.store, "run_worker", lambda *_: builds.append("again") or {})
    spoil(cache.kept_plans()[0], "foreign")
    with pytest.raises(EngineError, match="does not take the engine"):
        prepare()
    assert builds == ["again"]


def test_a_plan_that_others_can_write_is_refused_and_kept(with_engines, prepare, capsys) -> None:
    plan = cache.kept_plans()[0]
    plan.chmod(0o666)
    with pytest.raises(EngineError, match=r"can be written by others .* delete it") as error:
        prepare()
    assert isinstance(error.value.__cause__, UntrustedFileError)
    engines, _ = prepare(FP32.wish._replace(backend="auto"))
    assert engines.about.startswith("CPU")
    assert "can be written by others" in engines.about
    assert f"{plan.name}: unusable; warning: {plan} can be written by others" in listed(capsys)


# ---- networks that are built first ---------------------------------------------------------------------------------


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def test_networks_are_ready_when_their_engines_are_built(gpu_machine, tiny: Path, frames: list[Frame]) -> None:
    gpu_machine()
    networks = PreparedNetworks(tiny, FP32)
    assert not networks.is_ready
    with pytest.raises(EngineError, match=r"loading TensorRT engines|building \w+\.onnx"):
        networks.process([View(Follower(FP32), frames[0])])
    wait_until(lambda: networks.done > 0, "progress")
    wait_until(lambda: networks.is_ready or networks.failure, "the networks")
    assert not networks.failure
    assert "TensorRT" in networks.description
    networks.process([View(Follower(FP32), frames[0])])
    assert networks.timings_ms
    networks.close()
    again = PreparedNetworks(tiny, FP32)
    wait_until(lambda: again.is_ready, "the engines that are there")
    assert again.done == 0  # nothing was built
    again.close()
    at_once = PreparedNetworks(tiny, replace(FP32, backend="onnxruntime"))
    assert at_once.is_ready
    at_once.close()


BRIGHT = np.full((480, 640, 3), 240, np.uint8)


def look(networks: PreparedNetworks, follower: Follower, number: int) -> list[Person] | Exception:
    """What comes of a picture in which the tiny networks see somebody, ten of them a second."""
    frame = Frame(BRIGHT, number * 10**8, Camera.from_horizontal_fov(640, 480, 60))
    [outcome] = networks.process([View(follower, frame)])
    return outcome


def test_the_cpu_takes_over_from_a_gpu_that_fails(with_engines, tiny: Path, monkeypatch) -> None:
    settings = replace(FP32, backend="auto")
    networks, follower = PreparedNetworks(tiny, settings), Follower(settings)
    wait_until(lambda: networks.is_ready, "the engines")
    assert "Stand-in Orin" in networks.description
    *_, [before] = [look(networks, follower, i) for i in range(10)]
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "lost gpu")
    error = look(networks, follower, 10)
    assert isinstance(error, EngineError)
    assert "restart the node" in str(error)
    [after] = look(networks, follower, 11)
    assert after.id == before.id
    assert "CPU, 1 threads, ONNX Runtime" in networks.description
    assert re.search(r"auto; not TensorRT: cuda.* \(700\): the GPU has failed for this process", networks.description)
    networks.close()
    assert not networks.is_ready
    again = PreparedNetworks(tiny, settings)  # the process' GPU is still lost: nothing is built
    wait_until(lambda: again.is_ready, "the CPU")
    assert "not TensorRT: cuda" in again.description
    assert again.done == 0
    again.close()


def test_whoever_insists_on_tensorrt_is_told_to_restart(with_engines, tiny: Path, monkeypatch) -> None:
    networks, follower = PreparedNetworks(tiny, FP32), Follower(FP32)
    wait_until(lambda: networks.is_ready, "the engines")
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "lost gpu")
    for i in range(2):
        error = look(networks, follower, i)
        assert isinstance(error, EngineError)
        assert "restart the node" in str(error)
    networks.close()
    assert not networks.is_ready


def test_networks_that_cannot_be_built_say_why(gpu_machine, tiny: Path) -> None:
    gpu_machine(faults="build")
    networks = PreparedNetworks(tiny, FP32)
    wait_until(lambda: networks.failure, "the failure")
    assert "Conv_7" in networks.description
    assert not networks.is_ready
    networks.close()


def test_closing_gives_the_build_up(gpu_machine, tiny: Path) -> None:
    gpu_machine(faults="slow")
    networks = PreparedNetworks(tiny, FP32)
    wait_until(lambda: networks.done > 0, "progress")
    networks.close()
    assert not networks.is_ready
    assert not cache.kept_plans()


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_builds_lists_and_prunes(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build = ["build-engine", "--models", tiny, "--precision", "fp32"]
    old, new = (stand_in.environment(variant, tmp_path) for variant in ("10.3", "10.13"))
    assert "no engines in" in pose3d(["build-engine", "--list"], new).stdout
    for variables in (old, new):
        done = pose3d(build, variables)
        assert done.returncode == 0, done.stderr
        assert "from single precision in the median" in done.stderr
    assert len(cache.kept_plans()) == 6
    again = pose3d(build, new)
    assert "is there already" in again.stderr
    assert "building" not in again.stderr
    before = {plan: plan.stat().st_mtime_ns for plan in cache.kept_plans()}
    assert pose3d([*build, "--rebuild"], new).returncode == 0
    assert sum(plan.stat().st_mtime_ns != before[plan] for plan in before) == 3
    words = ["bench", "--models", tiny, "--precision", "fp32", "--backend", "tensorrt", "--frames", 2, "--threads", 1]
    figures = json.loads(pose3d([*words, "--json"], new).stdout)
    assert "Stand-in Orin (sm_87), TensorRT 10.13.3.9, fp32" in figures["models"]
    assert figures["networks_ms"]["pose2d"]["8"] > 0
    listed = pose3d(["build-engine", "--list"], new).stdout
    assert listed.count("TensorRT 10.3.0") == listed.count("TensorRT 10.13.3.9") == 3
    interrupted = cache.cache_folder() / ".pose2d.plan.abc"
    interrupted.touch()
    os.utime(interrupted, (0, 0))
    pruned = pose3d(["build-engine", "--models", tiny, "--prune"], new).stdout
    assert pruned.count("deleted") == 1 + 3 * 3 + 1
    assert not interrupted.exists()
    kept = [path.suffix for path in cache.cache_folder().iterdir()]
    assert sorted(kept) == sorted([".plan", ".json", ".lock"] * 3 + [".cache"])


def test_the_command_explains_itself_in_one_line(tiny: Path, tmp_path: Path) -> None:
    for faults, text in (("no driver", "no NVIDIA driver"), ("parser", "UNSUPPORTED_NODE")):
        done = pose3d(
            ["build-engine", "--models", tiny, "--precision", "fp32"], stand_in.environment("11", tmp_path, faults)
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("pose3d: ")
        assert text in last


def test_ctrl_c_cancels_the_command(tiny: Path, tmp_path: Path) -> None:
    environment = {**os.environ, **stand_in.environment("10.13", tmp_path, "slow")}
    command = [sys.executable, "-m", "pose3d_ros.cli", "build-engine", "--models", str(tiny), "--precision", "fp32"]
    log = tmp_path / "log"
    with log.open("w") as file:
        # Where the tests run in a shell's background, Ctrl-C is ignored, and so it would be by this process.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, env=environment, stderr=file, stdout=file, preexec_fn=heed)  # noqa: PLW1509
    wait_until(lambda: "Tactics" in log.read_text(), "the build")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in log.read_text()
    assert not list(tmp_path.rglob("*.plan"))
