from __future__ import annotations

import errno
import json
import os
import stat
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pose3d_ros.engines import cache
from pose3d_ros.engines.cache import EngineKey, StalePlanError, UntrustedFileError
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.kept import kept_engines

KEY = EngineKey("pose2d", "ab" * 32, "10.3.0", ("Orin", 8, 7, 8, True), "fp16", (1, 2, 4, 8), "plain")
FACTS = {"precision": "fp16", "check": "fine"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pose3d_ros" / "engines"


def test_a_plan_is_read_back_with_its_facts(folder: Path) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    plan, sidecar = cache.read_plan(KEY.plan)
    assert plan == b"plan"
    assert sidecar["bytes"] == 4
    assert sidecar["check"] == "fine"
    assert {stat.S_IMODE(level.stat().st_mode) for level in (folder.parent, folder)} == {0o700}
    assert stat.S_IMODE(KEY.plan.stat().st_mode) == 0o600
    assert cache.kept_plans() == [KEY.plan]
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize(
    "change",
    [
        {"network": "finder"},
        {"sha256": "cd" * 32},
        {"tensorrt": "10.7.0"},
        {"gpu": ("Orin", 8, 7, 16, True)},
        {"precision": "fp32"},
        {"batches": (1,)},
        {"options": "other"},
        {"schema": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_an_engine_depends_on_gives_it_another_place(change: dict) -> None:
    other = replace(KEY, **change)
    assert other.plan != KEY.plan
    cache.write_plan(KEY, b"plan", FACTS)
    with pytest.raises(FileNotFoundError):
        cache.read_plan(other.plan)


def test_measurements_are_shared_among_networks_but_not_gpus() -> None:
    assert replace(KEY, network="finder", precision="fp32").timing_cache == KEY.timing_cache
    assert replace(KEY, gpu=("Orin", 8, 7, 16, True)).timing_cache != KEY.timing_cache
    assert replace(KEY, tensorrt="10.7.0").timing_cache != KEY.timing_cache


@pytest.mark.parametrize(
    ("change", "superseded"),
    [
        ({}, False),
        ({"sha256": "cd" * 32}, True),
        ({"tensorrt": "8.6.1"}, True),
        ({"schema": 0}, True),
        ({"precision": "fp32"}, False),
        ({"gpu": ("RTX", 8, 6, 28, False)}, False),
        ({"network": "finder"}, False),
    ],
)
def test_which_engines_are_superseded(change: dict, superseded: bool) -> None:
    cache.write_plan(replace(KEY, **change), b"plan", FACTS)
    assert KEY.supersedes(cache.read_sidecar(replace(KEY, **change).plan)["key"]) == superseded
    assert set(asdict(KEY)) == set(cache.read_sidecar(replace(KEY, **change).plan)["key"])


@pytest.mark.parametrize("harm", ["truncated", "other", "no sidecar", "empty sidecar", "sidecar without hash"])
def test_a_damaged_plan_must_be_built_again(harm: str) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    sidecar = KEY.plan.with_suffix(".json")
    if harm == "truncated":
        KEY.plan.write_bytes(b"pl")
    elif harm == "other":
        KEY.plan.write_bytes(b"nalp")
    elif harm == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text("" if harm == "empty sidecar" else "{}")
    with pytest.raises(StalePlanError, match=KEY.plan.stem):
        cache.read_plan(KEY.plan)


def test_a_plan_of_another_version_of_the_package_must_be_built_again() -> None:
    old = replace(KEY, schema=0)
    cache.write_plan(old, b"plan", {"about": "what was never so"})
    with pytest.raises(StalePlanError, match="another version of this package"):
        cache.read_plan(old.plan)
    [engine] = kept_engines()
    assert engine.about == "unusable"


def in_a_sidecar(key: EngineKey) -> dict:
    return json.loads(json.dumps(asdict(key)))


def test_networks_of_the_same_name_elsewhere_keep_their_engines_while_they_are_there(tmp_path: Path) -> None:
    mine, theirs = (tmp_path / folder / "pose2d.onnx" for folder in ("mine", "theirs"))
    theirs.parent.mkdir()
    theirs.touch()
    newer = replace(KEY, network=str(mine))
    older = in_a_sidecar(replace(newer, tensorrt="8.6.1"))
    assert newer.supersedes(older)
    assert not newer.supersedes({**older, "network": str(theirs)})
    theirs.unlink()
    assert newer.supersedes({**older, "network": str(theirs)})
    assert not newer.supersedes({**older, "network": str(theirs.with_name("finder.onnx"))})


def test_copies_of_a_network_share_an_engine(tmp_path: Path) -> None:
    copies = [replace(KEY, network=str(tmp_path / folder / "pose2d.onnx")) for folder in ("here", "there")]
    assert copies[0].plan == copies[1].plan
    assert not copies[0].supersedes(in_a_sidecar(copies[1]))


def test_whoever_looks_while_a_plan_is_replaced_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_plan(KEY, b"newer", FACTS)
    KEY.plan.write_bytes(b"plan")  # as it is between the two renames
    read = cache.read_own

    def read_late(path: Path) -> bytes:
        content = read(path)
        if path.suffix == ".json":
            KEY.plan.write_bytes(b"newer")
        return content

    monkeypatch.setattr(cache, "read_own", read_late)
    assert cache.read_plan(KEY.plan)[0] == b"newer"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_plan_that_others_can_write_is_refused(mode: int) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    KEY.plan.chmod(mode)
    with pytest.raises(UntrustedFileError, match=r"can be written by others.*delete it.*chmod go-w"):
        cache.read_plan(KEY.plan)


def test_a_folder_that_others_can_write_is_refused(folder: Path) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    folder.chmod(0o777)
    for use in (lambda: cache.read_plan(KEY.plan), lambda: cache.write_plan(KEY, b"plan", FACTS)):
        with pytest.raises(UntrustedFileError, match="can be written by others"):
            use()


def test_a_plan_of_somebody_elses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(UntrustedFileError, match=rf"belongs to another user \(uid {owner}\).*XDG_CACHE_HOME"):
        cache.read_plan(KEY.plan)


def test_a_file_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_plan(KEY, b"plan", FACTS)

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UntrustedFileError, match="cannot be read, and is not used: delete it"):
        cache.read_plan(KEY.plan)


def test_a_folder_that_is_not_ours_to_enter_is_refused_and_seems_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a container, run as root, has left."""
    cache.write_plan(KEY, b"plan", FACTS)

    def refuse(*_: object, **__: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as closed:
        closed.setattr(Path, "stat", refuse)
        closed.setattr(Path, "glob", refuse)
        with pytest.raises(UntrustedFileError, match="or its folder cannot be read"):
            cache.read_plan(KEY.plan)
        assert cache.kept_plans() == cache.kept_timing_caches() == cache.leftovers() == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    elsewhere = KEY.plan.rename(tmp_path / "elsewhere")
    KEY.plan.symlink_to(elsewhere)
    with pytest.raises(UntrustedFileError, match="is a link"):
        cache.read_plan(KEY.plan)


def test_folders_that_others_can_look_into_are_closed_to_them(folder: Path) -> None:
    folder.mkdir(parents=True)
    for level in (folder.parent, folder):
        level.chmod(0o755)
    cache.write_plan(KEY, b"plan", FACTS)
    assert {stat.S_IMODE(level.stat().st_mode) for level in (folder.parent, folder)} == {0o700}
    folder.parent.chmod(0o777)
    with pytest.raises(UntrustedFileError, match=rf"{folder.parent} can be written by others"):
        cache.write_plan(KEY, b"plan", FACTS)


@pytest.mark.parametrize(("write", "name"), [(1, r"\.json"), (2, r"\.plan")])
@pytest.mark.parametrize(
    ("code", "advice"), [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EIO, "check")]
)
def test_a_full_disk_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str, write: int, name: str
) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    writes: list[int] = []

    def fail(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) == write:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EngineError, match=rf"cannot write .*{name} .*{advice}"):
        cache.write_plan(KEY, b"newer", FACTS)
    assert cache.read_plan(KEY.plan)[0] == b"plan"
    assert len(list(folder.iterdir())) == 2


def test_interrupted_writes_are_known_after_a_day(folder: Path) -> None:
    cache.write_plan(KEY, b"plan", FACTS)
    old, new = folder / ".pose2d-ab.plan.1", folder / ".pose2d-ab.plan.2"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    assert cache.leftovers() == [old]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="set XDG_CACHE_HOME"):
        cache.write_plan(KEY, b"plan", FACTS)


def test_only_one_builds_an_engine_at_a_time() -> None:
    waited, in_turn = threading.Event(), []

    def second() -> None:
        with cache.building(KEY, waited.set):
            in_turn.append("second")

    other = threading.Thread(target=second)
    with cache.building(KEY, lambda: pytest.fail("nobody else builds")):
        other.start()
        assert waited.wait(30)
        in_turn.append("first")
    other.join(30)
    assert in_turn == ["first", "second"]
    with cache.building(replace(KEY, precision="fp32"), lambda: pytest.fail("another engine")):
        pass


def test_whoever_waits_for_another_build_may_give_up() -> None:
    def give_up() -> None:
        raise KeyboardInterrupt

    with cache.building(KEY, give_up), pytest.raises(KeyboardInterrupt), cache.building(KEY, give_up):
        pytest.fail("two at once")
