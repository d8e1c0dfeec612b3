"""Training on the pretend accelerator: what is computed stays on the card, and a weight step waits for nothing."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from pretend_accelerator import CARD, Accelerator
from trainings import Killed, random_paths

from nascli.errors import DeviceError, TrainingError
from nascli.progress import Silent
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.accuracy import SupernetEvaluator, accuracy
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.modules import exported_weights
from nascli.supernet.separate import Supernet
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.plain_network import train_network
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

RECIPES = {
    "sgd": Recipe(epochs=1, batch=64),
    "adam": Recipe(
        epochs=1, batch=64, optimizer="adam", rate=0.002, clip=5.0, ema=0.9, mixup=0.2, accumulate=2
    ),
    "adamw": Recipe(
        epochs=1,
        batch=64,
        optimizer="adamw",
        rate=0.002,
        decay_all=False,
        shift=1,
        cutmix=1.0,
        pad=1,
        flip=True,
        cutout=3,
        erasing=0.5,
    ),
    "rmsprop": Recipe(epochs=1, batch=64, optimizer="rmsprop", rate=0.002, epsilon=1e-3),
}


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


@pytest.fixture
def card(monkeypatch):
    """The pretend accelerator, which is looked at as late as possible."""
    monkeypatch.setattr("nascli.supernet.training.trainer._LOOK_EVERY_SECONDS", math.inf)
    with Accelerator() as accelerator:
        yield accelerator


def trainer_of(space, data, recipe, **options):
    torch.manual_seed(0)
    return Trainer(Supernet(space), data.train, recipe, seed=3, path_of_step=random_paths(space), **options)


@pytest.mark.parametrize("name", RECIPES)
def test_a_weight_step_waits_for_nothing(tiny, images, card, name):
    data, waits = images.to(CARD), []
    trainer = trainer_of(tiny, data, RECIPES[name], on_step_end=lambda step: waits.append(list(card.waits)))
    # Labels are copied once.
    data.train.take(np.arange(2))
    card.waits.clear()
    trainer.run(None, "x", Silent(), "t", until=5)
    # The last step is looked at.
    assert waits[:-1] == [[]] * 4 and len(card.waits) <= 3
    assert trainer.device == CARD and math.isfinite(trainer.loss)


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_resumes_on_the_card(tiny, images, card, tmp_path, monkeypatch, name):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    data = images.to(CARD)
    whole = trainer_of(tiny, data, RECIPES[name])
    whole.run(tmp_path / "a", "x", Silent(), "t", until=4)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tiny, data, RECIPES[name]).run(tmp_path / "b", "x", Killed(3), "t", until=4)
    again = trainer_of(tiny, data, RECIPES[name])
    again.run(tmp_path / "b", "x", Silent(), "t", until=4)
    resumed = again.module.state_dict()
    for key, tensor in whole.module.state_dict().items():
        assert tensor.is_cuda and torch.equal(tensor, resumed[key]), key


def test_a_checkpoint_of_a_card_goes_on_on_the_cpu(tiny, images, tmp_path):
    with Accelerator():
        on_card = trainer_of(tiny, images.to(CARD), RECIPES["adam"])
        on_card.run(tmp_path / "a", "x", Silent(), "t", until=3)
    on_cpu = trainer_of(tiny, images, RECIPES["adam"])
    on_cpu.run(tmp_path / "a", "x", Silent(), "t", until=5)
    assert on_cpu.step == 5 and math.isfinite(on_cpu.loss)


def poisoned(images, step):
    """The data with a NaN in the batch of a step of the first epoch."""
    from nascli.random_streams import RandomStream, generator

    order = generator(3, RandomStream.DATA_ORDER, 0).permutation(len(images.train))
    broken = dataclasses.replace(images.train, images=images.train.images.clone())
    broken.images[order[64 * step]] = math.nan
    return dataclasses.replace(images, train=broken)


def test_a_failure_is_found_late_and_named_exactly(tiny, images, card):
    trainer = trainer_of(tiny, poisoned(images, 2).to(CARD), RECIPES["sgd"])
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2 of"):
        trainer.run(None, "x", Silent(), "t", until=6)
    assert trainer.step == 5


def test_what_is_not_finite_is_never_saved(tiny, images, card, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    trainer = trainer_of(tiny, poisoned(images, 2).to(CARD), RECIPES["sgd"])
    with pytest.raises(TrainingError, match=r"at step 2 of"):
        trainer.run(tmp_path / "a", "x", Silent(), "t", until=6)
    good = trainer_of(tiny, images.to(CARD), RECIPES["sgd"])
    good.restore(tmp_path / "a", "x")
    assert good.step == 2 and all(v.isfinite().all() for v in good.module.state_dict().values())


def test_weights_that_are_not_finite_are_never_saved(tiny, images, tmp_path, monkeypatch):
    """A gradient without a norm, since nothing is clipped, spoils weights before it spoils a loss."""
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    trainer = trainer_of(tiny, images, RECIPES["sgd"])
    spoiled = next(iter(trainer.module.parameters()))
    trainer._on_step_end = lambda step: spoiled.register_hook(lambda g: g * math.inf) if step == 1 else None
    with pytest.raises(TrainingError, match=r"the norm of the weights is nan at step 2 of"):
        trainer.run(tmp_path / "a", "x", Silent(), "t", until=6)
    assert load_checkpoint(tmp_path / "a")[1]["step"] == 2


def test_evaluation_waits_once_and_not_in_each_batch(tiny, images, card):
    data = images.to(CARD)
    torch.manual_seed(0)
    net = Supernet(tiny)
    population = tiny.sample(6, np.random.default_rng(0)).tolist()
    evaluator = SupernetEvaluator(net, data)
    card.waits.clear()
    alone = [evaluator(row) for row in population]
    # Top-1 and loss of each architecture.
    assert len(card.waits) <= 2 * len(population)
    card.waits.clear()
    together = PrefixTree(net, population).accuracies(data)
    assert len(card.waits) == 1
    batch = data.validation.take(np.arange(64))
    quick = PrefixTree(net, population).quick_accuracies(*batch)
    assert len(card.waits) == 2 and len(quick) == 6
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other)


def test_a_network_that_was_trained_on_the_card_is_handed_over_on_the_cpu(tiny, images, card, tmp_path):
    trained = train_network(
        tiny.network([0, 0, 0, 0]), images.to(CARD), RECIPES["sgd"],
        seed=0, file=tmp_path / "a", progress=Silent(), title="t",
    )  # fmt: skip
    assert all(value.is_cpu for block in trained.blocks for value in block.state_dict().values())
    assert exported_weights(trained.blocks)


def test_blocks_on_the_card_can_be_folded(tiny, card):
    blocks = [block.to("cuda").eval() for block in Supernet(tiny).path([0, 0, 0, 0])]
    assert all(array.size for array in exported_weights(blocks).values())


def test_memory_that_runs_out_is_told_with_what_would_fit(tiny, images, monkeypatch):
    trainer = trainer_of(tiny, images, dataclasses.replace(RECIPES["sgd"], accumulate=2))

    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(trainer._batch_loss, "of_paths", full)
    with pytest.raises(TrainingError, match=r"for 32 images at a time \(a batch of 64 in 2 parts\)") as told:
        trainer.run(None, "x", Silent(), "t")
    assert "accumulate=4" in str(told.value) and "16 images at a time" in str(told.value)


def test_a_card_that_vanishes_is_told_with_the_checkpoint(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    trainer = trainer_of(tiny, images, RECIPES["sgd"])
    steps, average = iter(range(100)), trainer._average.update

    def lost(step):
        if next(steps) == 3:
            raise RuntimeError("CUDA error: device unavailable\nmore")
        average(step)

    monkeypatch.setattr(trainer._average, "update", lost)
    file = tmp_path / "a"
    with pytest.raises(
        DeviceError, match=rf"failed at step 3 of .*: CUDA error: device unavailable; {file} is kept"
    ):
        trainer.run(file, "x", Silent(), "t")
    again = trainer_of(tiny, images, RECIPES["sgd"])
    again.restore(file, "x")
    assert again.step == 3


def test_half_precision_is_scaled_and_resumes_bit_for_bit(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    recipe = Recipe(epochs=1, batch=64, amp=True, amp_type="float16", clip=5.0)
    whole = trainer_of(tiny, images, recipe)
    whole.run(tmp_path / "a", "x", Silent(), "t", until=6)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tiny, images, recipe).run(tmp_path / "b", "x", Killed(4), "t", until=6)
    again = trainer_of(tiny, images, recipe)
    again.run(tmp_path / "b", "x", Silent(), "t", until=6)
    assert math.isfinite(whole.loss) and whole._scaler.state_dict() == again._scaler.state_dict()
    resumed = again.module.state_dict()
    for key, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, resumed[key]), key


def test_a_scale_that_vanishes_stops_the_training(tiny, images):
    trainer = trainer_of(tiny, images, Recipe(epochs=1, batch=64, amp=True, amp_type="float16"))
    trainer._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-30)
    with pytest.raises(TrainingError, match="the scale of the loss is"):
        trainer.run(None, "x", Silent(), "t", until=1)


def test_a_compiled_network_has_the_names_of_a_plain_one(tiny, images, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or (lambda x: module(x)))
    for compile in (False, True):
        train_network(
            tiny.network([0, 0, 0, 0]), images, RECIPES["sgd"],
            seed=0, file=tmp_path / str(compile), progress=Silent(), title="t", compile=compile,
        )  # fmt: skip
    assert len(compiled) == 1
    (plain, _), (other, _) = load_checkpoint(tmp_path / "False"), load_checkpoint(tmp_path / "True")
    assert plain.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in plain.items())
    trainer_of(tiny, images, RECIPES["sgd"], compile=True)
    assert len(compiled) == 1


def test_accuracy_of_the_card_is_the_cpu_s(tiny, images):
    torch.manual_seed(0)
    net = torch.nn.Sequential(*Supernet(tiny).path([0, 0, 0, 0])).eval()
    expected = accuracy(net, images.validation)
    with Accelerator():
        assert accuracy(net.to("cuda"), images.to(CARD).validation) == expected
