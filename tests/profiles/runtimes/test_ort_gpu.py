import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fakes import FakeNvml

from nascli.errors import DeviceError, ModelRefusedError
from nascli.profiles.cuda.base import means_lost_card
from nascli.profiles.devices.cards import find_cards
from nascli.profiles.devices.device import device_of_card, this_cpu
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes import ort_gpu
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_gpu import OrtCuda, OrtTensorrt, check_provider, loading_error
from nascli.profiles.runtimes.packages import linked_major, package_folder
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.runtimes.tensorrt.runtime import TensorRt
from nascli.spaces.operators.inverted_residual import mbconv

PASCAL = device_of_card(find_cards(FakeNvml(["NVIDIA TITAN Xp"], (6, 1)))[0])
AMPERE = device_of_card(find_cards(FakeNvml(["NVIDIA A100-SXM4-40GB"], (8, 0), cuda=13000))[0])


def test_a_silent_fallback_is_refused():
    check_provider("CUDAExecutionProvider", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        check_provider("CUDAExecutionProvider", ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="to nothing"):
        check_provider("CUDAExecutionProvider", [])


def test_the_cpus_build_is_not_taken_for_the_gpus():
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    for runtime in (OrtCuda(), OrtTensorrt()):
        assert "pip install 'nascli[gpu]'" in runtime.missing()
        with pytest.raises(DeviceError, match="does not work here"):
            runtime.load(b"", RuntimeOptions())
    # And were it loaded all the same, onnxruntime itself would fall back: our session would not.
    model = onnx_bytes(mbconv((4, 6, 6), 8).program, 1)
    with pytest.raises(DeviceError):
        ort_gpu.OrtGpuSession(model, "CUDAExecutionProvider", {}, RuntimeOptions())


def test_both_packages_in_one_folder_are_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(ort_gpu, "_provider_file", lambda name: tmp_path / "none.so")
    monkeypatch.setattr(ort_gpu, "installed_version", lambda package: "1.31")
    assert "share a folder" in OrtCuda().missing()
    monkeypatch.setattr(ort_gpu, "installed_version", lambda package: None)
    assert "has no such provider" in OrtCuda().missing()


def build(tmp_path, monkeypatch, cuda, tensorrt, installed_tensorrt):
    for name, library, major in (("cuda", "libcudart", cuda), ("tensorrt", "libnvinfer", tensorrt)):
        (tmp_path / f"{name}.so").write_bytes(b"\0" * 100 + f"{library}.so.{major}\0".encode() + b"rest")
    monkeypatch.setattr(ort_gpu, "_provider_file", lambda name: tmp_path / f"{name}.so")
    monkeypatch.setattr(
        ort_gpu, "installed_version", lambda p: installed_tensorrt if p == "tensorrt" else None
    )


def test_tensorrt_10_against_an_installed_11(tmp_path, monkeypatch):
    build(tmp_path, monkeypatch, 12, 10, "11.4.0")
    assert "linked against TensorRT 10, and TensorRT 11.4.0 is installed" in OrtTensorrt().missing()
    build(tmp_path, monkeypatch, 12, 10, "10.16.1")
    assert OrtTensorrt().missing() is None and OrtCuda().missing() is None
    build(tmp_path, monkeypatch, 12, 10, None)
    assert "pip install 'tensorrt==10.*'" in OrtTensorrt().missing()


def test_a_build_that_does_not_fit_card_or_driver(tmp_path, monkeypatch):
    build(tmp_path, monkeypatch, 13, 10, "10.16.1")
    assert "needs CUDA 13, and the driver 580.65 supports 12.9" in OrtCuda().refuses(PASCAL)
    newer = device_of_card(find_cards(FakeNvml(["NVIDIA TITAN Xp"], (6, 1), cuda=13000))[0])
    assert "onnxruntime-gpu[cuda,cudnn]<1.27" in OrtCuda().refuses(newer)
    assert OrtCuda().refuses(AMPERE) is None and OrtTensorrt().refuses(AMPERE) is None
    build(tmp_path, monkeypatch, 12, 10, "10.16.1")
    assert OrtCuda().refuses(PASCAL) is None
    assert "do not support compute capability 6.1" in OrtTensorrt().refuses(PASCAL)
    assert "use the runtime ort-cuda" in TensorRt().refuses(PASCAL)
    assert TensorRt().refuses(AMPERE) is None


def test_runtimes_of_the_cpu_and_of_cards_are_not_mixed_up():
    runtimes = all_runtimes()
    assert list(runtimes) == ["ort-cpu", "openvino", "tensorrt", "ort-tensorrt", "ort-cuda"]
    assert [name for name, r in runtimes.items() if r.refuses(this_cpu()) is None] == ["ort-cpu", "openvino"]
    assert "is a card" in runtimes["ort-cpu"].refuses(AMPERE)


def test_what_errors_at_loading_mean():
    provider = "CUDAExecutionProvider"
    assert isinstance(loading_error(provider, RuntimeError("no kernel for Foo(7)")), ModelRefusedError)
    for text in ("CUDA error: no kernel image is available", "CUDA failure: device is lost", "Failed to load library libcudnn"):  # fmt: skip
        error = loading_error(provider, RuntimeError(text))
        assert isinstance(error, DeviceError) and not isinstance(error, ModelRefusedError), text
    assert means_lost_card("Uncorrectable ECC error encountered") and not means_lost_card("out of memory")


def test_tf32_is_never_called_fp32(monkeypatch, tmp_path):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    monkeypatch.setattr(ort_gpu, "installed_version", lambda package: "1.31")
    with pytest.raises(DeviceError, match="NVIDIA_TF32_OVERRIDE=0"):
        OrtTensorrt()._settings(RuntimeOptions(precision="fp32"))
    assert OrtTensorrt()._settings(RuntimeOptions(precision="tf32"))["trt_fp16_enable"] == "0"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert OrtTensorrt()._settings(RuntimeOptions(precision="fp32"))["device_id"] == "0"
    assert OrtCuda()._settings(RuntimeOptions(precision="fp32"))["use_tf32"] == "0"
    assert OrtCuda()._settings(RuntimeOptions(precision="tf32", ordinal=2, cuda_graph=True)) == {
        "device_id": "2", "use_tf32": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "enable_cuda_graph": "1",
    }  # fmt: skip


def test_the_library_that_a_binary_names(tmp_path):
    file = tmp_path / "x.so"
    file.write_bytes(b"ELF libnvinfer_plugin.so.9\0 libnvinfer.so.10\0")
    assert linked_major(file, "libnvinfer") == 10 and linked_major(file, "libcudart") is None
    assert linked_major(tmp_path / "none", "libcudart") is None
    file.write_bytes(b"")
    assert linked_major(file, "libcudart") is None
    assert package_folder("onnxruntime").name == "onnxruntime" and package_folder("no_such_module") is None


@pytest.mark.parametrize("precision", ["fp16", "int8-symmetric", "int8"])
@pytest.mark.parametrize(
    "operator", [mbconv((8, 8, 8), 8, kernel=5), mbconv((8, 8, 8), 16, stride=2, act="hswish")]
)
def test_models_for_cards_are_sound_and_run_on_the_cpu(precision, operator):
    data = onnx_bytes(operator.program, 2, precision=precision)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    if precision == "fp16":
        assert onnx.TensorProto.FLOAT not in kinds and onnx.TensorProto.FLOAT16 in kinds
    if precision == "int8-symmetric":
        # TensorRT takes neither unsigned values, nor zero points, nor integer biases.
        assert onnx.TensorProto.UINT8 not in kinds and onnx.TensorProto.INT32 not in kinds
        zeros = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("zero")]
        assert zeros and not any(np.any(z) for z in zeros)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 8)).astype(np.float32)
    kind = np.float16 if precision == "fp16" else np.float32
    (got,) = session.run(None, {"input": x.astype(kind)})
    (exact,) = ort.InferenceSession(onnx_bytes(operator.program, 2), providers=["CPUExecutionProvider"]).run(
        None, {"input": x}
    )
    assert got.dtype == kind
    error = np.abs(got.astype(np.float32) - exact).mean() / np.abs(exact).mean()
    assert error < (0.01 if precision == "fp16" else 0.5)
