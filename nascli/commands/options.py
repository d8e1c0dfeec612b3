"""Options that several commands share, and their completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from nascli.execution import DeviceChoice, Execution
    from nascli.pipeline.measure.model_feeds import ModelFeed
    from nascli.pipeline.train.data import DataOptions
    from nascli.pipeline.train.teacher_source import TeacherSource
    from nascli.profiles.target import TargetSpec


F = TypeVar("F", bound=Callable[..., Any])


def completing(kind: str) -> Callable[..., list[str]]:
    """Make the completion of an option's value; nothing is loaded before a shell asks.

    Args:
        kind: What the value names: 'spaces', 'devices', 'runtimes', 'precisions', 'data', 'algorithms', 'presets'
            'recipes' (of training from scratch), 'supernet recipes', or 'all recipes'.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from nascli.pipeline.inspect.names import completions

        return [name for name in completions(kind) if name.startswith(incomplete)]

    return complete


def space_option(function: F) -> F:
    """Add the option `--space`."""
    return click.option(
        "--space",
        "spec",
        default="proxyless-mini",
        show_default=True,
        shell_complete=completing("spaces"),
        help="Name a space and its parameters (nascli spaces), or your own: FILE.py:NAME, FILE.toml.",
    )(function)


def data_options(function: F) -> F:
    """Add the options that name a data set and say how it is split and read."""
    for option in (
        click.option(
            "--image-cache/--no-image-cache",
            default=True,
            help="Keep decoded images in a file that all processes share, if they fit.",
        ),
        click.option(
            "--skip-bad-images",
            is_flag=True,
            help="Replace an image that cannot be read by the next one of its class, and say so.",
        ),
        click.option(
            "--data-workers",
            default="auto",
            show_default=True,
            metavar="auto|N",
            help="Read images in so many processes; results do not depend on it.",
        ),
        click.option(
            "--validation",
            metavar="N|SHARE",
            help="Hold out so many images, balanced by class: 50000, 0.1, 10% (default: a fifth).",
        ),
        click.option(
            "--data",
            default="digits",
            show_default=True,
            shell_complete=completing("data"),
            help="Name a data set, NAME:FOLDER, or your own: FILE.py:NAME.",
        ),
    ):
        function = option(function)
    return function


DATA_OPTIONS = ("validation", "data_workers", "skip_bad_images", "image_cache")


def data_options_of(
    *, validation: str | None, data_workers: str, skip_bad_images: bool, image_cache: bool
) -> DataOptions:
    """What the values of `data_options` mean, besides the name of the data set.

    Raises:
        DataError: `validation` or `data_workers` is not a number of its kind.
    """
    from nascli.pipeline.train.data import parse_data_options

    return parse_data_options(
        validation=validation, workers=data_workers, skip_bad_images=skip_bad_images, cache=image_cache
    )


def teacher_options(function: F) -> F:
    """Add the options of knowledge distillation."""
    for option in (
        click.option(
            "--distil-temperature",
            type=click.FloatRange(0, min_open=True),
            help="Divide the logits of both networks by this for soft distillation (default: 4).",
        ),
        click.option(
            "--distil-weight",
            type=click.FloatRange(0),
            help="Give the teacher this share of the loss (default: 0.5).",
        ),
        click.option(
            "--distil",
            type=click.Choice(["soft", "hard", "feature"]),
            help="Learn the teacher's probabilities (the default), its class, or its features.",
        ),
        click.option(
            "--teacher-resolution",
            type=click.IntRange(1),
            help="Resize the teacher's images to this height and width.",
        ),
        click.option(
            "--teacher-weights",
            type=click.Path(path_type=Path),
            help="Take the teacher's weights from this .safetensors or .pth file.",
        ),
        click.option(
            "--teacher",
            metavar="FILE|timm:NAME|torchvision:NAME",
            help="Learn from this network too: an architecture's .json, an .onnx file, or a package's model.",
        ),
    ):
        function = option(function)
    return function


