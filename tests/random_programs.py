"""Random programs of every primitive, for property tests."""

from hypothesis import strategies as st

from nascli.errors import SpaceError
from nascli.spaces import primitives as p
from nascli.spaces.primitives import ACTIVATIONS, BINARY_FUNCTIONS, Shape
from nascli.spaces.programs import Builder

PARAMETERS = {"leaky_relu": (0.125,), "elu": (0.5,), "clip": (-0.75, 1.5), "hsigmoid": (0.25, 0.375)}
SIZES = st.integers(1, 3)
PADS = st.tuples(*[st.integers(0, 2)] * 4)


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


@st.composite
def _convolutions(draw, x):
    groups = draw(st.sampled_from(divisors(x.channels)))
    out = groups * draw(SIZES)
    norm = draw(st.booleans())
    bias = not norm and draw(st.booleans())
    kernel = draw(st.tuples(SIZES, SIZES))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    if draw(st.booleans()):
        kernel = tuple(size + 1 - size % 2 for size in kernel)
        return p.Conv(out, kernel, stride, dilation, groups, norm, bias)
    return p.Conv(out, kernel, stride, dilation, groups, norm, bias, padding=draw(PADS))


@st.composite
def _transposed(draw, x):
    groups = draw(st.sampled_from(divisors(x.channels)))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    extra = tuple(draw(st.integers(0, s - 1)) for s in stride)
    norm = draw(st.booleans())
    # PyTorch and ONNX agree on output padding only where padding is the same on both sides.
    top, left = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    padding = draw(st.sampled_from([(top, left, top, left), (top, left, 0, 1)]))
    kernel = draw(st.tuples(SIZES, SIZES))
    return p.ConvTranspose(groups * draw(SIZES), kernel, stride, padding, extra, (1, 1), groups, norm)


@st.composite
def _pools(draw, x):
    mode = draw(st.sampled_from(["max", "avg"]))
    window = draw(st.tuples(SIZES, SIZES))
    pads = tuple(draw(st.integers(0, window[i % 2] - 1)) for i in range(4))
    stride = draw(st.tuples(SIZES, SIZES))
    if draw(st.booleans()):
        return p.Pool(mode, draw(st.sampled_from([1, 3])), draw(SIZES))
    return p.Pool(mode, window, stride, pads, mode == "avg" and draw(st.booleans()))


def _unary(draw, x):
    """Return strategies of the primitives of one value that suit a shape."""
    functions = st.sampled_from(sorted(ACTIVATIONS)).map(lambda f: p.Act(f, PARAMETERS.get(f, ())))
    found = [
        functions,
        _convolutions(x),
        _transposed(x),
        _pools(x),
        st.just(p.GlobalPool()),
        st.sampled_from([0.25, -1.0]).map(p.Gain),
        st.sampled_from([0.5, -1.0]).map(p.Shift),
        st.sampled_from(divisors(x.channels)).map(p.Shuffle),
        st.tuples(st.integers(1, 6), st.booleans()).map(lambda a: p.Dense(*a)),
        st.just(p.BatchNorm()),
        st.booleans().map(lambda bias: p.LayerNorm(1e-6, bias)),
        st.sampled_from(divisors(x.channels)).map(lambda groups: p.GroupNorm(groups, 1e-3)),
        st.sampled_from([p.ChannelScale(), p.ChannelBias(), p.PRelu(), p.PRelu(True)]),
        PADS.map(p.Pad),
        st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda size: p.Resize(*size)),
        st.tuples(st.integers(2, 8), st.integers(2, 8), st.just("bilinear"), st.booleans()).map(
            lambda a: p.Resize(*a)
        ),
        st.integers(0, x.channels - 1).flatmap(
            lambda start: st.integers(start + 1, x.channels).map(lambda stop: p.Split(start, stop))
        ),
    ]
    if x.channels % 4 == 0:
        found.append(st.booleans().map(lambda first: p.PixelShuffle(2, first)))
    if x.height % 2 == x.width % 2 == 0:
        found.append(st.booleans().map(lambda first: p.PixelUnshuffle(2, first)))
    return st.one_of(found)


@st.composite
def programs(draw, max_nodes=6):
    """Draw a program of up to `max_nodes` nodes of every primitive, of which some have several inputs."""
    shape = Shape(
        draw(st.sampled_from([1, 2, 4, 6, 8])), *draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    )
    builder = Builder(shape)
    value = 0
    for _ in range(draw(st.integers(1, max_nodes))):
        x = builder.shape_of(value)
        primitive = draw(_unary(draw, x))
        try:
            new = builder.append(primitive, (value,))
        except SpaceError:
            continue
        if builder.shape_of(new).size > 4096:
            builder.nodes.pop()
            continue
        value = _join(draw, builder, value, new)
    # What computes nothing, such as a shuffle in one group, is no network.
    value = builder.append(p.Act("tanh"), (value,))
    if draw(st.booleans()):
        pooled = builder.append(p.GlobalPool(), (value,))
        value = builder.append(p.Linear(3, draw(st.booleans())), (pooled,))
        value = builder.append(p.Act("relu"), (value,)) if draw(st.booleans()) else value
    return _pruned(builder.build(value))


def _join(draw, builder, before, new):
    """Join a value with an earlier one, sometimes, in one of the ways that suit their shapes."""
    x, y = builder.shape_of(before), builder.shape_of(new)
    if draw(st.booleans()):
        return new
    ways = [lambda: builder.append(p.Attention(draw(st.sampled_from(divisors(y.channels)))), (new, new, new))]
    if x == y:
        ways += [
            lambda: builder.append(p.Add(), (before, new)),
            lambda: builder.append(p.Binary(draw(st.sampled_from(BINARY_FUNCTIONS[:3]))), (new, before)),
            lambda: builder.append(p.Attention(1), (new, before, before)),
        ]
    if x[1:] == y[1:]:
        ways.append(lambda: builder.append(p.Concat(), (before, new)))
    if y == Shape(x.channels, 1, 1):
        ways.append(lambda: builder.append(p.Scale(), (before, new)))
    if y.channels == 1 and y[1:] == x[1:]:
        ways.append(lambda: builder.append(p.Binary("mul"), (before, new)))
    return draw(st.sampled_from(ways))()


def _pruned(program):
    """Return a program without nodes that its output does not need."""
    needed = {program.output}
    for value in range(len(program.nodes), 0, -1):
        if value in needed:
            needed.update(program.nodes[value - 1].inputs)
    numbers, builder = {0: 0}, Builder(program.input)
    for value, node in enumerate(program.nodes, 1):
        if value in needed:
            numbers[value] = builder.append(node.primitive, tuple(numbers[i] for i in node.inputs))
    return builder.build(numbers[program.output])
