"""Builds TensorRT engines: an ONNX network to a plan, with one way for TensorRT 8.5 to 11.

Precision. From TensorRT 10.12 on, the network is strongly typed: it is built exactly as the ONNX file's types say, so
that half precision is written into the network first (`precision.to_half`). Before, the builder chooses, within limits:
it is told layer by layer what may be in half precision or 8 bits, by the same rule, and that it must obey.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorrt as trt
from numpy.typing import NDArray

from pose3d_ros.engines.batch_normalization import merge_batch_normalization
from pose3d_ros.engines.build_progress import BuildCancelledError, PhaseTree, Progress
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError
from pose3d_ros.engines.old_parser import without_layer_normalization
from pose3d_ros.engines.precision import read_network, to_half, to_int8
from pose3d_ros.engines.tensorrt import tensorrt_log

BATCHES = (1, 2, 4, 8)
"""The batch sizes of a network whose batch is free: one optimisation profile each, tuned for it."""
OPTIONS = "one profile a batch size"
"""In the engine's key: changes when the builder is set up otherwise."""
_LAYER_NORMALIZATION_FROM = (8, 6)
_STRONGLY_TYPED_FROM = (10, 12)

# The rule of `precision`, for TensorRT's layers instead of ONNX nodes.
_WEIGHTED = {"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "FULLY_CONNECTED"}
_PASSING = {"ACTIVATION", "POOLING", "CONCATENATION", "RESIZE", "SHUFFLE", "IDENTITY", "ELEMENTWISE"}
_CONVERTING = {"CAST", "IDENTITY"}
"""From other types, of the inputs for example: before 10 the cast is an identity."""
_ROUNDING = {"QUANTIZE", "DEQUANTIZE"}
"""Between tensors of 8 bits and others: they pass on whatever comes, and have a precision of their own."""


@dataclass(frozen=True)
class Budget:
    """What the builder may use.

    workspace, tactics: bytes. level: how much it tries out, 0...5; None: as TensorRT thinks fit.
    """

    workspace: int
    tactics: int
    level: int | None = None


@dataclass(frozen=True)
class Job:
    """One build. precision: fp16, fp32 or int8. samples: inputs to scale int8 by. timing_cache: of earlier builds."""

    network: Path
    precision: str
    budget: Budget
    samples: Sequence[Mapping[str, NDArray]] = ()
    timing_cache: bytes = b""


def tensorrt_version() -> tuple[int, ...]:
    """TensorRT's version as numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", trt.__version__))


def build(job: Job, report: Progress, is_cancelled: Callable[[], bool]) -> tuple[bytes, bytes]:
    """The plan, and the timing cache for later builds.

    report: told of the progress where TensorRT tells (from 10.0 on). is_cancelled: asked now and then there.
    Raises OutOfMemoryError, BuildCancelledError, or EngineError with TensorRT's own reason.
    """
    log = tensorrt_log()
    log.forget()
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # pybind's way to say that it got nothing
        raise EngineError(f"TensorRT's builder does not start ({error}): {log.text}") from error
    strongly_typed = tensorrt_version() >= _STRONGLY_TYPED_FROM
    network = builder.create_network(_network_flags(strongly_typed))
    parser = trt.OnnxParser(network, log)
    report(None, f"reading {job.network.name}")
    if not parser.parse(_typed(job, strongly_typed)):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {trt.__version__} cannot read {job.network.name}: {errors or log.text}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # what is to be in single precision shall be that
    if not strongly_typed:
        _limit_precision(network, config, job.precision)
    _check_precision(network, job, strongly_typed)
    _limit_memory(config, job.budget)
    _add_profiles(builder, network, config)
    # A spoiled one is no reason to fail: it only saves time.
    timing_cache = config.create_timing_cache(job.timing_cache) or config.create_timing_cache(b"")
    config.set_timing_cache(timing_cache, True)
    if hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(report, is_cancelled)  # held by this name until TensorRT is done with it
        monitored: Any = config
        monitored.progress_monitor = monitor
    report(None, "building")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        if is_cancelled():
            raise BuildCancelledError(f"the build of {job.network.name} was cancelled")
        kind = OutOfMemoryError if log.tells_of_memory else EngineError
        raise kind(f"TensorRT {trt.__version__} cannot build {job.network.name}: {log.text}")
    return bytes(plan), bytes(config.get_timing_cache().serialize())


def _network_flags(strongly_typed: bool) -> int:
    # By name: EXPLICIT_BATCH is gone from TensorRT 11, where it is the only way; STRONGLY_TYPED came with 10. Their
    # numbers differ between versions.
    name = "STRONGLY_TYPED" if strongly_typed else "EXPLICIT_BATCH"
    flag = trt.NetworkDefinitionCreationFlag.__members__.get(name)
    return 0 if flag is None else 1 << int(flag)


def _typed(job: Job, strongly_typed: bool) -> bytes:
    """The network as TensorRT shall read it."""
    network = read_network(job.network)
    if job.precision != "fp32":
        network = merge_batch_normalization(network)
    if job.precision == "int8":
        network = to_int8(network, job.samples)
    elif job.precision == "fp16" and strongly_typed:
        network = to_half(network)
    if tensorrt_version() < _LAYER_NORMALIZATION_FROM:
        network = without_layer_normalization(network)
    return network.SerializeToString()


def _limit_precision(network: trt.INetworkDefinition, config: trt.IBuilderConfig, precision: str) -> None:
    """Tells a builder that may choose what each layer shall be. Not for TensorRT 11, which has none of these names."""
    flags = trt.BuilderFlag.__members__
    if precision == "fp32":
        return
    config.set_flag(flags["FP16"])
    if precision == "int8":
        config.set_flag(flags["INT8"])
    config.set_flag(flags["OBEY_PRECISION_CONSTRAINTS"])
    half, constant = _half_tensors(network)
    for i in range(network.num_layers):
        layer: Any = network.get_layer(i)
        outputs = [layer.get_output(j) for j in range(layer.num_outputs)]
        if _kind(layer) in _ROUNDING or not outputs:
            continue
        if any(tensor.dtype != trt.DataType.FLOAT or tensor.name in constant for tensor in outputs):
            continue
        if _kind(layer) in _CONVERTING and layer.get_input(0).dtype != trt.DataType.FLOAT:
            continue
        if outputs[0].name not in half:
            layer.precision = trt.DataType.FLOAT
        elif precision == "fp16":  # in int8 it may be either of the lower ones
            layer.precision = trt.DataType.HALF


def _half_tensors(network: trt.INetworkDefinition) -> tuple[set[str], set[str]]:
    """Names of the tensors that may be in half precision, and of those that are constant."""
    half: set[str] = set()
    constant: set[str] = set()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        kind = _kind(layer)
        inputs = [layer.get_input(j) for j in range(layer.num_inputs)]
        # Others are settings: the size to reshape to, for example.
        data = [tensor.name for tensor in inputs if tensor is not None and tensor.dtype == trt.DataType.FLOAT]
        names = [tensor.name for tensor in inputs if tensor is not None]
        if kind in _ROUNDING:
            data = names[:1]  # the scale is a setting too
        outputs = [layer.get_output(j).name for j in range(layer.num_outputs)]
        weighted = kind in _WEIGHTED and sum(name not in constant for name in data) == 1
        passing = kind in _PASSING | _ROUNDING and data and all(name in half for name in data)
        if kind == "CONSTANT" or (names and all(name in constant for name in names)):
            constant.update(outputs)
        elif weighted or passing:
            half.update(outputs)
    return half, constant


def _kind(layer: Any) -> str:
    """A layer's type, as in trt.LayerType."""
    return str(layer.type).rpartition(".")[2]


def _check_precision(network: trt.INetworkDefinition, job: Job, strongly_typed: bool) -> None:
    """Raises EngineError unless the network that is about to be built has the precision that was asked for: all of its
    convolutions, or some layer where it has none."""
    if job.precision == "fp32":
        return
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    rounded = {layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}

    def has_it(layer: Any) -> bool:
        if job.precision == "int8":
            return layer.num_inputs > 0 and layer.get_input(0).name in rounded
        if not strongly_typed:
            return layer.precision == trt.DataType.HALF
        return any(layer.get_output(i).dtype == trt.DataType.HALF for i in range(layer.num_outputs))

    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    having = [layer for layer in convolutions or layers if has_it(layer)]
    if not having or len(having) < len(convolutions):
        what = f"{len(convolutions)} convolutions" if convolutions else f"{len(layers)} layers"
        raise EngineError(
            f"{job.precision} was asked for, but TensorRT {trt.__version__} would build {job.network.name} with "
            f"{len(having)} of {what} in it: use precision fp32"
        )


def _limit_memory(config: trt.IBuilderConfig, budget: Budget) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, budget.workspace)
    pool = trt.MemoryPoolType.__members__.get("TACTIC_DRAM")  # from 8.6 on
    if pool is not None:
        config.set_memory_pool_limit(pool, budget.tactics)
    if budget.level is not None and hasattr(config, "builder_optimization_level"):  # from 8.6 on
        config.builder_optimization_level = budget.level


