"""Every algorithm searches on the pretend accelerator: weight steps, architecture steps, and evaluation."""

import dataclasses

import numpy as np
import pytest
import torch
from pretend_accelerator import CARD, Accelerator
from torch._subclasses.fake_tensor import FakeTensorMode

from nascli.costmodel import Constraint, counted
from nascli.costmodel.budgets import CostSet, counted_costs
from nascli.pipeline.run.settings import choose_preset
from nascli.progress import Silent
from nascli.search.problem import SearchContext, SearchProblem, SpaceRequest
from nascli.search.registry import algorithm_names, find_algorithm
from nascli.search.run_folder import RunFolder
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.images import load_images
from nascli.supernet.devices import TrainDevice
from nascli.supernet.masked import MaskedSupernet
from nascli.supernet.separate import Supernet

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
MULTI = "nse-19-mini:resolution=8,width=0.1,branches=2"
STAGED = "nss-expanded-mini:resolution=8,widths=16,depths=4"
CELLS = "autospace-mini:resolution=8,width=0.25"
# The space of each algorithm, and what makes its search short.
SEARCHES = {
    "spos": (TINY, ["spos.population=4", "spos.generations=2"]),
    "random": (TINY, ["settings.evaluations=8"]),
    "evolution": (TINY, ["settings.evaluations=8"]),
    "guided": (TINY, ["settings.evaluations=10", "settings.first=4"]),
    "pcnas": (TINY, ["pcnas.pool=2", "pcnas.draws=3"]),
    "proxyless": (TINY, []),
    "nse": (MULTI, ["nse.candidates=3", "nse.samples=6", "nse.beyond=2", "nse.rounds=2"]),
    "nss": (STAGED, ["nss.depth_bin=2", "nss.width_bin=4", "nss.drawn=2"]),
    "autospace": (
        CELLS,
        ["autospace.first_team=2", "autospace.last_team=3", "autospace.population=6", "autospace.cells=2",
         "autospace.warmup=1", "autospace.evolution=1", "autospace.frequency=4", "autospace.reference_epochs=1"],
    ),
}  # fmt: skip


def few_images(resolution):
    """Five batches of training images and one of the others, on the card."""
    images = load_images("digits", resolution)
    parts = {"train": 320, "validation": 64, "test": 64}
    return dataclasses.replace(
        images,
        **{
            name: type(getattr(images, name))(
                getattr(images, name).images[:count], getattr(images, name).labels[:count]
            )
            for name, count in parts.items()
        },
    ).to(CARD)


def test_every_algorithm_is_here():
    assert set(SEARCHES) == set(algorithm_names())


@pytest.mark.parametrize("name", SEARCHES)
def test_an_algorithm_searches_on_the_card(name, tmp_path):
    spec, changes = SEARCHES[name]
    algorithm, named = find_algorithm(name), load_space_of_any_kind(spec)
    preset, _ = choose_preset(
        name, supernet_epochs=1, retrain_epochs=1, changes=["finalists=2", "calibration_images=64", *changes]
    )
    draws = named.sample(200, np.random.default_rng(0))
    macs = named.macs(draws) if isinstance(named, StagedSpace) else counted(named, "macs")(draws)
    constraints = (Constraint("macs", -np.inf, float(np.quantile(macs, 0.6))),)
    with Accelerator() as card, RunFolder(tmp_path / "run", {"name": name}) as run:
        images, device = few_images(named.input.height), TrainDevice(CARD)
        context = SearchContext(preset, 0, "digits", run, Silent(), None, device=device)
        space, _ = algorithm.prepare_space(SpaceRequest(named, images, constraints), context)
        costs = CostSet(counted_costs(space, constraints))
        feasible = costs.feasible_set(space, constraints)
        found = algorithm.find(SearchProblem(space, images, constraints, costs, feasible, None), context)
        assert card.waits
    rows = np.array([evaluation.architecture for evaluation in found.ranked], dtype=space.dtype)
    assert len(rows) and feasible.contains(rows).all()


@pytest.mark.parametrize("spec", [TINY, CELLS, "spos-resnet18-bits-mini:width=0.1,resolution=8"])
def test_a_supernet_computes_on_the_card_in_shapes_alone(spec):
    """torch's fake tensors know the rules of devices too."""
    space = load_space_of_any_kind(spec)
    with FakeTensorMode():
        with torch.device("cuda"):
            net = Supernet(space)
        x = torch.empty(2, *space.input, device="cuda")
        for row in space.sample(2, np.random.default_rng(0)).tolist():
            logits = net(x, row)
            assert logits.device.type == "cuda" and logits.shape == (2, space.output.channels)


def test_a_mixture_of_widths_computes_on_the_card_in_shapes_alone():
    space = load_space_of_any_kind(STAGED)
    with FakeTensorMode():
        with torch.device("cuda"):
            net = MaskedSupernet(space)
        x = torch.empty(2, *space.input, device="cuda")
        # Gates are the host's.
        gates = torch.ones(2, device="cpu")
        logits = net.mixture(x, [(([1, 2], gates), ([4, 16], gates))] * len(space.strides))
        assert logits.device.type == "cuda"
