import json

import numpy as np
import pytest
import torch
from commanding import TINY, run
from safetensors.torch import save_file

import nascli
from nascli.errors import (
    ArchitectureError,
    CheckpointError,
    DataError,
    NascliError,
    RunError,
    RuntimeUnavailableError,
    UnknownNameError,
)
from nascli.pipeline.train.export import save_network
from nascli.pipeline.train.teacher_source import Distillation, TeacherSource
from nascli.pipeline.train.teachers import load_teaching
from nascli.spaces import Architecture, load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import network_module

SPACE = load_space(TINY)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    """architecture.json, weights.safetensors, and model.onnx of an untrained network, and the network."""
    folder = tmp_path_factory.mktemp("teacher")
    architecture = Architecture.of(SPACE, [2] * len(SPACE.layers), "large")
    torch.manual_seed(0)
    module = network_module([operator.program for operator in architecture.network.operators]).eval()
    with torch.no_grad():
        module(images.train.images[:8])
    save_network(architecture, list(module), folder, 2, images)
    return folder, module


def test_files_teach_what_their_networks_compute(files, images):
    folder, module = files
    x = images.validation.images[:4]
    digests = set()
    for name in ("architecture.json", "model.onnx"):
        teaching = load_teaching(TeacherSource(str(folder / name)), images)
        with torch.inference_mode():
            assert torch.allclose(teaching.teacher(x), module(x), atol=1e-4)
        digests.add(teaching.teacher.digest)
    assert len(digests) == 2
    # A copy elsewhere is the same teacher.
    weights = TeacherSource(str(folder / "architecture.json"), str(folder / "weights.safetensors"))
    assert load_teaching(weights, images).teacher.digest in digests
    larger = load_images("digits", 16)
    taught = load_teaching(TeacherSource(str(folder / "model.onnx")), larger).teacher
    assert taught.resolution == 8 and taught(larger.train.images[:2]).shape == (2, 10)


def test_a_model_of_torchvision_sees_published_normalisation(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    from dataclasses import replace

    digits = load_images("digits", 32)

    def coloured(split):
        return replace(split, images=split.images[:8].repeat(1, 3, 1, 1), labels=split.labels[:8])

    own = digits.normalisation
    images = replace(
        digits, train=coloured(digits.train), validation=coloured(digits.validation), test=coloured(digits.test),
        normalisation=replace(own, mean=own.mean * 3, deviation=own.deviation * 3),
    )  # fmt: skip
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=10).eval()
    source = TeacherSource("torchvision:shufflenet_v2_x0_5", str(tmp_path / "w.pth"))
    for document in (
        model.state_dict(),
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}},
    ):
        torch.save(document, tmp_path / "w.pth")
        teacher = load_teaching(source, images).teacher
        x = images.train.images
        white = x * own.deviation[0] + own.mean[0]
        mean, std = (
            torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )
        with torch.inference_mode():
            assert torch.allclose(teacher(x), model((white - mean) / std), atol=1e-4)
    with pytest.raises(DataError, match="takes images of 3 channels, and those of digits have 1"):
        load_teaching(source, digits)


