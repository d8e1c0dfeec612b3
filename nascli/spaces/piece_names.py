"""What a piece of a network is, in words that its designer would use: 'attention', 'MLP', 'inverted residual 3x3'."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nascli.spaces.opaque_counts import has_macs
from nascli.spaces.opaque_graphs import OpaqueGraph, OpaqueNode
from nascli.spaces.primitives import (
    ACTIVATIONS,
    Act,
    Add,
    Attention,
    BatchNorm,
    Binary,
    ChannelBias,
    ChannelScale,
    Conv,
    ConvTranspose,
    Dense,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    Linear,
    Opaque,
    Pool,
    PRelu,
    Primitive,
    Resize,
    Scale,
    Shape,
)
from nascli.spaces.programs import Program

_ACTIVATIONS = frozenset((
    "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Erf", "Tanh", "Sigmoid", "HardSigmoid",
    "HardSwish", "Softplus", "Mish", "Swish", "Pow",
))  # fmt: skip
_NORMS = frozenset((
    "LayerNormalization", "BatchNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization",
    "LRN",
))  # fmt: skip
# Nodes that move, cut, or combine values, and that name a piece only where it has nothing else.
_MINOR = frozenset((
    "Reshape", "Transpose", "Concat", "Split", "Slice", "Gather", "Squeeze", "Unsqueeze", "Flatten", "Identity",
    "Expand", "Cast", "Shape", "Add", "Sub", "Mul", "Div", "Sqrt", "Dropout", "Pad", "Where", "Equal", "Constant",
))  # fmt: skip
_NORM_WORDS = {
    "LayerNormalization": "layer norm", "BatchNormalization": "batch norm", "GroupNormalization": "group norm",
    "InstanceNormalization": "instance norm", "RMSNormalization": "RMS norm",
}  # fmt: skip
# Channels and strides in a name.
_SIZES = re.compile(r"( \d+)? to \d+| s\d+$")
# The number of kinds of nodes that a name lists.
_NAMED_KINDS = 3
# Primitives that name a block; others are left out of the names of large blocks.
_NAMING = (Conv, Dense, ConvTranspose, Attention, Pool, GlobalPool, Linear, Scale, Resize, Opaque)
# What an MLP may have besides its two products.
_OF_MLP = frozenset(
    (Conv, Dense, Act, PRelu, Add, BatchNorm, GroupNorm, LayerNorm, ChannelScale, ChannelBias)
)
# Convolutions of one residual block at most, with its shortcut.
_MAX_RESIDUAL = 4
# Kernels from this size on that do not overlap make patches.
_PATCH = 4


@dataclass(frozen=True)
class _Product:
    """A convolution or a dense layer of a program, and what it reads."""

    primitive: Conv | Dense | ConvTranspose
    source: Shape

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def reads_vector(self) -> bool:
        return self.source.height == self.source.width == 1

    @property
    def kernel(self) -> tuple[int, int]:
        return (1, 1) if isinstance(self.primitive, Dense) else self.primitive.kernel

    @property
    def stride(self) -> tuple[int, int]:
        return (1, 1) if isinstance(self.primitive, Dense) else self.primitive.stride

    @property
    def groups(self) -> int:
        return 1 if isinstance(self.primitive, Dense) else self.primitive.groups

    @property
    def is_spatial(self) -> bool:
        return max(self.kernel) > 1

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.channels > 1

    @property
    def size(self) -> str:
        return "x".join(map(str, self.kernel)) + _stride(self.stride)

    @property
    def name(self) -> str:
        if isinstance(self.primitive, ConvTranspose):
            return f"transposed conv {self.size}"
        if self.is_depthwise:
            return f"depthwise {self.size}"
        if self.groups > 1:
            return f"grouped conv {self.size}, {self.groups} groups"
        if self.is_spatial:
            is_patch = self.kernel == self.stride and min(self.kernel) >= _PATCH
            return f"patch embedding {'x'.join(map(str, self.kernel))}" if is_patch else f"conv {self.size}"
        word = "dense" if isinstance(self.primitive, Dense) else "pointwise"
        return f"{word} {self.channels} to {self.primitive.out}{_stride(self.stride)}"


@lru_cache(maxsize=4096)
def piece_name(program: Program) -> str:
    """Return what a program is in a few words.

    Args:
        program: The program of one piece of a network.

    Returns:
        A name such as 'depthwise 3x3 s2'. Programs of different sizes may have the same name.
    """
    primitives = [node.primitive for node in program.nodes]
    if len(primitives) == 1 and isinstance(primitives[0], Opaque):
        return _opaque_name(primitives[0].parsed)
    products = [
        _Product(node.primitive, program.shape_of(node.inputs[0]))
        for node in program.nodes
        if isinstance(node.primitive, (Conv, Dense, ConvTranspose))
    ]
    return _block_name(primitives, products) or _parts(primitives, products)


def kind_of(name: str) -> str:
    """Return the name of a piece without channels, strides, and activations."""
    parts = [_SIZES.sub("", part) for part in name.split(" + ")]
    return " + ".join(part for part in parts if part not in ACTIVATIONS) or name


def _block_name(primitives: Sequence[Primitive], products: Sequence[_Product]) -> str:
    """Return the name of a well-known block; empty if it is none."""
    kinds = {type(primitive) for primitive in primitives}
    if Attention in kinds:
        return "attention"
    excites = " + squeeze-excite" if Scale in kinds and GlobalPool in kinds else ""
    if excites and isinstance(primitives[0], GlobalPool) and len(products) <= 2:
        return "squeeze-excite"
    # The two products of squeeze and excitation read vectors.
    main = [product for product in products if not (excites and product.reads_vector)]
    spatial = [product for product in main if product.is_spatial]
    depthwise = [product for product in spatial if product.is_depthwise]
    if len(main) == 2 and not spatial and kinds & {Act, PRelu} and kinds <= _OF_MLP:
        return "MLP"
    if len(spatial) == len(depthwise) == 1 and 2 <= len(main) <= 3:
        size = depthwise[0].size
        if len(main) == 3 and main[0] is depthwise[0]:
            return f"ConvNeXt block {size}" + excites
        return f"{'inverted residual' if Add in kinds else 'separable'} {size}" + excites
    if Add in kinds and 2 <= len(main) <= _MAX_RESIDUAL and spatial and not depthwise:
        largest = max(spatial, key=lambda product: product.kernel)
        is_narrow = len(main) - len(spatial) >= 2
        return f"{'bottleneck' if is_narrow else 'residual block'} {largest.size}" + excites
    return ""


def _parts(primitives: Sequence[Primitive], products: Sequence[_Product]) -> str:
    """Return the names of the parts of a block that has no name of its own."""
    following = iter(products)
    words = []
    for primitive in primitives:
        match primitive:
            case Conv() | Dense() | ConvTranspose():
                words.append(next(following).name)
            case Pool():
                size = "x".join(map(str, primitive.window))
                words.append(f"{primitive.mode} pool {size}{_stride(primitive.strides)}")
            case Linear(out=out):
                words.append(f"linear to {out}")
            case Opaque():
                words.append(_opaque_name(primitive.parsed))
            case Act(function=function) | Binary(function=function):
                words.append(function)
            case _:
                words.append(primitive.kind.replace("_", " "))
    if len(words) <= _NAMED_KINDS:
        return " + ".join(words) or "nothing"
    # Without channels, so that equal kinds count together.
    heavy = [
        word.partition(" to ")[0].rstrip("0123456789 ") if word.startswith(("pointwise", "dense")) else word
        for primitive, word in zip(primitives, words, strict=True)
        if isinstance(primitive, _NAMING)
    ]
    return _listed(Counter(heavy or words))


def _listed(counted: Mapping[str, int]) -> str:
    """Return the first kinds with their numbers, and how many others there are."""
    shown = [f"{n} {name}" if n > 1 else name for name, n in list(counted.items())[:_NAMED_KINDS]]
    more = len(counted) - _NAMED_KINDS
    return ", ".join(shown) + (f", {more} more kind{'s' if more > 1 else ''}" if more > 0 else "")


def _stride(stride: Sequence[int]) -> str:
    return f" s{max(stride)}" if max(stride, default=1) > 1 else ""


def _opaque_name(graph: OpaqueGraph) -> str:
    ops = [node.op for node in graph.nodes]
    between = [node for node in graph.nodes if _is_product_of_values(graph, node)]
    if "Softmax" in ops and len(between) >= 2:
        return "attention"
    weighted = [node for node in graph.nodes if has_macs(node.op) and node not in between]
    spatial = [node for node in weighted if max(_kernel(node), default=1) > 1]
    activations = [op for op in ops if op in _ACTIVATIONS]
    if len(weighted) - len(spatial) == 2 and activations and not between:
        if not spatial:
            return "token-mixing MLP" if _mixes_tokens(graph, weighted) else "MLP"
        if len(spatial) == 1 and int(spatial[0].attribute("group", 1)) > 1:
            return f"depthwise {_kernel_text(spatial[0])} + MLP"
    if len(weighted) == 1 == len(spatial) and not between:
        return _single_conv(graph, spatial[0])
    return _kinds(ops)


def _is_product_of_values(graph: OpaqueGraph, node: OpaqueNode) -> bool:
    """Return whether a node multiplies two computed matrices, as attention does."""
    return has_macs(node.op) and all(graph.is_computed(value) for value in node.inputs[:2])


def _kernel(node: OpaqueNode) -> tuple[int, ...]:
    return tuple(node.attribute("kernel_shape", ()) or ())


def _kernel_text(node: OpaqueNode) -> str:
    return "x".join(map(str, _kernel(node)))


def _mixes_tokens(graph: OpaqueGraph, products: Sequence[OpaqueNode]) -> bool:
    """Return whether the products come behind a transposition, so that they combine positions and not features."""
    ops = [node.op for node in graph.nodes]
    return "Transpose" in ops and ops.index("Transpose") < list(graph.nodes).index(products[0])


def _single_conv(graph: OpaqueGraph, node: OpaqueNode) -> str:
    kernel, strides = _kernel(node), tuple(node.attribute("strides", ()) or ())
    weight = graph.types[node.inputs[1]]
    source = graph.types[node.inputs[0]]
    groups = int(node.attribute("group", 1))
    if kernel == strides and min(kernel) >= _PATCH:
        return f"patch embedding {_kernel_text(node)}"
    if node.op == "ConvTranspose":
        kind = "transposed conv"
    elif weight is not None and source is not None and groups == source.dims[1] > 1:
        kind = "depthwise"
    else:
        kind = "grouped conv" if groups > 1 else "conv"
    return f"{kind} {_kernel_text(node)}{_stride(strides)}"


def _kinds(ops: Sequence[str]) -> str:
    """Return the important kinds of nodes, those with MACs first."""
    counted = Counter(op for op in ops if op not in _MINOR)
    if not counted:
        return f"rearranging ({_listed(Counter(ops))})"
    ordered = sorted(counted, key=lambda op: (not has_macs(op), op in _ACTIVATIONS, op not in _NORMS))
    return _listed({_NORM_WORDS.get(op, op): counted[op] for op in ordered})
