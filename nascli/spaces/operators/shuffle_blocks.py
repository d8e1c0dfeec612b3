"""The block of ShuffleNetV2 (Ma et al. 2018), and the choice blocks that SPOS derives from it."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import Value, activation, concat, conv, shuffle, split
from nascli.spaces.operators.registry import operator


def _halves(x: Value) -> tuple[Value, Value]:
    if x.channels % 2:
        raise SpaceError(f"a stride of 1 splits the channels in half, got {x.channels}")
    # Even channels form one half and odd channels the other, as in the shuffle of SPOS.
    even, odd = split(shuffle(x, x.channels // 2), [x.channels // 2] * 2)
    return even, odd


def _project(x: Value, kernel: int, act: str) -> Value:
    h = conv(x, x.channels, kernel, stride=2, groups=x.channels)
    return conv(h, x.channels, 1, act=act)


def _depthwise(x: Value, kernel: int, stride: int = 1) -> Value:
    return conv(x, x.channels, kernel, stride=stride, groups=x.channels)


def _split_input(x: Value, out: int, stride: int, kernel: int, act: str) -> tuple[Value, Value, int]:
    """Return the shortcut, the input of the main branch, and the number of channels that the main branch gives."""
    if stride == 1:
        if x.channels != out:
            raise SpaceError(f"a stride of 1 keeps the channels, got {x.channels} and out={out}")
        shortcut, main = _halves(x)
        return shortcut, main, out - shortcut.channels
    if out <= x.channels:
        raise SpaceError(f"a stride of 2 adds channels, got {x.channels} and out={out}")
    return _project(x, kernel, act), x, out - x.channels


@operator
def choice(
    x: Value, out: int, *, kernel: int = 3, scale: float = 1.0, stride: int = 1, act: str = "relu"
) -> Value:
    """choice_3, choice_5, and choice_7 of SPOS. `scale` multiplies the middle channels (channel search)."""
    shortcut, main, rest = _split_input(x, out, stride, kernel, act)
    h = conv(main, _middle(out, scale), 1, act=act)
    h = conv(_depthwise(h, kernel, stride), rest, 1, act=act)
    return concat(shortcut, h)


@operator
def choice_x(x: Value, out: int, *, scale: float = 1.0, stride: int = 1, act: str = "relu") -> Value:
    """choice_x of SPOS, the Xception block: three depthwise 3x3, each followed by a 1x1."""
    shortcut, main, rest = _split_input(x, out, stride, 3, act)
    middle = _middle(out, scale)
    h = conv(_depthwise(main, 3, stride), middle, 1, act=act)
    h = conv(_depthwise(h, 3), middle, 1, act=act)
    h = conv(_depthwise(h, 3), rest, 1, act=act)
    return concat(shortcut, h)


def _middle(out: int, scale: float) -> int:
    # Scales such as 1.4 are not exact in binary; rounding first keeps the last channel of 116 * 1.4.
    return int(round(out // 2 * scale, 6))


@operator
def shufflenet_block(x: Value, out: int, *, stride: int = 1, act: str = "relu") -> Value:
    """The block of ShuffleNetV2, which shuffles the channels after concatenation.

    With a stride, the projected branch keeps its number of channels and the main branch gives the rest, as in the
    code of the authors.
    """
    if stride == 1:
        if x.channels != out or out % 2:
            raise SpaceError(f"a stride of 1 keeps an even number of channels, got {x.channels} and {out}")
        shortcut, main = split(x, [out // 2, out // 2])
    else:
        if out % 2 or out <= x.channels:
            raise SpaceError(f"a stride of 2 gives more channels, an even number, got {x.channels} and {out}")
        shortcut, main = _project(x, 3, act), x
    h = conv(main, out // 2, 1, act=act)
    h = conv(_depthwise(h, 3, stride), out - shortcut.channels, 1)
    return shuffle(concat(shortcut, activation(h, act)), 2)
