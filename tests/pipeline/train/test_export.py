"""Every format against the network, without a training: random weights export as well."""

import pytest
import torch
from commanding import TINY
from safetensors.torch import load_file

from nascli.errors import (
    ArchitectureError,
    CheckpointError,
    ConstraintError,
    InfeasibleError,
    NascliError,
    RuntimeUnavailableError,
    SpaceError,
    UnknownNameError,
)
from nascli.execution import Execution
from nascli.lut import Measurement
from nascli.pipeline.train import export
from nascli.pipeline.train.export import (
    ExportLatency,
    ExportResult,
    export_architecture,
    measure_export,
    parse_latency_bounds,
    save_network,
)
from nascli.profiles.runtimes.tensorrt.runtime import TensorRt
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import Architecture, load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import network_module
from nascli.supernet.training.checkpoint import save_weights

SPEC = TargetSpec(batch=2)


def random_network(architecture):
    torch.manual_seed(0)
    return network_module([operator.program for operator in architecture.network.operators]).eval()


@pytest.fixture
def architecture():
    space = load_space(TINY)
    return Architecture.of(space, [1] * len(space.layers), "mine")


@pytest.fixture
def exported(tmp_path, architecture):
    """A function that exports a network of random weights."""
    file, weights = tmp_path / "a.json", tmp_path / "w.safetensors"
    architecture.save(file)
    save_weights(random_network(architecture), weights)

    def job(form, out, weights=weights, spec=SPEC):
        return export_architecture(
            file, weights, form, tmp_path / out, spec=spec, execution=Execution(store=tmp_path / "s")
        )

    return job


@pytest.mark.parametrize(("form", "name"), [("onnx", "m.onnx"), ("pt2", "m.pt2"), ("python", "net.py")])
def test_every_format_computes_the_network(exported, tmp_path, form, name):
    result = exported(form, name)
    assert result.format == form and result.files[0] == tmp_path / name
    assert 0 <= result.max_difference < 1e-3 and all(file.stat().st_size > 0 for file in result.files)
    assert result.to_json() == {
        "files": [str(file) for file in result.files],
        "format": form,
        "largest_difference": result.max_difference,
    }
    if form == "python":
        assert result.files[1] == tmp_path / "net.safetensors" and load_file(result.files[1])
        assert "nascli" not in result.files[0].read_text()
    else:
        assert len(result.files) == 1


def test_what_cannot_be_exported_is_refused_before_anything_is_written(exported, tmp_path, monkeypatch):
    before = set(tmp_path.iterdir())
    with pytest.raises(UnknownNameError, match="caffe"):
        exported("caffe", "x")
    with pytest.raises(ArchitectureError, match=r"end in \.py"):
        exported("python", "net.txt")
    with pytest.raises(CheckpointError, match="no weights of this architecture"):
        exported("onnx", "x.onnx", weights=tmp_path / "a.json")
    monkeypatch.setattr(TensorRt, "missing", lambda self: "there is no card")
    with pytest.raises(RuntimeUnavailableError, match="does not work here: there is no card"):
        exported("tensorrt", "x.engine")
    monkeypatch.setattr(TensorRt, "missing", lambda self: None)
    with pytest.raises(RuntimeUnavailableError, match="fp32 or tf32, not fp16"):
        exported("tensorrt", "x.engine", spec=TargetSpec(batch=2, precision="fp16"))
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_model_that_computes_something_else_is_refused(
    exported, architecture, tmp_path, monkeypatch, error
):
    monkeypatch.setattr(export, "run_onnx", lambda model, inputs: torch.full((len(inputs), 10), error))
    with pytest.raises(ArchitectureError, match="differs from the trained one"):
        exported("onnx", "m.onnx")
    folder = tmp_path / "folder"
    with pytest.raises(NascliError, match="differs from the trained one"):
        save_network(architecture, list(random_network(architecture)), folder, 2, load_images("digits", 8))
    assert not folder.exists()


def test_a_run_s_end_writes_three_files(architecture, tmp_path):
    images, blocks = load_images("digits", 8), list(random_network(architecture))
    # A batch larger than the validation part repeats its images.
    for batch in (2, 400):
        assert 0 <= save_network(architecture, blocks, tmp_path / str(batch), batch, images) < 1e-3
        names = {file.name for file in (tmp_path / str(batch)).iterdir()}
        assert names == {"architecture.json", "model.onnx", "weights.safetensors"}


def test_low_bit_widths_have_no_onnx_model(tmp_path):
    space = load_space("spos-resnet18-bits-mini:width=0.1,resolution=8")
    architecture = Architecture.of(space, [0] * len(space.layers), "bits")
    with pytest.raises(SpaceError, match="cannot be exported to ONNX"):
        save_network(architecture, list(random_network(architecture)), tmp_path, 2, load_images("digits", 8))


def test_bounds_are_of_the_latency_on_the_target():
    (bound,) = parse_latency_bounds(["latency=1ms"], SPEC)
    assert bound.high == 1e-3
    assert len(parse_latency_bounds(["latency@titanxp=1ms"], TargetSpec(device="titanxp"))) == 1
    for other in ("macs<=1M", "latency@titanxp=1ms"):
        with pytest.raises(ConstraintError, match="the latency on cpu"):
            parse_latency_bounds([other], SPEC)


def test_a_measurement_is_held_against_bounds(tmp_path, monkeypatch):
    measurement = Measurement(2e-3, 1.9e-3, 2.1e-3, rounds=10)
    monkeypatch.setattr(export, "measure_network", lambda *given, **options: measurement)

    def job(*constraints):
        bounds = parse_latency_bounds(constraints, SPEC)
        return measure_export(tmp_path / "a.json", bounds, SPEC, Execution(store=tmp_path / "s"), Silent())

    latency = job("latency=2.2ms")
    assert latency == ExportLatency(2e-3, 1.9e-3, 2.1e-3)
    assert latency.to_json() == {"measured_latency_s": 2e-3, "measured_interval_s": [1.9e-3, 2.1e-3]}
    # The whole interval must be within.
    with pytest.raises(
        InfeasibleError, match=r"takes 2\.00 ms \[1\.90 ms, 2\.10 ms\], which breaks latency <="
    ):
        job("latency=2.05ms")
    document = ExportResult((tmp_path / "m.onnx",), "onnx", 1e-6).to_json() | latency.to_json()
    assert list(document) == [
        "files",
        "format",
        "largest_difference",
        "measured_latency_s",
        "measured_interval_s",
    ]
