"""The networks that ship with the package: where they lie, what models.json says of them, and whether it is true.

models.json:

    {"models": {"pose2d": {"file": "pose2d.onnx", "sha256": "…", "bytes": 123, "input_size": [192, 256],
                           "joints": ["pelvis", …], "figures": {"LSPET val PCK@0.2": 0.61}, "about": "…",
                           "int8": {"file": "pose2d_int8.onnx", "sha256": "…", "bytes": 45}},
                "find": {…}, "lift": {…}}}

One entry per role; `input_size` is width, height in pixels (absent for networks that take no image), `joints` the
names in the network's order (absent for networks that know none), `figures` what it measured, by name; `reference` what
its figures of health (`model_health`) were on well-known videos, and the worst that is still well:
{"mean_score": {"value": 0.62, "limit": 0.46}}; `int8` what a CPU runs instead, where there is such a network: the
same in 8 bits, or a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pose3d_ros import skeleton
from pose3d_ros.engines.engine import EngineError

PACKAGE = "pose3d_ros"
INDEX_FILE = "models.json"
ROLES = ("find", "pose2d", "lift")
"""The networks of the pipeline, in the order in which a frame passes them."""


@dataclass(frozen=True)
class Model:
    """One network file.

    role: what the pipeline uses it for: find, pose2d, lift. path: of the ONNX file.
    sha256, bytes: of the file as it was exported. input_size: width, height in pixels, or None.
    joints: names in the network's order; empty if it knows none. figures: what it measured.
    reference: what its figures of health were: value and limit of each. about: one line.
    int8: the network in 8 bits that a CPU runs instead, or None.
    """

    role: str
    path: Path
    sha256: str
    bytes: int = 0
    input_size: tuple[int, int] | None = None
    joints: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    about: str = ""
    int8: Model | None = None

    @property
    def short_hash(self) -> str:
        """The first eight digits of the hash, for people."""
        return self.sha256[:8]

    def verify(self) -> None:
        """Raises EngineError unless the file exists, is the one that was exported, and has our joints."""
        if not self.path.is_file():
            raise EngineError(f"no network at {self.path}: check the models folder, or re-install the package")
        found = file_sha256(self.path)
        if found != self.sha256:
            size = self.path.stat().st_size
            what = f"cut off ({size} of {self.bytes} bytes)" if size < self.bytes else "damaged or replaced"
            raise EngineError(
                f"{self.path} is {what}: its sha256 is {found[:8]}…, {INDEX_FILE} says {self.short_hash}…; "
                "copy the file again, or export the network again"
            )
        if self.joints and self.joints != skeleton.JOINTS:
            raise EngineError(f"{self.path} has other joints than this package: export it again with this version")


def models_dir() -> Path:
    """The folder of the shipped models: of the source tree, else of the installed share.

    Raises EngineError naming the places searched.
    """
    here = Path(__file__).resolve()
    places = [here.parents[1] / "models"]
    places += [parent / "share" / PACKAGE / "models" for parent in here.parents]
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    places += [Path(prefix) / "share" / PACKAGE / "models" for prefix in prefixes if prefix]
    for place in places:
        if (place / INDEX_FILE).is_file():
            return place
    raise EngineError(
        f"no models folder: neither {places[0]} nor share/{PACKAGE}/models of the installation has a {INDEX_FILE}; "
        "re-install the package, or name the folder"
    )


def read_models(folder: Path) -> dict[str, Model]:
    """The models of a folder by role. Raises EngineError when models.json is missing or unusable."""
    path = folder / INDEX_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {role: _model(role, entry, folder) for role, entry in entries.items()}
    except OSError as error:
        raise EngineError(f"cannot read {path} ({error.strerror}): name the folder that has the models") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(f"{path} is not a list of models ({error!r}): re-install the package") from error


def pipeline_models(folder: Path | None = None) -> dict[str, Model]:
    """The models of ROLES, each verified: those of a folder with models.json, and the package's own for the rest.

    Raises EngineError naming the network that is missing or not the one that was exported, or a folder of which no
    network can be used.
    """
    own = {} if folder is None else read_models(Path(folder))
    if folder is not None and not set(own) & set(ROLES):
        raise EngineError(f"{folder} has none of the networks {list(ROLES)}, only {sorted(own)}: export one")
    found = own if set(own) >= set(ROLES) else read_models(models_dir()) | own
    for role in ROLES:
        if role not in found:
            raise EngineError(f"{models_dir()} has no '{role}' network, only {sorted(found)}: re-install the package")
        found[role].verify()
    return {role: found[role] for role in ROLES}


def record_model(model: Model) -> Model:
    """Enters a freshly exported network in the models.json beside it, with its hash; for the exporters."""
    model = _hashed(model)
    path = model.path.parent / INDEX_FILE
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"models": {}}
    content["models"][model.role] = _entry(model)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return model


def record_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Enters what a network file measured in the models.json beside it, also one in 8 bits; other figures stay.

    Raises EngineError when models.json is missing, or does not name the file.
    """
    for model in read_models(path.parent).values():
        if model.path == path:
            record_model(replace(model, figures={**model.figures, **figures}))
            return
        if model.int8 is not None and model.int8.path == path:
            record_model(replace(model, int8=replace(model.int8, figures={**model.int8.figures, **figures})))
            return
    raise EngineError(f"{path.parent / INDEX_FILE} does not name {path.name}: export the network into that folder")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hashed(model: Model) -> Model:
    int8 = None if model.int8 is None else _hashed(model.int8)
    return replace(model, sha256=file_sha256(model.path), bytes=model.path.stat().st_size, int8=int8)


def _entry(model: Model) -> dict[str, Any]:
    int8 = {} if model.int8 is None else {"int8": _entry(model.int8)}
    fields = asdict(replace(model, int8=None))
    known = {key: value for key, value in fields.items() if value and key not in ("role", "path")}
    return {"file": model.path.name, **known, **int8}


def _model(role: str, entry: Mapping[str, Any], folder: Path) -> Model:
    size = entry.get("input_size")
    return Model(
        role=role,
        path=folder / entry["file"],
        sha256=entry["sha256"],
        bytes=int(entry.get("bytes", 0)),
        input_size=None if size is None else (int(size[0]), int(size[1])),
        joints=tuple(entry.get("joints", ())),
        figures=entry.get("figures", {}),
        reference=entry.get("reference", {}),
        about=entry.get("about", ""),
        int8=_model(role, entry["int8"], folder) if "int8" in entry else None,
    )