def test_a_model_of_timm_is_found_by_its_name(images, tmp_path):
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", num_classes=10, in_chans=1)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    source = TeacherSource("timm:resnet10t", str(tmp_path / "w.safetensors"), resolution=32)
    state = torch.random.get_rng_state()
    teacher = load_teaching(source, images).teacher
    assert torch.equal(torch.random.get_rng_state(), state)
    assert teacher(images.train.images[:2]).shape == (2, 10)
    assert teacher.scale.flatten().tolist() == pytest.approx(
        [images.normalisation.deviation[0] / np.mean([0.229, 0.224, 0.225])]
    )
    # Seven classes in the file, and ten in the data.
    save_file(
        timm.create_model("resnet10t", num_classes=7, in_chans=1).state_dict(), tmp_path / "7.safetensors"
    )
    with pytest.raises(DataError, match="timm:resnet10t tells 7 classes apart, and digits has 10"):
        load_teaching(TeacherSource("timm:resnet10t", str(tmp_path / "7.safetensors")), images)
    with pytest.raises(CheckpointError, match=r"do not fit timm:resnet14t: .*\n.*trained in"):
        load_teaching(TeacherSource("timm:resnet14t", str(tmp_path / "w.safetensors")), images)
    with pytest.raises(
        UnknownNameError, match=r"unknown model of timm 'resnet10tt'. Did you mean resnet10t\?"
    ) as error:
        load_teaching(TeacherSource("timm:resnet10tt"), images)
    assert len(str(error.value)) < 400 and "others" in str(error.value)
    with pytest.raises(NascliError, match="needs a local file of its weights; nothing is downloaded"):
        load_teaching(TeacherSource("timm:resnet10t"), images)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, in_chans=1)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    vit = TeacherSource("timm:vit_tiny_patch16_224", str(tmp_path / "vit.safetensors"))
    assert load_teaching(vit, images).teacher.resolution == 224
    with pytest.raises(NascliError, match=r"cannot compute images of 30 x 30 pixels: .*\n.*Resize"):
        load_teaching(TeacherSource(vit.name, vit.weights, 30), images)


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_missing_package_is_named_with_its_extra(images, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(RuntimeUnavailableError, match=rf"{package}.*\n.*nascli\[teacher\]"):
        load_teaching(TeacherSource(f"{package}:resnet18"), images)


def test_bad_files_are_refused(files, images, tmp_path):
    folder, _ = files
    other = load_images("digits", 8)
    object.__setattr__(other, "classes", 7)
    for name in ("architecture.json", "model.onnx"):
        with pytest.raises(DataError, match=rf"{name} tells 10 classes apart, and digits has 7"):
            load_teaching(TeacherSource(str(folder / name)), other)
    with pytest.raises(NascliError, match=r"a teacher is .*timm:NAME.*not '.*model.pt2'.\n.*can run code"):
        load_teaching(TeacherSource(str(tmp_path / "model.pt2")), images)
    with pytest.raises(NascliError, match="weights of its own"):
        load_teaching(TeacherSource(str(folder / "model.onnx"), "w.pth"), images)
    (tmp_path / "m.onnx").write_bytes(b"something else")
    with pytest.raises(ArchitectureError, match="m.onnx"):
        load_teaching(TeacherSource(str(tmp_path / "m.onnx")), images)
    (tmp_path / "architecture.json").write_bytes((folder / "architecture.json").read_bytes())
    with pytest.raises(CheckpointError, match="holds no weights of this architecture"):
        load_teaching(TeacherSource(str(tmp_path / "architecture.json")), images)
    with pytest.raises(NascliError, match="resolution must be at least 1"):
        TeacherSource("x.onnx", resolution=0)


def test_a_network_learns_from_a_teacher(files, tmp_path):
    folder, _ = files
    small = Architecture.of(SPACE, [0] * len(SPACE.layers), "small")
    source = TeacherSource(str(folder / "model.onnx"), distillation=Distillation("feature", 2.0))
    options = {"epochs": 1, "batch": 2}
    plain = nascli.train(small, out=tmp_path / "plain", **options)
    taught = nascli.train(small, out=tmp_path / "taught", teacher=source, **options)
    assert taught.macs == plain.macs and 0 < taught.top1 <= 1
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("plain", "taught")]
    assert len(weights[0]) == len(weights[1]) and weights[0] != weights[1]
    again = nascli.train(small, out=tmp_path / "taught", teacher=source, **options)
    assert again == taught
    with pytest.raises(RunError, match="other settings"):
        nascli.train(small, out=tmp_path / "taught", teacher=str(folder / "model.onnx"), **options)


def test_commands_take_a_teacher(files, tmp_path):
    folder, _ = files
    small = tmp_path / "small.json"
    Architecture.of(SPACE, [0] * len(SPACE.layers), "small").save(small)
    teacher = ["--teacher", folder / "architecture.json", "--distil", "hard", "--distil-weight", "0.3"]
    done = run("train", small, "--epochs", "1", "--batch", "2", *teacher, "--out", tmp_path / "t", "--json")
    assert 0 < json.loads(done.stdout)["top1"] <= 1
    settings = json.loads((tmp_path / "t" / "settings.json").read_text())
    assert settings["teacher"]["distillation"] == {"kind": "hard", "weight": 0.3, "temperature": 4.0}
    supernet = ["supernet", "train", "--space", TINY, "--epochs", "1", "--out", tmp_path / "s.safetensors"]
    first = json.loads(run(*supernet, "--sandwich", "1", *teacher, "--json").stdout)
    assert first["steps"] == 1077 // 32 and not first["reused"]
    assert "another space, data set, recipe" in run(*supernet, expect=1).stderr
    alone = run("train", small, "--out", tmp_path / "u", "--distil", "hard", expect=2)
    assert "add --teacher" in alone.stderr
    heavy = run("train", small, "--out", tmp_path / "u", *teacher[:-1], "1.5", expect=1)
    assert "weight <= 1" in heavy.stderr


@pytest.mark.usefixtures("quick_measuring")
def test_a_search_trains_its_winner_with_a_teacher(files, tmp_path):
    folder, _ = files
    args = [
        "search", "--space", TINY, "--constraint", "macs<=1M", "--population", "4", "--generations", "1",
        "--supernet-epochs", "1", "--retrain-epochs", "1", "--batch", "2", "--json", "--out", tmp_path / "run",
    ]  # fmt: skip
    wrong = run(*args[:-1], tmp_path / "wrong", "--teacher", tmp_path / "none.onnx", expect=1)
    assert "no such file" in wrong.stderr
    done = run(*args, "--teacher", folder / "model.onnx")
    assert json.loads(done.stdout)["retrained_top1"] > 0
    assert "other settings" in run(*args, expect=1).stderr
