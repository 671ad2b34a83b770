"""The command that measures the reference of the networks' health, with tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose3d_ros import cli
from pose3d_ros.model_health import reference_in
from pose3d_ros.models import read_models

CALIBRATION = {"K": [[550, 0, 319.5], [0, 550, 239.5], [0, 0, 1]], "distortion": [], "image_size": [640, 480]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    return tiny_networks.write_models(tmp_path_factory.mktemp("models"))


def video(folder: Path, seconds: float, level: int) -> Path:
    """A bright picture, in which the tiny networks see somebody, at ten frames a second."""
    path = folder / "walk.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (640, 480))
    for _ in range(int(10 * seconds)):
        writer.write(np.full((480, 640, 3), level, np.uint8))
    writer.release()
    path.with_suffix(".json").write_text(json.dumps(CALIBRATION))
    return path


def test_the_reference_is_measured_and_recorded(models, tmp_path):
    walk = video(tmp_path, 8, 204)
    assert cli.main(["evaluate", "health", str(walk), "--models", str(models)]) == 0
    assert reference_in(read_models(models).values()) == {}
    assert cli.main(["evaluate", "health", str(walk), "--models", str(models), "--record"]) == 0
    found = read_models(models)
    score = reference_in(found.values())["mean_score"]
    assert score.value == pytest.approx(0.8, abs=0.02)
    assert score.limit == pytest.approx(0.6, abs=0.02)
    assert "residual_sigmas" in found["lift"].reference
    for model in found.values():
        model.verify()


def test_too_few_people_are_an_error_that_says_so(models, tmp_path, capsys):
    assert cli.main(["evaluate", "health", str(video(tmp_path, 2, 204)), "--models", str(models), "--record"]) == 1
    assert "shows people for 1." in capsys.readouterr().err


def test_the_shipped_networks_have_a_reference():
    from pose3d_ros.model_health import FIGURES
    from pose3d_ros.models import models_dir

    assert set(reference_in(read_models(models_dir()).values())) == set(FIGURES)
