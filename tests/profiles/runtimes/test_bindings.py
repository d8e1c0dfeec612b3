"""Every name that the code for cards uses exists in the real bindings, which load without a card.

TensorRT's Python bindings are real wheels, but need three libraries that are not to be had here. Empty ones, compiled
in the test, let them be imported, so that classes, enums, methods and their parameters can be looked up.
"""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nascli
from nascli.profiles.cuda import with_cuda_core, with_torch
from nascli.profiles.devices import cards, clocks

TENSORRT = Path(nascli.__file__).parent / "profiles" / "runtimes" / "tensorrt"
BINDINGS = {"10": ("tensorrt-cu12-bindings", "10.16.1.11"), "11": ("tensorrt-cu13-bindings", "11.4.0.106")}
SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
# Which class of TensorRT the names in our code stand for.
CLASSES = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "known": "ITimingCache", "engine": "ICudaEngine", "_context": "IExecutionContext",
    "context": "IExecutionContext", "_runtime": "Runtime",
}  # fmt: skip
RETURNS = {
    "get_timing_cache": "ITimingCache",
    "create_engine_inspector": "EngineInspector",
    "get_error": "ParserError",
}
OURS = {
    "engine": {
        "input",
        "inputs",
        "output",
        "result",
        "enqueue",
        "close",
        "shape",
        "dtype",
        "layer_seconds",
        "engine",
    }
}


def chain(node):
    """['trt', 'BuilderFlag', 'TF32'] of an attribute's expression; None where it is not that plain."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RETURNS:
        return [RETURNS[node.func.attr], *reversed(parts)]
    if isinstance(node, ast.Name):
        return [node.id, *reversed(parts)]
    return None


def used_names():
    """Paths below the TensorRT module that our two files use, with how many arguments they are called with."""
    found = {}
    for name in ("runtime.py", "engine.py"):
        tree = ast.parse((TENSORRT / name).read_text())
        calls = {
            id(node.func): len(node.args) + len(node.keywords)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            parts = chain(node)
            if parts is None:
                continue
            parts = [p for p in parts if p not in ("self", "_engines")]
            if parts[:1] == ["_trt"]:
                parts[0] = "trt"
            if parts and parts[0] == "trt" and len(parts) > 1:
                path = ".".join(parts[1:])
            elif len(parts) > 1 and parts[0] in RETURNS.values():
                path = ".".join(parts[:2])
            elif len(parts) == 2 and parts[0] in CLASSES and parts[1] not in OURS.get(parts[0], ()):
                path = f"{CLASSES[parts[0]]}.{parts[1]}"
            else:
                continue
            found.setdefault(path, set()).add(calls.get(id(node)))
    return {path: sorted(c for c in counts if c is not None) for path, counts in found.items()}


LOOK = """
import json, sys
import tensorrt_bindings as trt
wanted = json.load(sys.stdin)
answer = {}
for path in wanted:
    thing = trt
    try:
        for part in path.split("."):
            thing = getattr(thing, part)
        answer[path] = (thing.__doc__ or "") if callable(thing) else ""
    except AttributeError:
        answer[path] = None
