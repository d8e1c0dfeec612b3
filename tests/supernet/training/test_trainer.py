import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from trainings import RECIPE, Killed, supernet_trainer

from nascli.errors import CheckpointError, TrainingError
from nascli.progress import Silent
from nascli.spaces import make_space
from nascli.supernet.data.images import load_images
from nascli.supernet.data.splits import MemorySplit
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.separate import Supernet
from nascli.supernet.training.checkpoint import is_trained, load_checkpoint
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def test_resumed_training_is_the_same_bit_for_bit(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    whole = supernet_trainer(tiny, images)
    whole.run(tmp_path / "a", "x", Silent(), "t")
    for after in (1, 9, 20):
        file = tmp_path / f"b{after}"
        with pytest.raises(KeyboardInterrupt):
            supernet_trainer(tiny, images).run(file, "x", Killed(after), "t")
        again = supernet_trainer(tiny, images)
        again.run(file, "x", Silent(), "t")
        assert again.step == whole.steps
        for name, tensor in whole.module.state_dict().items():
            assert torch.equal(tensor, again.module.state_dict()[name]), name
    assert is_trained(tmp_path / "a", "x") and not is_trained(tmp_path / "a", "y")


def test_only_the_active_path_is_stepped(tiny, images, tmp_path):
    torch.manual_seed(0)
    net = Supernet(tiny)
    before = {name: p.clone() for name, p in net.named_parameters()}
    Trainer(
        net, images.train, dataclasses.replace(RECIPE, epochs=1), seed=0, path_of_step=lambda s: [2, 4, 0, 5]
    ).run(tmp_path / "c", "x", Silent(), "t")
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    layers = [i for i, block in enumerate(net.blocks) if isinstance(block, nn.ModuleList)]
    active = {f"blocks.{layer}.{code}." for layer, code in zip(layers, [2, 4, 0, 5], strict=True)}
    for name in changed:
        parts = name.split(".")
        assert int(parts[1]) not in layers or f"blocks.{parts[1]}.{parts[2]}." in active
    assert changed


def test_a_supernet_learns(tmp_path):
    images = load_images("digits", 16)
    space = make_space("proxyless-mini", resolution=16, width=0.5, depth=1)
    run = supernet_trainer(space, images, Recipe(epochs=10, batch=32))
    evaluator = SupernetEvaluator(run.module, images)
    code = [1, 1, 1, 1]
    before = evaluator(code).top1
    run.run(tmp_path / "d", "x", Silent(), "t")
    after = SupernetEvaluator(run.module, images)(code)
    assert after.top1 > before + 0.2
    assert SupernetEvaluator(run.module, images)(code) == after


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    broken = images.train.images.clone()
    # The image that comes up in the second epoch's batch poisons it.
    order = np.random.default_rng([3, 1, 1]).permutation(len(broken))
    first = set(np.random.default_rng([3, 1, 0]).permutation(len(broken))[: 16 * 64].tolist())
    poisoned = next(i for i in order[:1000].tolist() if i not in first)
    broken[poisoned] = float("nan")
    run = supernet_trainer(tiny, images)
    run.data = MemorySplit(broken, images.train.labels)
    with pytest.raises(TrainingError, match="the loss is nan at step"):
        run.run(tmp_path / "e", "x", Silent(), "t")
    _, state = load_checkpoint(tmp_path / "e")
    assert state["step"] >= 16


def test_checkpoints_of_other_settings_are_refused(tiny, images, tmp_path):
    supernet_trainer(tiny, images).run(tmp_path / "f", "x", Silent(), "t", until=1)
    with pytest.raises(CheckpointError, match="belongs to another space"):
        supernet_trainer(tiny, images).run(tmp_path / "f", "other", Silent(), "t")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=1, batch=64, optimizer="adam", rate=0.002, schedule="linear", floor=0.0001),
        Recipe(epochs=1, batch=64, mixup=0.2, ema=0.99, accumulate=2),
    ],
    ids=["adam", "mixup-ema"],
)
def test_every_recipe_resumes_bit_for_bit(tiny, images, tmp_path, monkeypatch, recipe):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    whole = supernet_trainer(tiny, images, recipe)
    whole.run(tmp_path / "a", "x", Silent(), "t")
    with pytest.raises(KeyboardInterrupt):
        supernet_trainer(tiny, images, recipe).run(tmp_path / "b", "x", Killed(5), "t")
    again = supernet_trainer(tiny, images, recipe)
    again.run(tmp_path / "b", "x", Silent(), "t")
    whole.use_average(), again.use_average()
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name]), name


class Counter:
    """A companion state that counts steps."""

    def __init__(self):
        self.steps = []

    def state(self):
        return {"steps": torch.tensor(self.steps)}

    def load(self, tensors):
        self.steps = tensors["steps"].tolist()


def test_companions_and_callbacks_follow_the_steps(tiny, images, tmp_path):
    def run(until, file):
        counter = Counter()
        torch.manual_seed(0)
        trainer = Trainer(
            Supernet(tiny), images.train, RECIPE, seed=3, path_of_step=lambda step: [0, 0, 0, 0],
            on_step_end=counter.steps.append, companion=counter,
        )  # fmt: skip
        assert trainer.steps == 2 * trainer.steps_per_epoch
        trainer.run(tmp_path / file, "x", Silent(), "t", until=until)
        return counter.steps

    assert run(3, "a") == [0, 1, 2]
    # The callback appends to the list that was there before the state was loaded.
    assert [name for name in load_checkpoint(tmp_path / "a")[0] if name.startswith("beside/")] == [
        "beside/steps"
    ]
    assert run(5, "a") == [0, 1, 2]
