"""Options that several commands share, and their completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nascli.execution import Execution
    from nascli.profiles.target import TargetSpec


F = TypeVar("F", bound=Callable[..., Any])


def completing(kind: str) -> Callable[..., list[str]]:
    """What a shell proposes for a value; nothing is loaded before somebody asks.

    Args:
        kind: 'spaces', 'devices', 'runtimes', 'precisions', 'data', 'algorithms', 'presets' or 'recipes'.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from nascli.pipeline.inspect.names import completions

        return [name for name in completions(kind) if name.startswith(incomplete)]

    return complete


def space_option(function: F) -> F:
    """`--space`."""
    return click.option(
        "--space",
        "spec",
        default="proxyless-mini",
        show_default=True,
        shell_complete=completing("spaces"),
        help="A space by name and parameters (nascli spaces), or FILE.py:NAME, FILE.toml.",
    )(function)


def data_option(function: F) -> F:
    """`--data`."""
    return click.option(
        "--data",
        default="digits",
        show_default=True,
        shell_complete=completing("data"),
        help="A data set, or NAME:FOLDER.",
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def target_options(function: F) -> F:
    """The options that say where to measure, and how models are run there."""
    for option in (
        click.option(
            "--lock-clocks",
            "clock",
            is_flag=False,
            flag_value="sustained",
            metavar="[MHZ]",
            help="Hold a card's clock while measuring; by default at what it sustains. Needs root.",
        ),
        click.option("--rotate-inputs", is_flag=True, help="TensorRT: other inputs in each run."),
        click.option("--cuda-graph", is_flag=True, help="Cards: launch each run as one CUDA graph."),
        click.option(
            "--cuda-driver",
            default="auto",
            show_default=True,
            help="TensorRT: cuda-core, pycuda or torch for memory and events.",
        ),
        click.option("--store", type=click.Path(path_type=Path), help="The store's file (default: shared)."),
        click.option(
            "--precision",
            default="fp32",
            show_default=True,
            shell_complete=completing("precisions"),
            help="fp32, fp16, tf32 or int8, as far as the runtime has it.",
        ),
        click.option(
            "--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads per operator."
        ),
        click.option("--batch", default=16, show_default=True, type=click.IntRange(1)),
        click.option(
            "--runtime",
            default="auto",
            show_default=True,
            shell_complete=completing("runtimes"),
            help="Such as ort-cpu.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            shell_complete=completing("devices"),
            help="cpu, or a card: nascli devices.",
        ),
    ):
        function = option(function)
    return function


def target_of(
    store: Path | None, cuda_driver: str, clock: str | None, *, ray: str | None = None, **fields: Any
) -> tuple[TargetSpec, Execution]:
    """What the values of `target_options` mean: where to measure, and with what.

    Raises:
        DeviceError: `clock` is neither a number nor 'sustained', or the device is no card.
    """
    from nascli.execution import Execution
    from nascli.paths import default_store
    from nascli.profiles.target import TargetSpec, clock_of

    mhz = None if clock is None else clock_of(clock, fields["device"])
    spec = TargetSpec(clock_mhz=mhz, **fields)
    return spec, Execution(store=store or default_store(), cuda_driver=cuda_driver, ray=ray)


TARGET_OPTIONS = (
    "device", "runtime", "batch", "threads", "precision", "store", "cuda_driver", "cuda_graph",
    "rotate_inputs", "clock",
)  # fmt: skip
