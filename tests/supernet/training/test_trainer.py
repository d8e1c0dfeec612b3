import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from nascli.errors import CheckpointError, DataError, NascliError, TrainingError, UnknownNameError
from nascli.progress import Silent
from nascli.spaces import make_space
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.data.batches import shifted
from nascli.supernet.data.images import ImageSplit, data_properties, load_images, require_fit
from nascli.supernet.evaluation.accuracy import SupernetEvaluator, accuracy, wilson_interval
from nascli.supernet.initialisation import align_candidates
from nascli.supernet.modules import load_module
from nascli.supernet.separate import Supernet
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer, is_trained

RECIPE = Recipe(epochs=2, batch=64)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def path_of(space):
    return lambda step: space.sample(1, np.random.default_rng([7, step]))[0].tolist()


def trainer(space, images, recipe=RECIPE):
    torch.manual_seed(0)
    return Trainer(Supernet(space), images.train, recipe, seed=3, path=path_of(space))


class Killed(Silent):
    def __init__(self, after):
        self.left = after

    def advance(self, steps=1, note=""):
        self.left -= steps if note else 0
        if self.left <= 0:
            raise KeyboardInterrupt


def test_resumed_training_is_the_same_bit_for_bit(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    whole = trainer(tiny, images)
    whole.run(tmp_path / "a", "x", Silent(), "t")
    for after in (1, 9, 20):
        file = tmp_path / f"b{after}"
        with pytest.raises(KeyboardInterrupt):
            trainer(tiny, images).run(file, "x", Killed(after), "t")
        again = trainer(tiny, images)
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
        net, images.train, dataclasses.replace(RECIPE, epochs=1), seed=0, path=lambda s: [2, 4, 0, 5]
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
    run = trainer(space, images, Recipe(epochs=10, batch=32))
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
    run = trainer(tiny, images)
    run.data = ImageSplit(broken, images.train.labels)
    with pytest.raises(TrainingError, match="the loss is nan at step"):
        run.run(tmp_path / "e", "x", Silent(), "t")
    _, state = load_checkpoint(tmp_path / "e")
    assert state["step"] >= 16


def test_checkpoints_of_others_are_refused(tiny, images, tmp_path):
    trainer(tiny, images).run(tmp_path / "f", "x", Silent(), "t")
    with pytest.raises(CheckpointError, match="belongs to another space"):
        trainer(tiny, images).run(tmp_path / "f", "other", Silent(), "t")
    data = bytearray((tmp_path / "f").read_bytes())
    (tmp_path / "g").write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path / "g")
    (tmp_path / "h").write_bytes(b"")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "h")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_module(nn.Linear(2, 2), load_checkpoint(tmp_path / "f")[0])
    blocker = tmp_path / "f" / "sub"
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(blocker, {}, {})


def test_schedules_and_recipes():
    recipe = Recipe(epochs=1, rate=1.0, warmup=0.1)
    rates = [recipe.rate_at(step, 100) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == 1.0 and rates[9] == 1.0 and rates[-1] < 0.01
    with pytest.raises(NascliError, match="epochs >= 1"):
        Recipe(epochs=0)


def test_aligned_candidates_start_from_one_draw(tiny):
    torch.manual_seed(0)
    layer = Supernet(tiny, aligned=False).blocks[2]
    align_candidates(layer)
    convs = [[m for m in c.children() if isinstance(m, NormalisedConv)] for c in layer]
    small, large = convs[0], convs[5]  # expansion 3, kernel 3 and expansion 6, kernel 7
    core = large[1].conv.weight[: small[1].conv.out_channels, :, 2:5, 2:5]
    ratio = small[1].conv.weight / core
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-4)
    assert float(large[1].conv.weight.detach()[:, :, 0].abs().max()) == 0


def test_data_is_split_once_and_for_all(images):
    sizes = [len(images.train), len(images.validation), len(images.test)]
    assert sum(sizes) == 1797 and sizes[0] > 1000
    assert load_images("digits", 8).digest == images.digest != load_images("digits", 16).digest
    assert data_properties("digits") == (10, 1)
    with pytest.raises(UnknownNameError, match="unknown data set"):
        load_images("didgits", 8)
    with pytest.raises(DataError, match="the space takes"):
        require_fit(images, (3, 8, 8), 10)


