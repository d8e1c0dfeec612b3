"""Which options to type after an error or in an advice; a target as options."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nascli.errors import NascliError, Remedy
    from nascli.execution import Execution
    from nascli.pipeline.measure.prediction import Prediction
    from nascli.pipeline.measure.remote import WrittenPlan
    from nascli.pipeline.run.result import SearchResult
    from nascli.profiles.target import TargetSpec

# Options that are not spelled like the argument that they set.
_OPTIONS = {
    "age": "--older-than",
    "changes": "--set",
    "clock_mhz": "--lock-clocks",
    "integer_range": "--input-range",
    "shapes": "--shape",
    "sources": "--from",
}
# Commands that are not spelled like the job that they run.
_COMMANDS = {
    "describe_device": "devices",
    "describe_space": "spaces",
    "import_packs": "lut import",
    "list_spaces": "spaces",
    "list_tables": "lut list",
    "run_checks": "doctor",
    "train_supernet": "supernet train",
    "use_file": "--use",
}
# Arguments that a command takes without an option.
_POSITIONAL = ("name", "path", "spec")


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
        elif value is None or value is True:
            words.append(option(name))
        elif name in _POSITIONAL:
            words.append(shlex.quote(str(value)))
        else:
            words.append(f"{option(name)} {shlex.quote(str(value))}")
    if remedy.job is None:
        return (", " if None in remedy.arguments.values() else " ").join(words)
    return " ".join(word for word in ("nascli", _COMMANDS.get(remedy.job, remedy.job), *words) if word)


def advice_as_text(hint: str | None, remedies: Sequence[Remedy]) -> str:
    """What to do in words, with what to type for it.

    Args:
        hint: The words for the first remedies, as far as they have none of their own.
        remedies: Each of them may help.
    """
    steps: list[tuple[str, list[str]]] = [(hint or "", [])]
    for remedy in remedies:
        if remedy.words:
            steps.append((remedy.words, []))
        steps[-1][1].append(remedy_as_text(remedy))
    sentences = [
        f"{words.rstrip('.') or 'Try'}: {'; '.join(typed)}" if typed else words
        for words, typed in steps
        if words or typed
    ]
    return " ".join([*(f"{sentence.rstrip('.')}." for sentence in sentences[:-1]), *sentences[-1:]])


def error_as_text(error: NascliError) -> str:
    """An error in two lines: what and why in the first, what to do and to type in the second."""
    return "\n".join(filter(None, [error.message, advice_as_text(error.hint, error.remedies)]))


def unmeasured_as_text(result: SearchResult) -> str:
    """That a search measured nothing, and the command that measures its winner."""
    from nascli.errors import Remedy

    text = "nothing was measured: what the budgets bound is counted, and exact"
    if not result.is_exported:
        return text
    model = Remedy(job="measure", arguments={"path": result.folder / "model.onnx"})
    return f"{text}; for the winner's latency: {remedy_as_text(model)}"


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
