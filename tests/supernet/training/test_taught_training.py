"""Trainings that learn from a teacher, and the sandwich rule, in which one path teaches the others."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from pretend_accelerator import CARD, Accelerator
from torch import nn
from torch.nn import functional as F
from trainings import Killed

from nascli.costmodel import counted, parse_constraint
from nascli.errors import ConstraintError
from nascli.progress import Silent
from nascli.spaces import make_space
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import network_module
from nascli.supernet.separate import Supernet
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.distillation import Distillation
from nascli.supernet.training.loss import BatchLoss
from nascli.supernet.training.one_shot import sandwich_paths, supernet_identity, train_shared_supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.teaching import Distiller, Teacher, Teaching
from nascli.supernet.training.trainer import Trainer

RECIPE = Recipe(epochs=1, batch=128)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def module_of(space, seed, choice=1):
    torch.manual_seed(seed)
    network = space.network([choice] * len(space.layers))
    return network_module([operator.program for operator in network.operators])


def trainer_of(space, images, kind, recipe=RECIPE):
    teacher = Teacher(module_of(space, 5, choice=0), "t")
    student = module_of(space, 1)
    distiller = Distiller(Teaching(teacher, Distillation(kind)), student, 3)
    return Trainer(student, images.train, recipe, seed=3, teacher=distiller), distiller


@pytest.mark.parametrize("kind", ["soft", "hard", "feature"])
def test_a_training_with_a_teacher_resumes_bit_for_bit(tiny, images, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    recipe = dataclasses.replace(RECIPE, cutmix=1.0, mixup=0.2)
    whole, distiller = trainer_of(tiny, images, kind, recipe)
    before = [p.clone() for p in distiller.parameters()]
    answers = {k: v.clone() for k, v in distiller.teacher.state_dict().items()}
    whole.run(tmp_path / "a", "x", Silent(), "t")
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tiny, images, kind, recipe)[0].run(tmp_path / "b", "x", Killed(5), "t")
    again, resumed = trainer_of(tiny, images, kind, recipe)
    again.run(tmp_path / "b", "x", Silent(), "t")
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name]), name
    # The projection is trained and kept, and the teacher is neither.
    for first, mine, other in zip(before, distiller.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, other) and not torch.equal(first, mine)
    assert all(torch.equal(v, answers[k]) for k, v in distiller.teacher.state_dict().items())
    names = [name for name in load_checkpoint(tmp_path / "a")[0] if name.startswith("teacher/")]
    assert len(names) == (4 if kind == "feature" else 0)
    assert not any("teacher" in name or "projection" in name for name in whole.module.state_dict())


PATHS = [[2, 4, 0, 5], [0, 0, 0, 0], [1, 3, 2, 1]]


def test_the_gradients_of_a_sandwich_step_are_the_sum_written_by_hand(tiny, images):
    torch.manual_seed(0)
    net = Supernet(tiny)
    same = copy.deepcopy(net)
    x, y = images.train.images[:16], images.train.labels[:16]

    forwards = [lambda images, path=path: net(images, path) for path in PATHS]
    losses = []
    for loss in BatchLoss(RECIPE, 0).of_paths(forwards, x, y, 0):
        losses.append(float(loss.detach()))
        loss.backward()

    largest = same(x, PATHS[0])
    expected = [F.cross_entropy(largest, y, label_smoothing=0.1)]
    p = largest.detach().softmax(1)
    for path in PATHS[1:]:
        log = same(x, path).log_softmax(1)
        expected.append((p * (p.log() - log)).sum(1).mean())
    sum(expected).backward()
    assert losses == pytest.approx([float(loss.detach()) for loss in expected], rel=1e-4)
    other = dict(same.named_parameters())
    used = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert used.keys() == {name for name, p in other.items() if p.grad is not None}
    for name, gradient in used.items():
        assert torch.allclose(gradient, other[name].grad, rtol=1e-3, atol=1e-5), name


def test_a_sandwich_step_trains_every_path_on_one_mixed_batch(tiny, images):
    seen = []

    class Watched(Supernet):
        def forward(self, x, architecture):
            seen.append((x, list(architecture)))
            return super().forward(x, architecture)

    torch.manual_seed(0)
    trainer = Trainer(
        Watched(tiny), images.train, dataclasses.replace(RECIPE, mixup=0.5), seed=0,
        path_of_step=lambda step: PATHS[0], learners_of_step=lambda step: PATHS[1:],
    )  # fmt: skip
    before = {name: p.clone() for name, p in trainer.module.named_parameters()}
    trainer.run(None, "x", Silent(), "t", until=1)
    assert [path for _, path in seen] == PATHS
    assert all(torch.equal(x, seen[0][0]) for x, _ in seen)
    changed = {name for name, p in trainer.module.named_parameters() if not torch.equal(p, before[name])}
    layers = [i for i, block in enumerate(trainer.module.blocks) if isinstance(block, nn.ModuleList)]
    active = {f"{layer}.{code}" for path in PATHS for layer, code in zip(layers, path, strict=True)}
    parts = [name.split(".")[1:3] for name in changed]
    assert {".".join(part) for part in parts if int(part[0]) in layers} <= active
    assert any(part == [str(layers[0]), "1"] for part in parts)


def test_the_largest_and_the_smallest_path_are_exact(tiny):
    macs = counted(tiny, "macs")
    everything = np.array(list(itertools.product(*(range(len(layer.candidates)) for layer in tiny.layers))))
    costs = macs(everything.astype(tiny.dtype))
    first, learners = sandwich_paths(tiny, 2, seed=4)
    smallest, *drawn = learners(9)
    assert macs(np.array([first(0), smallest], dtype=tiny.dtype)).tolist() == [costs.max(), costs.min()]
    assert len(drawn) == 2 and drawn == learners(9)[1:] and drawn != learners(10)[1:]
    assert sandwich_paths(tiny, 0, seed=4)[1](9) == [smallest]
    # Within a window, all paths are.
    low, high = np.quantile(costs, [0.3, 0.7])
    first, learners = sandwich_paths(tiny, 5, 4, parse_constraint(f"{low:.0f}<=macs<={high:.0f}"))
    inside = costs[(costs >= round(low)) & (costs <= round(high))]
    paths = np.array([first(0), *learners(0)], dtype=tiny.dtype)
    assert macs(paths[:2]).tolist() == [inside.max(), inside.min()]
    assert ((macs(paths) >= inside.min()) & (macs(paths) <= inside.max())).all()
    with pytest.raises(ConstraintError, match="the sandwich rule needs a single-path space"):
        sandwich_paths(make_space("nse-27-mini"), 2, 0)


def waits_of_learning(trainer, card):
    """What four steps wait for, beside the delivery of images."""
    card.waits.clear()
    trainer.run(None, "x", Silent(), "t", until=4)
    return [wait for wait in card.waits if "teaching.py" in wait or "loss.py" in wait]


@pytest.mark.parametrize("kind", ["soft", "hard", "feature"])
def test_a_teacher_answers_on_the_card_and_nobody_waits(tiny, images, monkeypatch, kind):
    monkeypatch.setattr("nascli.supernet.training.trainer._LOOK_EVERY_SECONDS", math.inf)
    with Accelerator() as card:
        recipe = dataclasses.replace(RECIPE, cutmix=1.0)
        trainer, distiller = trainer_of(tiny, images.to(CARD), kind, recipe)
        assert waits_of_learning(trainer, card) == []
        assert {p.device for p in [*distiller.parameters(), *distiller.teacher.parameters()]} == {CARD}


def test_a_sandwich_on_the_card_waits_for_nothing(tiny, images, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._LOOK_EVERY_SECONDS", math.inf)
    with Accelerator() as card:
        torch.manual_seed(0)
        trainer = Trainer(
            Supernet(tiny), images.to(CARD).train, RECIPE, seed=0,
            path_of_step=lambda step: PATHS[0], learners_of_step=lambda step: PATHS[1:],
        )  # fmt: skip
        assert waits_of_learning(trainer, card) == []


def test_a_supernet_has_its_own_identity_with_each_way_of_learning(tiny, images, tmp_path):
    teaching = Teaching(Teacher(module_of(tiny, 5), "t"), Distillation())
    ways = [
        {}, {"sandwich": 0}, {"sandwich": 2}, {"teaching": teaching}, {"sandwich": 2, "teaching": teaching},
        {"teaching": Teaching(Teacher(module_of(tiny, 6), "t"), Distillation())},
    ]  # fmt: skip
    identities = [supernet_identity(tiny, images, RECIPE, 0, **way) for way in ways]
    assert len(set(identities)) == len(ways)
    trained = train_shared_supernet(
        tiny, images, Recipe(epochs=1, batch=256), seed=0, progress=Silent(), out=tmp_path / "s", sandwich=1,
        teaching=teaching,
    )  # fmt: skip
    assert not trained.reused and load_checkpoint(tmp_path / "s")[1]["step"] == 4
