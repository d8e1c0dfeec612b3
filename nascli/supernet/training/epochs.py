"""Records of a training's epochs: validation accuracy, the best weights so far, and TensorBoard logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascli.errors import missing_package
from nascli.supernet.data.splits import ImageSplit
from nascli.supernet.evaluation.accuracy import accuracy
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import save_weights


class EpochLog:
    """Evaluates a network at the end of each epoch and keeps the weights of the best one.

    Its history is a companion state of the training (`CompanionState`), and so a part of its checkpoint.

    Args:
        validation: Images on which the epochs are compared.
        folder: Folder of best.safetensors and of the TensorBoard logs.
        tensorboard: Whether to write logs for TensorBoard; the first process alone writes them.

    Attributes:
        history: Validation top-1 after each epoch, from 0 to 1.

    Raises:
        RuntimeUnavailableError: TensorBoard is not installed.
    """

    def __init__(self, validation: ImageSplit, folder: Path, tensorboard: bool) -> None:
        self._validation, self._folder = validation, folder
        self.history: list[float] = []
        self._tensorboard = tensorboard and distributed.is_first_process()
        self._writer: Any = None
        if self._tensorboard:
            _writer_class()

    @property
    def best(self) -> float:
        """The best validation top-1 so far, from 0 to 1; -1 before the end of the first epoch."""
        return max(self.history, default=-1.0)

    def record_epoch(self, module: nn.Module, rate: float, loss: float) -> None:
        """Evaluate the network at the end of an epoch, and keep its weights if it is the best so far.

        Args:
            module: Network with the weights of this epoch; its training mode is left as it is.
            rate: Learning rate of the epoch's last step.
            loss: Loss of the epoch's last step.
        """
        training = module.training
        module.eval()
        # Each process has collected normalisation statistics on its own images.
        distributed.share_buffers(module)
        top1 = accuracy(module, self._validation, shared=True).top1
        module.train(training)
        if top1 > self.best and distributed.is_first_process():
            save_weights(module, self._folder / "best.safetensors")
        self.history.append(top1)
        if self._tensorboard:
            self._write_scalars({"validation/top1": top1, "training/rate": rate, "training/loss": loss})

    def _write_scalars(self, scalars: dict[str, float]) -> None:
        epoch = len(self.history)
        if self._writer is None:
            # A killed training may have logged epochs after its last checkpoint; they are replaced.
            self._writer = _writer_class()(str(self._folder / "tensorboard"), purge_step=epoch)
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def state(self) -> dict[str, Tensor]:
        """Return the history as tensors."""
        return {"epochs": torch.tensor(self.history, dtype=torch.float64)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the history from the tensors of `state`."""
        self.history = tensors["epochs"].tolist()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_package("tensorboard", "tensorboard", "writing logs for TensorBoard") from error
    return SummaryWriter
