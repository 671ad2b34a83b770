from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pose3d_ros import models, skeleton
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.models import Model, read_models, record_figures, record_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder with one recorded file."""
    (tmp_path / "pose2d.onnx").write_bytes(bytes(range(200)))
    record_model(
        Model(
            "pose2d",
            tmp_path / "pose2d.onnx",
            sha256="",
            input_size=(192, 192),
            joints=skeleton.JOINTS,
            figures={"PCK@0.2": 0.6},
        )
    )
    return tmp_path


def test_recorded_models_are_read_back_and_verified(folder: Path) -> None:
    (folder / "lift.onnx").write_bytes(b"lift")
    record_model(Model("lift", folder / "lift.onnx", sha256="", about="rays to metres"))
    found = read_models(folder)
    assert set(found) == {"pose2d", "lift"}
    model = found["pose2d"]
    assert (model.input_size, model.joints, model.bytes) == ((192, 192), skeleton.JOINTS, 200)
    assert model.figures == {"PCK@0.2": 0.6}
    assert len(model.short_hash) == 8
    for model in found.values():
        model.verify()


def test_recording_again_replaces_the_hash(folder: Path) -> None:
    (folder / "pose2d.onnx").write_bytes(b"newer")
    with pytest.raises(EngineError, match="cut off"):
        read_models(folder)["pose2d"].verify()
    record_model(read_models(folder)["pose2d"])
    read_models(folder)["pose2d"].verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no network at"),
        (bytes(range(150)), r"cut off \(150 of 200 bytes\)"),
        (bytes(200), "damaged or replaced: its sha256 is"),
    ],
    ids=["missing", "truncated", "other"],
)
def test_a_wrong_file_is_named(folder: Path, content: bytes | None, message: str) -> None:
    path = folder / "pose2d.onnx"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(EngineError, match=message) as error:
        read_models(folder)["pose2d"].verify()
    assert "pose2d.onnx" in str(error.value)


def test_other_joints_are_refused(folder: Path) -> None:
    index = json.loads((folder / "models.json").read_text())
    index["models"]["pose2d"]["joints"] = ["nose"]
    (folder / "models.json").write_text(json.dumps(index))
    with pytest.raises(EngineError, match="other joints"):
        read_models(folder)["pose2d"].verify()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": {"lift": {}}}', '{"models": 3}'])
def test_a_broken_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(EngineError, match=r"models\.json"):
        read_models(tmp_path)


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot read .*models\.json"):
        read_models(tmp_path / "nowhere")


def test_networks_that_a_folder_lacks_are_the_packages_own(folder: Path) -> None:
    shipped, mixed = models.pipeline_models(), models.pipeline_models(folder)
    assert mixed["pose2d"].path == folder / "pose2d.onnx"
    assert (mixed["find"], mixed["lift"]) == (shipped["find"], shipped["lift"])


def test_a_folder_without_any_network_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text('{"models": {}}')
    with pytest.raises(EngineError, match=r"has none of the networks \['find', 'pose2d', 'lift'\]"):
        models.pipeline_models(tmp_path)


def test_models_of_a_source_tree_and_of_an_installed_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder / "tree"
    (source / "models").mkdir(parents=True)
    (source / "models" / "models.json").write_text("{}")
    monkeypatch.setattr(models, "__file__", str(source / "pose3d_ros" / "models.py"))
    assert models.models_dir() == source / "models"

    prefix = folder / "install"
    share = prefix / "share" / "pose3d_ros" / "models"
    share.mkdir(parents=True)
    (share / "models.json").write_text("{}")
    monkeypatch.setattr(models, "__file__", str(prefix / "lib/python3.12/site-packages/pose3d_ros/models.py"))
    assert models.models_dir() == share

    monkeypatch.setattr(models, "__file__", str(folder / "elsewhere" / "pose3d_ros" / "models.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(folder / "other"), str(prefix)]))
    assert models.models_dir() == share
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    with pytest.raises(EngineError, match="no models folder"):
        models.models_dir()


def test_a_network_in_8_bits_belongs_to_the_one_it_was_made_from(folder: Path) -> None:
    (folder / "pose2d_int8.onnx").write_bytes(b"rough")
    whole = read_models(folder)["pose2d"]
    record_model(replace(whole, int8=Model("pose2d", folder / "pose2d_int8.onnx", sha256="")))
    int8 = read_models(folder)["pose2d"].int8
    assert int8 is not None
    assert (int8.path.name, int8.bytes) == ("pose2d_int8.onnx", 5)
    int8.verify()
    # Exported anew: what was made from the file before is not its own.
    record_model(whole)
    assert read_models(folder)["pose2d"].int8 is None


def test_figures_are_those_of_the_file_that_was_measured(folder: Path) -> None:
    (folder / "pose2d_int8.onnx").write_bytes(b"rough")
    record_model(replace(read_models(folder)["pose2d"], int8=Model("pose2d", folder / "pose2d_int8.onnx", sha256="")))
    record_figures(folder / "pose2d.onnx", {"PCK@0.1": 0.4})
    record_figures(folder / "pose2d_int8.onnx", {"PCK@0.2": 0.5})
    whole = read_models(folder)["pose2d"]
    assert whole.figures == {"PCK@0.2": 0.6, "PCK@0.1": 0.4}
    assert whole.int8 is not None
    assert whole.int8.figures == {"PCK@0.2": 0.5}
    for model in (whole, whole.int8):
        model.verify()
    with pytest.raises(EngineError, match=r"models\.json does not name other\.onnx"):
        record_figures(folder / "other.onnx", {})
