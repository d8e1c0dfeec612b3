"""Modules as PyTorch's two exporters write them: read as primitives, and computed again with the weights of the file."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.networks import read_onnx_weights
from nascli.supernet.modules import ProgramModule, load_exported_weights


class Lambda(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.first, self.second = nn.Linear(channels, 32), nn.Linear(32, channels)
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x):
        h = self.norm(self.conv(x).permute(0, 2, 3, 1))
        h = self.gamma * self.second(F.gelu(self.first(h)))
        return x + h.permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """Self-attention over tokens, with queries, keys, and values from one layer."""

    def __init__(self, channels, heads, fused):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.heads, self.fused = heads, fused

    def forward(self, x):
        batch, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm(tokens)).reshape(
            batch, height * width, 3, self.heads, channels // self.heads
        )
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            h = F.scaled_dot_product_attention(q, k, v)
        else:
            h = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        tokens = tokens + self.out(h.transpose(1, 2).reshape(batch, height * width, channels))
        return tokens.transpose(1, 2).reshape(batch, channels, height, width)


def attention_of_images(x, q, k, v):
    q, k, v = (part(x).flatten(2).unflatten(1, (2, 4)) for part in (q, k, v))
    scores = (q.transpose(-2, -1) @ k * 0.5).softmax(-1)
    return (v @ scores.transpose(-2, -1)).reshape(x.shape)


def shuffle(x):
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


def flat_shuffle(x):
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height * width).transpose(1, 2).reshape(x.shape)


def space_to_depth(x):
    batch, channels, height, width = x.shape
    h = x.view(batch, channels, height // 2, 2, width // 2, 2)
    return h.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * 4, height // 2, width // 2)


def halves(x):
    a, b = x.chunk(2, dim=1)
    return torch.cat([b, a * torch.sigmoid(b)], 1)


def interpolate(**arguments):
    return Lambda(lambda x: F.interpolate(x, **arguments))


# Each with the kinds of the primitives that are to be read; None where the two exporters write them differently.
MODULES = {
    "valid padding": (nn.Conv2d(8, 6, 3, 2), "conv"),
    "patches": (nn.Conv2d(8, 6, 4, 4), "conv"),
    "padding as in TensorFlow": (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 6, 3, 2)), "conv"),
    "padding for two": (
        Lambda(lambda x, p, c: c(p(x)) + F.max_pool2d(p(x), 3, 2)[:, :6], nn.ZeroPad2d(1), nn.Conv2d(8, 6, 3, 2)),
        None,
    ),
    "pool 2x2": (nn.MaxPool2d(2), "pool"),
    "pool 3x2": (nn.MaxPool2d((3, 2), (2, 1)), "pool"),
    "pool beyond the end": (nn.MaxPool2d(3, 2, ceil_mode=True), "pool"),
    "average beyond the end": (nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), "pool"),
    "average with padding": (nn.AvgPool2d(3, 1, 1), "pool"),
    "global": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)), "global_pool linear"),
    "norm first": (nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)), "batch_norm act conv"),
    "norm behind": (nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)), "conv"),
    "norm behind, transposed": (
        nn.Sequential(nn.ConvTranspose2d(8, 4, 2, 2, groups=2), nn.BatchNorm2d(4)), "conv_transpose",
    ),
    "norm of two readers": (
        Lambda(lambda x, c, n: n(h := c(x)) + h, nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)), "conv batch_norm add",
    ),
    "layer norm": (LayerNorm2d(8), "layer_norm"),
    "group norm": (nn.GroupNorm(4, 8), "group_norm"),
    "instance norm": (nn.InstanceNorm2d(8, affine=True), "group_norm"),
    "gelu": (nn.GELU(), "act"),
    "gelu with tanh": (nn.GELU(approximate="tanh"), None),
    "leaky": (nn.LeakyReLU(0.1), "act"),
    "prelu": (nn.PReLU(8), "prelu"),
    "prelu, one slope": (nn.PReLU(), "prelu"),
    "elu": (nn.ELU(0.5), "act"),
    "selu": (nn.SELU(), "act"),
    "silu": (nn.SiLU(), "act"),
    "mish": (nn.Mish(), "act"),
    "softplus": (nn.Softplus(), "act"),
    "tanh": (nn.Tanh(), "act"),
    "hardswish": (nn.Hardswish(), "act"),
    "hardsigmoid": (nn.Hardsigmoid(), "act"),
    "relu6": (nn.ReLU6(), "act"),
    "hardtanh": (nn.Hardtanh(-0.5, 0.75), "act"),
    "scalars": (Lambda(lambda x: (x + 3) * 0.5 - 1), "shift gain shift"),
    "two values": (Lambda(lambda x, c: (x - c(x)) * x, nn.Conv2d(8, 8, 1)), "conv binary binary"),
    "spatial gate": (Lambda(lambda x, c: x * torch.sigmoid(c(x)), nn.Conv2d(8, 1, 1)), "conv act binary"),
    "halves": (Lambda(halves), None),
    "shuffle": (Lambda(shuffle), "shuffle"),
    "shuffle, flat": (Lambda(flat_shuffle), "shuffle"),
    "channel shuffle": (nn.ChannelShuffle(4), "shuffle"),
    "pixel shuffle": (nn.PixelShuffle(2), "pixel_shuffle"),
    "pixel unshuffle": (nn.PixelUnshuffle(2), "pixel_unshuffle"),
    "space to depth": (Lambda(space_to_depth), "pixel_unshuffle"),
    "upsample": (interpolate(scale_factor=2), "resize"),
    "upsample to a size": (interpolate(size=(9, 21)), "resize"),
    "bilinear": (interpolate(scale_factor=2, mode="bilinear"), "resize"),
    "bilinear, corners": (interpolate(size=(9, 21), mode="bilinear", align_corners=True), "resize"),
    "transposed": (nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1, groups=2), "conv_transpose"),
    "ConvNeXt": (ConvNextBlock(8), "conv layer_norm dense act dense channel_scale add"),
    "attention": (Tokens(8, 2, fused=False), None),
    "attention, fused": (Tokens(8, 2, fused=True), None),
    "attention of images": (
        Lambda(attention_of_images, *(nn.Conv2d(8, 8, 1) for _ in range(3))), "conv conv conv attention",
    ),
    "gate by linear layers": (
        Lambda(
            lambda x, a, b: x * torch.sigmoid(b(F.relu(a(x.mean((2, 3))))))[:, :, None, None],
            nn.Linear(8, 4), nn.Linear(4, 8),
        ),
        "global_pool dense act dense act scale",
    ),
}  # fmt: skip


# The newer exporter takes half a second for a module, and writes most of them as the older one does.
NEW_ONLY = ("channel shuffle",)
BOTH = (
    *NEW_ONLY, "padding as in TensorFlow", "norm behind, transposed", "group norm", "softplus", "mish", "halves",
    "pixel unshuffle", "bilinear", "ConvNeXt", "attention, fused", "gate by linear layers",
)  # fmt: skip


def run(model, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "name, dynamo", [*((n, False) for n in MODULES if n not in NEW_ONLY), *((n, True) for n in BOTH)]
)
def test_a_module_is_read_with_its_weights(tmp_path, name, dynamo):
    module, kinds = MODULES[name]
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 8, 6, 14)
    path = tmp_path / "m.onnx"
    extra = {"external_data": False} if dynamo else {}
    torch.onnx.export(module.eval(), (x,), path, dynamo=dynamo, verbose=False, **extra)
    network, weights = read_onnx_weights(path)
    if kinds is not None:
        assert [node.primitive.kind for node in network.program.nodes] == kinds.split()
    assert network.counts.macs == count_onnx(path)[0]
    with torch.inference_mode():
        expected = module(x).numpy()
    assert np.abs(run(onnx_bytes(network.program, 2, weights), x.numpy()) - expected).max() < 1e-4
    again = ProgramModule(network.program).eval()
    load_exported_weights([again], weights)
    with torch.inference_mode():
        assert np.abs(again(x).numpy() - expected).max() < 1e-4
