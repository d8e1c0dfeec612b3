"""What a piece of a network is, in words that its designer would use: 'attention', 'MLP', 'inverted residual 3x3'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from nascli.spaces.opaque_counts import has_macs
from nascli.spaces.opaque_graphs import OpaqueGraph, OpaqueNode
from nascli.spaces.primitives import Add, Conv, GlobalPool, Linear, Opaque, Pool, Primitive, Scale
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
# The number of kinds of nodes that a name lists.
_NAMED_KINDS = 3
# Primitives that name a block; others are left out of the names of large blocks.
_NAMING = (Conv, Pool, GlobalPool, Linear, Scale, Opaque)
# Kernels from this size on that do not overlap make patches.
_PATCH = 4


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
    convolutions = [
        (node.primitive, program.shape_of(node.inputs[0]).channels)
        for node in program.nodes
        if isinstance(node.primitive, Conv)
    ]
    return _block_name(primitives, convolutions) or _parts(primitives, convolutions)


def _block_name(primitives: Sequence[Primitive], convolutions: Sequence[tuple[Conv, int]]) -> str:
    """Return the name of a well-known block; empty if it is none."""
    depthwise = [conv for conv, channels in convolutions if _is_depthwise(conv, channels)]
    adds = any(isinstance(p, Add) for p in primitives)
    excites = " + squeeze-excite" if any(isinstance(p, Scale) for p in primitives) else ""
    if excites and isinstance(primitives[0], GlobalPool) and len(convolutions) <= 2:
        return "squeeze-excite"
    main = [
        (c, channels) for c, channels in convolutions if not excites or _is_spatial(c, channels, convolutions)
    ]
    if len(depthwise) == 1 and 2 <= len(main) <= 3:
        head = f"inverted residual {_size(depthwise[0])}" if adds else f"separable {_size(depthwise[0])}"
        return head + _stride(depthwise[0]) + excites
    if adds and len(main) >= 2 and not depthwise:
        largest = max((conv for conv, _ in main), key=lambda conv: conv.kernel)
        narrow = sum(max(conv.kernel) == 1 for conv, _ in main) >= 2
        return f"{'bottleneck' if narrow else 'residual block'} {_size(largest)}" + excites
    return ""


def _is_spatial(conv: Conv, channels: int, all_of_them: Sequence[tuple[Conv, int]]) -> bool:
    """Return whether a convolution is none of the two small ones of squeeze and excitation."""
    widest = max(max(other.out, read) for other, read in all_of_them)
    return max(conv.kernel) > 1 or min(conv.out, channels) * 16 > widest or len(all_of_them) <= 2


def _parts(primitives: Sequence[Primitive], convolutions: Sequence[tuple[Conv, int]]) -> str:
    """Return the names of the parts of a block that has no name of its own."""
    channels = iter(convolutions)
    words = []
    for primitive in primitives:
        match primitive:
            case Conv():
                words.append(_conv_name(*next(channels)))
            case Pool(mode=mode, kernel=kernel, stride=stride):
                words.append(f"{mode} pool {kernel}x{kernel}" + (f" s{stride}" if stride > 1 else ""))
            case GlobalPool():
                words.append("global pool")
            case Linear(out=out):
                words.append(f"linear to {out}")
            case Opaque():
                words.append(_opaque_name(primitive.parsed))
            case _:
                function = getattr(primitive, "function", None)
                words.append(str(function) if function else primitive.kind.replace("_", " "))
    if len(words) <= _NAMED_KINDS:
        return " + ".join(words) or "nothing"
    # Without channels, so that equal kinds count together.
    heavy = [w.partition(" to ")[0].rstrip("0123456789 ") if isinstance(p, Conv) and p.kernel == (1, 1) else w
             for p, w in zip(primitives, words, strict=True) if isinstance(p, _NAMING)]
    return _listed(Counter(heavy or words))


def _listed(counted: Mapping[str, int]) -> str:
    """Return the first kinds with their numbers, and how many others there are."""
    shown = [f"{n} {name}" if n > 1 else name for name, n in list(counted.items())[:_NAMED_KINDS]]
    more = len(counted) - _NAMED_KINDS
    return ", ".join(shown) + (f", {more} more kind{'s' if more > 1 else ''}" if more > 0 else "")


def _conv_name(conv: Conv, channels: int) -> str:
    if _is_depthwise(conv, channels):
        kind = f"depthwise {_size(conv)}"
    elif conv.groups > 1:
        kind = f"grouped conv {_size(conv)}, {conv.groups} groups"
    elif conv.kernel == (1, 1):
        kind = f"pointwise {channels} to {conv.out}"
    else:
        kind = f"conv {_size(conv)}"
    return kind + _stride(conv)


def _is_depthwise(conv: Conv, channels: int) -> bool:
    return conv.groups == channels > 1


def _size(conv: Conv) -> str:
    return "x".join(map(str, conv.kernel))


def _stride(conv: Conv) -> str:
    return "" if max(conv.stride) == 1 else f" s{max(conv.stride)}"


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
    return f"{kind} {_kernel_text(node)}" + (f" s{max(strides)}" if strides and max(strides) > 1 else "")


def _kinds(ops: Sequence[str]) -> str:
    """Return the important kinds of nodes, those with MACs first."""
    counted = Counter(op for op in ops if op not in _MINOR)
    if not counted:
        return f"rearranging ({_listed(Counter(ops))})"
    ordered = sorted(counted, key=lambda op: (not has_macs(op), op in _ACTIVATIONS, op not in _NORMS))
    return _listed({_NORM_WORDS.get(op, op): counted[op] for op in ordered})
