"""Teachers by name: architecture files, ONNX files, and models of timm and torchvision. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascli.errors import (
    CheckpointError,
    DataError,
    NascliError,
    Remedy,
    SpaceError,
    UnknownNameError,
    missing_package,
)
from nascli.pipeline.train.teacher_source import TeacherSource
from nascli.profiles.onnx.networks import read_onnx_weights
from nascli.spaces.architecture import Architecture
from nascli.spaces.network import Network
from nascli.supernet.data.images import Images
from nascli.supernet.modules import ProgramModule, load_exported_weights, load_network, network_module
from nascli.supernet.training.teaching import Teacher, Teaching
from nascli.supernet.training.weight_files import read_weights


@dataclass(frozen=True)
class _Found:
    """A trained network, and what it expects of its images.

    Attributes:
        network: The network with its weights.
        identity: What it is beside its weights.
        resolution: Height and width that it was made for; None if it takes any.
        mean: Mean of each channel that its images are normalised by, where white is 1; None for the student's.
        deviation: Deviation of each channel, in the same unit; None for the student's.
    """

    network: nn.Module
    identity: str
    resolution: int | None = None
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None


def load_teaching(source: TeacherSource, images: Images) -> Teaching:
    """Load a teacher for a data set.

    A teacher of timm or torchvision gets images in the normalisation that the package publishes for the model, and a
    teacher from a file the normalised images of the student.

    Args:
        source: Where the teacher comes from, and how a network learns from it.
        images: Data set of the training.

    Raises:
        UnknownNameError: timm or torchvision has no such model.
        RuntimeUnavailableError: The package is not installed.
        CheckpointError: The weights cannot be read, or do not fit the model.
        ArchitectureError: An architecture's file or an ONNX file cannot be read.
        DataError: The teacher has other classes or other channels than the data.
        NascliError: The file is of another kind, or the teacher cannot compute images of this resolution.
    """
    # Models are initialised before they get their weights; the numbers that this draws are nobody's.
    with torch.random.fork_rng(devices=[]):
        found = _find(source, images)
    scale, shift = _conversion(found, images)
    resolution = source.resolution or found.resolution
    teacher = Teacher(found.network, found.identity, scale=scale, shift=shift, resolution=resolution)
    _require_answers(teacher, source, images)
    return Teaching(teacher, source.distillation)


def _find(source: TeacherSource, images: Images) -> _Found:
    package, colon, name = source.name.partition(":")
    if colon and package in _PACKAGES:
        return _PACKAGES[package](name, source, images)
    path = Path(source.name)
    if path.suffix == ".json":
        network = Architecture.load(path).network
        _require_input(network, source, images)
        weights = path.with_name("weights.safetensors") if source.weights is None else Path(source.weights)
        return _Found(load_network(network, weights), network.program.canonical, network.input.height)
    if path.suffix == ".onnx":
        return _from_onnx(path, source, images)
    raise NascliError(
        f"a teacher is an architecture's .json file, an .onnx file, timm:NAME, or torchvision:NAME, not "
        f"{source.name!r}.",
        "Files of torch.export, TorchScript, and pickled modules can run code when they are loaded: export them to "
        "ONNX.",
    )


def _from_onnx(path: Path, source: TeacherSource, images: Images) -> _Found:
    if source.weights is not None:
        raise NascliError(
            f"{path} has weights of its own, and {source.weights} is given besides.", "Leave one of them out."
        )
    network, weights = read_onnx_weights(path)
    _require_input(network, source, images)
    module = network_module([operator.program for operator in network.operators])
    try:
        load_exported_weights([block for block in module if isinstance(block, ProgramModule)], weights)
    except SpaceError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error
    return _Found(module, network.program.canonical, network.input.height)


def _require_input(network: Network, source: TeacherSource, images: Images) -> None:
    """Refuse a network that takes other channels or tells other classes apart."""
    _require_channels(network.input.channels, source, images)
    _require_classes(network.output.channels, source, images)


def _require_channels(channels: int, source: TeacherSource, images: Images) -> None:
    if channels != images.shape.channels:
        raise DataError(
            f"the teacher {source.name} takes images of {channels} channels, and those of {images.name} have "
            f"{images.shape.channels}.",
            "Choose a teacher that was trained on such images.",
            Remedy(arguments={"teacher": None}),
        )


def _require_classes(classes: int, source: TeacherSource, images: Images) -> None:
    if classes != images.classes:
        raise DataError(
            f"the teacher {source.name} tells {classes} classes apart, and {images.name} has {images.classes}.",
            "Choose a teacher that was trained on these classes.",
            Remedy(arguments={"teacher": None}),
        )


def _from_timm(name: str, source: TeacherSource, images: Images) -> _Found:
    try:
        import timm
        from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    except ImportError as error:
        raise missing_package("timm", "teacher", "a teacher of timm") from error
    known = sorted({*timm.list_models(), *timm.list_pretrained()})
    if name not in known:
        raise UnknownNameError("model of timm", name, known)
    tensors = _weights_of(source)
    network = timm.create_model(
        name, pretrained=False, num_classes=images.classes, in_chans=images.shape.channels
    )
    _load(network, tensors, source, images)
    config: Any = network.pretrained_cfg
    return _Found(
        network,
        source.name,
        int(config["input_size"][-1]) if config.get("fixed_input_size") else None,
        tuple(config.get("mean") or IMAGENET_DEFAULT_MEAN),
        tuple(config.get("std") or IMAGENET_DEFAULT_STD),
    )


def _from_torchvision(name: str, source: TeacherSource, images: Images) -> _Found:
    try:
        from torchvision import models
    except ImportError as error:
        raise missing_package("torchvision", "teacher", "a teacher of torchvision") from error
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError("model of torchvision", name, known)
    _require_channels(3, source, images)
    tensors = _weights_of(source)
    network = models.get_model(name, weights=None, num_classes=images.classes)
    _load(network, tensors, source, images)
    # What the package says of its own weights; nothing is downloaded.
    preset = models.get_model_weights(name).DEFAULT.transforms()
    return _Found(network, source.name, None, tuple(preset.mean), tuple(preset.std))


_PACKAGES: dict[str, Callable[[str, TeacherSource, Images], _Found]] = {
    "timm": _from_timm,
    "torchvision": _from_torchvision,
}


def _weights_of(source: TeacherSource) -> dict[str, Tensor]:
    if source.weights is None:
        raise NascliError(
            f"the teacher {source.name} needs a local file of its weights; nothing is downloaded.",
            "Name a .safetensors or .pth file.",
            Remedy(arguments={"teacher_weights": "FILE.safetensors"}),
        )
    return read_weights(Path(source.weights))


def _load(network: nn.Module, tensors: dict[str, Tensor], source: TeacherSource, images: Images) -> None:
    """Load weights into a model of a package, in place."""
    heads = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    head = tensors.get(f"{heads[-1]}.weight") if heads else None
    if head is not None and head.dim() > 0:
        _require_classes(len(head), source, images)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the weights of {source.weights} do not fit {source.name}: {reason}",
            "Name the model that they were trained in.",
        ) from error


def _conversion(found: _Found, images: Images) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return factor and summand of each channel from the student's normalisation to the teacher's.

    Images of one channel are normalised by the mean of a model's channels.
    """
    if found.mean is None or found.deviation is None:
        return None, None
    means, deviations = _per_channel(found.mean, images), _per_channel(found.deviation, images)
    own = images.normalisation
    if own is None:
        raise DataError(
            f"the teacher expects a normalisation of its own, and that of {images.name} is not known.",
            "Take a teacher from an ONNX file, which sees the images as they are.",
        )
    scale = [ours / theirs for ours, theirs in zip(own.deviation, deviations, strict=True)]
    shift = [
        (ours - theirs) / deviation
        for ours, theirs, deviation in zip(own.mean, means, deviations, strict=True)
    ]
    return tuple(scale), tuple(shift)


def _per_channel(values: tuple[float, ...], images: Images) -> tuple[float, ...]:
    channels = images.shape.channels
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _require_answers(teacher: Teacher, source: TeacherSource, images: Images) -> None:
    """Let a teacher compute two images, and refuse one that cannot, or that tells other classes apart."""
    try:
        with torch.inference_mode():
            logits: Any = teacher(torch.zeros(2, *images.shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        resolution = teacher.resolution or images.shape.height
        reason = " ".join(str(error).split())[:300]
        raise NascliError(
            f"the teacher {source.name} cannot compute images of {resolution} x {resolution} pixels: {reason}",
            "Resize the teacher's images to a resolution that it takes.",
            Remedy(arguments={"teacher_resolution": None}),
        ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise NascliError(
            f"the teacher {source.name} is no classifier: it does not return one row of logits per image."
        )
    _require_classes(logits.shape[1], source, images)
