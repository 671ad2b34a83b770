"""Where engines are kept between runs, safely: a plan is a program, and whoever can write it can do anything.

In the user's cache folder ($XDG_CACHE_HOME or ~/.cache)/pose3d_ros/engines, both mode 0700:

    <network>-<digest>.plan    the engine
    <network>-<digest>.json    what it is and how it was made and checked (the sidecar)
    <network>-<digest>.lock    held while somebody builds it
    timing-<digest>.cache      TensorRT's measurements, one per TensorRT and GPU: the next build is faster
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pose3d_ros.engines.engine import EngineError

SCHEMA = 3
"""Counts up when engines are built or described in another way, so that old ones are not taken."""
_LOCK_POLL_S = 0.2
_DAY_S = 86400.0
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class UntrustedFileError(EngineError):
    """A file of the cache that somebody else could have written."""


class StalePlanError(EngineError):
    """A plan that is damaged, or that this TensorRT or GPU does not take: it must be built again."""


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    network: the ONNX file's path, of which only the name counts; sha256: of the file. tensorrt: its version. gpu: name,
    compute capability, number of multiprocessors, integrated or not. precision: as asked for. batches: the batch sizes
    that the engine is built for. options: of the builder.
    """

    network: str
    sha256: str
    tensorrt: str
    gpu: tuple[str, int, int, int, bool]
    precision: str
    batches: tuple[int, ...]
    options: str
    schema: int = SCHEMA

    @property
    def plan(self) -> Path:
        """The plan's place in the cache: the same for copies of a network."""
        name = Path(self.network).stem
        return cache_folder() / f"{name}-{_digest({**asdict(self), 'network': name})}.plan"

    @property
    def timing_cache(self) -> Path:
        """The place of TensorRT's measurements on this GPU."""
        return timing_cache_of(self.tensorrt, self.gpu)

    def supersedes(self, other: dict[str, Any]) -> bool:
        """Does this engine take the place of one whose sidecar has the key `other`?

        So it does for an older state of the same file, or a file of that name that is gone, and for an older TensorRT
        or way to build; not for another precision, on another GPU, or for a file elsewhere, which others use.
        """
        own, mine, theirs = json.loads(json.dumps(asdict(self))), Path(self.network), Path(str(other.get("network")))
        is_of_mine = mine == theirs or (mine.stem == theirs.stem and not os.path.exists(theirs))
        changed = {name for name in own if own[name] != other.get(name)} - {"network"}
        return is_of_mine and bool(changed) and not changed & {"gpu", "precision"}