TEACHER_OPTIONS = (
    "teacher", "teacher_weights", "teacher_resolution", "distil", "distil_weight", "distil_temperature",
)  # fmt: skip


def teacher_of(values: dict[str, Any]) -> TeacherSource | None:
    """What the options of `teacher_options` mean; they are taken out of the values.

    Raises:
        click.UsageError: An option about a teacher is given without one.
        NascliError: A value is outside its range.
    """
    from nascli.pipeline.train.teacher_source import Distillation, TeacherSource

    name, weights, resolution, *distillation = [values.pop(option) for option in TEACHER_OPTIONS]
    changes = {
        field: value
        for field, value in zip(("kind", "weight", "temperature"), distillation, strict=True)
        if value is not None
    }
    if name is None:
        if changes or weights is not None or resolution is not None:
            raise click.UsageError("what is said of a teacher needs one: add --teacher")
        return None
    return TeacherSource(name, None if weights is None else str(weights), resolution, Distillation(**changes))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def _shapes(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Read `NAME=1x3x224x224`; a name may contain equality signs."""
    shapes = {}
    for value in values:
        name, _, sizes = value.rpartition("=")
        parts = sizes.lower().split("x")
        if not name or not all(part.isdecimal() and 0 < int(part) < 1 << 31 for part in parts):
            raise click.BadParameter(f"a shape is written like x=1x3x224x224, not {value!r}")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _integer_range(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """Read `LOW:HIGH`."""
    if value is None:
        return None
    low, _, high = value.partition(":")
    try:
        ends = int(low), int(high)
    except ValueError:
        ends = 1, 0
    if ends[0] > ends[1]:
        raise click.BadParameter(f"a range of integers is written like 0:1000, not {value!r}")
    return ends


shape_option = click.option(
    "--shape", "shapes", multiple=True, callback=_shapes, metavar="NAME=SIZES",
    help="Give an input of an ONNX file its whole shape, x=1x3x224x224, where the file leaves sizes open (repeatable).",
)  # fmt: skip
values_option = click.option(
    "--inputs", "values", type=click.Path(path_type=Path), metavar="FILE.npz",
    help="Feed these arrays, by the names of inputs (numpy.savez), instead of random numbers.",
)  # fmt: skip


def feed_options(function: F) -> F:
    """Add the options that say what is fed to a model."""
    integers = click.option(
        "--input-range", "integer_range", callback=_integer_range, metavar="LOW:HIGH",
        help="Draw the integers that are fed from this range (default: what the table that they index has, else 0:1).",
    )  # fmt: skip
    return shape_option(integers(values_option(function)))


def feed_of(
    shapes: dict[str, tuple[int, ...]],
    integer_range: tuple[int, int] | None,
    values: Path | None,
) -> ModelFeed:
    """What the values of `feed_options` mean.

    Raises:
        DataError: The file of values cannot be read.
    """
    from nascli.pipeline.measure.model_feeds import ModelFeed, read_values

    return ModelFeed(shapes, integer_range, {} if values is None else read_values(values))


def is_given(argument: str) -> bool:
    """Whether the user gave an option, or left it at its default."""
    source = click.get_current_context().get_parameter_source(argument)
    return source not in (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def training_options(function: F) -> F:
    """Add the options that say on what networks are trained and evaluated; `training_of` reads their values."""
    for option in (
        click.option(
            "--compile", is_flag=True, help="Compile plain networks by torch.compile before they are trained."
        ),
        click.option(
            "--tf32/--no-tf32",
            default=True,
            show_default=True,
            help="Multiply in TF32 where a card trains in float32.",
        ),
        click.option(
            "--train-device",
            default="auto",
            show_default=True,
            metavar="DEVICE",
            help="Train and evaluate on the cpu, cuda, cuda:N, or mps; auto takes an NVIDIA card if there is one.",
        ),
    ):
        function = option(function)
    return function


def training_of(values: dict[str, Any]) -> DeviceChoice:
    """Take the values of `training_options` out of a command's values, and return what they mean."""
    from nascli.execution import DeviceChoice

    return DeviceChoice(
        name=values.pop("train_device"), tf32=values.pop("tf32"), compile=values.pop("compile")
    )


def target_options(function: F) -> F:
    """Add the options that say where to measure, and how models are run there."""
    for option in (
        click.option(
            "--lock-clocks",
            "clock",
            is_flag=False,
            flag_value="sustained",
            metavar="[MHZ]",
            help="Hold the card's clock while it is measured; without MHZ, at what it sustains. Needs root.",
        ),
        click.option(
            "--rotate-inputs", is_flag=True, help="Give each run other inputs than the one before (TensorRT)."
        ),
        click.option("--cuda-graph", is_flag=True, help="Launch each run as one CUDA graph (cards)."),
        click.option(
            "--cuda-driver",
            default="auto",
            show_default=True,
            help="Take memory and events from cuda-core, pycuda or torch (TensorRT).",
        ),
        click.option(
            "--store",
            type=click.Path(path_type=Path),
            help="Keep measurements in this file (default: the store that all projects share).",
        ),
        click.option(
            "--precision",
            default="fp32",
            show_default=True,
            shell_complete=completing("precisions"),
            help="Measure in fp32, fp16, bf16, tf32 or int8, as far as the runtime has it.",
        ),
        click.option(
            "--threads",
            default=1,
            show_default=True,
            type=click.IntRange(1),
            help="Use so many threads inside one operator.",
        ),
        click.option(
            "--batch",
            default=16,
            show_default=True,
            type=click.IntRange(1),
            help="Put so many samples into a run.",
        ),
        click.option(
            "--runtime",
            default="auto",
            show_default=True,
            shell_complete=completing("runtimes"),
            help="Run models with this runtime, such as ort-cpu or openvino; auto takes the first that works. "
            "fastest (profile, search) takes the one that some networks run fastest on; all (measure) compares them.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            shell_complete=completing("devices"),
            help="Measure on the cpu, or on a card: nascli devices.",
        ),
    ):
        function = option(function)
    return function


def target_of(
    store: Path | None,
    cuda_driver: str,
    clock: str | None,
    *,
    ray: str | None = None,
    word: str | None = None,
    training: DeviceChoice | None = None,
    **fields: Any,
) -> tuple[TargetSpec, Execution]:
    """What the values of `target_options` mean: where to measure, and with what.

    Args:
        store, cuda_driver, clock, **fields: The values of `target_options`.
        ray: The address of a Ray cluster.
        word: The word that the command takes as a runtime besides names: 'fastest' or 'all'.
        training: The device for training, from `training_of`; None where the command trains nothing.

    Raises:
        UsageError: The runtime is such a word, and not this command's.
        DeviceError: `clock` is neither a number nor 'sustained', or the device is no card.
    """
    from nascli.execution import DeviceChoice, Execution
    from nascli.paths import default_store
    from nascli.profiles.target import EVERY, FASTEST, TargetSpec, clock_of

    if fields["runtime"] in {FASTEST, EVERY} - {word}:
        takers = {FASTEST: "profile and search", EVERY: "measure"}[fields["runtime"]]
        raise click.UsageError(f"--runtime {fields['runtime']} goes with {takers}; name a runtime here")
    mhz = None if clock is None else clock_of(clock, fields["device"])
    spec = TargetSpec(clock_mhz=mhz, **fields)
    chosen = training or DeviceChoice()
    return spec, Execution(store=store or default_store(), cuda_driver=cuda_driver, ray=ray, training=chosen)


TARGET_OPTIONS = (
    "device", "runtime", "batch", "threads", "precision", "store", "cuda_driver", "cuda_graph",
    "rotate_inputs", "clock",
)  # fmt: skip


def batch_of(network: Path, batch: int, shapes: dict[str, tuple[int, ...]]) -> int:
    """The batch that is meant: an ONNX file's own if it is fixed at one and the user names none."""
    from nascli.pipeline.measure.subjects import own_batch

    return batch if is_given("batch") else own_batch(network, batch, shapes)
