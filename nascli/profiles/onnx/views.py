"""How a tensor of an ONNX graph holds a value of channels, height, and width.

Exporters reshape and transpose values all the time: channels last for layer normalisation, positions in one dimension
for attention, groups of channels apart for a shuffle. A view follows that without computing anything: each dimension is
a list of atoms, which are factors of the batch, of the channels, of the height, or of the width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from nascli.errors import ArchitectureError
from nascli.spaces import primitives as p
from nascli.spaces.primitives import Shape

CHANNELS, HEIGHT, WIDTH, BATCH = 0, 1, 2, 3


class Atom(NamedTuple):
    """A factor of an axis of a value: its index is multiplied by `stride` in the index of the axis."""

    axis: int
    stride: int
    size: int


Dimension = tuple[Atom, ...]


@dataclass(frozen=True)
class View:
    """A tensor that holds a value.

    Attributes:
        value: Index of the value in its program.
        dims: Atoms of each dimension, from slowest to fastest; dimensions of size 1 have none.
        sole: Whether nothing but this tensor, or what it was rearranged from, holds the value.
    """

    value: int
    dims: tuple[Dimension, ...]
    sole: bool = True

    @property
    def sizes(self) -> list[int]:
        """Sizes of the dimensions."""
        return [math.prod(atom.size for atom in dim) for dim in self.dims]

    def of(self, value: int) -> View:
        """Return a view of another value of the same shape with the same arrangement."""
        return View(value, self.dims)

    def with_channels(self, value: int, channels: int, place: int) -> View:
        """Return a view of a value with another number of channels, which are all in the dimension `place`."""
        new = (Atom(CHANNELS, 1, channels),) if channels > 1 else ()
        return View(value, (*self.dims[:place], new, *self.dims[place + 1 :]))

    @property
    def channel_dim(self) -> int | None:
        """Number of the dimension that holds several channels and nothing else; None if there is none."""
        found = [i for i, dim in enumerate(self.dims) if any(atom.axis == CHANNELS for atom in dim)]
        if len(found) != 1:
            return None
        (atom, *others) = self.dims[found[0]]
        return found[0] if not others and atom.stride == 1 else None

    def reshaped(self, sizes: Sequence[int]) -> View:
        """Return the view with other dimensions.

        Raises:
            ArchitectureError: Sizes do not divide the atoms.
        """
        atoms = [atom for dim in self.dims for atom in dim]
        if min(sizes, default=1) < 1 or math.prod(sizes) != math.prod(atom.size for atom in atoms):
            raise ArchitectureError(f"{self.sizes} cannot be reshaped to {list(sizes)}")
        dims: list[Dimension] = []
        for size in sizes:
            taken: list[Atom] = []
            while size > 1:
                atom = atoms.pop(0)
                if size % atom.size == 0:
                    taken.append(atom)
                    size //= atom.size
                    continue
                if atom.size % size:
                    raise ArchitectureError(
                        f"a reshape to {list(sizes)} takes apart what has no factor {size}"
                    )
                inner = atom.size // size
                taken.append(Atom(atom.axis, atom.stride * inner, size))
                atoms.insert(0, Atom(atom.axis, atom.stride, inner))
                size = 1
            dims.append(_merged(taken))
        return replace(self, dims=tuple(dims))

    def transposed(self, order: Sequence[int]) -> View:
        """Return the view with its dimensions in another order.

        Raises:
            ArchitectureError: The order is none.
        """
        if sorted(order) != list(range(len(self.dims))):
            raise ArchitectureError(f"{len(self.dims)} dimensions cannot be put in the order {list(order)}")
        return replace(self, dims=tuple(self.dims[i] for i in order))


def _merged(atoms: Sequence[Atom]) -> Dimension:
    """Return atoms with neighbours put together that are consecutive factors of one axis."""
    merged: list[Atom] = []
    for atom in atoms:
        before = merged[-1] if merged else None
        if before and before.axis == atom.axis and before.stride == atom.stride * atom.size:
            merged[-1] = Atom(atom.axis, atom.stride, before.size * atom.size)
        else:
            merged.append(atom)
    return tuple(merged)


def plain_dims(shape: Shape) -> tuple[Dimension, ...]:
    """Return the dimensions of a tensor `(channels, height, width)`."""
    return tuple((Atom(axis, 1, size),) if size > 1 else () for axis, size in enumerate(shape))


def positions(shape: Shape) -> Dimension:
    """Return the atoms of height and width in one dimension."""
    _, height, width = plain_dims(shape)
    return height + width


def rearrangement(dims: tuple[Dimension, ...], shape: Shape) -> p.Primitive | None:
    """Return the primitive that brings elements in the order `(channels, height, width)`.

    Args:
        dims: The three dimensions after the batch.
        shape: Shape of the value.

    Returns:
        The primitive; None if there is none, or if they are in that order.
    """
    channels, height, width = shape
    # Every rearrangement is written as the dimensions that it leads to, and compared.
    lead = dims[0][0] if dims[0] else None
    if lead is not None and lead.axis == CHANNELS and lead.stride == 1 and channels % lead.size == 0:
        groups = channels // lead.size
        if groups > 1 and dims == (_atoms((0, 1, lead.size), (0, lead.size, groups)), *plain_dims(shape)[1:]):
            return p.Shuffle(groups)
    rows_now = math.prod(atom.size for atom in dims[1])
    down = height // rows_now
    if down > 1 and height % down == width % down == 0:
        rows, columns = _atoms((1, down, height // down)), _atoms((2, down, width // down))
        block = ((1, 1, down), (2, 1, down))
        for first in (False, True):
            order = (*block, (0, 1, channels)) if first else ((0, 1, channels), *block)
            if dims == (_atoms(*order), rows, columns):
                return p.PixelUnshuffle(down, first)
    up = rows_now // height
    if up > 1 and channels % up**2 == 0:
        left = channels // up**2
        for first in (False, True):
            own, outer, inner = (1, up * left, left) if first else (up**2, up, 1)
            wanted = (
                _atoms((0, own, left)),
                _atoms((1, 1, height), (0, outer, up)),
                _atoms((2, 1, width), (0, inner, up)),
            )
            if dims == wanted:
                return p.PixelShuffle(up, first)
    return None


def _atoms(*parts: tuple[int, int, int]) -> Dimension:
    return _merged([Atom(*part) for part in parts if part[2] > 1])
