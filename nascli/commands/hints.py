"""Which options to type after an error or in an advice; a target as options."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nascli.errors import NascliError, Remedy
    from nascli.execution import Execution
    from nascli.pipeline.measure.prediction import Prediction
    from nascli.pipeline.measure.remote import WrittenPlan
    from nascli.profiles.target import TargetSpec

# Options that are not spelled like the argument that they set.
_OPTIONS = {"clock_mhz": "--lock-clocks", "sources": "--from"}
# Commands that are not spelled like the job that they run.
_COMMANDS = {
    "list_tables": "lut list",
    "import_packs": "lut import",
    "run_checks": "doctor",
    "train_supernet": "supernet train",
}


def option(argument: str) -> str:
    """The option that sets an argument of the library."""
    return _OPTIONS.get(argument, "--" + argument.replace("_", "-"))


def target_as_options(spec: TargetSpec) -> str:
    """The options that name a target."""
    words = [f"--device {spec.device} --batch {spec.batch} --threads {spec.threads}"]
    words.append(f"--precision {spec.precision}")
    if spec.runtime != "auto":
        words.append(f"--runtime {spec.runtime}")
    words += [option(name) for name in ("cuda_graph", "rotate_inputs") if getattr(spec, name)]
    return " ".join(words)


def execution_as_options(execution: Execution) -> str:
    """The option that names a store; empty for the shared one."""
    from nascli.paths import default_store

    return "" if execution.store == default_store() else f"--store {shlex.quote(str(execution.store))}"


def remedy_as_text(remedy: Remedy) -> str:
    """What to type: a whole command, or the options of the same command that matter."""
    from nascli.execution import Execution
    from nascli.profiles.target import TargetSpec

    words = []
    for name, value in remedy.arguments.items():
        if isinstance(value, TargetSpec):
            words.append(target_as_options(value))
        elif isinstance(value, Execution):
            words.append(execution_as_options(value))
        elif value is None:
            words.append(option(name))
        else:
            words.append(f"{option(name)} {shlex.quote(str(value))}")
    if remedy.job is None:
        return (", " if None in remedy.arguments.values() else " ").join(words)
    return " ".join(word for word in ("nascli", _COMMANDS.get(remedy.job, remedy.job), *words) if word)


def error_as_text(error: NascliError) -> str:
    """An error in two lines: what and why in the first, what to do and to type in the second."""
    if error.remedy is None:
        return str(error)
    typed = remedy_as_text(error.remedy)
    return f"{error.message}\n" + (f"{error.hint.rstrip('.')}: {typed}" if error.hint else f"Try: {typed}")


def no_interval_as_text(prediction: Prediction) -> str | None:
    """Why a prediction has no interval, and the command that would give one; None where it has one."""
    if prediction.no_interval is None or prediction.remedy is None:
        return prediction.no_interval
    return f"{prediction.no_interval} ({remedy_as_text(prediction.remedy)})"


def plan_commands(plan: WrittenPlan, host: str) -> list[str]:
    """The commands that carry a plan to another machine, measure it there, and bring the pack back."""
    there = shlex.quote(host)
    return [
        f"scp {shlex.quote(str(plan.file))} {there}:",
        f"ssh {there} nascli profile --plan {plan.file.name} --pack {plan.pack}",
        f"scp {there}:{plan.pack} .",
        f"nascli lut import {plan.pack}",
    ]
