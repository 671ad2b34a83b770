"""Stage 1: shapes of every variant, decoding, losses, and the exported file against PyTorch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from pose3d_ros.networks.calibration import UNCALIBRATED, Calibration  # noqa: E402
from pose3d_ros.networks.decode import Decoder  # noqa: E402
from pose3d_ros.networks.export_pose2d import Pose2DGraph, write_onnx  # noqa: E402
from pose3d_ros.networks.heatmap_losses import HEATMAP_LOSSES, gaussian_targets  # noqa: E402
from pose3d_ros.networks.onnx_file import read_weights, write_onnx_file  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet, load_mean_net, load_net, look_both_ways, look_once  # noqa: E402
from pose3d_ros.skeleton import MIRROR  # noqa: E402


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_every_depth_gives_maps_at_stride_4(depth):
    logits, visibility = Pose2DNet(depth, 8, 16).eval()(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 24, 16, 16)
    assert visibility.shape == (2, 24)


def test_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="depth is 19"):
        Pose2DNet(19, 8, 16)


def gaussians(joints, sigma):
    """Heatmaps of joints [n, j, 2] in heatmap pixels."""
    return gaussian_targets(joints[:, :, None], torch.ones(*joints.shape[:2], 1), 48, sigma)


def test_decoder_finds_the_place_the_target_was_made_from():
    """Between the pixels too, and with the target's own spread."""
    joints = torch.from_numpy(np.random.default_rng(0).uniform(40, 150, (3, 24, 2))).float()
    sigma = 1.5
    maps = gaussians((joints - 1.5) / 4, sigma)
    found, covariance, mass = Decoder()(maps.clamp_min(1e-12).log())
    np.testing.assert_allclose(found[:, :, 0], joints, atol=0.5)
    np.testing.assert_allclose(covariance[:, :, 0, 0, 0], (4 * sigma) ** 2, rtol=0.15)
    assert mass[:, :, 0].min() > 0.9


def test_decoder_finds_the_second_place_too():
    places = torch.tensor([[[[60.0, 50.0], [120.0, 140.0]]]])
    maps = gaussian_targets((places - 1.5) / 4, torch.tensor([[[1.4, 0.6]]]), 48, 1.5)
    found, _, mass = Decoder()(maps.clamp_min(1e-12).log())
    np.testing.assert_allclose(found[0, 0, :2], places[0, 0], atol=0.5)
    np.testing.assert_allclose(mass[0, 0, :2], [0.7, 0.3], atol=0.05)


def test_decoder_finds_places_at_the_edge():
    corners = torch.tensor([[[1.5, 1.5], [189.5, 1.5], [1.5, 189.5], [189.5, 189.5]]])
    found, _, mass = Decoder()(gaussians((corners - 1.5) / 4, 0.3).clamp_min(1e-12).log())
    np.testing.assert_allclose(found[:, :, 0], corners, atol=0.5)
    np.testing.assert_allclose(mass[:, :, 0], 1, atol=1e-3)


def test_decoder_is_sure_of_what_leaves_nothing_for_other_places():
    """The rest of the map underflows to zero; the other places lie somewhere in it, with nothing in their favour."""
    logits = torch.full((1, 1, 48, 48), -1e4)
    logits[..., 0, 47] = 1e4
    found, covariance, mass = Decoder()(logits)
    assert mass.tolist() == [[[1, 0, 0]]]
    np.testing.assert_allclose(found[0, 0, 0], [189.5, 1.5])
    assert ((found >= 0) & (found <= 191)).all()
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


@pytest.mark.parametrize("name", sorted(HEATMAP_LOSSES))
def test_losses_are_least_at_the_target(name):
    target = gaussians(torch.tensor([[[20.0, 30.0]]]), 1.5)
    right = target if name == "mse" else target.clamp_min(1e-12).log()
    wrong = torch.roll(right, 5, -1)
    assert HEATMAP_LOSSES[name](right, target) < HEATMAP_LOSSES[name](wrong, target)


@pytest.mark.parametrize("look", [look_once, look_both_ways])
def test_exported_file_equals_pytorch(tmp_path, look):
    torch.manual_seed(0)
    graph = Pose2DGraph(Pose2DNet(18, 8, 16).eval(), Calibration(1.2, 0.3, 0.5, -0.1, 0.8, 0.004), look).eval()
    write_onnx(graph, 64, tmp_path / "net.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "net.onnx", threads=1)
    for people in (1, 3):
        crops = np.random.default_rng(people).integers(0, 256, (people, 64, 64, 3), np.uint8)
        ours = engine.run({"crops": crops})
        with torch.inference_mode():
            theirs = dict(
                zip(("joints", "covariance", "score", "visible"), graph(torch.from_numpy(crops)), strict=True)
            )
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, atol=1e-4 * max(1.0, float(value.abs().max())), err_msg=name)


def test_who_looks_both_ways_finds_the_same_in_the_mirror():
    torch.manual_seed(0)
    net = Pose2DNet(18, 8, 16).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        logits, visible = look_both_ways(net, images)
        mirrored_logits, mirrored_visible = look_both_ways(net, images.flip(-1))
        once, _ = look_once(net, images)
    torch.testing.assert_close(mirrored_logits[:, MIRROR].flip(-1), logits)
    torch.testing.assert_close(mirrored_visible[:, MIRROR], visible)
    assert not torch.allclose(once, logits)


def checkpoint(folder, width, value):
    """A checkpoint whose weights are all the same."""
    net = Pose2DNet(18, width, 16)
    state = {name: torch.full_like(tensor, value) for name, tensor in net.state_dict().items()}
    folder.mkdir()
    config = {"depth": 18, "width": width, "head_width": 16, "input_size": 64}
    torch.save({"config": config, "ema": state}, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def test_the_mean_of_several_parts(tmp_path):
    first, second = checkpoint(tmp_path / "first", 8, 1), checkpoint(tmp_path / "second", 8, 4)
    for files, mean in (([first], 1), ([first, second], 2.5), ([first, second, second], 3)):
        net, size = load_mean_net(files)
        assert size == 64
        assert all((parameter == mean).all() for parameter in net.parameters())


def test_a_mean_of_different_networks_is_refused(tmp_path):
    files = [checkpoint(tmp_path / "first", 8, 1), checkpoint(tmp_path / "second", 16, 1)]
    with pytest.raises(ValueError, match="different sizes"):
        load_mean_net(files)


@pytest.fixture
def exported(tmp_path):
    """A network, and its file."""
    net = Pose2DNet(18, 8, 16).eval()
    for parameter in (*net.parameters(), *net.buffers()):
        if parameter.is_floating_point():  # as trained: no two are the same, else the file would hold one of them
            torch.nn.init.uniform_(parameter.data, 0.5, 1.5)
    write_onnx(Pose2DGraph(net, UNCALIBRATED), 64, tmp_path / "net.onnx")
    return net, tmp_path / "net.onnx"


def test_exported_file_gives_back_the_weights(exported):
    net, file = exported
    own = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.testing.assert_close(read_weights(file, "net."), own)


def test_exported_file_gives_back_the_network(exported):
    net, file = exported
    again, size = load_net(file)
    assert size == 64
    torch.testing.assert_close(again.state_dict(), net.state_dict())


def test_a_file_that_is_no_stage_1_is_refused(tmp_path):
    write_onnx_file(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8), tmp_path / "a.onnx", ("x", ["y"]), False)
    with pytest.raises(ValueError, match="no stage 1 in floating point"):
        load_net(tmp_path / "a.onnx")