def test_shifting_moves_and_repeats_the_border(images):
    batch = images.train.images[:50]
    assert torch.equal(shifted(batch, np.random.default_rng(0), 0), batch)
    moved = shifted(batch, np.random.default_rng(0), 1)
    assert moved.shape == batch.shape
    down, right = np.random.default_rng(0).integers(0, 3, (2, 50))
    still = int(np.flatnonzero((down == 1) & (right == 1))[0])
    assert torch.equal(moved[still], batch[still])
    lower = int(np.flatnonzero((down == 2) & (right == 1))[0])
    assert torch.equal(moved[lower, :, :-1], batch[lower, :, 1:])


def test_accuracy_and_its_interval():
    split = ImageSplit(
        torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]]).view(4, 2, 1, 1), torch.tensor([0, 1, 0, 1])
    )
    assert accuracy(lambda x: x.flatten(1), split).top1 == 0.75
    # Wilson's interval of 8 in 10, as tabulated.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(1.0, 100)[1] == pytest.approx(1.0)


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
    whole = trainer(tiny, images, recipe)
    whole.run(tmp_path / "a", "x", Silent(), "t")
    with pytest.raises(KeyboardInterrupt):
        trainer(tiny, images, recipe).run(tmp_path / "b", "x", Killed(5), "t")
    again = trainer(tiny, images, recipe)
    again.run(tmp_path / "b", "x", Silent(), "t")
    whole.use_average(), again.use_average()
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name]), name


def test_schedules_by_hand():
    linear = Recipe(epochs=1, rate=1.0, warmup=0.0, schedule="linear", floor=0.2)
    assert linear.rate_at(0, 11) == 1.0
    assert linear.rate_at(6, 11) == pytest.approx(0.2 + 0.8 * 0.5)
    cosine = Recipe(epochs=1, rate=1.0, warmup=0.0, floor=0.2)
    assert cosine.rate_at(6, 11) == pytest.approx(0.2 + 0.8 * 0.5)


def test_the_average_follows_the_weights(tiny, images):
    run = trainer(tiny, images, Recipe(epochs=1, batch=64, ema=0.5))
    run.run(None, "x", Silent(), "t", until=3)
    raw = {k: v.clone() for k, v in run.module.state_dict().items()}
    run.use_average()
    moved = [
        k for k, v in run.module.state_dict().items() if v.is_floating_point() and not torch.equal(v, raw[k])
    ]
    assert moved


@pytest.mark.parametrize("wrong", [{"optimizer": "lamb"}, {"accumulate": 64}, {"ema": 1.0}, {"floor": 9.0}])
def test_recipes_that_cannot_be_are_refused(wrong):
    with pytest.raises(NascliError):
        Recipe(epochs=1, batch=64, **wrong)


def test_two_processes_train_as_one(tmp_path):
    """gloo on the CPU: the same weights as one process with the whole batch, up to rounding."""
    import subprocess
    import sys

    script = tmp_path / "train.py"
    script.write_text(
        "import sys, torch, numpy as np\n"
        "from nascli.progress import Silent\n"
        "from nascli.spaces import make_space\n"
        "from nascli.supernet.data.images import load_images\n"
        "from nascli.supernet.separate import Supernet\n"
        "from nascli.supernet.training import distributed\n"
        "from nascli.supernet.training.recipe import Recipe\n"
        "from nascli.supernet.training.trainer import Trainer\n"
        "distributed.start()\n"
        "space = make_space('proxyless-mini', resolution=8, width=0.25, depth=1)\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "net = distributed.synchronise(Supernet(space))\n"
        "path = lambda s: space.sample(1, np.random.default_rng([7, s]))[0].tolist()\n"
        "t = Trainer(net, load_images('digits', 8).train, Recipe(epochs=1, batch=64), seed=3, path=path)\n"
        "t.run(None, 'x', Silent(), 't', until=4)\n"
        "t.save(__import__('pathlib').Path(sys.argv[1]), 'x')\n"
    )
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, str(script), str(one)], check=True, timeout=120)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29511"]
    subprocess.run([*command, str(script), str(two)], check=True, timeout=240, capture_output=True)
    a, b = load_checkpoint(one)[0], load_checkpoint(two)[0]
    for name in a:
        if "num_batches" not in name:
            assert torch.allclose(a[name], b[name], atol=2e-4, rtol=1e-3), name
