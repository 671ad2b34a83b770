from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from pose3d_ros.engines import cache
from pose3d_ros.engines.cache import EngineKey
from pose3d_ros.engines.pruning import prune

KEY = EngineKey("pose2d", "ab" * 32, "10.3.0", ("Orin", 8, 7, 8, True), "fp16", (1, 2, 4, 8), "plain")
OLD = replace(KEY, tensorrt="8.6.1")
OTHER_GPU = replace(OLD, gpu=("RTX", 8, 6, 28, False))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pose3d_ros" / "engines"


def keep(key: EngineKey) -> set[Path]:
    """All that a build leaves in the cache."""
    with cache.building(key, lambda: pytest.fail("nobody else builds")):
        cache.write_plan(key, b"plan", {})
        cache.write_atomically({key.timing_cache: b"timings"})
    return {*(key.plan.with_suffix(suffix) for suffix in (".plan", ".json", ".lock")), key.timing_cache}


def test_what_is_superseded_goes_and_the_rest_stays(folder: Path) -> None:
    current, other, old = keep(KEY), keep(OTHER_GPU), keep(OLD)
    pruned = prune([KEY])
    assert set(pruned.deleted) == old
    assert pruned.bytes > len(b"plan" + b"timings")
    assert not pruned.left
    assert set(folder.iterdir()) == current | other


def test_an_engine_of_a_network_in_another_folder_stays_while_that_is_there(tmp_path: Path) -> None:
    network = tmp_path / "theirs" / "pose2d.onnx"
    network.parent.mkdir()
    network.touch()
    theirs = replace(KEY, network=str(network), sha256="cd" * 32)
    keep(theirs)
    assert not prune([KEY]).deleted
    network.unlink()
    assert theirs.plan in prune([KEY]).deleted


def test_a_damaged_engine_goes() -> None:
    keep(KEY)
    KEY.plan.with_suffix(".json").unlink()
    assert set(prune([KEY]).deleted) == {KEY.plan, KEY.plan.with_suffix(".lock")}


def test_a_file_that_others_can_write_is_left_and_stops_nobody() -> None:
    keep(replace(OLD, network="finder"))
    replace(OLD, network="finder").plan.with_suffix(".json").chmod(0o666)
    keep(OLD)
    pruned = prune([KEY, replace(KEY, network="finder")])
    assert OLD.plan in pruned.deleted
    [text] = pruned.left
    assert "finder" in text
    assert "can be written by others" in text


def test_a_lock_that_is_held_stays() -> None:
    with cache.building(KEY, lambda: pytest.fail("nobody else builds")):
        assert not prune([KEY]).deleted
    assert prune([KEY]).deleted == (KEY.plan.with_suffix(".lock"),)


def test_a_lock_that_is_deleted_before_it_is_taken_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, take = KEY.plan.with_suffix(".lock"), cache._take
    deleted: list[Path] = []

    def take_late(file: IO[str]) -> bool:
        if not deleted:
            lock.unlink()
            deleted.append(lock)
        return take(file)

    def give_up() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_take", take_late)
    with cache.building(KEY, give_up), pytest.raises(KeyboardInterrupt), cache.building(KEY, give_up):
        pytest.fail("two at once")
    assert deleted == [lock]
