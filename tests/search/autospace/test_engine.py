from dataclasses import replace

import numpy as np
import pytest

from nascli.errors import CheckpointError
from nascli.progress import Silent
from nascli.search.autospace.engine import learn_cells
from nascli.search.autospace.search import canonical_cells, cell_macs, is_connected
from nascli.search.autospace.settings import AutoSpaceSettings
from nascli.spaces import load_space
from nascli.spaces.operators.dag_cell import REFERENCE
from nascli.supernet.data.images import load_images
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.recipe import Recipe

SPACE = load_space("autospace-mini:width=0.25,resolution=8")
SETTINGS = AutoSpaceSettings(
    cells=3, population=12, first_team=2, last_team=6, warmup=1, evolution=2, frequency=5, reference_epochs=1
)


PLACES = [
    (layer.input, layer.output.channels, -(-layer.input.height // layer.output.height))
    for layer in SPACE.layers
]


def test_evolution_judges_all_in_the_warm_up_and_finds_cells_that_hold(tmp_path):
    images = load_images("digits", 8)
    settings = replace(SETTINGS, warmup=3, mutants=0.5)
    file = tmp_path / "state"
    learned = learn_cells(SPACE, images, settings, Recipe(1, 128), seed=0, file=file, progress=Silent())
    state = load_checkpoint(file)[0]
    seen, cells, squares = state["state/seen"], state["state/cells"].numpy(), state["state/squares"]
    # 33 iterations of warm-up, 5 at a time with 3 of 12 cells: four turns judge all.
    assert float(seen.min()) > 0 and float(squares[:, 0].min()) > 0
    for layer, (shape, out, stride) in enumerate(PLACES):
        reference = np.array([[*REFERENCE, 1, 0]], dtype=np.int8)
        most = settings.most_madds * cell_macs(reference, shape, out, stride)[0]
        assert (cell_macs(canonical_cells(cells[layer]), shape, out, stride) <= most).all()
        assert is_connected(cells[layer]).all()
        found = learned.cells[layer]
        assert len({tuple(c) for c in canonical_cells(found).tolist()}) == len(found) == 3
    # Without its weights or its compensation, the same seed finds another space: neither is without effect.
    for other in (replace(settings, keep_weights=False), replace(settings, compensation="none")):
        again = learn_cells(SPACE, images, other, Recipe(1, 128), seed=0, file=None, progress=Silent())
        assert again.fitness != learned.fitness


def test_learning_cells_resumes_to_the_same_space(tmp_path):
    images = load_images("digits", 8)

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
