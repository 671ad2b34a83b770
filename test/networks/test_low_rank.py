"""Convolutions of lower rank: less work for what lies within few directions, and the same function."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from small_networks import soft_picture  # noqa: E402

from pose3d_ros.cli import main  # noqa: E402
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from pose3d_ros.networks import factorise as command  # noqa: E402
from pose3d_ros.networks.calibration import UNCALIBRATED  # noqa: E402
from pose3d_ros.networks.export_pose2d import Pose2DGraph, write_onnx  # noqa: E402
from pose3d_ros.networks.low_rank import factorise  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet, load_net, save_net  # noqa: E402
from pose3d_ros.networks.quantise import quantise  # noqa: E402
from pose3d_ros.networks.resnet import conv_bn  # noqa: E402
from pose3d_ros.training.trainer import Schedule, Trainer  # noqa: E402

SIZE = 64


def in_few_directions(outputs_rank, inputs_rank, stride=1):
    """A convolution of 48 channels, and its normalisation, that depends on, and gives, few directions only."""
    pair = conv_bn(48, 48, 3, stride)
    inner = torch.randn(outputs_rank, inputs_rank, 3, 3)
    wide, narrow = torch.randn(48, outputs_rank), torch.randn(inputs_rank, 48)
    pair[0].weight.data = torch.einsum("or,rskl,si->oikl", wide, inner, narrow) / 30
    pair[1].running_var.uniform_(0.5, 2)
    pair[1].weight.data.uniform_(-2, 2)
    return pair.eval()


@pytest.mark.parametrize(
    ("outputs_rank", "inputs_rank", "channels"),
    [(10, 48, [48, 16, 48]), (48, 10, [48, 16, 48]), (12, 10, [48, 16, 16, 48]), (48, 48, None)],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_what_lies_within_few_directions_stays_the_same_function(outputs_rank, inputs_rank, channels, stride):
    torch.manual_seed(0)
    net = torch.nn.Sequential(in_few_directions(outputs_rank, inputs_rank, stride))
    images = torch.randn(8, 48, 16, 16) + torch.randn(48, 1, 1)
    with torch.no_grad():
        expected = net(images)
        found = factorise(net, images, 0.999999, 0.999999)
        torch.testing.assert_close(net(images), expected, atol=1e-3, rtol=1e-3)
    assert list(found.values()) == ([channels] if channels else [])


def test_each_makes_up_for_those_before_it():
    torch.manual_seed(0)
    net = torch.nn.Sequential(conv_bn(32, 64, 3), torch.nn.ReLU(), conv_bn(64, 64, 3)).eval()
    images = torch.nn.functional.interpolate(torch.randn(8, 32, 6, 6), 24, mode="bilinear")

    def error(network):
        with torch.no_grad():
            return float((network(images) - net(images)).square().mean())

    together, apart = copy.deepcopy(net), copy.deepcopy(net)
    factorise(together, images, 0.7, 1.0)
    with torch.no_grad():
        factorise(apart[:1], images, 0.7, 1.0)
        factorise(apart[2:], net[:2](images), 0.7, 1.0)
    assert error(together) < 0.95 * error(apart)


@pytest.fixture
def factorised(tmp_path):
    """A stage 1 some of whose convolutions are two or three, and its checkpoint."""
    torch.manual_seed(0)
    net = Pose2DNet(18, 32, 32).eval()
    for normalisation in (module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        for values in (*normalisation.parameters(), normalisation.running_mean, normalisation.running_var):
            values.data.uniform_(0.5, 1.5)  # as trained: no two are the same, else the file would hold one of them
    assert factorise(net, torch.randn(4, 3, SIZE, SIZE), 0.5, 0.5)
    save_net(net, SIZE, tmp_path / "checkpoint.pt")
    return net, tmp_path / "checkpoint.pt"


def test_a_checkpoint_and_an_exported_file_give_back_the_network(factorised, tmp_path):
    net, checkpoint = factorised
    write_onnx(Pose2DGraph(net, UNCALIBRATED), SIZE, tmp_path / "net.onnx")
    for file in (checkpoint, tmp_path / "net.onnx"):
        again, size = load_net(file)
        assert size == SIZE
        torch.testing.assert_close(again.state_dict(), net.state_dict())


def test_a_training_goes_on_from_it_and_from_where_it_was_interrupted(factorised, tmp_path):
    net, checkpoint = factorised
    schedule = Schedule(samples=4, batch=2, hidden_learning_rate=1e-3)
    first = Trainer(Pose2DNet(**net.sizes), schedule, tmp_path / "run", checkpoint)
    torch.testing.assert_close(first.net.state_dict(), net.state_dict())
    batches = iter([[torch.randn(2, 3, SIZE, SIZE)]] * 2)
    first.train(batches, lambda network, batch: network(batch[0])[0].square().mean(), lambda _: {})
    second = Trainer(Pose2DNet(**net.sizes), schedule, tmp_path / "run", checkpoint)
    assert second.samples == 4
    torch.testing.assert_close(second.net.state_dict(), first.net.state_dict())


def test_it_becomes_8_bits(factorised, tmp_path):
    """Its first convolution has no normalisation of its own, and so no bias."""
    net, _ = factorised
    assert isinstance(net.backbone.stem[0][0], torch.nn.Sequential)
    with torch.no_grad():
        net.heads.weight.mul_(20)  # peaks, as a trained network has
    write_onnx(Pose2DGraph(net, UNCALIBRATED), SIZE, tmp_path / "net.onnx")
    quantise(tmp_path / "net.onnx", tmp_path / "net_int8.onnx", "crops", [soft_picture(i) for i in range(8)])
    files = (tmp_path / "net.onnx", tmp_path / "net_int8.onnx")
    crops = np.concatenate([soft_picture(i) for i in range(100, 110)])
    exact, rough = (OnnxRuntimeEngine(file, threads=1).run({"crops": crops})["score"][..., 0].ravel() for file in files)
    assert np.corrcoef(exact, rough)[0, 1] > 0.9


def test_the_command_writes_a_checkpoint_that_computes_nearly_the_same(tmp_path, monkeypatch, capsys):
    net = Pose2DNet(18, 16, 32).eval()
    save_net(net, 96, tmp_path / "whole.pt")
    crops = np.concatenate([soft_picture(i) for i in range(12)])
    monkeypatch.setattr(command, "kept_crops", lambda data, coco, size: crops[:, :size, :size])
    words = ["factorise", "--network", str(tmp_path / "whole.pt"), "--size", str(SIZE), "--output"]
    assert main([*words, str(tmp_path / "runs" / "few.pt"), "--share", "0.5", "--input-share", "0.5"]) == 0
    assert "backbone.stages.3.1.body.2 128 16 16 128\n" in capsys.readouterr().out
    again, size = load_net(tmp_path / "runs" / "few.pt")
    assert size == SIZE
    assert sum(p.numel() for p in again.parameters()) < 0.5 * sum(p.numel() for p in net.parameters())


def test_the_command_needs_photos(tmp_path, capsys):
    net = Pose2DNet(18, 8, 16)
    save_net(net, SIZE, tmp_path / "whole.pt")
    words = ["factorise", "--network", str(tmp_path / "whole.pt"), "--data", str(tmp_path), "--output"]
    assert main([*words, str(tmp_path / "few.pt")]) == 1
    assert "nothing to look at" in capsys.readouterr().err


def test_the_command_says_which_crops_it_cannot_take(tmp_path, capsys):
    net = Pose2DNet(18, 8, 16)
    save_net(net, SIZE, tmp_path / "whole.pt")
    words = ["factorise", "--network", str(tmp_path / "whole.pt"), "--size", "100", "--output"]
    assert main([*words, str(tmp_path / "few.pt")]) == 1
    assert "--size 100 must be a multiple of 32" in capsys.readouterr().err
