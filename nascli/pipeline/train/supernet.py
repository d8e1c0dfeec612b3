"""The job of `nascli supernet train`: a supernet that several searches share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nascli.costmodel import parse_constraint
from nascli.errors import UnknownNameError
from nascli.execution import DeviceChoice
from nascli.pipeline.train.recipes import chosen_recipe
from nascli.pipeline.train.teacher_source import TeacherSource
from nascli.pipeline.train.teachers import load_teaching
from nascli.progress import Progress
from nascli.spaces.catalog import load_space
from nascli.supernet.data.images import load_images, require_fit, space_for_data
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.shared_images import load_together
from nascli.supernet.devices import TrainDevice
from nascli.supernet.recipes.entry import SUPERNET
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.one_shot import train_shared_supernet

# Recipes of a supernet that trains on random paths: for small images, or as SPOS trains on ImageNet.
PRESETS = {"small": "small", "paper": "spos"}


@dataclass(frozen=True)
class SupernetTraining:
    """The result of training a supernet.

    Attributes:
        space: Name and parameters of the space, completed by those of the data.
        data: Name of the data set.
        identity: Digest of what the weights depend on.
        steps: Number of training steps.
        reused: Whether the file held the finished training before.
        file: Checkpoint of the supernet.
    """

    space: str
    data: str
    identity: str
    steps: int
    reused: bool
    file: Path

    def to_json(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {
            "space": self.space,
            "data": self.data,
            "identity": self.identity,
            "steps": self.steps,
            "reused": self.reused,
            "file": str(self.file),
        }


def train_supernet(
    spec: str,
    data: str,
    *,
    seed: int,
    out: Path,
    progress: Progress,
    epochs: int | None = None,
    preset: str = "small",
    recipe_name: str | None = None,
    changes: Sequence[str] = (),
    within: str | None = None,
    training: DeviceChoice = DeviceChoice(),
    sandwich: int | None = None,
    teacher: TeacherSource | None = None,
    options: DataOptions = DataOptions(),
) -> SupernetTraining:
    """Train the supernet of a space into a file that a search takes.

    A killed training continues from the file when it is called again. Under torchrun several processes train together.

    Args:
        spec: Name and parameters of the space.
        data: Name of a data set, or a name and a folder.
        seed: Seed of weights, paths, and data order.
        out: Checkpoint to write.
        progress: Progress display.
        epochs: Number of epochs; None for the recipe's own.
        preset: Recipe: 'small' for small images, 'paper' for ImageNet as in SPOS.
        recipe_name: Name of another recipe of a supernet, or a file that ends in .toml; None for that of the preset.
        changes: Fields of the recipe by name, such as ``recipe.rate=0.4``.
        within: Window of a counted cost such as '290M<=macs<=360M', over whose bins paths are drawn uniformly; None
            draws paths uniformly from the space.
        training: Device of the training. A supernet is never compiled.
        sandwich: Number of random paths that learn in each step from the largest path, beside the smallest one; None
            trains one random path in each step.
        teacher: What the supernet learns from beside the labels; None for the labels alone.
        options: How the data set is split and read.

    Raises:
        RuntimeUnavailableError: The device is not in this machine.
        UnknownNameError: No space, data set, preset, recipe, or field of a recipe has that name.
        DataError: The data set is missing or damaged, or does not fit the space.
        ConstraintError: The window is not one of a counted cost, or lacks an end; or the sandwich rule is asked for in
            a multi-branch space.
        CheckpointError: The file belongs to another space, data set, recipe, seed, or teacher; or the teacher's weights
            cannot be read, or do not fit it.
        NascliError: The teacher cannot be used, or a recipe's file or a value of it is not valid.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, list(PRESETS))
    recipe = chosen_recipe(SUPERNET, recipe_name or PRESETS[preset], epochs=epochs, changes=changes)
    device = TrainDevice.of(training)
    distributed.join_process_group(str(device.device))
    if device.compile:
        progress.message("a supernet is another network in each step, and is not compiled")
    space = space_for_data(load_space(spec), data)
    images = load_together(lambda: load_images(data, space.input.height, options=options, progress=progress))
    require_fit(images, space.input, space.output.channels)
    shared = train_shared_supernet(
        space,
        images.to(device.device),
        recipe,
        seed=seed,
        progress=progress,
        out=out,
        within=None if within is None else parse_constraint(within),
        sandwich=sandwich,
        teaching=None if teacher is None else load_teaching(teacher, images),
    )
    _, state = load_checkpoint(out)
    return SupernetTraining(
        space=space.spec,
        data=data,
        identity=shared.identity,
        steps=state["steps"],
        reused=shared.reused,
        file=out,
    )
