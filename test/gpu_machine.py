"""A machine with a GPU and TensorRT, as far as this process and its children can tell."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

STAND_IN = Path(__file__).parent / "gpu_stand_in"
ROOT = STAND_IN.parents[1]
VARIANTS = ("8.5", "10.3", "10.13", "11")
_MODULES = (
    "tensorrt",
    "cudart_stand_in",
    "pose3d_ros.engine_worker",
    *(f"pose3d_ros.engines.{name}" for name in ("store", "tensorrt", "tensorrt_builder")),
)
_CDLL = ctypes.CDLL


def environment(variant: str, cache: Path, faults: str = "") -> dict[str, str]:
    """Variables for a process on such a machine. faults: names of what shall go wrong, with commas."""
    return {
        "GPU_STAND_IN_TENSORRT": variant,
        "GPU_STAND_IN_FAULTS": faults,
        "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(ROOT), *sys.path]),
        "XDG_CACHE_HOME": str(cache),
    }


def forget() -> None:
    """Whatever this process knows of a GPU."""
    from pose3d_ros.engines.cuda import cuda

    for name in _MODULES:
        sys.modules.pop(name, None)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and hasattr(sys.modules[parent], child):
            delattr(sys.modules[parent], child)
    ctypes.CDLL = _CDLL
    cuda.cache_clear()


def load() -> SimpleNamespace:
    """The stand-ins and the modules that use them, for the variant and faults of the environment."""
    forget()
    names = {"trt": "tensorrt", "cudart": "cudart_stand_in", "store": "pose3d_ros.engines.store"}
    names |= {"engines": "pose3d_ros.engines.tensorrt", "builder": "pose3d_ros.engines.tensorrt_builder"}
    return SimpleNamespace(**{key: importlib.import_module(name) for key, name in names.items()})
