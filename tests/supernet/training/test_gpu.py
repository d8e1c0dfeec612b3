"""Training on a real card, against the CPU: run by `pytest -m gpu`, skipped without one."""

import pytest
import torch
from trainings import Killed, random_paths

from nascli.execution import DeviceChoice
from nascli.progress import Silent
from nascli.supernet.data.images import load_images
from nascli.supernet.devices import TrainDevice
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.separate import Supernet
from nascli.supernet.training.plain_network import train_network
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no NVIDIA card"),
]
RECIPES = {
    "sgd": Recipe(epochs=1, batch=64),
    "adam": Recipe(
        epochs=1, batch=64, optimizer="adam", rate=0.002, clip=5.0, ema=0.9, mixup=0.2, accumulate=2
    ),
    "adamw": Recipe(epochs=1, batch=64, optimizer="adamw", rate=0.002, decay_all=False),
    "rmsprop": Recipe(epochs=1, batch=64, optimizer="rmsprop", rate=0.002, epsilon=1e-3),
}
HALF = {
    "bf16": Recipe(epochs=1, batch=64, amp=True),
    "fp16": Recipe(epochs=1, batch=64, amp=True, amp_type="float16", clip=5.0),
}


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


@pytest.fixture(scope="module")
def card():
    """The first card, in full float32."""
    return TrainDevice.of(DeviceChoice(name="cuda", tf32=False)).device


def losses(space, data, recipe, steps=12):
    torch.manual_seed(0)
    found = []
    trainer = Trainer(
        Supernet(space), data.train, recipe, seed=3, path_of_step=random_paths(space),
        on_step_end=lambda step: found.append(trainer.loss),
    )  # fmt: skip
    trainer.run(None, "x", Silent(), "t", until=steps)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_trajectories_of_cpu_and_card_agree(tiny, images, card, name):
    on_cpu, on_card = losses(tiny, images, RECIPES[name]), losses(tiny, images.to(card), RECIPES[name])
    assert on_card == pytest.approx(on_cpu, rel=2e-2) and on_card[:3] == pytest.approx(on_cpu[:3], rel=1e-4)


@pytest.mark.parametrize("name", HALF)
def test_half_precision_follows_full_precision(tiny, images, card, name):
    on_card = losses(tiny, images.to(card), HALF[name])
    assert on_card == pytest.approx(losses(tiny, images, RECIPES["sgd"]), rel=0.15)


@pytest.mark.parametrize("name", [*RECIPES, *HALF])
def test_a_training_resumes_on_the_card(tiny, images, card, tmp_path, monkeypatch, name):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    recipe = {**RECIPES, **HALF}[name]

    def trainer():
        torch.manual_seed(0)
        return Trainer(Supernet(tiny), images.to(card).train, recipe, seed=3, path_of_step=random_paths(tiny))

    whole = trainer()
    whole.run(tmp_path / "a", "x", Silent(), "t", until=10)
    with pytest.raises(KeyboardInterrupt):
        trainer().run(tmp_path / "b", "x", Killed(6), "t", until=10)
    again = trainer()
    again.run(tmp_path / "b", "x", Silent(), "t", until=10)
    # cuDNN adds in an order of its own each time.
    for key, tensor in whole.module.state_dict().items():
        assert torch.allclose(tensor.float(), again.module.state_dict()[key].float(), atol=2e-3), key


def test_evaluations_of_cpu_and_card_agree(tiny, images, card, rng):
    torch.manual_seed(0)
    net, population = Supernet(tiny), tiny.sample(8, rng).tolist()
    on_cpu = PrefixTree(net, population).accuracies(images)
    on_card = PrefixTree(net, population).accuracies(images.to(card))
    alone = SupernetEvaluator(net, images.to(card))(population[0])
    for a, b in zip(on_cpu, on_card, strict=True):
        assert a.top1 == pytest.approx(b.top1, abs=0.01) and a.loss == pytest.approx(b.loss, rel=1e-3)
    assert alone.loss == pytest.approx(on_card[0].loss, rel=1e-3)


def test_a_weight_step_does_not_wait_for_the_card(tiny, images, card, monkeypatch):
    """torch itself raises where an operation makes the host wait."""
    monkeypatch.setattr("nascli.supernet.training.trainer._LOOK_EVERY_SECONDS", float("inf"))
    torch.manual_seed(0)
    trainer = Trainer(
        Supernet(tiny), images.to(card).train, RECIPES["adam"], seed=3, path_of_step=random_paths(tiny),
        on_step_end=lambda step: torch.cuda.set_sync_debug_mode("error" if step < 6 else "default"),
    )  # fmt: skip
    try:
        trainer.run(None, "x", Silent(), "t", until=10)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_compiled_network_learns_the_same(tiny, images, card, tmp_path):
    network = tiny.network([0, 0, 0, 0])
    top1 = [
        train_network(
            network, images.to(card), RECIPES["sgd"],
            seed=0, file=tmp_path / str(compile), progress=Silent(), title="t", compile=compile,
        ).top1
        for compile in (False, True)
    ]  # fmt: skip
    assert top1[0] == pytest.approx(top1[1], abs=0.05)
