import numpy as np
import pytest
import torch

from nascli.progress import Silent
from nascli.search.autospace.cell_supernet import CellSupernet
from nascli.search.autospace.search import is_connected
from nascli.spaces import load_space
from nascli.spaces.builtin.cells import cell_of
from nascli.spaces.operators.dag_cell import roles
from nascli.spaces.primitives import Shape
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.data.batches import EndlessBatches
from nascli.supernet.data.images import load_images
from nascli.supernet.differentiable import draw_pairs, frozen_weights, paired_forward
from nascli.supernet.modules import ProgramModule
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

SPACE = load_space("autospace-mini:width=0.25,resolution=8")
GENES = [(1, 0, 2, 0, 0, 1, 1, 0), (1, 0, 3, 0, 0, 1, 1, 0), (1, 0, 4, 0, 0, 1, 1, 0)]
PLACES = [
    (layer.input, layer.output.channels, -(-layer.input.height // layer.output.height))
    for layer in SPACE.layers
]


def supernet():
    torch.manual_seed(0)
    return CellSupernet(SPACE.fixed[0].operator, PLACES, [GENES] * len(PLACES), SPACE.fixed[-1].operator)


def random_genes(n, seed):
    rng = np.random.default_rng(seed)
    cells = np.concatenate(
        [rng.integers(0, 6, (n, 6)), rng.integers(0, 3, (n, 1)), rng.integers(0, 2, (n, 1))], axis=1
    ).astype(np.int8)
    return [tuple(map(int, row)) for row in cells[is_connected(cells)]]


@pytest.mark.parametrize("seed", range(3))
def test_roles_name_each_convolution_of_a_cell_in_its_order(seed):
    for stride, out in ((1, 8), (1, 12), (2, 12)):
        for genes in random_genes(40, seed):
            module = ProgramModule(cell_of(Shape(8, 6, 6), out, stride, genes).program)
            convs = [m.conv for m in module.children() if isinstance(m, NormalisedConv)]
            named = roles(8, out, genes[:6], genes[6], 6, "concat" if genes[7] else "add")
            assert len(named) == len(convs) and len(set(named)) == len(named)
            for (role, _), conv in zip(named, convs, strict=True):
                assert (conv.groups > 1) == role.startswith("dw")
                if role.startswith("dw"):
                    assert conv.kernel_size == (int(role[2:]),) * 2


def test_cells_that_stay_keep_their_weights_and_others_inherit_what_fits():
    net = supernet()
    kept, parent = net.layers[2][1], net.layers[2][0]
    for p in parent.parameters():
        torch.nn.init.normal_(p)
    # The parent's depthwise 3x3 becomes a 7x7, which the third cell had; its two 1x1 stay what they are.
    child = (1, 0, 2, 0, 5, 1, 1, 0)
    others = [list(GENES) for _ in PLACES]
    others[2] = [GENES[1], child]
    net.replace(others, keep=True)
    assert net.layers[2][0] is kept and len(net.layers[2]) == 2
    new = [m.conv.weight for m in net.layers[2][1].children() if isinstance(m, NormalisedConv)]
    old = [m.conv.weight for m in parent.children() if isinstance(m, NormalisedConv)]
    banked = {name.split("|")[1] for name in net.bank if name.startswith("2|")}
    assert banked == {"1x1", "dw3", "dw5", "dw7"}
    # Of a role that several cells had, the last one's counts.
    last = [m.conv.weight for m in supernet().layers[2][2].children() if isinstance(m, NormalisedConv)]
    assert torch.equal(new[1], old[1]) and new[0].shape == last[0].shape
    assert net(torch.randn(2, 1, 8, 8), [0, 0, 1, 0, 0, 0, 0]).shape == (2, 10)
    # A cell that comes back has what it knew.
    known = [p.detach().clone() for p in net.layers[2][1].parameters()]
    net.replace([list(GENES) for _ in PLACES], keep=True)
    net.replace(others, keep=True)
    assert all(torch.equal(a, b) for a, b in zip(known, net.layers[2][1].parameters(), strict=True))


def test_two_of_the_same_cell_both_inherit():
    net = supernet()
    for p in net.layers[2][1].parameters():
        torch.nn.init.normal_(p)
    twice = [list(GENES) for _ in PLACES]
    twice[2] = [GENES[1], GENES[1], GENES[0]]
    for _ in range(2):
        net.replace(twice, keep=True)
        first, second = net.layers[2][0], net.layers[2][1]
        assert first is not second
        # The 5x5 is this cell's alone; its 1x1 are those of whichever cell left them last.
        depthwise = [
            [m.conv.weight for m in cell.children() if isinstance(m, NormalisedConv)][1]
            for cell in (first, second)
        ]
        assert torch.equal(*depthwise)


@pytest.mark.parametrize("noise", range(3))
def test_a_better_cell_gains_fitness_and_a_worse_one_loses(noise):
    """Cells of a trained supernet, one of which is made to answer with noise: the gradients must tell.

    Only layers that change the shape: no residual carries the signal around them, and so shallow a net has learned
    enough in seconds for its gradients to mean something.
    """
    images = load_images("digits", 8)
    places = [place for place in PLACES if place[0].channels != place[1] or place[2] != 1]
    torch.manual_seed(0)
    net = CellSupernet(SPACE.fixed[0].operator, places, [GENES] * len(places), SPACE.fixed[-1].operator)
    trainer = Trainer(
        net, images.train, Recipe(6, 64, floor=0.1), seed=0,
        path_of_step=lambda step: np.random.default_rng(step).integers(0, 3, len(places)).tolist(),
    )  # fmt: skip
    trainer.run(None, "", Silent(), "")
    generator = torch.Generator().manual_seed(noise)
    for p in net.layers[1][1].parameters():
        torch.nn.init.normal_(p, std=0.5, generator=generator)
    thetas = [torch.zeros(3, requires_grad=True) for _ in places]
    for number in range(40):
        x, y = EndlessBatches(images.validation, 64, seed=1, stream=2).at(number)
        with frozen_weights(net):
            pairs = draw_pairs(thetas, np.random.default_rng(number))
            torch.nn.functional.cross_entropy(paired_forward(net.blocks, x, pairs, thetas), y).backward()
    # Fitness moves against the gradient.
    moved = (-thetas[1].grad).tolist()
    assert moved[1] < 0 < min(moved[0], moved[2])
    assert all(float(theta.grad.abs().sum()) > 0 for theta in thetas)
