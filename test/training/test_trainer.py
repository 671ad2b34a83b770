"""The training loop: it learns, it can be interrupted, and it refuses what it does not know."""

import csv
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from torchrun import run_in_two_processes

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

import pose3d_ros.training as package  # noqa: E402
from pose3d_ros.networks.finder import FinderNet  # noqa: E402
from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.training.config import read_config  # noqa: E402
from pose3d_ros.training.train_pose2d import Pose2DConfig  # noqa: E402
from pose3d_ros.training.trainer import Schedule, Trainer, make_optimisers  # noqa: E402

CONFIGS = Path(package.__file__).parent / "configs"
SCHEDULE = dict(batch=8, learning_rate=0.05, warmup_samples=16, evaluate_every=160, ema_decay=0.9, weight_decay=0.0)
TOGETHER = SCHEDULE | {"warmup_samples": 0}


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        x = torch.randn(8, 3, 4, 4, generator=generator)
        yield [x, x.sum((1, 2, 3))]


def net():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4), torch.nn.Flatten(), torch.nn.Linear(4, 1))


def loss_of(network, batch):
    return ((network(batch[0])[:, 0] - batch[1]) ** 2).mean()


def test_it_learns_and_goes_on_where_it_stopped(tmp_path):
    first = Trainer(net(), Schedule(samples=160, **SCHEDULE), tmp_path, None)
    first.train(batches(), loss_of, lambda _: {"figure": 1.0})
    second = Trainer(net(), Schedule(samples=1600, **SCHEDULE), tmp_path, None)
    assert second.samples == 160
    torch.testing.assert_close(second.ema.module.state_dict(), first.ema.module.state_dict())
    second.train(batches(), loss_of, lambda _: {"figure": 1.0})
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["samples"]) for row in rows] == list(range(160, 1601, 160))
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"])


def test_an_interruption_costs_no_more_than_some_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr("pose3d_ros.training.trainer._SAVE_EVERY_S", 0.0)
    first = Trainer(net(), Schedule(samples=160, **SCHEDULE), tmp_path, None)
    with pytest.raises(StopIteration):
        first.train(islice(batches(), 6), loss_of, lambda _: {})
    second = Trainer(net(), Schedule(samples=160, **SCHEDULE), tmp_path, None)
    assert second.samples == 48
    torch.testing.assert_close(second.net.state_dict(), first.net.state_dict())
    assert not (tmp_path / "log.csv").exists()


def test_hidden_convolutions_are_muons_and_go_on_with_their_momentum(tmp_path):
    schedule = Schedule(samples=160, hidden_learning_rate=0.05, **SCHEDULE)

    def deep():
        torch.manual_seed(1)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 4, 4), torch.nn.Flatten(), torch.nn.Linear(4, 1)
        )

    first = Trainer(deep(), schedule, tmp_path, None)
    adamw, muon = first.optimisers
    assert [tuple(p.shape) for group in muon.param_groups for p in group["params"]] == [(4, 4, 4, 4)]
    assert sum(len(group["params"]) for group in adamw.param_groups) == 5
    first.train(batches(), loss_of, lambda _: {})
    [momentum] = muon.state.values()
    second = Trainer(deep(), replace(schedule, samples=1600), tmp_path, None)
    torch.testing.assert_close(next(iter(second.optimisers[1].state.values())), momentum)
    second.train(batches(), loss_of, lambda _: {})
    losses = [float(row["loss"]) for row in csv.DictReader((tmp_path / "log.csv").open())]
    assert losses[-1] < 0.2 * losses[0]


def test_weights_are_taken_where_they_agree(tmp_path):
    source = Trainer(net(), Schedule(samples=160, **SCHEDULE), tmp_path / "a", None)
    source.train(batches(), loss_of, lambda _: {})
    wider = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    Trainer(wider, Schedule(**SCHEDULE), tmp_path / "b", tmp_path / "a/checkpoint.pt")
    torch.testing.assert_close(wider[0].weight, source.ema.module[0].weight)
    with pytest.raises(ValueError, match="no weights to go on from"):
        Trainer(torch.nn.Linear(7, 7), Schedule(**SCHEDULE), tmp_path / "c", tmp_path / "a/checkpoint.pt")


