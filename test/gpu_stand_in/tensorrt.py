"""A stand-in for TensorRT's Python package that executes, through ONNX Runtime, and is strict.

It has the names that engines are built and run with, as 8.5, 10.3, 10.13 or 11 has them (GPU_STAND_IN_TENSORRT says
which), and nothing else: any other attribute is an error, and so are calls in the wrong order, tensors without an
address, addresses that are not on the GPU, and types that do not fit. Plans fit one version only. Networks before
10.12 are weakly typed: layers have the precision that they were given. GPU_STAND_IN_FAULTS makes builds fail, and
GPU_STAND_IN_BUILDS names a file that gets a line from every build.
"""

from __future__ import annotations

import enum
import errno
import itertools
import json
import os
import time

import cudart_stand_in as cudart
import numpy as np
import onnx
import onnxruntime

cudart.install()
_VARIANT = os.environ.get("GPU_STAND_IN_TENSORRT", "10.13")
__version__ = {"8.5": "8.5.2.2", "10.3": "10.3.0", "10.13": "10.13.3.9", "11": "11.0.0.114"}[_VARIANT]
_VERSION = tuple(int(number) for number in _VARIANT.split("."))
_STRONG_FROM = (10, 12)
_BUILDS = os.environ.get("GPU_STAND_IN_BUILDS", "")
_MAGIC = b"stand-in plan\n"


def _fill_disk(left: int) -> None:
    """From here on, this process can write so many more files."""
    written = itertools.count()

    def fsync(descriptor: int) -> None:
        if next(written) >= left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = fsync


class _Enum(enum.Enum):
    """As pybind11's: a number that is not an int."""

    def __int__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def _enum(name: str, members: dict[str, int] | list[str]) -> type[_Enum]:
    numbered = members if isinstance(members, dict) else {member: i for i, member in enumerate(members)}
    return _Enum(name, numbered)


_ten = _VERSION >= (10,)
_eleven = _VERSION >= (11,)
DataType = _enum(
    "DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", *(["FP8", "BF16", "INT64"] if _ten else [])]
)
TensorIOMode = _enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
MemoryPoolType = _enum(
    "MemoryPoolType", ["WORKSPACE", "DLA_MANAGED_SRAM", "DLA_LOCAL_DRAM", *(["TACTIC_DRAM"] if _ten else [])]
)
NetworkDefinitionCreationFlag = _enum(
    "NetworkDefinitionCreationFlag",
    {"STRONGLY_TYPED": 0}
    if _eleven
    else {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}
    if _ten
    else {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1},
)
BuilderFlag = _enum(
    "BuilderFlag", ["TF32", *([] if _eleven else ["FP16", "INT8", "DEBUG", "OBEY_PRECISION_CONSTRAINTS"])]
)
LayerType = _enum(
    "LayerType",
    [
        "CONVOLUTION", "ACTIVATION", "POOLING", "ELEMENTWISE", "MATRIX_MULTIPLY", "SOFTMAX", "CONSTANT", "RESIZE",
        "CAST", "QUANTIZE", "DEQUANTIZE", "NORMALIZATION", "SHUFFLE", "CONCATENATION", "REDUCE", "IDENTITY", "UNARY",
        "SHAPE", "SCALE",
    ],
)  # fmt: skip
_LAYERS = {
    "Conv": "CONVOLUTION", "Relu": "ACTIVATION", "Sigmoid": "ACTIVATION", "Tanh": "ACTIVATION", "MaxPool": "POOLING",
    "Add": "ELEMENTWISE", "Sub": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Div": "ELEMENTWISE", "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY", "Softmax": "SOFTMAX", "Constant": "CONSTANT", "Resize": "RESIZE",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "LayerNormalization": "NORMALIZATION",
    "Reshape": "SHUFFLE", "Transpose": "SHUFFLE", "Unsqueeze": "SHUFFLE", "Squeeze": "SHUFFLE", "Flatten": "SHUFFLE",
    "Concat": "CONCATENATION", "Identity": "IDENTITY", "Exp": "UNARY", "Sqrt": "UNARY", "Log": "UNARY",
    "Shape": "SHAPE", "Cast": "CAST" if _ten else "IDENTITY",
    "BatchNormalization": "SCALE",
}  # fmt: skip
_TYPES = {
    1: DataType.FLOAT, 2: DataType.UINT8, 3: DataType.INT8, 6: DataType.INT32, 9: DataType.BOOL, 10: DataType.HALF,
    7: DataType.INT64 if _ten else DataType.INT32, 11: DataType.FLOAT,  # as the parser reads doubles
}  # fmt: skip
_NUMPY = {DataType.FLOAT: np.float32, DataType.UINT8: np.uint8, DataType.INT32: np.int32, DataType.BOOL: np.bool_}