print(json.dumps([trt.__version__, answer]))
"""


def test_the_scan_sees_what_the_code_uses():
    names = used_names()
    assert {
        "BuilderFlag.TF32", "Builder.build_serialized_network", "OnnxParser.parse", "ITimingCache.serialize",
        "IBuilderConfig.avg_timing_iterations", "IExecutionContext.execute_async_v3", "ICudaEngine.num_io_tensors",
        "EngineInspector.get_engine_information", "Runtime.deserialize_cuda_engine", "ParserError.desc",
        "IExecutionContext.set_tensor_address", "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    } <= set(names)  # fmt: skip
    assert names["IBuilderConfig.set_timing_cache"] == [2]


@pytest.fixture(scope="module", params=sorted(BINDINGS))
def answer(request, tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the empty libraries")
    folder = tmp_path_factory.mktemp(f"trt{request.param}")
    package, version = BINDINGS[request.param]
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), f"{package}=={version}"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"{package} {version} cannot be had: {fetched.stderr[-200:]}")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        target = folder / f"lib{library}.so.{request.param}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(target), str(source)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        input=json.dumps([*used_names(), "BuilderFlag.NO_SUCH_FLAG"]),
        capture_output=True, text=True, check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found_version, names = json.loads(done.stdout)
    assert found_version == version
    return names


def test_every_name_of_tensorrt_exists(answer):
    assert answer.pop("BuilderFlag.NO_SUCH_FLAG") is None
    assert [path for path, doc in answer.items() if doc is None] == []


def test_every_call_of_tensorrt_fits_its_signature(answer):
    checked = 0
    for path, counts in used_names().items():
        signature = re.match(r"\w+\((self[^,)]*, )?(.*)\) ->", answer[path] or "")
        # Constructors and functions with overloads give no single signature.
        if signature is None or "*args" in signature[2] or path.endswith("__init__"):
            continue
        parameters = [p for p in signature[2].split(", ") if p and not p.startswith("self")]
        needed = sum("=" not in p for p in parameters)
        for count in counts:
            checked += 1
            assert needed <= count <= len(parameters), f"{path} takes {parameters}, called with {count}"
    assert checked >= 10


def test_every_name_of_nvml_exists():
    pynvml = pytest.importorskip("pynvml")
    text = inspect.getsource(cards) + inspect.getsource(clocks)
    names = set(re.findall(r"library\.(nvml\w+|NVML\w+)", text))
    assert len(names) > 20
    assert [name for name in sorted(names) if not hasattr(pynvml, name)] == []
    # Bits that we name mean what the library says.
    for bit, name in ((0x4, "SwPowerCap"), (0x8, "HwSlowdown"), (0x20, "SwThermalSlowdown"), (0x40, "HwThermalSlowdown"), (0x80, "HwPowerBrakeSlowdown"), (0x10, "SyncBoost")):  # fmt: skip
        assert getattr(pynvml, f"nvmlClocksThrottleReason{name}") == bit and bit in cards.SLOWING
    for call in ("nvmlDeviceGetTemperature", "nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetDefaultApplicationsClock", "nvmlDeviceGetMigDeviceHandleByIndex"):  # fmt: skip
        assert len(inspect.signature(getattr(pynvml, call)).parameters) == 2
    for call in ("nvmlDeviceSetGpuLockedClocks", "nvmlDeviceSetApplicationsClocks"):
        assert len(inspect.signature(getattr(pynvml, call)).parameters) == 3
    assert issubclass(pynvml.NVMLError_NotSupported, pynvml.NVMLError)


def test_every_name_of_cuda_core_exists():
    core = pytest.importorskip("cuda.core", exc_type=ImportError)
    from cuda.core import graph

    used = set(re.findall(r"\.(\w+)\(", inspect.getsource(with_cuda_core)))
    classes = [
        core.Device,
        core.Stream,
        core.Event,
        core.Buffer,
        core.LegacyPinnedMemoryResource,
        graph.GraphBuilder,
        graph.Graph,
    ]
    known = {name for one in classes for name in dir(one)}
    ours = {
        "append",
        "asarray",
        "ascontiguousarray",
        "as_array",
        "from_address",
        "frombuffer",
        "reshape",
        "tobytes",
        "_pinned_buffer",
    }
    assert used - ours <= known, used - ours - known
    assert {"create_stream", "create_event", "allocate", "create_graph_builder", "set_current"} <= set(
        dir(core.Device)
    )
    assert {"record", "sync", "handle"} <= set(dir(core.Stream)) and "is_done" in dir(core.Event)
    assert {"begin_building", "end_building", "complete", "stream"} <= set(dir(graph.GraphBuilder))
    assert {"handle", "copy_from", "copy_to", "close"} <= set(dir(core.Buffer)) and "launch" in dir(
        graph.Graph
    )
    assert core.EventOptions(timing_enabled=True).timing_enabled is True


def test_every_name_of_torch_exists():
    import torch

    used = set(re.findall(r"torch\.cuda\.(\w+)", inspect.getsource(with_torch)))
    assert {"Stream", "Event", "CUDAGraph", "graph", "stream", "synchronize", "set_device"} <= used
    assert [name for name in used if not hasattr(torch.cuda, name)] == []
    assert {"record", "query", "elapsed_time"} <= set(dir(torch.cuda.Event))
    assert {"cuda_stream", "synchronize"} <= set(dir(torch.cuda.Stream)) and hasattr(
        torch.cuda.CUDAGraph, "replay"
    )