def timing_cache_of(tensorrt: object, gpu: object) -> Path:
    """The place of the measurements of a TensorRT on a GPU, which are given as in an EngineKey or its JSON."""
    return cache_folder() / f"timing-{_digest([tensorrt, gpu])}.cache"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """The folder of the engines; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home) / "pose3d_ros" / "engines"


def _make_cache_folder() -> None:
    """The folder of the engines, made if need be; it and the one around it are the user's to look into, and nobody
    else's. Raises EngineError where that cannot be, or where one is not the user's own or others can write to it."""
    folder = cache_folder()
    try:
        folder.parents[1].mkdir(parents=True, exist_ok=True)
        for level in (folder.parent, folder):
            level.mkdir(mode=0o700, exist_ok=True)
            found = level.stat()
            _check_owner(level, found)
            if found.st_mode & _OF_OTHERS:
                level.chmod(stat.S_IMODE(found.st_mode) & ~_OF_OTHERS)
    except OSError as error:
        raise EngineError(
            f"cannot make the engines' folder {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder of yours"
        ) from error


def read_own(path: Path) -> bytes:
    """A file's content. Raises UntrustedFileError unless it and its folder belong to the user and to nobody else.

    Raises FileNotFoundError where there is none.
    """
    try:
        _check_owner(path.parent, path.parent.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedFileError(f"{path} is a link, which is not followed: delete it") from error
        if error.errno == errno.EACCES:
            raise UntrustedFileError(f"{path} or its folder cannot be read, and is not used: delete it") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        _check_owner(path, os.fstat(descriptor))  # of the open file, which nobody can exchange
        return file.read()


def write_atomically(contents: Mapping[Path, bytes]) -> None:
    """Writes files of the cache so that others see all of one or nothing: in this order, once there is room for all.

    Raises EngineError where that fails: what was there stays.
    """
    _make_cache_folder()
    written: dict[str, Path] = {}
    try:
        for path, content in contents.items():
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            written[name] = path
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        for name, path in written.items():
            os.replace(name, path)
    except OSError as error:
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise EngineError(
            f"cannot write {path} ({len(contents[path]) / 1e6:.1f} MB): {error.strerror}; {advice}, or set "
            "XDG_CACHE_HOME to another"
        ) from error
    finally:
        for name in written:
            Path(name).unlink(missing_ok=True)


def write_plan(key: EngineKey, plan: bytes, facts: dict[str, Any]) -> None:
    """Keeps an engine. facts: for the sidecar, besides key, hash and size."""
    sidecar = {"key": asdict(key), "sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan), **facts}
    # The plan last: it is what others look for.
    write_atomically({key.plan.with_suffix(".json"): json.dumps(sidecar, indent=1).encode(), key.plan: plan})


def read_plan(path: Path) -> tuple[bytes, dict[str, Any]]:
    """A kept engine (EngineKey.plan) and its sidecar.

    Raises FileNotFoundError where it was never built, StalePlanError where it is damaged or of another version of this
    package, UntrustedFileError where somebody else could have written it.
    """
    for _ in range(2):  # the first look may have fallen between the two renames of write_plan
        plan = read_own(path)
        try:
            sidecar = read_sidecar(path)
        except FileNotFoundError:
            raise StalePlanError(f"{path} has no sidecar") from None
        if sidecar["sha256"] == hashlib.sha256(plan).hexdigest():
            break
    else:
        raise StalePlanError(f"{path} is damaged: it has {len(plan)} of {sidecar['bytes']} bytes, or other content")
    if sidecar["key"].get("schema") != SCHEMA:
        raise StalePlanError(f"{path} was built by another version of this package")
    return plan, sidecar


def read_sidecar(plan: Path) -> dict[str, Any]:
    """What is known of a plan. Raises FileNotFoundError, UntrustedFileError, or StalePlanError where it is damaged."""
    path = plan.with_suffix(".json")
    try:
        sidecar = json.loads(read_own(path))
        return {
            **sidecar,
            "sha256": str(sidecar["sha256"]),
            "bytes": int(sidecar["bytes"]),
            "key": dict(sidecar["key"]),
        }
    except (ValueError, TypeError, KeyError) as error:
        raise StalePlanError(f"{path} is damaged ({error!r})") from error


def kept_plans() -> list[Path]:
    """All engines of the cache."""
    return _kept("*.plan")


def kept_timing_caches() -> list[Path]:
    """TensorRT's measurements, all of the cache."""
    return _kept("timing-*.cache")


def _kept(pattern: str) -> list[Path]:
    """Files of the cache; none where it is not the user's to look into."""
    try:
        return sorted(cache_folder().glob(pattern))
    except PermissionError:
        return []


def leftovers() -> list[Path]:
    """What writes have left behind that were interrupted, by a power cut for example; at least a day old."""
    yesterday = time.time() - _DAY_S
    return [path for path in _kept(".*") if path.stat().st_mtime < yesterday]


@contextmanager
def building(key: EngineKey, waiting: Callable[[], None]) -> Iterator[None]:
    """Keeps other processes from building the same engine meanwhile; the lock ends with the process at the latest.

    waiting: called again and again while another process builds; it may raise in order to give up.
    """
    _make_cache_folder()
    path = key.plan.with_suffix(".lock")
    while True:
        with path.open("w") as lock:
            if not _take(lock):
                waiting()
                time.sleep(_LOCK_POLL_S)
            elif _is_at(lock, path):
                yield
                return


def remove_idle_locks() -> list[Path]:
    """Deletes the locks of engines that are not there, unless somebody is building them; returns those deleted."""
    removed = []
    for path in sorted(cache_folder().glob("*.lock")):
        if path.with_suffix(".plan").exists():
            continue
        with path.open("w") as lock:
            if _take(lock):
                path.unlink()
                removed.append(path)
    return removed


def _take(lock: IO[str]) -> bool:
    """Locks an open file for us; False: somebody else has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[str], path: Path) -> bool:
    """Is an open file still at its place? A lock that was deleted keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.getuid():
        raise UntrustedFileError(
            f"{path} belongs to another user (uid {found.st_uid}) and is not used, as engines are programs: delete it, "
            "or set XDG_CACHE_HOME to a folder of yours"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UntrustedFileError(
            f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):o}) and is not used, as engines are "
            f"programs: delete it, or, if you know what is in it, chmod go-w {path}"
        )
