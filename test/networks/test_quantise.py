"""Networks in 8 bits: nearly the same answers, a quarter of the bytes, and still to be calibrated."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from small_networks import soft_picture  # noqa: E402

from pose3d_ros.cli import main  # noqa: E402
from pose3d_ros.data.lspet import Photos  # noqa: E402
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from pose3d_ros.models import Model, read_models, record_model  # noqa: E402
from pose3d_ros.networks import quantise as quantise_module  # noqa: E402
from pose3d_ros.networks.calibrate_file import calibration_sets, kept_photos, set_calibration  # noqa: E402
from pose3d_ros.networks.calibration import UNCALIBRATED  # noqa: E402
from pose3d_ros.networks.export_pose2d import Pose2DGraph, write_onnx  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet, look_both_ways, look_once  # noqa: E402
from pose3d_ros.networks.quantise import quantise  # noqa: E402
from pose3d_ros.skeleton import NUM_JOINTS  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A stage 1 with random weights, in floating point and in 8 bits."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    source, target = folder / "net.onnx", folder / "net_int8.onnx"
    write_onnx(stage_1(look_once), SIZE, source)
    quantise(source, target, "crops", [soft_picture(i) for i in range(16)])
    return source, target


def stage_1(look):
    net = Pose2DNet(18, 16, 32)
    with torch.no_grad():
        net.heads.weight.mul_(20)  # peaks, as a trained network has
        net(torch.randn(4, 3, SIZE, SIZE))  # statistics that are not those of the beginning
    return Pose2DGraph(net.eval(), UNCALIBRATED, look)


def test_eight_bits_give_nearly_the_same_scores_with_fewer_bytes(files):
    source, target = (OnnxRuntimeEngine(path, threads=1) for path in files)
    crops = np.concatenate([soft_picture(i) for i in range(100, 110)])
    exact, rough = source.run({"crops": crops}), target.run({"crops": crops})
    assert {name: value.shape for name, value in exact.items()} == {name: value.shape for name, value in rough.items()}
    assert np.corrcoef(exact["score"][..., 0].ravel(), rough["score"][..., 0].ravel())[0, 1] > 0.95
    assert not np.array_equal(exact["score"], rough["score"])
    assert files[1].stat().st_size < 0.5 * files[0].stat().st_size


@pytest.mark.parametrize("look", [look_once, look_both_ways])
def test_layout_changes_no_number(tmp_path, monkeypatch, look):
    torch.manual_seed(1)
    source, plain, laid_out = (tmp_path / f"{name}.onnx" for name in ("source", "plain", "laid_out"))
    write_onnx(stage_1(look), SIZE, source)
    pictures = [soft_picture(i) for i in range(4)]
    quantise(source, laid_out, "crops", pictures)
    monkeypatch.setattr(quantise_module, "lay_out", lambda graph: None)
    quantise(source, plain, "crops", pictures)
    crops = np.concatenate([soft_picture(i) for i in range(100, 103)])
    expected, found = (OnnxRuntimeEngine(path, threads=1).run({"crops": crops}) for path in (plain, laid_out))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    import onnx

    assert not [node for node in onnx.load(laid_out).graph.node if node.op_type == "Resize"]


def test_both_can_be_calibrated_afterwards(files, tmp_path):
    calibration = replace(UNCALIBRATED, mass_weight=0.0, bias=2.0, peak_scale=2.0)
    for file in files:
        changed = tmp_path / file.name
        changed.write_bytes(file.read_bytes())
        set_calibration(changed, calibration)
        before, after = (OnnxRuntimeEngine(path, threads=1).run({"crops": soft_picture(0)}) for path in (file, changed))
        np.testing.assert_allclose(after["score"][..., 0], 1 / (1 + np.exp(-2)), rtol=1e-5)
        np.testing.assert_allclose(after["covariance"], 2 * before["covariance"], rtol=1e-4)


def test_a_file_without_a_calibration_is_refused(tmp_path):
    import onnx

    empty = onnx.helper.make_model(onnx.helper.make_graph([], "nothing", [], []))
    onnx.save(empty, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx has no 'calibration'"):
        set_calibration(tmp_path / "other.onnx", UNCALIBRATED)


def test_without_people_to_calibrate_on_it_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to calibrate on: .*--synthetic"):
        calibration_sets(kept_photos(tmp_path, None), None, SIZE)


def test_a_folder_without_the_network_is_told(tmp_path, capsys):
    (tmp_path / "models.json").write_text('{"models": {}}')
    assert main(["export", "int8", "find", "--models", str(tmp_path)]) == 1
    assert f"{tmp_path} has no 'find' network, only []" in capsys.readouterr().err


def photos_of(people):
    jpegs = [cv2.imencode(".jpg", soft_picture(i)[0])[1].tobytes() for i in range(people)]
    joints = np.random.default_rng(0).uniform(10, 54, (people, NUM_JOINTS, 2)).astype(np.float32)
    return Photos(jpegs, [f"{i}.jpg" for i in range(people)], joints, np.ones((people, NUM_JOINTS), bool))


@pytest.mark.parametrize(
    ("people", "exact", "rough", "accepted"), [(30, 50.0, 49.0, True), (30, 50.0, 48.9, False), (29, 50.0, 10.0, True)]
)
def test_eight_bits_that_cost_too_much_change_nothing(
    files, tmp_path, monkeypatch, capsys, people, exact, rough, accepted
):
    """On people enough to tell."""
    source, before = tmp_path / "pose2d.onnx", tmp_path / "pose2d_int8.onnx"
    source.write_bytes(files[0].read_bytes())
    before.write_bytes(b"what was there")
    record_model(Model("pose2d", source, ""))
    listed = (tmp_path / "models.json").read_bytes()
    monkeypatch.setattr(quantise_module, "kept_photos", lambda data, coco: {"photos": photos_of(people)})
    monkeypatch.setattr(quantise_module, "pck_of_file", lambda path, photos: exact if path == source else rough)
    assert main(["export", "int8", "pose2d", "--models", str(tmp_path)]) == (0 if accepted else 1)
    said = capsys.readouterr()
    assert f"{source}: PCK@0.1 on photos ({people}) {exact}, in 8 bits {rough}" in said.out
    assert {path.name for path in tmp_path.iterdir()} == {"models.json", "pose2d.onnx", "pose2d_int8.onnx"}
    if accepted:
        read_models(tmp_path)["pose2d"].int8.verify()
    else:
        assert "8 bits would cost" in said.err
        assert before.read_bytes() == b"what was there"
        assert (tmp_path / "models.json").read_bytes() == listed
