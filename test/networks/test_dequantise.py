"""A stage 1 in 8 bits back in floating point: the same answers, and a training goes on from it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from small_networks import soft_picture  # noqa: E402

from pose3d_ros.cli import main  # noqa: E402
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from pose3d_ros.networks import dequantise as command  # noqa: E402
from pose3d_ros.networks.calibration import UNCALIBRATED  # noqa: E402
from pose3d_ros.networks.dequantise import dequantised_net, settle  # noqa: E402
from pose3d_ros.networks.export_pose2d import Pose2DGraph, write_onnx  # noqa: E402
from pose3d_ros.networks.low_rank import factorise  # noqa: E402
from pose3d_ros.networks.pose2d import Look, Pose2DNet, load_net, look_both_ways, look_once  # noqa: E402
from pose3d_ros.networks.quantise import quantise  # noqa: E402

SIZE = 64


def stage_1(in_factors: bool) -> Pose2DNet:
    torch.manual_seed(0)
    net = Pose2DNet(18, 32, 32)
    with torch.no_grad():
        net.heads.weight.mul_(20)  # peaks, as a trained network has
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        net(torch.randn(4, 3, SIZE, SIZE))  # statistics that are not those of the beginning
    net.eval()
    if in_factors:
        assert factorise(net, torch.randn(4, 3, SIZE, SIZE), 0.5, 0.5)
    return net


def in_8_bits(net, look: Look, folder):
    source, target = folder / "net.onnx", folder / "net_int8.onnx"
    write_onnx(Pose2DGraph(net, UNCALIBRATED, look), SIZE, source)
    quantise(source, target, "crops", [soft_picture(i) for i in range(8)])
    return target


@pytest.mark.parametrize(("look", "in_factors"), [(look_once, False), (look_both_ways, False), (look_once, True)])
def test_it_finds_what_the_file_finds(tmp_path, look, in_factors):
    file = in_8_bits(stage_1(in_factors), look, tmp_path)
    write_onnx(Pose2DGraph(dequantised_net(file), UNCALIBRATED, look), SIZE, tmp_path / "again.onnx")
    crops = np.concatenate([soft_picture(i) for i in range(100, 110)])
    rough, again = (
        OnnxRuntimeEngine(each, threads=1).run({"crops": crops})["score"][..., 0].ravel()
        for each in (file, tmp_path / "again.onnx")
    )
    assert np.corrcoef(rough, again)[0, 1] > 0.95


def test_weights_lie_within_a_step_of_what_they_were(tmp_path):
    net = stage_1(False)
    weights = dequantised_net(in_8_bits(net, look_once, tmp_path)).state_dict()
    for name, (convolution, normalisation) in {
        "backbone.stem.0": net.backbone.stem[0],
        "pyramid.smooth.1.0": net.pyramid.smooth[1][0],
    }.items():
        gain = normalisation.weight / (normalisation.running_var + normalisation.eps).sqrt()
        merged = convolution.weight * gain[:, None, None, None]
        step = merged.abs().amax((1, 2, 3), keepdim=True) / 63
        assert ((weights[f"{name}.0.weight"] - merged).abs() <= 0.51 * step).all()
        bias = normalisation.bias - gain * normalisation.running_mean
        torch.testing.assert_close(weights[f"{name}.1.bias"], bias, atol=1e-3, rtol=1e-3)


def test_settled_it_computes_the_same_and_as_well_by_the_statistics_of_a_batch(tmp_path):
    net = dequantised_net(in_8_bits(stage_1(True), look_once, tmp_path))
    images = torch.randn(8, 3, SIZE, SIZE)
    with torch.no_grad():
        expected, _ = net(images)
        settle(net, images)
        torch.testing.assert_close(net(images)[0], expected, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(net.train()(images)[0], expected, atol=0.05, rtol=0.05)
    size = net.pyramid.smooth[0][0][0][-1].weight.square().mean().sqrt()
    torch.testing.assert_close(size, torch.tensor(0.12))


def test_the_command_writes_a_checkpoint_to_go_on_from(tmp_path, monkeypatch):
    file = in_8_bits(stage_1(False), look_once, tmp_path)
    crops = np.concatenate([soft_picture(i) for i in range(8)])
    monkeypatch.setattr(command, "kept_crops", lambda data, coco, size: crops[:, :size, :size])
    assert main(["dequantise", "--network", str(file), "--output", str(tmp_path / "runs" / "start.pt")]) == 0
    net, size = load_net(tmp_path / "runs" / "start.pt")
    assert (net.sizes, size) == ({"depth": 18, "width": 32, "head_width": 32}, SIZE)


def test_the_command_says_what_it_cannot_read(tmp_path, capsys):
    write_onnx(Pose2DGraph(stage_1(False), UNCALIBRATED), SIZE, tmp_path / "whole.onnx")
    words = ["dequantise", "--network", str(tmp_path / "whole.onnx"), "--output", str(tmp_path / "start.pt")]
    assert main(words) == 1
    assert "whole.onnx is no stage 1 in 8 bits" in capsys.readouterr().err
    in_8_bits(stage_1(False), look_once, tmp_path)
    words[2:] = [str(tmp_path / "net_int8.onnx"), "--data", str(tmp_path), "--output", str(tmp_path / "start.pt")]
    assert main(words) == 1
    assert "nothing to look at" in capsys.readouterr().err
