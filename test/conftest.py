"""Lets tests import their shared helpers (tiny_networks, …), which pytest's importlib mode does not by itself."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def crops_of_one_size(monkeypatch):
    """The tiny stage 1 sees somebody of the crop's size in every crop, so that looks of several sizes cannot agree."""
    from pose3d_ros import newcomers

    monkeypatch.setattr(newcomers, "_ZOOMS", ())


@pytest.fixture
def gpu_machine(monkeypatch, tmp_path):
    """Gives this process a GPU and TensorRT (stand-ins): call it with a variant, and with what shall go wrong.

    Returns the modules that run engines, freshly loaded; engines are kept in tmp_path/"cache" unless `cache` is given.
    """
    pytest.importorskip("onnx", reason="the stand-in for TensorRT reads networks with onnx")
    import gpu_machine as fixtures

    def make(variant="10.13", faults="", cache=tmp_path / "cache"):
        for name, value in fixtures.environment(variant, cache, faults).items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(fixtures.STAND_IN))
        return fixtures.load()

    yield make
    fixtures.forget()
