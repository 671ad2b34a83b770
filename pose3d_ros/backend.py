"""Which engines run the networks: TensorRT's where they can, else ONNX Runtime's; and why.

backend: tensorrt (or say why not), onnxruntime, or auto: TensorRT if it works here, else ONNX Runtime.
precision: fp32: single precision throughout. fp16: in TensorRT, what `engines.precision` allows, the rest in single
precision. int8: the convolutions in 8 bits; on a CPU, in the networks that ship so. auto: fp16 in TensorRT, int8 on a
CPU. ONNX Runtime computes all else in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from pose3d_ros.engines.build_progress import BuildCancelledError, Progress
from pose3d_ros.engines.cache import StalePlanError
from pose3d_ros.engines.cuda import cuda
from pose3d_ros.engines.engine import Engine, EngineError
from pose3d_ros.engines.onnx_runtime import CPU, OnnxRuntimeEngine, providers_present
from pose3d_ros.models import Model

BACKENDS = ("auto", "tensorrt", "onnxruntime")
TENSORRT_PRECISIONS = ("fp16", "fp32", "int8")
PRECISIONS = ("auto", *TENSORRT_PRECISIONS)

Models = Mapping[str, Model]


class Wish(NamedTuple):
    """How networks shall run. threads: on the CPU, by role."""

    backend: str
    precision: str
    threads: Mapping[str, int]

    @property
    def tensorrt_precision(self) -> str:
        """Of TENSORRT_PRECISIONS."""
        return "fp16" if self.precision == "auto" else self.precision


@dataclass(frozen=True)
class Engines:
    """The networks' engines by role. models: whose they are. about: where they run, and why there."""

    by_role: Mapping[str, Engine]
    models: Models
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
            return store.load(store.key_of(model.path, model.sha256, wish.tensorrt_precision))
        except FileNotFoundError:
            raise EngineError(
                f"{model.path.name} has no {wish.tensorrt_precision} engine for this GPU and TensorRT yet "
                "(pose3d build-engine)"
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
        key = store.key_of(model.path, model.sha256, wish.tensorrt_precision)

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


def engines_instead(models: Models, wish: Wish, error: EngineError) -> Engines:
    """ONNX Runtime's engines, where the wish allows them, as TensorRT's fail with this error.

    Raises EngineError for backend tensorrt, and with the reason where they cannot be had either.
    """
    if wish.backend == "tensorrt":
        raise EngineError(f"backend tensorrt cannot be had: {error}") from error
    return _on_onnx_runtime(models, wish, f" (auto; not TensorRT: {error})")


def can_build(wish: Wish) -> bool:
    """Would `prepare_engines` find what it needs to build engines: the wish, TensorRT and a GPU?"""
    if wish.backend == "onnxruntime":
        return False
    try:
        tensorrt_store()
        cuda()
    except EngineError:
        return False
    return True


def tensorrt_store() -> ModuleType:
    """`engines.store`. Raises EngineError where TensorRT is not installed, or too old."""
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
        return engines_instead(models, wish, error)
    return Engines(engines, models, _described(engines))


def _on_tensorrt(models: Models, load: Callable[[str, ModuleType], Engine]) -> dict[str, Engine]:
    """All engines or, if one cannot be had, none: those before it are closed.

    Raises EngineError, also for what the system refuses: a cache or a temporary folder that cannot be written, no home.
    """
    store = tensorrt_store()
    engines: dict[str, Engine] = {}
    with ExitStack() as opened:
        for role in models:
            try:
                engines[role] = load(role, store)
            except EngineError:
                raise
            except (OSError, RuntimeError) as error:
                raise EngineError(f"{type(error).__name__}: {error}") from error
            opened.callback(engines[role].close)
        opened.pop_all()
    return engines


def _described(engines: Mapping[str, Engine]) -> str:
    """Where engines run: as one, but for those whose build or warm-up ended otherwise."""
    common = engines["pose2d"].device
    others = [f"{role}: {engine.device}" for role, engine in engines.items() if engine.device != common]
    return "; ".join([common, *others])


def _on_onnx_runtime(models: Models, wish: Wish, why: str) -> Engines:
    """Engines of ONNX Runtime. Raises EngineError when a network in 8 bits is not the one that was exported."""
    providers = providers_present()

    def loaded(models: Models) -> Engines:
        engines = {role: OnnxRuntimeEngine(model.path, wish.threads[role], providers) for role, model in models.items()}
        return Engines(engines, models, engines["pose2d"].device + why)

    if wish.precision not in ("auto", "int8"):
        return loaded(models)
    if providers[0] != CPU:
        engines = loaded(models)
        if not engines.by_role["pose2d"].device.startswith("CPU"):
            return engines
        engines.close()  # the GPU's libraries do not load, so that it is a processor all the same
    in_8_bits = {role: model.int8 for role, model in models.items() if model.int8}
    for model in in_8_bits.values():
        model.verify()
    return loaded({**models, **in_8_bits})