# Operators that the parser of 8.5 imports: DEFINE_BUILTIN_OP_IMPORTER in onnx-tensorrt, branch 8.5-GA.
_OPERATORS_OF_8_5 = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool
GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If
InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool
MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu
Pad Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape
Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan
Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
"""


class StandInError(AssertionError):
    """The code under test did what TensorRT would not forgive."""


def _must(condition: object, text: str) -> None:
    if not condition:
        raise StandInError(text)


class ILogger:
    Severity = _enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

    def __init__(self) -> None:
        self._is_made = True


def _say(logger: ILogger, text: str, severity: str = "ERROR") -> None:
    logger.log(ILogger.Severity[severity], text)


if _ten:

    class IProgressMonitor:
        def __init__(self) -> None:
            self._is_made = True


class _Strict:
    """Takes no attribute that the class has not."""

    __slots__ = ()


class Dims(tuple):
    """TensorRT's shapes."""


class _Tensor(_Strict):
    __slots__ = ("dtype", "name", "shape")

    def __init__(self, name: str, dtype: _Enum, shape: tuple[int, ...] | None) -> None:
        self.name, self.dtype, self.shape = name, dtype, Dims(shape) if shape is not None else None


class _Layer(_Strict):
    __slots__ = ("_inputs", "_outputs", "_type", "pinned")

    def __init__(self, kind: str, inputs: list[_Tensor | None], outputs: list[_Tensor]) -> None:
        self._type, self._inputs, self._outputs = LayerType[kind], inputs, outputs
        self.pinned: _Enum | None = None

    type = property(lambda self: self._type)
    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index: int) -> _Tensor | None:
        return self._inputs[index]

    def get_output(self, index: int) -> _Tensor:
        return self._outputs[index]

    if not _eleven:

        @property
        def precision(self) -> _Enum:
            return self.pinned or DataType.FLOAT

        @precision.setter
        def precision(self, value: _Enum) -> None:
            _must(isinstance(value, DataType), "precision is a DataType")
            self.pinned = value


class _Network(_Strict):
    __slots__ = ("inputs", "layers", "model", "outputs", "strongly_typed")

    def __init__(self, strongly_typed: bool) -> None:
        self.strongly_typed = strongly_typed
        self.model: onnx.ModelProto | None = None

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]

    def get_input(self, index: int) -> _Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> _Tensor:
        return self.outputs[index]

    def fill(self, model: onnx.ModelProto) -> None:
        """What the parser does."""
        self.model = model
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        tensors: dict[str, _Tensor] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.tensor_type
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
            tensors[value.name] = _Tensor(value.name, _TYPES[kind.elem_type], shape)
        # Weights of convolutions and products are attributes of the layer; other constants are layers of their own.
        self.layers = []
        for constant in graph.initializer:
            tensors[constant.name] = _Tensor(constant.name, _TYPES[constant.data_type], tuple(constant.dims))
            self.layers.append(_Layer("CONSTANT", [], [tensors[constant.name]]))
        for node in graph.node:
            for name in node.output:
                tensors.setdefault(name, _Tensor(name, DataType.FLOAT, None))
            names = node.input[:1] if node.op_type in ("Conv", "Resize") else node.input
            inputs = [tensors.get(name) for name in names if name]
            self.layers.append(
                _Layer(_LAYERS.get(node.op_type, "REDUCE"), inputs, [tensors[name] for name in node.output if name])
            )
        self.inputs = [tensors[value.name] for value in graph.input]
        self.outputs = [tensors[value.name] for value in graph.output]