def _add_profiles(builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> None:
    """Fixes the batch, where it is free, to each of BATCHES. Raises EngineError where another extent is free too."""
    shapes = {}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shapes[tensor.name] = tuple(tensor.shape)
    free = {name: shape for name, shape in shapes.items() if -1 in shape}
    if not free:
        return
    for name, shape in free.items():
        if -1 in shape[1:] or len(free) < len(shapes):
            raise EngineError(f"{name} is {shape}: of all inputs the first extent may be free, and no other")
    for size in BATCHES:
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            fixed = (size, *shape[1:])
            profile.set_shape(name, fixed, fixed, fixed)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"TensorRT refuses batches of {size}: {tensorrt_log().text}")


def _monitor(report: Progress, is_cancelled: Callable[[], bool]) -> object:
    """A trt.IProgressMonitor: has TensorRT tell how far it is, and ask whether to go on."""
    tree = PhaseTree(report)

    def step(_self: object, name: str, number: int) -> bool:
        tree.step(name, number)
        return not is_cancelled()

    # Made here and not with `class`, as TensorRT 8 has no such base.
    base: Any = vars(trt)["IProgressMonitor"]
    callbacks = {
        "phase_start": lambda _self, name, parent, steps: tree.start(name, parent, steps),
        "step_complete": step,
        "phase_finish": lambda _self, name: tree.finish(name),
    }
    return type("Monitor", (base,), callbacks)()
