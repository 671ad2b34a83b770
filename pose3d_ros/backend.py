"""Which engines run the networks: TensorRT's where they can, else ONNX Runtime's; and why.

backend: tensorrt (or say why not), onnxruntime, or auto: TensorRT if it works here, else ONNX Runtime.
precision: of TensorRT's engines. fp16: what `engines.precision` allows, the rest in single precision; int8: the
convolutions in 8 bit; fp32: single precision throughout. ONNX Runtime computes in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from pose3d_ros.engines import cache
from pose3d_ros.engines.build_progress import BuildCancelledError, Progress
from pose3d_ros.engines.cache import EngineKey, StalePlanError
from pose3d_ros.engines.engine import Engine, EngineError
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine, providers_present
from pose3d_ros.models import Model

BACKENDS = ("auto", "tensorrt", "onnxruntime")
PRECISIONS = ("fp16", "fp32", "int8")

Models = Mapping[str, Model]


class Wish(NamedTuple):
    """How networks shall run. threads: on the CPU, by role."""

    backend: str
    precision: str
    threads: Mapping[str, int]


@dataclass(frozen=True)
class Engines:
    """The networks' engines by role. about: where they run, and why there."""

    by_role: Mapping[str, Engine]
    about: str

    def close(self) -> None:
        """Frees what they hold."""
        for engine in self.by_role.values():
            engine.close()


def open_engines(models: Models, wish: Wish) -> Engines:
    """The engines of these networks, of what is there: nothing is built. Raises EngineError with the reason."""

    def load(role: str, store: ModuleType) -> Engine:
        model = models[role]
        try:
            return store.load(store.key_of(model.path, model.sha256, wish.precision))
        except FileNotFoundError:
            raise EngineError(
                f"{model.path.name} has no {wish.precision} engine for this GPU and TensorRT yet (pose3d build-engine)"
            ) from None
        except StalePlanError as error:
            raise StalePlanError(f"{error}; pose3d build-engine builds it again") from error

    return _open(models, wish, load)


def prepare_engines(models: Models, wish: Wish, report: Progress, is_cancelled: Callable[[], bool]) -> Engines:
    """The engines of these networks; those that are missing are built first, which takes minutes.

    An engine that is damaged or that TensorRT does not take is built again, once. report: told how far all of it is,
    by whole networks where TensorRT tells no more.
    Raises BuildCancelledError, or EngineError with the reason; for backend auto, ONNX Runtime takes over instead.
    """
    roles = list(models)
    whole = 0.0

    def load(role: str, store: ModuleType) -> Engine:
        model, before = models[role], roles.index(role)
        key = store.key_of(model.path, model.sha256, wish.precision)

        def tell(done: float | None, text: str) -> None:
            nonlocal whole
            whole = max(whole, (before + (done or 0)) / len(roles))
            report(whole, f"building {model.path.name}: {text}")

        try:
            return store.load(key)
        except FileNotFoundError:
            tell(None, "starting")
        except StalePlanError as error:
            tell(None, f"again, as {error}")
        store.build(key, model.path, role, tell, is_cancelled)
        return store.load(key)

    return _open(models, wish, load)


def must_build(models: Models, wish: Wish) -> bool:
    """Would `prepare_engines` build an engine first, as far as can be told without loading any?"""
    if wish.backend == "onnxruntime":
        return False
    try:
        store = tensorrt_store()
        for model in models.values():
            cache.read_plan(store.key_of(model.path, model.sha256, wish.precision))
    except (FileNotFoundError, StalePlanError):
        return True
    except EngineError:
        return False
    return False


class EngineFinding(NamedTuple):
    """What `pose3d doctor` has to say of an engine, or of why there is none."""

    name: str
    is_well: bool
    text: str


def engine_findings(models: Models, precision: str) -> list[EngineFinding]:
    """The state of the networks' TensorRT engines on this machine; one finding if TensorRT does not work here."""
    try:
        store = tensorrt_store()
        keys = {name: store.key_of(model.path, model.sha256, precision) for name, model in models.items()}
    except EngineError as error:
        return [EngineFinding("TensorRT", False, f"{error}; the networks run in ONNX Runtime")]
    return [_finding(models[role].path.name, key) for role, key in keys.items()]


def _finding(name: str, key: EngineKey) -> EngineFinding:
    try:
        _, sidecar = cache.read_plan(key)
    except FileNotFoundError:
        return EngineFinding(name, False, f"no {key.precision} engine yet: run pose3d build-engine")
    except EngineError as error:
        return EngineFinding(name, False, str(error))
    told = f"{sidecar['precision']} engine built {sidecar['built']}, checked: {sidecar['check']}"
    warnings = [sidecar["warning"], "built with little memory, may be slow" if sidecar["frugal"] else ""]
    told = "; ".join([told, *(warning for warning in warnings if warning)])
    return EngineFinding(name, not any(warnings), told)


def tensorrt_store() -> ModuleType:
    """`engines.store`. Raises EngineError where TensorRT is not installed."""
    try:
        from pose3d_ros.engines import store
    except (ImportError, OSError) as error:
        raise EngineError(f"TensorRT's Python package does not load ({error})") from error
    return store


def _open(models: Models, wish: Wish, load: Callable[[str, ModuleType], Engine]) -> Engines:
    if wish.backend == "onnxruntime":
        return _on_onnx_runtime(models, wish, "")
    try:
        engines = _on_tensorrt(models, load)
    except BuildCancelledError:
        raise
    except EngineError as error:
        if wish.backend == "tensorrt":
            raise EngineError(f"backend tensorrt cannot be had: {error}") from error
        return _on_onnx_runtime(models, wish, f" (auto; not TensorRT: {error})")
    return Engines(engines, engines["pose2d"].device)


def _on_tensorrt(models: Models, load: Callable[[str, ModuleType], Engine]) -> dict[str, Engine]:
    store = tensorrt_store()
    engines: dict[str, Engine] = {}
    try:
        for role in models:
            engines[role] = load(role, store)
    except EngineError:
        for engine in engines.values():
            engine.close()
        raise
    return engines


def _on_onnx_runtime(models: Models, wish: Wish, why: str) -> Engines:
    providers = providers_present()
    engines = {role: OnnxRuntimeEngine(model.path, wish.threads[role], providers) for role, model in models.items()}
    return Engines(engines, engines["pose2d"].device + why)