class OnnxParser(_Strict):
    __slots__ = ("_errors", "_logger", "_network")

    def __init__(self, network: _Network, logger: ILogger) -> None:
        _must(isinstance(network, _Network) and isinstance(logger, ILogger), "OnnxParser(network, logger)")
        self._network, self._logger, self._errors = network, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> str:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        _must(isinstance(model, bytes), "parse(bytes)")
        loaded = onnx.load_from_string(model)
        kinds = {node.op_type for node in loaded.graph.node}
        if not _ten:
            unknown = sorted(kinds - set(_OPERATORS_OF_8_5.split()))
            self._errors += [f"No importer registered for op: {kind}" for kind in unknown]
            # Also not by all of 8.6: onnxruntime#11535. Zero points are read.
            data = {node.input[0] for node in loaded.graph.node if node.input}
            rounded = [w.name for w in loaded.graph.initializer if w.data_type == 3 and w.name in data]
            self._errors += [f"{name}: invalid weights type of Int8" for name in rounded]
        if cudart.fault("parser"):
            self._errors.append("In node 3 (importConv): UNSUPPORTED_NODE")
        if self._errors:
            return False
        self._network.fill(loaded)
        return True


class IOptimizationProfile(_Strict):
    __slots__ = ("shapes",)

    def __init__(self) -> None:
        self.shapes: dict[str, list[Dims]] = {}

    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:
        _must(all(isinstance(shape, tuple) for shape in (min, opt, max)), "set_shape(name, tuple, tuple, tuple)")
        self.shapes[input] = [Dims(min), Dims(opt), Dims(max)]


class ITimingCache(_Strict):
    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"timed"


