"""What a full training tells epoch by epoch: validation accuracy, the best weights so far, TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascli.errors import missing_package
from nascli.supernet.data.images import ImageSplit
from nascli.supernet.evaluation.accuracy import accuracy
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import save_weights


class EpochLog:
    """Called after every step; does its work at the end of an epoch. Part of the training's checkpoint.

    Args:
        validation: images that the epochs are compared on.
        folder: where best.safetensors is kept.
        tensorboard: write scalars for TensorBoard below `folder`.

    Raises:
        RuntimeUnavailableError: TensorBoard is not installed.
    """

    def __init__(self, validation: ImageSplit, folder: Path, tensorboard: bool) -> None:
        self._validation, self._folder = validation, folder
        self.history: list[float] = []
        self._tensorboard = tensorboard and distributed.is_first()
        self._writer: Any = None
        if self._tensorboard:
            _writer_class()

    @property
    def best(self) -> float:
        """The best validation top-1 so far; -1 before the first epoch."""
        return max(self.history, default=-1.0)

    def note(self, module: nn.Module, rate: float, loss: float) -> None:
        """An epoch has ended, with this learning rate and the loss of its last step."""
        training = module.training
        module.eval()
        top1 = accuracy(module, self._validation).top1
        module.train(training)
        if top1 > self.best and distributed.is_first():
            save_weights(module, self._folder / "best.safetensors")
        self.history.append(top1)
        if self._tensorboard:
            if self._writer is None:
                # Epochs that a killed run wrote after its last checkpoint come again.
                self._writer = _writer_class()(
                    str(self._folder / "tensorboard"), purge_step=len(self.history)
                )
            self._writer.add_scalar("validation/top1", top1, len(self.history))
            self._writer.add_scalar("training/rate", rate, len(self.history))
            self._writer.add_scalar("training/loss", loss, len(self.history))
            self._writer.flush()

    def state(self) -> dict[str, Tensor]:
        """As tensors."""
        return {"epochs": torch.tensor(self.history, dtype=torch.float64)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Back from `state`."""
        self.history = tensors["epochs"].tolist()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_package("tensorboard", "tensorboard", "writing logs for TensorBoard") from error
    return SummaryWriter
