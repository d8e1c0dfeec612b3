import math

import pytest
import torch
from torch import nn

from nascli.errors import NascliError, TrainingError, UnknownNameError
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.distillation import Distillation
from nascli.supernet.training.teaching import Distiller, Teacher, Teaching, hard_loss, soft_loss


def test_the_soft_loss_of_two_classes_by_hand():
    # At temperature 2 the teacher's probabilities are 3/4 and 1/4, and the student's one half each.
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    student = torch.zeros(1, 2, requires_grad=True)
    loss = soft_loss(student, teacher, 2.0)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert loss.item() == pytest.approx(4 * divergence)
    loss.backward()
    # The temperature times the difference of the probabilities.
    assert student.grad.tolist()[0] == pytest.approx([2 * (0.5 - 0.75), 2 * (0.5 - 0.25)])


def test_the_soft_loss_is_a_mean_over_images_and_leaves_the_teacher_alone():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    each = [float(soft_loss(student[i : i + 1], teacher[i : i + 1], 3.0)) for i in range(5)]
    assert float(soft_loss(student, teacher, 3.0)) == pytest.approx(sum(each) / 5, rel=1e-5)
    assert soft_loss(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)
    assert not soft_loss(student, teacher, 3.0).requires_grad


def test_the_hard_loss_by_hand():
    teacher = torch.tensor([[0.1, 0.2], [5.0, -5.0]])
    student = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], requires_grad=True)
    loss = hard_loss(student, teacher)
    assert loss.item() == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2)
    loss.backward()
    assert student.grad.tolist()[0] == pytest.approx([0.25 / 2, -0.25 / 2])


def network(width=4, classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 1), nn.BatchNorm2d(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, classes),
    )  # fmt: skip


IMAGES = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)


def taught(kind, weight=0.25, student=None, teacher=None):
    student = network(seed=1) if student is None else student
    teacher = Teacher(network(5), "t") if teacher is None else teacher
    return Distiller(Teaching(teacher, Distillation(kind, weight, 2.0)), student, 0), student


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_teacher_has_its_share_of_the_loss(kind):
    distiller, student = taught(kind)
    logits = student(IMAGES)
    loss = distiller.loss(IMAGES, logits, torch.tensor(2.0))
    answers = distiller.teacher(IMAGES)
    own = soft_loss(logits, answers, 2.0) if kind == "soft" else hard_loss(logits, answers)
    assert torch.allclose(loss, 0.75 * 2.0 + 0.25 * own)
    loss.backward()
    assert student[4].weight.grad.abs().sum() > 0
    assert not distiller.parameters()
    assert all(p.grad is None and not p.requires_grad for p in distiller.teacher.parameters())


def test_features_are_compared_through_the_projection():
    distiller, student = taught("feature")
    logits = student(IMAGES)
    loss = distiller.loss(IMAGES, logits, torch.tensor(2.0))
    weight, bias = distiller.parameters()
    features = student[:4](IMAGES)
    difference = features @ weight.T + bias - distiller.teacher.network[:4](IMAGES)
    assert difference.shape == (2, 5)
    assert torch.allclose(loss, 2.0 + 0.25 * difference.square().mean())
    loss.backward()
    # The derivative of the mean over 2 x 5 differences.
    assert torch.allclose(bias.grad, 0.25 * 2 * difference.sum(0) / 10)
    assert torch.allclose(weight.grad, 0.25 * 2 * difference.T @ features / 10)
    assert student[0].weight.grad.abs().sum() > 0
    # The projection follows from the seed alone, and draws nothing from torch's own generator.
    state = torch.random.get_rng_state()
    again, _ = taught("feature", student=network(seed=1), teacher=distiller.teacher)
    assert torch.equal(again.parameters()[0], weight)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_student_comes_close_to_its_teacher(kind):
    torch.manual_seed(0)
    images = torch.randn(64, 1, 4, 4)
    teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), "t")
    distiller, student = taught(kind, 1.0, nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3)
    expected, actual = teacher(images).argmax(1), student(images).argmax(1)
    assert (expected == actual).double().mean() < 0.7
    for _ in range(100):
        optimizer.zero_grad()
        distiller.loss(images, student(images), torch.tensor(7.0)).backward()
        optimizer.step()
    assert (student(images).argmax(1) == expected).double().mean() > 0.9


def test_networks_without_a_classifier_have_no_features():
    with pytest.raises(
        TrainingError, match=r"the student has no fully connected classifier.*\n.*soft or hard"
    ):
        taught("feature", student=nn.Conv2d(1, 3, 4))


def test_a_teacher_stays_in_evaluation_mode():
    teacher = Teacher(network(), "t")
    statistics = teacher.network[1].running_mean.clone()
    nn.Sequential(teacher).train()
    teacher(IMAGES)
    assert not any(module.training for module in teacher.modules())
    assert torch.equal(teacher.network[1].running_mean, statistics)


def test_a_teacher_sees_images_in_its_own_normalisation_and_resolution():
    seen = []
    watching = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    watching.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    Teacher(watching, "t", scale=(2.0,), shift=(0.5,), resolution=6)(torch.full((1, 1, 4, 4), 3.0))
    assert torch.allclose(seen[0], torch.full((1, 1, 6, 6), 6.5))


def test_a_digest_is_of_all_that_decides_the_answers():
    changed = network()
    with torch.no_grad():
        changed[0].weight[0, 0, 0, 0] += 1
    statistics = network()
    statistics[1].running_var += 1
    teachers = [
        Teacher(network(), "t"), Teacher(network(), "u"), Teacher(changed, "t"), Teacher(statistics, "t"),
        Teacher(network(), "t", resolution=8), Teacher(network(), "t", scale=(2.0,), shift=(0.0,)),
    ]  # fmt: skip
    assert len({teacher.digest for teacher in teachers}) == len(teachers)
    assert Teacher(network(), "t").digest == teachers[0].digest
    settings = [Distillation(), Distillation("hard"), Distillation(weight=0.1), Distillation(temperature=1.0)]
    identities = [settings_digest(Teaching(teachers[0], one)) for one in settings]
    identities.append(settings_digest(Teaching(teachers[1], settings[0])))
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (("firm",), UnknownNameError, "unknown kind of distillation 'firm'.*soft, hard, feature"),
        (("soft", 1.5), NascliError, "0 <= weight <= 1 must hold for soft"),
        (("feature", -1.0), NascliError, "weight >= 0"),
        (("feature", math.nan), NascliError, "weight >= 0"),
        (("soft", 0.5, 0.0), NascliError, "temperature > 0"),
    ],
)
def test_settings_outside_their_range_are_refused(values, error, message):
    assert Distillation("feature", 100.0).weight == 100
    with pytest.raises(error, match=message):
        Distillation(*values)
