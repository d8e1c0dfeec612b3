"""Small ONNX models in the text form of the onnx package."""

import numpy as np
import onnx
from onnx import numpy_helper, parser

HEAD = '<ir_version: {ir}, opset_import: ["" : {opset}{more}]> '


def model(text, weights=(), *, ir=10, opset=20, more=""):
    """A model from `g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }`; weights are arrays by name."""
    found = parser.parse_model(HEAD.format(ir=ir, opset=opset, more=more) + text)
    for name, array in dict(weights).items():
        found.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return found


def saved(path, text, weights=(), **versions):
    onnx.save(model(text, weights, **versions), path)
    return path


def floats(*dims, seed=0):
    return np.random.default_rng(seed).standard_normal(dims).astype(np.float32) * np.float32(0.3)


# Patches of an image, a class token, attention of two heads in the form of PyTorch's exporter, and a classifier.
TRANSFORMER = """g (float[1,3,8,8] x) => (float[1,5] y) {
    p = Conv <kernel_shape = [4, 4], strides = [4, 4]> (x, conv)
    flat = Reshape (p, to_flat)
    tokens = Transpose <perm = [0, 2, 1]> (flat)
    all = Concat <axis = 1> (class_token, tokens)
    placed = Add (all, positions)
    qkv = MatMul (placed, in_weight)
    apart = Reshape (qkv, to_heads)
    first = Transpose <perm = [2, 0, 3, 1, 4]> (apart)
    q4, k4, v4 = Split <axis = 0, num_outputs = 3> (first)
    q = Squeeze (q4, zero)
    k = Squeeze (k4, zero)
    v = Squeeze (v4, zero)
    kt = Transpose <perm = [0, 1, 3, 2]> (k)
    scores = MatMul (q, kt)
    weights = Softmax <axis = -1> (scores)
    mixed = MatMul (weights, v)
    back = Transpose <perm = [0, 2, 1, 3]> (mixed)
    joined = Reshape (back, to_joined)
    taken = Gather <axis = 1> (joined, index)
    y = Gemm (taken, out_weight, out_bias)
}"""


def transformer_weights():
    return {
        "conv": floats(6, 3, 4, 4),
        "to_flat": np.array([1, 6, 4]),
        "class_token": floats(1, 1, 6, seed=1),
        "positions": floats(1, 5, 6, seed=2),
        "in_weight": floats(6, 18, seed=3),
        "to_heads": np.array([1, 5, 3, 2, 3]),
        "zero": np.array([0]),
        "to_joined": np.array([1, 5, 6]),
        "index": np.array(0),
        "out_weight": floats(6, 5, seed=4),
        "out_bias": floats(5, seed=5),
    }


# MACs of one image, by hand: patches, queries with keys and values, scores, mixing, classifier.
TRANSFORMER_MACS = 6 * 4 * 48 + 5 * 6 * 18 + 2 * (2 * 5 * 5 * 3) + 6 * 5
