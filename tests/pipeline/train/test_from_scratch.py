import json

import pytest
from commanding import TINY
from trainings import Killed

from nascli.errors import DataError, RunError, UnknownNameError
from nascli.pipeline.train.from_scratch import CandidateTrainer, train_architecture
from nascli.progress import Silent
from nascli.search.run_folder import RunFolder
from nascli.spaces import Architecture, load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.training.recipe import Recipe

SPACE = load_space(TINY)
BITS = load_space("spos-resnet18-bits-mini:width=0.1,resolution=8")


def job(folder, space=SPACE, progress=None, **changes):
    file = folder / "a.json"
    if not file.exists():
        Architecture.of(space, [1] * len(space.layers), "mine").save(file)
    arguments = {"data": "digits", "recipe_name": "small", "epochs": 1, "batch": 2, "seed": 0, **changes}
    return train_architecture(file, out=folder / "out", progress=progress or Silent(), **arguments)


def test_an_architecture_is_trained_once_into_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        job(tmp_path, progress=Killed(3), epochs=2)
    result = job(tmp_path, epochs=2)
    assert result.low <= result.top1 <= result.high and result.export_max_difference < 1e-3
    assert result.validation_top1_by_epoch[-1] == result.validation_top1
    assert result.validation_top1_by_epoch[result.best_epoch - 1] == max(result.validation_top1_by_epoch)
    counts = SPACE.network([1] * len(SPACE.layers)).counts
    assert result.to_json() == {
        "space": SPACE.spec,
        "codes": [1] * len(SPACE.layers),
        "data": "digits",
        "top1": result.top1,
        "top1_interval": [result.low, result.high],
        "validation_top1": result.validation_top1,
        "validation_top1_by_epoch": list(result.validation_top1_by_epoch),
        "best_epoch": result.best_epoch,
        "macs": counts.macs,
        "params": counts.params,
        "export_max_difference": result.export_max_difference,
    }
    out = tmp_path / "out"
    assert json.loads((out / "training.json").read_text()) == result.to_json()
    for name in ("checkpoint.safetensors", "best.safetensors", "weights.safetensors", "model.onnx"):
        assert (out / name).stat().st_size > 0
    # Nothing is trained again: the first step would interrupt it.
    assert job(tmp_path, progress=Killed(1), epochs=2) == result
    with pytest.raises(RunError, match="other settings"):
        job(tmp_path, epochs=2, seed=3)


def test_a_network_at_low_bit_widths_has_no_onnx_model(tmp_path):
    result = job(tmp_path, BITS, recipe_name="counted")
    assert result.export_max_difference is None and "export_max_difference" not in result.to_json()
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"architecture.json", "weights.safetensors"} <= names and "model.onnx" not in names


def test_what_does_not_go_together_is_refused_before_the_training(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown recipe 'none'"):
        job(tmp_path, recipe_name="none")
    with pytest.raises(UnknownNameError, match="unknown data set"):
        job(tmp_path, data="nothing")
    with pytest.raises(DataError, match="the space takes"):
        (tmp_path / "a.json").unlink()
        job(tmp_path, load_space(f"{TINY},classes=7"))
    assert not (tmp_path / "out").exists()


def test_candidates_of_a_search_are_trained_into_its_folder(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        trainer = CandidateTrainer(load_images("digits", 8), Recipe(1, 64), 0, folder, Killed(30))
        choices = (1,) * len(SPACE.layers)
        trained = trainer.train(SPACE, choices, "first")
        assert trained.export_max_difference is None and not (tmp_path / "model.onnx").exists()
        # The same training, which is loaded, and handed over this time.
        exported = trainer.train_and_export(SPACE, choices, "first", 2)
    assert exported.export_max_difference < 1e-3
    assert (exported.top1, exported.low, exported.high) == (trained.top1, trained.low, trained.high)
    assert Architecture.load(tmp_path / "architecture.json").choices == choices
    assert (tmp_path / "model.onnx").stat().st_size > 0 and (tmp_path / "weights.safetensors").exists()
