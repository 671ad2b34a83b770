"""Learning from a better network."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.networks.pose2d import Pose2DNet  # noqa: E402
from pose3d_ros.skeleton import NUM_JOINTS  # noqa: E402
from pose3d_ros.training.train_pose2d import Pose2DConfig, Pose2DLoss, TaughtLoss, found_by  # noqa: E402

SIZE = 64


def network(seed):
    torch.manual_seed(seed)
    return Pose2DNet(18, 8, 8).eval()


def batch(located=1.0):
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (4, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    joints = SIZE * torch.rand(4, NUM_JOINTS, 2, generator=generator)
    weights = torch.full((4, NUM_JOINTS), located)
    return [crops, joints, weights, weights, weights, joints[:, :, None], torch.zeros(4, NUM_JOINTS, 1)]


def test_without_a_share_the_teacher_says_nothing():
    config = Pose2DConfig(teacher_share=0.0)
    student = network(0)
    torch.testing.assert_close(TaughtLoss(config, network(1))(student, batch()), Pose2DLoss(config)(student, batch()))


def test_the_teacher_is_asked_about_crops_whose_labels_leave_something_open_only(monkeypatch):
    teacher, student = network(1), network(0)
    asked = []
    forward = teacher.forward
    monkeypatch.setattr(teacher, "forward", lambda crops: asked.append(len(crops)) or forward(crops))
    some = batch()
    TaughtLoss(Pose2DConfig(), teacher)(student, some)
    assert asked == []
    some[4] = some[4].clone()
    some[4][1, 3] = 0.3
    TaughtLoss(Pose2DConfig(), teacher)(student, some)
    assert asked == [1]


def test_the_findings_of_a_teacher_are_learned_where_there_are_no_labels():
    teacher, student = network(1), network(0)
    loss_of = TaughtLoss(Pose2DConfig(teacher_share=1.0), teacher)
    unlabelled = batch(located=0.0)
    unlabelled[4] = torch.full((4, NUM_JOINTS), 0.3)  # asked for, and most likely hidden
    before = [parameter.clone() for parameter in teacher.parameters()]
    optimiser = torch.optim.Adam(student.parameters(), 3e-3)
    with torch.no_grad():
        goal, seen = found_by(teacher, unlabelled[0])

    @torch.no_grad()
    def distance():
        found, visible = found_by(student, unlabelled[0])
        maps = torch.softmax(found.flatten(2), -1) - torch.softmax(goal.flatten(2), -1)
        return float(maps.abs().sum(-1).mean()), float((visible - seen).abs().mean())

    first = distance()
    for _ in range(60):
        optimiser.zero_grad()
        loss_of(student, unlabelled).backward()
        optimiser.step()
    assert all(now < 0.6 * then for now, then in zip(distance(), first, strict=True))
    for now, then in zip(teacher.parameters(), before, strict=True):
        torch.testing.assert_close(now, then)


def test_of_joints_that_nobody_labels_the_teacher_does_not_say_whether_they_are_seen():
    loss_of, some = TaughtLoss(Pose2DConfig(teacher_share=1.0), network(1)), batch(located=0.0)
    student = network(0)
    before = loss_of(student, some)
    with torch.no_grad():
        student.heads.bias[NUM_JOINTS:] += 3
    torch.testing.assert_close(loss_of(student, some), before)
