import numpy as np
import pytest
import torch

from nascli.errors import CheckpointError
from nascli.pipeline.space_search import learn_cells
from nascli.progress import Silent
from nascli.search.autospace import AutoSpace
from nascli.spaces import load_space
from nascli.spaces.definitions.cells import cell_of
from nascli.supernet.cells import CellSupernet
from nascli.supernet.data import load
from nascli.supernet.recipe import Recipe

SPACE = load_space("autospace-mini:width=0.25,resolution=8")
SETTINGS = AutoSpace(
    cells=3, population=12, first_team=2, last_team=6, warmup=1, evolution=2, frequency=5, reference_epochs=1
)


def supernet():
    torch.manual_seed(0)
    layers = [
        [
            cell_of(layer.input, layer.output.channels, -(-layer.input.height // layer.output.height), g)
            for g in GENES
        ]
        for layer in SPACE.layers
    ]
    return CellSupernet(SPACE.fixed[0][1], layers, SPACE.fixed[-1][1]), layers


GENES = [(1, 0, 2, 0, 0, 1, 1, 0), (1, 0, 3, 0, 0, 1, 1, 0), (1, 0, 4, 0, 0, 1, 1, 0)]


def test_a_gate_is_one_and_carries_the_gradient_along_the_output():
    net, _ = supernet()
    net.eval()
    net.set_fitness(np.array([[0.5, 0.0, -0.5]] * len(SPACE.layers)))
    x = torch.randn(2, 1, 8, 8)
    code = [0] * len(SPACE.layers)
    plain = x
    for block in (net.stem, *(cells[0] for cells in net.layers), net.head):
        plain = block(plain)
    out = net(x, code)
    assert torch.allclose(out, plain)
    out.square().mean().backward()
    given = net.gradients()
    p = torch.softmax(torch.tensor([0.5, 0.0, -0.5]), 0).double().numpy()
    # d log p_0 / d alpha = (1 - p_0, -p_1, -p_2), whatever the common factor is.
    expected = np.array([1 - p[0], -p[1], -p[2]])
    for row in given:
        factor = row[0] / expected[0]
        assert np.allclose(row, factor * expected, atol=1e-6)
    assert not net.gradients().any()


def test_cells_that_stay_keep_their_weights():
    net, layers = supernet()
    kept = net.layers[2][1]
    fresh = cell_of(
        *[(lay.input, lay.output.channels) for lay in SPACE.layers][2], 1, (1, 2, 0, 0, 1, 1, 1, 0)
    )
    net.replace(2, [layers[2][1], fresh, layers[2][0]])
    assert net.layers[2][0] is kept and net.layers[2][2].program.canonical == layers[2][0].program.canonical
    assert net(torch.randn(2, 1, 8, 8), [0, 0, 1, 0, 0, 0, 0]).shape == (2, 10)


def test_learning_cells_resumes_to_the_same_space(tmp_path):
    images = load("digits", 8)

    def job(file, progress):
        return learn_cells(SPACE, images, SETTINGS, Recipe(1, 128), seed=0, file=file, progress=progress)

    class Killed(Silent):
        def __init__(self, after):
            self.left = after

        def advance(self, steps=1, note=""):
            self.left -= steps if note else 0
            if self.left <= 0:
                raise KeyboardInterrupt

    whole = job(tmp_path / "a", Silent())
    with pytest.raises(KeyboardInterrupt):
        job(tmp_path / "b", Killed(13))
    again = job(tmp_path / "b", Silent())
    assert again.text == whole.text and again.fitness == whole.fitness and again.history == whole.history
    assert len(whole.history) >= 2 and all(1 <= len(cells) <= 3 for cells in whole.cells)
    learned = load_space(f"autospace-mini:width=0.25,resolution=8,cells={whole.text}")
    assert learned.size > 1
    with pytest.raises(CheckpointError, match="other settings"):
        learn_cells(SPACE, images, SETTINGS, Recipe(1, 128), seed=1, file=tmp_path / "b", progress=Silent())
