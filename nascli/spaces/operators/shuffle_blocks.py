"""ShuffleNetV2's block (Ma et al. 2018) and the choice blocks that SPOS makes of it."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import Value, activation, concat, conv, shuffle, split
from nascli.spaces.operators.registry import operator


def _halves(x: Value) -> tuple[Value, Value]:
    if x.channels % 2:
        raise SpaceError(f"a stride of 1 splits the channels in half, got {x.channels}")
    # Even channels on one side, odd ones on the other, as SPOS's shuffle does.
    even, odd = split(shuffle(x, x.channels // 2), [x.channels // 2] * 2)
    return even, odd


def _project(x: Value, kernel: int, act: str) -> Value:
    h = conv(x, x.channels, kernel, stride=2, groups=x.channels)
    return conv(h, x.channels, 1, act=act)


def _depthwise(x: Value, kernel: int, stride: int = 1) -> Value:
    return conv(x, x.channels, kernel, stride=stride, groups=x.channels)


def _joined(x: Value, out: int, stride: int, kernel: int, act: str) -> tuple[Value, Value, int]:
    """The branch that is kept, the input of the main branch, and how many channels it must give."""
    if stride == 1:
        if x.channels != out:
            raise SpaceError(f"a stride of 1 keeps the channels, got {x.channels} and out={out}")
        kept, main = _halves(x)
        return kept, main, out - kept.channels
    if out <= x.channels:
        raise SpaceError(f"a stride of 2 adds channels, got {x.channels} and out={out}")
    return _project(x, kernel, act), x, out - x.channels


@operator
def choice(
    x: Value, out: int, *, kernel: int = 3, scale: float = 1.0, stride: int = 1, act: str = "relu"
) -> Value:
    """SPOS's choice_3, choice_5, choice_7; `scale` multiplies the middle channels (channel search)."""
    kept, main, rest = _joined(x, out, stride, kernel, act)
    h = conv(main, _middle(out, scale), 1, act=act)
    h = conv(_depthwise(h, kernel, stride), rest, 1, act=act)
    return concat(kept, h)


@operator
def choice_x(x: Value, out: int, *, scale: float = 1.0, stride: int = 1, act: str = "relu") -> Value:
    """SPOS's choice_x: three depthwise 3x3, each followed by a 1x1 (the Xception block)."""
    kept, main, rest = _joined(x, out, stride, 3, act)
    middle = _middle(out, scale)
    h = conv(_depthwise(main, 3, stride), middle, 1, act=act)
    h = conv(_depthwise(h, 3), middle, 1, act=act)
    h = conv(_depthwise(h, 3), rest, 1, act=act)
    return concat(kept, h)


def _middle(out: int, scale: float) -> int:
    # The tenths of a scale are not exact in binary: 116 * 1.4 must not lose a channel to that.
    return int(round(out // 2 * scale, 6))


@operator
def shufflenet_block(x: Value, out: int, *, stride: int = 1, act: str = "relu") -> Value:
    """ShuffleNetV2's own block: the two halves are shuffled after joining.

    With a stride, the projected branch keeps its channels and the main branch gives the rest, as in the
    authors' code.
    """
    if stride == 1:
        if x.channels != out or out % 2:
            raise SpaceError(f"a stride of 1 keeps an even number of channels, got {x.channels} and {out}")
        kept, main = split(x, [out // 2, out // 2])
    else:
        if out % 2 or out <= x.channels:
            raise SpaceError(f"a stride of 2 gives more channels, an even number, got {x.channels} and {out}")
        kept, main = _project(x, 3, act), x
    h = conv(main, out // 2, 1, act=act)
    h = conv(_depthwise(h, 3, stride), out - kept.channels, 1)
    return shuffle(concat(kept, activation(h, act)), 2)