def test_the_finder_begins_with_stage_1s_features_and_a_pyramid_of_its_own(tmp_path):
    stage_1 = Pose2DNet(18, 4, 8)
    torch.save({"ema": stage_1.state_dict()}, tmp_path / "stage_1.pt")
    torch.manual_seed(2)
    fresh = FinderNet(18, 4, 8).state_dict()
    torch.manual_seed(2)
    begun = Trainer(FinderNet(18, 4, 8), Schedule(), tmp_path / "finder", tmp_path / "stage_1.pt").net.state_dict()
    for name, value in begun.items():
        source = stage_1.state_dict() if name.startswith("backbone.") else fresh
        torch.testing.assert_close(value, source[name])


@pytest.mark.parametrize(
    ("network", "outputs"), [(Pose2DNet(18, 4, 8), {"heads"}), (FinderNet(18, 4, 8), {"centre", "box"})]
)
def test_muon_has_what_neither_sees_the_picture_nor_says_what_is_found(network, outputs):
    _, muon = make_optimisers(network, Schedule(hidden_learning_rate=0.01))
    chosen = {id(weights) for group in muon.param_groups for weights in group["params"]}
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert {name for name, m in convolutions.items() if id(m.weight) not in chosen} == outputs | {"backbone.stem.0.0"}


def test_a_wider_network_begins_as_the_same_function(tmp_path):
    narrow = Pose2DNet(18, 4, 4)
    crops = torch.randn(4, 3, 64, 64)
    narrow(crops)  # leaves its statistics
    torch.save({"ema": narrow.state_dict()}, tmp_path / "narrow.pt")
    wide = Trainer(Pose2DNet(18, 7, 12), Schedule(), tmp_path / "wide", tmp_path / "narrow.pt").net
    torch.testing.assert_close(wide.eval()(crops), narrow.eval()(crops), atol=1e-4, rtol=1e-4)
    wide(crops)[0].square().mean().backward()
    last = wide.backbone.stages[3][1].body[2][0].weight
    assert last.grad[:, 32:].abs().max() > 0  # and listens to what is new from the first step on


def test_rate_warms_up_and_falls_to_its_end():
    schedule = Schedule(samples=1000, warmup_samples=100, batch=10, final_rate=0.1)
    assert schedule.rate(0) == pytest.approx(0.1)
    assert schedule.rate(100) == pytest.approx(1.0)
    assert schedule.rate(1000) == pytest.approx(0.1)


def test_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("dpeth: 18\n")
    with pytest.raises(ValueError, match=r"unknown keys \['dpeth'\]"):
        read_config(Pose2DConfig, path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("pose2d*.yaml")), ids=lambda path: path.stem)
def test_published_configurations_are_readable(path):
    config = read_config(Pose2DConfig, path)
    assert sum(config.shares.values()) == pytest.approx(1)


def test_two_processes_learn_what_one_does_from_both_their_samples(tmp_path):
    run_in_two_processes(Path(__file__).with_name("training_process.py"), tmp_path / "two")
    generators = [torch.Generator().manual_seed(rank) for rank in range(2)]

    def both():
        while True:
            x = torch.cat([torch.randn(8, 3, 4, 4, generator=g) for g in generators])
            yield [x, x.sum((1, 2, 3))]

    one = Trainer(net(), Schedule(samples=48, **TOGETHER | {"batch": 16}), tmp_path / "one", None)
    one.train(both(), loss_of, lambda _: {})
    two = Trainer(net(), Schedule(samples=48, **TOGETHER), tmp_path / "two", None)
    assert two.samples == 48
    torch.testing.assert_close(two.net.state_dict(), one.net.state_dict())
    assert len((tmp_path / "two/log.csv").read_text().splitlines()) == 2  # process 0 alone wrote
