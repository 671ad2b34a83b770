"""The stand-ins are as strict as what they stand for: mistakes that a GPU would punish are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the stand-in for TensorRT reads networks with onnx")
import small_networks
from gpu_machine import VARIANTS
from onnx import helper, numpy_helper

from pose3d_ros.engines.cuda import cuda

FIXED = {"pictures": (1, 8, 8, 3), "position": (1, 4), "level": (1, 4)}
WEIGHTS_OF_8_BITS = {"w": np.ones((2, 2), np.int8), "scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}


@pytest.fixture
def network(tmp_path: Path) -> bytes:
    """A network with a batch of one."""
    return small_networks.write_heatmaps(tmp_path / "one.onnx", batch=1).read_bytes()


def parsed(trt, network: bytes):
    """A builder and the network in it, in the variant's way."""
    logger = Logger(trt)
    builder = trt.Builder(logger)
    flags = trt.NetworkDefinitionCreationFlag.__members__
    definition = builder.create_network(1 << int(flags["EXPLICIT_BATCH"]) if "EXPLICIT_BATCH" in flags else 0)
    assert trt.OnnxParser(definition, logger).parse(network)
    return builder, definition


def Logger(trt):  # noqa: N802 (a class of the variant's own)
    kind = type("Logger", (trt.ILogger,), {"log": lambda *_: None})
    return kind()


def context(machine, network: bytes):
    """An execution context of the network."""
    trt = machine.trt
    builder, definition = parsed(trt, network)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
    plan = builder.build_serialized_network(definition, config)
    return trt.Runtime(Logger(trt)).deserialize_cuda_engine(plan).create_execution_context()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_the_names_of_its_version_and_no_others(gpu_machine, network: bytes, variant: str) -> None:
    trt = gpu_machine(variant).trt
    assert hasattr(trt, "IProgressMonitor") == (variant != "8.5")
    assert hasattr(trt.BuilderFlag, "FP16") == (variant != "11")
    assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") == (variant != "11")
    builder, definition = parsed(trt, network)
    config = builder.create_builder_config()
    assert hasattr(config, "builder_optimization_level") == (variant != "8.5")
    for thing, name in ((config, "max_workspace_size"), (builder, "max_batch_size"), (definition, "name_of_mine")):
        with pytest.raises(AttributeError):
            setattr(thing, name, 1)
    if variant == "11":
        with pytest.raises(AttributeError):
            definition.get_layer(0).precision = trt.DataType.FLOAT


def test_a_logger_whose_own_beginning_was_forgotten(gpu_machine) -> None:
    trt = gpu_machine().trt
    forgetful = type("Logger", (trt.ILogger,), {"__init__": lambda _: None, "log": lambda *_: None})
    with pytest.raises(AssertionError, match="__init__ was not called"):
        trt.Builder(forgetful())


def test_a_network_with_flags_that_are_not_its_versions(gpu_machine) -> None:
    trt = gpu_machine("8.5").trt
    with pytest.raises(AssertionError, match="implicit batches"):
        trt.Builder(Logger(trt)).create_network(0)


@pytest.mark.parametrize("variant", ["10.13", "11"])
def test_a_strongly_typed_network_takes_no_precision_from_the_builder(gpu_machine, network: bytes, variant) -> None:
    trt = gpu_machine(variant).trt
    strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert strong == (2 if variant == "10.13" else 1)
    builder = trt.Builder(Logger(trt))
    definition = builder.create_network(strong)
    assert definition.strongly_typed
    if variant == "10.13":
        trt.OnnxParser(definition, Logger(trt)).parse(network)
        config = builder.create_builder_config()
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)
        with pytest.raises(AssertionError, match="strongly typed network with builder flags"):
            builder.build_serialized_network(definition, config)


def test_a_run_needs_shapes_addresses_on_the_gpu_and_a_stream_of_its_own(gpu_machine, network: bytes) -> None:
    machine = gpu_machine()
    tested, stream = context(machine, network), cuda().make_stream()
    with pytest.raises(AssertionError, match="shapes of outputs"):
        tested.get_tensor_shape("position")
    assert not tested.set_input_shape("pictures", (2, 8, 8, 3))
    with pytest.raises(AssertionError, match="set_input_shape"):
        tested.set_input_shape("pictures", [1, 8, 8, 3])
    assert tested.set_input_shape("pictures", (1, 8, 8, 3))
    assert not tested.execute_async_v3(stream)  # no tensor has an address
    with pytest.raises(machine.cudart.CallError, match="not on the GPU"):
        tested.set_tensor_address("pictures", cuda().allocate_pinned(192).ctypes.data)
    for name in FIXED:
        assert tested.set_tensor_address(name, cuda().allocate(192))
    with pytest.raises(machine.cudart.CallError, match="no stream 0"):
        tested.execute_async_v3(0)
    assert tested.execute_async_v3(stream)
    cuda().synchronize(stream)


def test_tensors_that_overlap_are_refused(gpu_machine, network: bytes) -> None:
    tested, stream = context(gpu_machine(), network), cuda().make_stream()
    tested.set_input_shape("pictures", (1, 8, 8, 3))
    address = cuda().allocate(400)
    for name, start in (("pictures", 0), ("position", 192), ("level", 200)):
        tested.set_tensor_address(name, address + start)
    with pytest.raises(AssertionError, match="position has 16 bytes and overlaps level"):
        tested.execute_async_v3(stream)
    tested.set_tensor_address("level", address + 208)
    assert tested.execute_async_v3(stream)


def test_8_5_reads_no_weights_of_8_bits(gpu_machine, tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(value, name) for name, value in WEIGHTS_OF_8_BITS.items()]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["weights"]),
        helper.make_node("MatMul", ["x", "weights"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, [1, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "rounded", ends[:1], ends[1:], weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    for variant in ("8.5", "10.3"):
        trt = gpu_machine(variant).trt
        logger = Logger(trt)
        parser = trt.OnnxParser(trt.Builder(logger).create_network(1), logger)
        assert parser.parse(network) == (variant != "8.5")
        assert [parser.get_error(i) for i in range(parser.num_errors)] == (
            ["w: invalid weights type of Int8"] if variant == "8.5" else []
        )


def test_memory_that_is_too_small_is_overrun(gpu_machine, network: bytes) -> None:
    machine = gpu_machine()
    tested, stream = context(machine, network), cuda().make_stream()
    tested.set_input_shape("pictures", (1, 8, 8, 3))
    for name in FIXED:
        tested.set_tensor_address(name, cuda().allocate(8))
    assert tested.execute_async_v3(stream)
    with pytest.raises(Exception, match="cudaErrorIllegalAddress"):
        cuda().synchronize(stream)


def test_a_graph_cannot_record_the_first_run(gpu_machine, network: bytes) -> None:
    tested, stream = context(gpu_machine(), network), cuda().make_stream()
    tested.set_input_shape("pictures", (1, 8, 8, 3))
    for name in FIXED:
        tested.set_tensor_address(name, cuda().allocate(192))
    cuda().begin_capture(stream)
    assert not tested.execute_async_v3(stream)
    with pytest.raises(Exception, match="cudaErrorStreamCaptureInvalidated"):
        cuda().end_capture(stream)
