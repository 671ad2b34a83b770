"""The lifter: geometry of its view, one step against whole sequences, ONNX against PyTorch, loss, training."""

from pathlib import Path

import numpy as np
import pytest
from torchrun import run_in_two_processes

torch = pytest.importorskip("torch")

from pose3d_ros.networks.lifter import Lifter, LifterConfig, canonical_view  # noqa: E402
from pose3d_ros.networks.lifter_graph import LifterGraph  # noqa: E402
from pose3d_ros.networks.losses import POSITION_LOSSES, LossConfig, lifting_loss  # noqa: E402
from pose3d_ros.skeleton import MIRROR, NUM_JOINTS, ROOT, indices  # noqa: E402
from pose3d_ros.training.config import read_config  # noqa: E402
from pose3d_ros.training.muon import orthogonal  # noqa: E402
from pose3d_ros.training.processes import Processes  # noqa: E402
from pose3d_ros.training.train_lifter import TrainConfig, Trainer, make_optimizers, rate_at  # noqa: E402

KINDS = ("gru", "mlp")


@pytest.fixture(autouse=True)
def one_thread():
    """Small products on several threads spend their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(kind: str, seed: int = 0) -> Lifter:
    """A small network whose head is not at its start, so that everything has an effect."""
    torch.manual_seed(seed)
    model = Lifter(LifterConfig(kind, width=32))
    torch.nn.init.normal_(model.head.weight, std=0.2)
    return model.eval()


def inputs(people: int, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    rays = 0.2 * torch.randn(people, NUM_JOINTS, 2, generator=generator) + 0.3
    cov = (0.002 * torch.eye(2)).square().expand(people, NUM_JOINTS, 2, 2)
    score = torch.rand(people, NUM_JOINTS, generator=generator).clamp(min=0.1)
    up = torch.nn.functional.normalize(torch.randn(people, 3, generator=generator), dim=-1)
    return rays, cov, score, up


def turn(rays: torch.Tensor, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same people after the camera panned; and the rotation."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=rays.dtype)
    turned = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ rotation.T
    return turned[..., :2] / turned[..., 2:], rotation


def test_canonical_view_is_centred_and_of_unit_size():
    rays, cov, score, _ = inputs(5)
    view = canonical_view(rays, cov, torch.ones_like(score))
    assert torch.allclose(view.points.square().sum(-1).mean(-1), torch.ones(5), atol=1e-3)
    assert view.points[:, indices("pelvis", "thorax", "left_hip", "right_hip")].mean().abs() < 0.7
    identity = view.rotation @ view.rotation.transpose(1, 2)
    assert torch.allclose(identity, torch.eye(3).expand(5, 3, 3), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_camera_that_pans_changes_nothing_but_the_direction(kind):
    """A person at the image's height: turning the camera about y turns the result, whatever the place in the image."""
    model = small(kind)
    rays, cov, score, up = inputs(3)
    rays = rays - torch.tensor([0.3, 0.3])
    rays[..., 1] -= (rays[..., 1] * score).mean()
    turned, rotation = turn(rays, 0.3)
    state = torch.zeros(3, model.config.state_size)
    with torch.no_grad():
        straight = canonical_view(rays, cov, score)
        aside = canonical_view(turned, cov, score)
        first = model(rays, cov, score, up, state)[0]
        second = model(turned, cov, score, up @ rotation.T, state)[0]
    # The centre is a mean of image points, which a turn moves a little: equal to some percent.
    assert (straight.points - aside.points).abs().max() < 0.15
    assert (first @ rotation.T - second).norm(dim=-1).mean() < 0.1 * first.norm(dim=-1).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_at_a_time_equals_the_sequence(kind):
    model = small(kind)
    rays, cov, score, up = inputs(2 * 6)
    rays, cov, score, up = (x.unflatten(0, (2, 6)) for x in (rays, cov, score, up))
    up = up[:, 0]
    state = torch.zeros(2, model.config.state_size)
    with torch.no_grad():
        whole, scale, last = model.forward_sequence(rays, cov, score, up)
        for t in range(6):
            joints, now, state = model(rays[:, t], cov[:, t], score[:, t], up, state)
            assert torch.allclose(joints, whole[:, t], atol=1e-5)
            assert torch.allclose(now, scale[:, t], atol=1e-5)
    assert torch.allclose(state, last, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_parts_equals_the_whole(kind):
    model = small(kind)
    rays, cov, score, up = inputs(2 * 6)
    rays, cov, score = (x.unflatten(0, (2, 6)) for x in (rays, cov, score))
    with torch.no_grad():
        whole, _, last = model.forward_sequence(rays, cov, score, up[:2])
        _, _, state = model.forward_sequence(rays[:, :4], cov[:, :4], score[:, :4], up[:2])
        rest, _, state = model.forward_sequence(rays[:, 4:], cov[:, 4:], score[:, 4:], up[:2], state)
    assert torch.allclose(rest, whole[:, 4:], atol=1e-5)
    assert torch.allclose(state, last, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_lifter_sees_a_mirrored_person_mirrored(kind):
    """Left and right exchanged and x turned round: exactly, as the graph looks both ways; and over time."""
    graph = LifterGraph(small(kind))
    flip = torch.tensor([-1.0, 1.0, 1.0])
    states = [torch.zeros(3, graph.state_size)] * 2
    for frame in range(3):
        rays, cov, score, up = inputs(3, frame)
        mirrored = (rays[:, MIRROR] * flip[:2], cov[:, MIRROR], score[:, MIRROR], up * flip)
        with torch.no_grad():
            joints, sigma, states[0] = graph(rays, cov, score, up, states[0])
            other, other_sigma, states[1] = graph(*mirrored, states[1])
        assert torch.allclose(joints[:, MIRROR] * flip, other, atol=1e-5)
        assert torch.allclose(sigma[:, MIRROR], other_sigma, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_step_equals_its_sequence(kind):
    """What calibrates sigma is what the robot gets."""
    graph = LifterGraph(small(kind))
    rays, cov, score, up = inputs(2 * 4)
    rays, cov, score = (x.unflatten(0, (2, 4)) for x in (rays, cov, score))
    state = torch.zeros(2, graph.state_size)
    with torch.no_grad():
        whole, scale = graph.forward_sequence(rays, cov, score, up[:2])
        for t in range(4):
            joints, sigma, state = graph(rays[:, t], cov[:, t], score[:, t], up[:2], state)
            assert torch.allclose(joints, whole[:, t], atol=1e-5)
            assert torch.allclose(sigma, graph.lifter.sigma(whole[:, t], scale[:, t]), atol=1e-5)


def test_the_written_out_step_is_a_gru():
    model = small("gru")
    features = torch.randn(2, 5, 32)
    with torch.no_grad():
        states = model._gru_sequence(features, torch.zeros(2, 32))
        assert torch.allclose(states, model.gru(features)[0], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_joints_and_nothing_at_all_stay_finite(kind):
    model = small(kind)
    rays, cov, score, up = inputs(2)
    score[0, :12] = 0
    score[1] = 0
    state = torch.zeros(2, model.config.state_size)
    with torch.no_grad():
        first = model(rays, cov, score, up, state)
        assert all(torch.isfinite(x).all() for x in first)
        rays[0, :12] += 5  # what was not reported must not matter
        second = model(rays, cov, score, up, state)
    assert torch.allclose(first[0], second[0], atol=1e-6)
    assert (first[0][:, ROOT] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_onnx_equals_pytorch(kind, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
    from pose3d_ros.networks.export_lifter import INPUTS, OUTPUTS, write_onnx

    model = LifterGraph(small(kind))
    model.lifter.sigma_scale[:] = 1.3
    write_onnx(model, tmp_path / "lifter.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "lifter.onnx", threads=1)
    for people in (1, 2, 5):
        arguments = (*inputs(people, people), torch.randn(people, model.state_size))
        out = engine.run({name: x.numpy() for name, x in zip(INPUTS, arguments, strict=True)})
        with torch.no_grad():
            for name, expected in zip(OUTPUTS, model(*arguments), strict=True):
                np.testing.assert_allclose(out[name], expected.numpy(), atol=1e-4, err_msg=name)


def losses_of(config: LossConfig, reliable: bool, offset: float = 0.05) -> float:
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(2, 4, NUM_JOINTS, 3, generator=generator)
    target[..., ROOT, :] = 0
    ray = torch.nn.functional.normalize(torch.randn(2, 4, NUM_JOINTS, 3, generator=generator) + 3, dim=-1)
    mask = torch.full((2, 4, NUM_JOINTS), reliable)
    scale = torch.full((2, 4, NUM_JOINTS), 0.05)
    predicted = target + offset * torch.randn(target.shape, generator=generator)
    return lifting_loss(predicted, scale, target, ray, mask, config).item()


@pytest.mark.parametrize("position", POSITION_LOSSES)
def test_losses_grow_with_the_error(position):
    config = LossConfig(position=position)
    assert losses_of(config, True, 0.02) < losses_of(config, True, 0.1) < losses_of(config, True, 0.3)


def test_structure_counts_for_hidden_joints_only():
    plain, aware = LossConfig(occlusion_aware=False), LossConfig()
    assert losses_of(plain, False) == pytest.approx(losses_of(plain, True))
    assert losses_of(aware, True) == pytest.approx(losses_of(plain, True))
    assert losses_of(aware, False) > losses_of(aware, True)


def test_laplace_scale_is_best_at_a_third_of_the_mean_error():
    """E|e|/3 is the maximum-likelihood scale of exp(-|e|/b)/(8πb³)."""
    from pose3d_ros.networks.losses import laplace_nll

    error = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    scales = torch.linspace(0.2, 1.5, 131)
    best = scales[torch.stack([laplace_nll(error, b).mean() for b in scales]).argmin()]
    assert float(best) == pytest.approx(float(error.norm(dim=-1).mean()) / 3, abs=0.02)


def test_unknown_keys_are_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("network: {kind: gru, wdith: 3}\n")
    with pytest.raises(ValueError, match="wdith"):
        read_config(TrainConfig, file)
    file.write_text("stesp: 3\n")
    with pytest.raises(ValueError, match="stesp"):
        read_config(TrainConfig, file)
    with pytest.raises(ValueError, match="position loss"):
        LossConfig(position="l3")
    with pytest.raises(ValueError, match="kind"):
        LifterConfig(kind="transformer")


def test_learning_rate_rises_holds_and_falls():
    config = TrainConfig(steps=1000, warmup_steps=100)
    rates = [rate_at(step, config) for step in (0, 99, 500, 800, 1000)]
    assert rates == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_has_one_optimizer_and_hidden_matrices_have_muon(kind):
    config = TrainConfig(network=LifterConfig(kind=kind, width=32))
    model = Lifter(config.network)
    muon, adam = (
        {id(p) for group in optimizer.param_groups for p in group["params"]}
        for optimizer in make_optimizers(model, config)
    )
    assert muon.isdisjoint(adam)
    assert muon | adam == {id(p) for p in model.parameters()}
    assert id(model.encoder.leave.weight) in muon
    assert {id(model.enter[0].weight), id(model.head.weight)} <= adam
    assert model.gru is None or id(model.gru.weight_hh_l0) in muon


@pytest.fixture
def tiny_data(tmp_path):
    """A mocap file of one body that waves, in every split."""
    names = ["pelvis", "spine", "thorax", "neck", "head", "head_top", "nose"]
    names += [f"{s}_{j}" for s in "rl" for j in ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "wrist")]
    heights = [0.93, 1.15, 1.42, 1.5, 1.6, 1.72, 1.58, *(0.93, 0.5, 0.08, 0.03, 1.4, 1.12, 0.87) * 2]
    sides = [0.0] * 7 + [-0.1, -0.1, -0.1, -0.1, -0.2, -0.25, -0.25] + [0.1, 0.1, 0.1, 0.1, 0.2, 0.25, 0.25]
    body = np.stack([np.zeros(21), sides, heights], axis=-1)
    body[[names.index(n) for n in ("nose", "r_toe", "l_toe")], 0] = 0.13
    points = np.repeat(body[None], 40, axis=0).astype(np.float32)
    points[:, names.index("l_wrist"), 0] = 0.2 * np.sin(np.arange(40) / 3)
    file = tmp_path / "mocap.npz"
    start = [0, 40, 80, 120]
    np.savez(
        file, positions=np.concatenate([points] * 3), clip_start=start, clip_name=["a", "b", "c"], joint_names=names,
        split=[0, 1, 2], fps=30,
    )  # fmt: skip
    return file


def test_training_learns_and_resumes(tiny_data, tmp_path):
    config = TrainConfig(network=LifterConfig(width=32), steps=30, batch=8, frames=4, warmup_steps=5)
    whole = Trainer(config, tiny_data, tmp_path / "whole")
    before = [whole.take_step() for _ in range(5)]
    while whole.step < config.steps - 5:
        whole.take_step()
    after = [whole.take_step() for _ in range(5)]
    assert np.mean(after) < np.mean(before)
    trained = whole.train()  # only calibrates and saves now
    assert trained.sigma_scale[1:].min() > 0

    first = Trainer(config, tiny_data, tmp_path / "parts")
    for _ in range(10):
        first.take_step()
    first.save()
    second = Trainer(config, tiny_data, tmp_path / "parts")
    assert second.step == 10
    resumed = second.train()
    for mine, theirs in zip(resumed.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="another network"):
        Trainer(TrainConfig(network=LifterConfig(width=16)), tiny_data, tmp_path / "parts")


def test_chunks_learn_from_carried_memory(tiny_data, tmp_path):
    config = TrainConfig(network=LifterConfig(width=32), steps=60, batch=8, frames=12, chunks=3, warmup_steps=3)
    trainer = Trainer(config, tiny_data, tmp_path / "chunks")
    losses = [trainer.take_step() for _ in range(60)]
    assert trainer.step == 60
    assert np.mean(losses[-15:]) < np.mean(losses[:15])
    with pytest.raises(ValueError, match="chunks"):
        TrainConfig(frames=10, chunks=3)


def test_two_processes_share_the_mean_of_their_gradients(tiny_data, tmp_path, monkeypatch):
    script = Path(__file__).parents[1] / "training/lifter_process.py"
    run_in_two_processes(script, tiny_data, tmp_path / "two")
    shared, others = (torch.load(tmp_path / f"two/gradients_{rank}.pt") for rank in range(2))
    monkeypatch.syspath_prepend(script.parent)
    from lifter_process import CONFIG, gradients

    alone = []
    for rank in range(2):
        process = Processes(rank, 1, torch.device("cpu"))
        monkeypatch.setattr("pose3d_ros.training.train_lifter.join", lambda process=process: process)
        alone.append(gradients(Trainer(CONFIG, tiny_data, tmp_path / f"alone_{rank}")))
    for mean, other, first, second in zip(shared, others, *alone, strict=True):
        torch.testing.assert_close(mean, other)
        torch.testing.assert_close(mean, (first + second) / 2, atol=1e-4, rtol=1e-3)
    rows = (tmp_path / "two/log.jsonl").read_text().splitlines()
    assert len(rows) == 1  # process 0 alone wrote


@pytest.mark.filterwarnings("ignore")
def test_training_goes_on_from_what_was_exported(tiny_data, tmp_path):
    pytest.importorskip("onnx")
    from pose3d_ros.engines.half_weights import halve_weights
    from pose3d_ros.networks.export_lifter import write_onnx

    source, file = small("gru"), tmp_path / "lifter.onnx"
    for values in source.state_dict().values():  # weights that are alike would be exported once
        values.add_(0.1 * torch.rand(values.shape))
    write_onnx(LifterGraph(source), file)
    halve_weights(file)
    model = Trainer(TrainConfig(network=source.config, frames=3), tiny_data, tmp_path / "on", file).model
    for mine, theirs in zip(model.state_dict().values(), source.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="another network"):
        Trainer(TrainConfig(network=LifterConfig("gru", 16), frames=3), tiny_data, tmp_path / "other", file)


@pytest.mark.parametrize("shape", [(40, 40), (90, 30), (30, 90)])
def test_orthogonal_steps_have_singular_values_of_about_one(shape):
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.quantile(0.05) > 0.3
    assert values.max() < 1.3
