"""A small network as PyTorch exports it: conversions, counts, and batches, held against PyTorch and fvcore."""

import logging
import warnings

import numpy as np
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.running import run_model


class Small(nn.Module):
    """A patch stem, a class token, an attention layer, and a classifier; shapes are computed from the input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height * width).transpose(1, 2)
        x = torch.cat([self.token.expand(batch, -1, -1), x], 1)
        q, k, v = self.qkv(self.norm(x)).reshape(batch, -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, -1, channels))
        return self.head(x[:, 0])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module", params=[False, True], ids=["torchscript", "dynamo"])
def file(request, network, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "small.onnx"
    extra = {"external_data": False} if request.param else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = torch.randn(1, 3, 8, 8)
        torch.onnx.export(
            network, (image,), str(path), dynamo=request.param, input_names=["x"], verbose=False, **extra
        )
    return path


def test_counts_equal_fvcore_s(file, network):
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_operator = FlopCountAnalysis(network, torch.zeros(1, 3, 8, 8)).by_operator()
    macs, params, _ = count_onnx(file)
    assert macs == sum(by_operator[name] for name in ("conv", "linear", "matmul"))
    assert params == sum(parameter.numel() for parameter in network.parameters())


def test_folding_changes_neither_counts_nor_outputs(file, network):
    model = load_model(file)
    folded = fold_constants(model)
    assert folded.macs == model.macs
    # No shape is computed any more.
    assert not {"Shape", "Constant", "ConstantOfShape"} & {node.op_type for node in folded.proto.graph.node}
    images = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        wanted = network(images).numpy()
    for data in (model.data, folded.data):
        (output,) = run_model(data, {"x": images.numpy()}).values()
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [2, 6])
def test_it_is_had_at_another_batch(file, network, batch):
    model = load_model(file, batch=batch)
    assert model.batch == batch and model.macs == batch * load_model(file).macs
    images = torch.randn(batch, 3, 8, 8)
    (output,) = run_model(model.data, {"x": images.numpy()}).values()
    with torch.inference_mode():
        np.testing.assert_allclose(output, network(images).numpy(), rtol=1e-4, atol=1e-5)
