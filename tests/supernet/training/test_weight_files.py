import pickle

import pytest
import torch
from safetensors.torch import save_file

from nascli.errors import CheckpointError
from nascli.supernet.training.weight_files import read_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


def same(found):
    return found.keys() == TENSORS.keys() and all(torch.equal(found[k], v) for k, v in TENSORS.items())


def test_weights_are_read_however_training_scripts_write_them(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors"))
    documents = [
        TENSORS, {"state_dict": TENSORS, "epoch": 3}, {"model": TENSORS, "args": {"lr": 0.1}},
        {f"module.{name}": tensor for name, tensor in TENSORS.items()},
    ]  # fmt: skip
    for number, document in enumerate(documents):
        torch.save(document, tmp_path / f"{number}.pth")
        assert same(read_weights(tmp_path / f"{number}.pth"))


class Hostile:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (self.file, "w"))


def test_a_file_that_would_run_code_runs_none(tmp_path):
    trap = tmp_path / "was-here"
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Hostile(str(trap))))
    torch.save({"a": Hostile(str(trap))}, tmp_path / "b.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "c.pth", pickle_module=pickle)
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match=f"cannot read .*{name} as weights"):
            read_weights(tmp_path / name)
    assert not trap.exists() and list(read_weights(tmp_path / "c.pth")) == ["a"]


def test_files_that_are_no_weights_are_refused(tmp_path, monkeypatch):
    for name in ("x.safetensors", "x.pth"):
        with pytest.raises(CheckpointError, match="there is no such file"):
            read_weights(tmp_path / name)
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(CheckpointError, match="cannot read"):
            read_weights(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"from .safetensors, .pth, .pt files, not"):
        read_weights(tmp_path / "x.bin")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no weights, but list"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(CheckpointError, match=r"'epoch' is of the type int.\n.*state_dict"):
        read_weights(tmp_path / "epoch.pth")
    torch.save(TENSORS, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot read"):
        read_weights(tmp_path / "w.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(CheckpointError, match=r"torch 2.5.1\+cpu cannot read .* safely.\n.*2.6 or later"):
        read_weights(tmp_path / "w.pth")
