"""Knowledge distillation: a trained network that teaches another one, and the losses by which it does.

The teacher sees the augmented, mixed images of the student, on the student's device, in evaluation mode, and is never
trained. Its images are normalised as the student's are, unless it was trained with another normalisation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.errors import TrainingError
from nascli.random_streams import RandomStream, generator
from nascli.supernet.training.distillation import Distillation
from nascli.supernet.training.optimizers import load_optimizer_tensors, optimizer_tensors


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the divergence of softened probabilities, times the squared temperature (Hinton et al. 2015, section 2).

    The factor keeps the gradient's size: it is `temperature * (q - p) / batch` for probabilities p of the teacher and
    q of the student.

    Args:
        student: Logits, `(batch, classes)`.
        teacher: Logits, `(batch, classes)`, through which no gradient flows.
        temperature: By which logits are divided.
    """
    expected = F.log_softmax(teacher.detach() / temperature, dim=1)
    actual = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(actual, expected, reduction="batchmean", log_target=True) * temperature**2


def hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross-entropy with the teacher's most probable class (Touvron et al. 2021, Eq. 3).

    Args:
        student: Logits, `(batch, classes)`.
        teacher: Logits, `(batch, classes)`.
    """
    return F.cross_entropy(student, teacher.argmax(dim=1))


class ClassifierInput:
    """What the last fully connected layer of a network takes: its last features, pooled over all positions.

    Args:
        network: Network that is observed.
        role: What the network is, for messages.

    Attributes:
        width: Number of features.

    Raises:
        TrainingError: The network has no fully connected layer.
    """

    def __init__(self, network: nn.Module, role: str) -> None:
        layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise TrainingError(
                f"the {role} has no fully connected classifier, whose input the features are.",
                "Learn from the teacher's logits instead: soft or hard.",
            )
        self.width = layers[-1].in_features
        self._role = role
        self._value: Tensor | None = None
        layers[-1].register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._value = inputs[0]

    def take(self) -> Tensor:
        """Return the features of the last forward pass, `(batch, width)`, and forget them."""
        value, self._value = self._value, None
        if value is None:
            raise TrainingError(f"the {self._role} did not compute its classifier in this step.")
        return value.flatten(2).mean(2) if value.dim() == 4 else value


class Teacher(nn.Module):
    """A trained network that teaches: in evaluation mode, and without gradients.

    Args:
        network: Network from images `(batch, channels, height, width)` to logits `(batch, classes)`.
        identity: What the network is beside its weights, such as its name or its program.
        scale: Factor of each channel, from the student's normalisation to the teacher's; None where they are the same.
        shift: What is added to each channel after that.
        resolution: Height and width of the teacher's images, in pixels; None for the student's.

    Attributes:
        digest: Digest of all that decides the teacher's answers: 32 hexadecimal digits.
        features: What the classifier took in the last forward pass; None unless `observe` was called.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        identity: str,
        *,
        scale: tuple[float, ...] | None = None,
        shift: tuple[float, ...] | None = None,
        resolution: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.resolution = resolution
        self.features: ClassifierInput | None = None
        for name, values in (("scale", scale), ("shift", shift)):
            tensor = None if values is None else torch.tensor(values).reshape(1, -1, 1, 1)
            self.register_buffer(name, tensor, persistent=True)
        self.requires_grad_(False)
        self.eval()
        self.digest = self._digest(identity)

    def _digest(self, identity: str) -> str:
        state = hashlib.sha256(f"{identity} {self.resolution}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return state.hexdigest()[:32]

    def observe(self) -> int:
        """Keep what the classifier takes from now on; return its number of features.

        Raises:
            TrainingError: The network has no fully connected classifier.
        """
        if self.features is None:
            self.features = ClassifierInput(self.network, "teacher")
        return self.features.width

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(batch, classes)` of images as the student sees them."""
        if self.scale is not None and self.shift is not None:
            images = images * self.scale + self.shift
        if self.resolution is not None and images.shape[-1] != self.resolution:
            is_smaller = images.shape[-1] > self.resolution
            images = F.interpolate(
                images,
                (self.resolution, self.resolution),
                mode="bilinear",
                align_corners=False,
                antialias=is_smaller,
            )
        logits: Tensor = self.network(images)
        return logits


@dataclass(frozen=True)
class Teaching:
    """A teacher, and how networks learn from it.

    Attributes:
        teacher: The teacher.
        distillation: How its answers enter the loss.
    """

    teacher: Teacher
    distillation: Distillation

    def to_json(self) -> dict[str, Any]:
        """Return what a training depends on, as a JSON document."""
        return {"teacher": self.teacher.digest, **asdict(self.distillation)}


class Distiller:
    """Teaches one network. The projection of the feature loss is trained with it, and is no part of it.

    Args:
        teaching: The teacher and the loss.
        student: Network that learns.
        seed: Seed of the projection's weights.

    Raises:
        TrainingError: The features of a network without a fully connected classifier are asked for.
    """

    def __init__(self, teaching: Teaching, student: nn.Module, seed: int) -> None:
        self.teacher = teaching.teacher
        self.distillation = teaching.distillation
        self._features: ClassifierInput | None = None
        # Empty unless features are compared.
        self._projection = nn.Sequential()
        if self.distillation.kind == "feature":
            self._features = ClassifierInput(student, "student")
            self._projection.append(_projection(self._features.width, self.teacher.observe(), seed))

    def to(self, device: torch.device) -> None:
        """Move the teacher and the projection to a device."""
        self.teacher.to(device)
        self.teacher.to(memory_format=torch.channels_last)
        self._projection.to(device)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that are trained with the network: those of the projection, if there is one."""
        return list(self._projection.parameters())

    def loss(self, images: Tensor, logits: Tensor, of_labels: Tensor) -> Tensor:
        """Return the loss of labels and teacher together.

        Args:
            images: Images that the student has just seen, `(batch, channels, height, width)`.
            logits: The student's logits, `(batch, classes)` float32.
            of_labels: Loss of the labels, a scalar.
        """
        weight = self.distillation.weight
        with torch.inference_mode():
            answers = self.teacher(images).float()
            features = None if self.teacher.features is None else self.teacher.features.take().float()
        # A copy, because autograd keeps no tensor of the inference mode.
        answers = answers.clone()
        if self.distillation.kind == "soft":
            taught = soft_loss(logits, answers, self.distillation.temperature)
            return (1 - weight) * of_labels + weight * taught
        if self.distillation.kind == "hard":
            return (1 - weight) * of_labels + weight * hard_loss(logits, answers)
        assert self._features is not None and features is not None
        projected = self._projection(self._features.take()).float()
        return of_labels + weight * F.mse_loss(projected, features.clone())

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Return the projection and the optimiser's state of it, as tensors by name."""
        tensors = {f"projection/{k}": v for k, v in self._projection.state_dict().items()}
        of_optimizer = optimizer_tensors(self._projection, optimizer)
        return tensors | {f"optimizer/{k}": v for k, v in of_optimizer.items()}

    def load(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Restore the projection and the optimiser's state of it from the tensors of `state`."""
        groups: dict[str, dict[str, Tensor]] = {"projection": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self._projection.load_state_dict(groups["projection"])
        load_optimizer_tensors(self._projection, optimizer, groups["optimizer"])


def _projection(student: int, teacher: int, seed: int) -> nn.Linear:
    """Return a linear layer whose weights follow from the seed alone, as large as PyTorch's own."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, student, teacher)  # type: ignore[no-untyped-call]
    rng = generator(seed, RandomStream.PROJECTION)
    bound = 1 / math.sqrt(student)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            values = rng.uniform(-bound, bound, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
    return layer