class IBuilderConfig(_Strict):
    __slots__ = ("_timing", "flags", "pools", "profiles") + (
        ("builder_optimization_level", "progress_monitor") if _ten else ()
    )

    def __init__(self) -> None:
        self.flags: set[_Enum] = {BuilderFlag.TF32}
        self.pools: dict[_Enum, int] = {}
        self.profiles: list[IOptimizationProfile] = []
        self._timing: ITimingCache | None = None
        if _ten:
            self.progress_monitor = None
            self.builder_optimization_level = 3

    def set_flag(self, flag: _Enum) -> None:
        _must(isinstance(flag, BuilderFlag), "set_flag(BuilderFlag)")
        self.flags.add(flag)

    def clear_flag(self, flag: _Enum) -> None:
        _must(isinstance(flag, BuilderFlag), "clear_flag(BuilderFlag)")
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: _Enum, pool_size: int) -> None:
        _must(isinstance(pool, MemoryPoolType) and type(pool_size) is int, "set_memory_pool_limit(pool, int)")
        self.pools[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        return None if serialized_timing_cache.startswith(b"spoilt") else ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        _must(isinstance(cache, ITimingCache), "set_timing_cache(ITimingCache, bool)")
        self._timing = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._timing


class Builder(_Strict):
    __slots__ = ("_logger",)

    def __init__(self, logger: ILogger) -> None:
        _must(isinstance(logger, ILogger) and hasattr(logger, "_is_made"), "the logger's __init__ was not called")
        if cudart.fault("no builder"):
            raise TypeError("factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int = 0) -> _Network:
        _must(type(flags) is int, "create_network(int)")
        strong = bool(flags & 1) if _eleven else _ten and bool(flags & 2)
        _must(_ten or flags & 1, "implicit batches have no optimisation profiles")
        return _Network(strong or _eleven)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: _Network, config: IBuilderConfig) -> bytes | None:
        _must(network.model is not None, "the network is empty")
        if _BUILDS:
            with open(_BUILDS, "a", encoding="utf-8") as file:
                file.write("built\n")
        _must(MemoryPoolType.WORKSPACE in config.pools, "the workspace has no limit")
        names = {flag.name for flag in config.flags}
        _must(not (network.strongly_typed and names & {"FP16", "INT8"}), "a strongly typed network with builder flags")
        frugal = _ten and config.builder_optimization_level <= 1
        if cudart.fault("killed") and not frugal:
            os.kill(os.getpid(), 9)
        if cudart.fault("out of memory") and not frugal:
            _say(self._logger, "Cuda Runtime (2): out of memory")
            return None
        if cudart.fault("build"):
            _say(self._logger, "Could not find any implementation for node /net/Conv_7")
            return None
        if cudart.fault("crash"):
            os.abort()
        if cudart.fault("full disk"):
            _fill_disk(left=0)
        if cudart.fault("nearly full disk"):
            _fill_disk(left=2)
        for tensor in network.inputs:
            open_shape = -1 in tensor.shape
            if open_shape and not all(tensor.name in profile.shapes for profile in config.profiles):
                _say(self._logger, f"Network has dynamic inputs, but {tensor.name} is in no optimization profile")
                return None
        if not self._work(config):
            return None
        pinned = []
        if not network.strongly_typed:
            pinned = [
                (layer.type.name, layer.pinned.name if layer.pinned else "")
                for layer in network.layers
                if layer.type.name != "CONSTANT"
            ]
        facts = {
            "version": __version__,
            "flags": sorted(names),
            "layers": pinned,
            "frugal": frugal,
            "profiles": [
                {name: [list(s) for s in shapes] for name, shapes in profile.shapes.items()}
                for profile in config.profiles
            ],
        }
        return _MAGIC + json.dumps(facts).encode() + b"\n" + network.model.SerializeToString()

    def _work(self, config: IBuilderConfig) -> bool:
        """Builds for a while, telling of it; False: cancelled."""
        steps = 40 if cudart.fault("slow") else 4
        monitor = config.progress_monitor if _ten else None
        if monitor is not None:
            _must(hasattr(monitor, "_is_made"), "the monitor's __init__ was not called")
            monitor.phase_start("Building", None, steps)
        for step in range(steps):
            if cudart.fault("slow"):
                time.sleep(0.25)
            if monitor is None:
                continue
            monitor.phase_start("Tactics", "Building", 2)
            goes_on = monitor.step_complete("Tactics", 0)
            monitor.phase_finish("Tactics")
            if not (goes_on and monitor.step_complete("Building", step)):
                return False
        if monitor is not None:
            monitor.phase_finish("Building")
        return True


class Runtime(_Strict):
    __slots__ = ("_logger",)

    def __init__(self, logger: ILogger) -> None:
        _must(isinstance(logger, ILogger) and hasattr(logger, "_is_made"), "the logger's __init__ was not called")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if cudart.fault("lost gpu"):
            _say(self._logger, "Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
            return None
        if cudart.fault("no room"):
            _say(self._logger, "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)")
            return None
        if not serialized_engine.startswith(_MAGIC) or cudart.fault("plans"):
            _say(self._logger, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            return None
        header, model = serialized_engine[len(_MAGIC) :].split(b"\n", 1)
        facts = json.loads(header)
        if facts["version"] != __version__:
            _say(self._logger, f"The engine plan file is not compatible: expecting {__version__}")
            return None
        return ICudaEngine(facts, model, self._logger)


class ICudaEngine(_Strict):
    __slots__ = ("_modes", "_network", "_profiles", "contexts", "facts", "logger", "session")

    def __init__(self, facts: dict, model: bytes, logger: ILogger) -> None:
        self.facts, self.logger, self._profiles = facts, logger, facts["profiles"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._network = _Network(strongly_typed=True)
        self._network.fill(onnx.load_from_string(model))
        self._modes = {tensor.name: TensorIOMode.INPUT for tensor in self._network.inputs}
        self._modes |= {tensor.name: TensorIOMode.OUTPUT for tensor in self._network.outputs}
        self.contexts: list[IExecutionContext] = []

    num_io_tensors = property(lambda self: len(self._modes))
    num_optimization_profiles = property(lambda self: max(len(self._profiles), 1))

    def _tensor(self, name: str) -> _Tensor:
        return next(t for t in (*self._network.inputs, *self._network.outputs) if t.name == name)

    def get_tensor_name(self, index: int) -> str:
        return list(self._modes)[index]

    def get_tensor_mode(self, name: str) -> _Enum:
        return self._modes[name]

    def get_tensor_shape(self, name: str) -> Dims:
        return self._tensor(name).shape

    def get_tensor_dtype(self, name: str) -> _Enum:
        return self._tensor(name).dtype

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        return [Dims(shape) for shape in self._profiles[profile_index][name]]

    def create_execution_context(self) -> IExecutionContext | None:
        if cudart.fault("no context") or (cudart.fault("large context") and not self.facts["frugal"]):
            _say(self.logger, "Requested amount of GPU memory could not be allocated")
            return None
        return IExecutionContext(self)


class IExecutionContext(_Strict):
    __slots__ = ("_addresses", "_engine", "_output_shapes", "_profile", "_ran", "_shapes")

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        # The first context has the first profile; further ones have none before 8.6 until they are given one.
        self._profile = 0 if not engine.contexts else None
        engine.contexts.append(self)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._output_shapes: dict[str, Dims] = {}
        self._addresses: dict[str, int] = {}
        self._ran = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        cudart.machine.stream(stream_handle)
        for context in self._engine.contexts:
            _must(context is self or context._profile != profile_index, "two contexts share a profile")
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        _must(isinstance(shape, tuple) and all(type(extent) is int for extent in shape), "set_input_shape(name, tuple)")
        own = self._engine.get_tensor_shape(name)
        if -1 in own:
            _must(self._profile is not None, "no profile is selected")
            low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
            fits = all(a <= extent <= b for a, extent, b in zip(low, shape, high, strict=True))
        else:
            fits = tuple(own) == shape
        if not fits:
            _say(self._engine.logger, f"{name}: {shape} is not in the profile")
            return False
        self._shapes[name] = shape
        self._output_shapes.clear()
        self._ran = False
        return True

    def infer_shapes(self) -> list[str]:
        missing = [i.name for i in self._engine.session.get_inputs() if i.name not in self._shapes]
        if missing:
            return missing
        return []

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._shapes:
            return Dims(self._shapes[name])
        _must(not self.infer_shapes(), "shapes of outputs are known once those of all inputs are set")
        if not self._output_shapes:
            answers = self._run({n: np.zeros(s, self._dtype(n)) for n, s in self._shapes.items()})
            self._output_shapes = {n: Dims(values.shape) for n, values in answers.items()}
        return self._output_shapes[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        _must(type(memory) is int, "set_tensor_address(name, int)")
        cudart.machine.device_bytes(memory, 1)
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        _must(type(stream_handle) is int, "execute_async_v3(int)")
        stream = cudart.machine.stream(stream_handle)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        unset = [name for name in names if name not in self._addresses]
        if unset or self.infer_shapes():
            _say(self._engine.logger, f"tensors {unset} have no address, or shapes are not set")
            return False
        self._check_places(names)
        if cudart.machine.last_error():  # TensorRT takes it for its own
            _say(self._engine.logger, "Cuda Runtime (an earlier failure that nobody has asked for)")
            return False
        if cudart.fault("execution"):
            _say(self._engine.logger, "Cuda Runtime (an illegal memory access was encountered)")
            return False
        if stream.recording is not None and not self._ran:
            stream.spoiled = True  # the first run after a change of shapes does what cannot be recorded
            return False
        self._ran = True
        stream.put(self._execute)
        return True

    def _check_places(self, names: list[str]) -> None:
        """Fails where tensors overlap, as they do if the caller takes one for smaller than it is: of another type."""
        sizes = {n: int(np.prod(self.get_tensor_shape(n))) * np.dtype(self._dtype(n)).itemsize for n in names}
        places = sorted((self._addresses[name], name) for name in names)
        for (start, name), (following, other) in itertools.pairwise(places):
            _must(start + sizes[name] <= following, f"{name} has {sizes[name]} bytes and overlaps {other}")

    def _execute(self) -> None:
        inputs = {}
        for name, shape in self._shapes.items():
            dtype = np.dtype(self._dtype(name))
            size = int(np.prod(shape)) * dtype.itemsize
            inputs[name] = cudart.machine.device_bytes(self._addresses[name], size).view(dtype).reshape(shape)
        for name, values in self._run(inputs).items():
            expected = self._dtype(name)
            _must(values.dtype == expected, f"{name} is {values.dtype}")
            place = cudart.machine.device_bytes(self._addresses[name], values.nbytes)
            place[:] = np.ascontiguousarray(values).view(np.uint8).ravel()

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = [output.name for output in self._engine.session.get_outputs()]
        answers = dict(zip(outputs, self._engine.session.run(None, inputs), strict=True))
        if cudart.fault("ruined half") and self._is_half:
            answers = {name: np.full_like(values, np.nan) for name, values in answers.items()}
        if cudart.fault("shifted half") and self._is_half:
            answers = {name: values + np.float32(3) for name, values in answers.items()}
        return answers

    @property
    def _is_half(self) -> bool:
        model_is = any(initializer.data_type == 10 for initializer in self._engine._network.model.graph.initializer)
        return model_is or any(precision == "HALF" for _, precision in self._engine.facts["layers"])

    def _dtype(self, name: str) -> type:
        return _NUMPY[self._engine.get_tensor_dtype(name)]
