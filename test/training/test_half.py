"""Half precision in training: where it is used, and what computes in it."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.skeleton import NUM_JOINTS  # noqa: E402
from pose3d_ros.training.crop_data import Sample  # noqa: E402
from pose3d_ros.training.half import multiplies_in_half  # noqa: E402
from pose3d_ros.training.train_pose2d import Pose2DConfig, Pose2DLoss  # noqa: E402
from pose3d_ros.training.trainer import Trainer  # noqa: E402

SIZE, BATCH = 64, 4


@pytest.mark.parametrize(
    ("capabilities", "does"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, False),
    ],
)
def test_a_cpu_multiplies_in_half_where_it_says_so(monkeypatch, capabilities, does):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_in_half(torch.device("cpu")) is does
    assert multiplies_in_half(torch.device("cuda"))


def test_a_step_computes_in_half_and_keeps_its_weights_as_they_were(monkeypatch, tmp_path):
    monkeypatch.setattr("pose3d_ros.training.half.multiplies_in_half", lambda device: True)
    torch.manual_seed(0)
    config = Pose2DConfig(width=8, head_width=16, input_size=SIZE, batch=BATCH, samples=BATCH)
    trainer = Trainer(Pose2DNet(config.depth, config.width, config.head_width), config, tmp_path, None)
    before = {name: weights.detach().clone() for name, weights in trainer.net.named_parameters()}
    given = []
    trainer.net.register_forward_hook(lambda net, crops, found: given.append(found[0].dtype))
    ones = torch.ones(BATCH, NUM_JOINTS)
    crops = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), dtype=torch.uint8)
    joints, places = SIZE * torch.rand(BATCH, NUM_JOINTS, 2), torch.zeros(BATCH, NUM_JOINTS, 1, 2)
    sample = Sample(crops, joints, ones, ones, ones, places, torch.zeros(BATCH, NUM_JOINTS, 1))
    trainer.train(iter([sample]), Pose2DLoss(config), lambda _: {})
    assert given == [torch.bfloat16]
    for name, weights in trainer.net.named_parameters():
        assert weights.dtype == torch.float32
        assert weights.isfinite().all()
        assert not torch.equal(weights, before[name]), name
        assert weights.ndim < 4 or weights.is_contiguous(memory_format=torch.channels_last), name
