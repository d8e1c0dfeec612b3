"""Training what a search found from scratch, and handing the winner over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.pipeline.run_folder import ARCHITECTURE, RunFolder
from nascli.pipeline.settings import SearchSettings
from nascli.progress import Progress
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images

WINNER = "winner"


def retrained(
    space: Space,
    codes: Sequence[int],
    name: str,
    images: Images,
    settings: SearchSettings,
    folder: RunFolder,
    progress: Progress,
) -> dict[str, Any]:
    """Train an architecture from scratch, or take what an earlier run of the folder has; the winner is handed over.

    Args:
        space: in whose widths it is built.
        codes: the architecture.
        name: for people; 'winner' writes architecture, weights and, where a runtime computes it, ONNX.
        images: data; the test part is used once.
        settings: how long and by which recipe.
        folder: the run's.
        progress: is shown the training.
    """
    import torch

    from nascli.pipeline.export import save_network
    from nascli.supernet.training.checkpoint import save_weights
    from nascli.supernet.training.plain_network import train_network

    trained = train_network(
        space.network(codes, name),
        images,
        settings.effort.retrain_recipe(),
        seed=settings.seed,
        file=folder.file(f"training/network-{'-'.join(map(str, codes))}.safetensors"),
        progress=progress,
        title=f"{name} from scratch",
    )
    document: dict[str, Any] = {
        "codes": list(codes),
        "top1": trained.top1,
        "top1_interval": [trained.low, trained.high],
        "validation_top1": trained.validation_top1,
    }
    if name != WINNER:
        return document
    architecture = Architecture.of(space, np.array(codes), WINNER)
    if space.few_bits:
        architecture.save(folder.file(ARCHITECTURE))
        save_weights(torch.nn.Sequential(*trained.blocks), folder.file("weights.safetensors"))
        return document
    document["export_max_difference"] = save_network(
        architecture, trained.blocks, folder.path, settings.where.batch, images
    )
    return document
