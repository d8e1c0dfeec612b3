"""Dropout and drop path in a plain network, with random numbers that follow from the seed and the step.

Both act while a network trains and do nothing in evaluation. What is dropped in a step is drawn for the whole batch, so
that it depends neither on the processes nor on the parts in which the batch is computed, and a training that resumes
drops the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nascli.errors import NascliError
from nascli.random_streams import RandomStream, generator
from nascli.spaces.primitives import Add
from nascli.spaces.programs import Program
from nascli.supernet.layers import Classifier
from nascli.supernet.modules import ProgramModule
from nascli.supernet.training.recipe import Recipe


class Regularisation:
    """What a training drops; `regularise` makes it, and the training tells it of every step.

    Args:
        batch: Number of images per step, of all processes together.
        seed: Seed of what is dropped.
    """

    def __init__(self, batch: int, seed: int) -> None:
        self._batch, self._seed = batch, seed
        self._step: int | None = None
        self._rows: Tensor | slice = slice(None)
        self._masks: dict[int, Tensor] = {}
        self._places = 0

    def begin(self, step: int, rows: Tensor | slice = slice(None)) -> None:
        """Say which images the next forward passes compute.

        Args:
            step: Number of the step, from 0.
            rows: Which rows of the step's whole batch they are: `(n,)` numbers, or a slice.
        """
        if step != self._step:
            self._masks.clear()
        self._step, self._rows = step, rows

    def new_place(self) -> int:
        """Return the number of another place in the network at which something is dropped."""
        self._places += 1
        return self._places - 1

    def mask(self, place: int, like: Tensor, probability: float, per_image: bool) -> Tensor:
        """Return factors whose expectation is 1: 0 where something is dropped, and 1 / (1 - probability) elsewhere.

        Args:
            place: Number of the place, from `new_place`.
            like: Value to be multiplied, `(n, ...)`, of the images that `begin` named.
            probability: Probability to be dropped.
            per_image: Whether an image is dropped as a whole; otherwise each of its entries is dropped by itself.

        Returns:
            `(n, 1, ...)`, or the shape of `like`.

        Raises:
            RuntimeError: `begin` has not named the step, or has named another number of images.
        """
        if self._step is None:
            raise RuntimeError("begin must name the step before a network that drops something is trained")
        shape = (1,) * (like.ndim - 1) if per_image else tuple(like.shape[1:])
        if place not in self._masks:
            seeds = generator(self._seed, RandomStream.REGULARISATION, self._step, place)
            # Drawn on the CPU, where the numbers are the same for every device.
            source = torch.Generator().manual_seed(int(seeds.integers(2**63)))
            self._masks[place] = torch.rand(self._batch, *shape, generator=source) >= probability
        kept = self._masks[place][self._rows]
        if len(kept) != len(like):
            raise RuntimeError(f"begin named {len(kept)} images, and {len(like)} are computed")
        return kept.to(like.device, like.dtype, non_blocking=True) / (1 - probability)


def regularise(module: nn.Module, recipe: Recipe, seed: int) -> Regularisation:
    """Install the dropout and the drop path of a recipe in a network, once.

    Dropout (Srivastava et al. 2014) acts on the input of the classifier. Drop path (Huang et al. 2016) leaves out what
    is added to the value of a residual connection, for each image by itself; over the residual additions, in the order
    of the network, its probability rises linearly to that of the recipe. A residual addition has an operand from which
    all others are computed.

    Args:
        module: Network to train. Nothing is changed where the recipe has neither.
        recipe: Recipe with the probabilities.
        seed: Seed of what is dropped.

    Returns:
        What must be told of every step.

    Raises:
        NascliError: The module is a supernet, whose statistics are also computed outside of training steps; or the
            network has no place for what the recipe asks, no classifier or no residual addition.
    """
    regularisation = Regularisation(recipe.batch, seed)
    if not (recipe.dropout or recipe.drop_path):
        return regularisation
    if not isinstance(module, nn.Sequential):
        raise NascliError(
            "dropout and drop path are for networks that are trained from scratch, and not for supernets.",
            "Leave dropout and drop_path at 0 in the recipe of a supernet.",
        )
    if recipe.dropout:
        _install_dropout(module, recipe.dropout, regularisation)
    if recipe.drop_path:
        _install_drop_path(module, recipe.drop_path, regularisation)
    return regularisation


def _install_dropout(module: nn.Sequential, probability: float, regularisation: Regularisation) -> None:
    classifiers = [each for each in module.modules() if isinstance(each, Classifier)]
    if not classifiers:
        raise NascliError("dropout acts on the input of a classifier, and the network has none.")
    for classifier in classifiers:
        place = regularisation.new_place()

        def drop(each: nn.Module, inputs: tuple[Any, ...], place: int = place) -> tuple[Any, ...] | None:
            if not each.training:
                return None
            (x,) = inputs
            return (x * regularisation.mask(place, x, probability, per_image=False),)

        classifier.register_forward_pre_hook(drop)


def _install_drop_path(module: nn.Sequential, last: float, regularisation: Regularisation) -> None:
    additions = [
        (block, node, skip)
        for block in module.children()
        if isinstance(block, ProgramModule)
        for node, skip in residual_additions(block.program)
    ]
    if not additions:
        raise NascliError("drop path acts on residual additions, and the network has none.")
    for number, (block, node, skip) in enumerate(additions, 1):
        block.input_filters[node] = _dropping(
            block, regularisation, last * number / len(additions), regularisation.new_place(), skip
        )


def _dropping(
    block: ProgramModule, regularisation: Regularisation, probability: float, place: int, skip: int
) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return the function that drops all inputs of an addition but one."""

    def drop(inputs: list[Tensor]) -> list[Tensor]:
        if not block.training:
            return inputs
        factors = regularisation.mask(place, inputs[skip], probability, per_image=True)
        return [x if position == skip else x * factors for position, x in enumerate(inputs)]

    return drop


def residual_additions(program: Program) -> list[tuple[int, int]]:
    """Return the residual additions of a program.

    Args:
        program: Program of a block.

    Returns:
        For each addition with an operand from which all other operands are computed: the number of its node, from 1,
        and the position of that operand.
    """
    sources: list[frozenset[int]] = [frozenset()]
    found = []
    for number, node in enumerate(program.nodes, 1):
        sources.append(frozenset(node.inputs).union(*(sources[value] for value in node.inputs)))
        if isinstance(node.primitive, Add):
            position = _skip_position(node.inputs, sources)
            if position is not None:
                found.append((number, position))
    return found


def _skip_position(inputs: Sequence[int], sources: Sequence[frozenset[int]]) -> int | None:
    """Return the position of the operand from which all others are computed; None where there is none."""
    for position, value in enumerate(inputs):
        others = [other for place, other in enumerate(inputs) if place != position]
        if others and all(value in sources[other] for other in others):
            return position
    return None
