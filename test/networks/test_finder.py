"""The finder: targets, losses, and the exported file against PyTorch."""

import argparse

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from pose3d_ros.networks.export_finder import FinderGraph, add_arguments, run, write_onnx  # noqa: E402
from pose3d_ros.networks.finder import FINDER_STRIDE, FinderNet  # noqa: E402
from pose3d_ros.networks.finder_losses import box_loss, centre_targets, focal_loss  # noqa: E402

BOXES = torch.tensor([[[10.0, 20.0, 60.0, 120.0], [100.0, 30.0, 150.0, 90.0], [0.0, 0.0, 0.0, 0.0]]])


def test_targets_peak_at_the_centres_and_own_their_boxes():
    heat, goal = centre_targets(BOXES, 16, 20, FINDER_STRIDE)
    assert int((heat > 0.999).sum()) == 2
    for box in BOXES[0, :2]:
        x, y = ((box[:2] + box[2:]) / 2 // FINDER_STRIDE).int().tolist()
        assert heat[0, y, x] > 0.5
        torch.testing.assert_close(goal[0, :, y, x], box)


def test_losses_vanish_for_the_perfect_answer():
    heat, goal = centre_targets(BOXES, 16, 20, FINDER_STRIDE)
    everywhere = torch.ones_like(heat)
    perfect = torch.where(heat > 0.999, 12.0, -12.0)
    assert focal_loss(perfect, heat, everywhere) < 1e-3
    assert focal_loss(-perfect, heat, everywhere) > 1
    assert box_loss(goal, goal, heat) < 1e-4
    assert box_loss(goal + 15, goal, heat) > 0.2


def test_exported_file_equals_pytorch(tmp_path):
    torch.manual_seed(0)
    graph = FinderGraph(FinderNet(18, 8, 16).eval()).eval()
    write_onnx(graph, (64, 96), tmp_path / "finder.onnx")
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    ours = OnnxRuntimeEngine(tmp_path / "finder.onnx", threads=1).run({"image": image})
    with torch.inference_mode():
        boxes, scores = graph(torch.from_numpy(image))
    np.testing.assert_allclose(ours["scores"], scores, atol=1e-4)
    some = scores.numpy() > 1e-6
    np.testing.assert_allclose(ours["boxes"][some], boxes.numpy()[some], atol=1e-3)


def test_the_size_of_the_exported_file_is_free_but_a_multiple_of_the_coarsest_stride(tmp_path):
    net = FinderNet(18, 8, 16)
    checkpoint, output = tmp_path / "checkpoint.pt", tmp_path / "finder.onnx"
    config = {"depth": 18, "width": 8, "head_width": 16, "input_height": 64, "input_width": 96}
    torch.save({"config": config, "ema": net.state_dict()}, checkpoint)
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def export(*size):
        run(parser.parse_args(["--checkpoint", str(checkpoint), "--output", str(output), *size]))
        return OnnxRuntimeEngine(output, threads=1).inputs[0].shape

    assert export() == (1, 64, 96, 3)
    assert export("--size", "160", "128") == (1, 128, 160, 3)
    with pytest.raises(ValueError, match="100 x 64: both must be multiples of 32"):
        export("--size", "100", "64")
