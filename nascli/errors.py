"""What can go wrong, said to the user: the rule, the values, and the way out.

Every error that a user can cause derives from `NascliError`; the command line prints it in one or two
lines and exits with 1. Anything else that escapes is a bug in nascli.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What would mend an error, as data. The command line shows it as something to type.

    Attributes:
        job: The job that mends it, such as 'profile' or 'list_tables'; None where the same call succeeds with other
            arguments.
        arguments: The arguments that matter, by name: of the job, or of the call. The value None means that the
            user has to choose one, or to leave the argument out; True means that it is switched on.
        words: What it does, as a sentence; empty where the hint or the remedy before it says so.
    """

    job: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    words: str = ""


class NascliError(Exception):
    """A domain error.

    Attributes:
        message: The rule that was broken, and the values that broke it.
        hint: What to do about it, in words; None where the message says all.
        remedies: The same as data, of which each may help; empty where there is nothing to call.
        process: The number of the process that raised it, where another process of a group did and it is told here
            what happened there; None for an error of this process.
    """

    process: int | None = None

    def __init__(self, message: str, hint: str | None = None, *remedies: Remedy) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.remedies = remedies

    def __str__(self) -> str:
        words = [self.hint, *(remedy.words for remedy in self.remedies)]
        return "\n".join([self.message, *filter(None, [" ".join(filter(None, words))])])


class UnitError(NascliError):
    """A quantity that lacks its unit, or has the wrong one."""


class SpaceError(NascliError):
    """An operator, layer, space or space file that breaks a rule of its own."""


class ArchitectureError(NascliError):
    """Codes or an architecture file that do not belong to the space."""


# Up to so many names of a registry are listed in an error; of more, only those that are spelled alike.
_MOST_NAMES = 200


class UnknownNameError(NascliError):
    """A name that is not in a registry; the text lists what is."""

    def __init__(
        self, kind: str, name: str, known: list[str], hint: str | None = None, *remedies: Remedy
    ) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        listing = ", ".join(known) if known else "none"
        if len(known) > _MOST_NAMES:
            near = get_close_matches(name, known, n=8, cutoff=0.4)
            listing = ", ".join([*near, f"and {len(known) - len(near)} others"])
        super().__init__(f"unknown {kind} {name!r}.{guess} Known: {listing}.", hint, *remedies)


class DeviceError(NascliError):
    """A device that is not here, or that failed while it was used."""


class ModelRefusedError(DeviceError):
    """A model that a runtime cannot load on its device; other models may well load."""


class RuntimeUnavailableError(NascliError):
    """A runtime whose packages or drivers are missing."""


class StoreError(NascliError):
    """A store that cannot be opened, read or written."""


class MissingMeasurementsError(NascliError):
    """A table lacks operators that a cost model needs."""

    def __init__(self, missing: list[str], total: int, setup: str, command: str) -> None:
        self.missing = missing
        shown = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        super().__init__(
            f"{len(missing)} of {total} operators have no latency for {setup}: {shown}.",
            f"Measure them: {command}",
        )


class ConstraintError(NascliError):
    """A constraint that cannot be read, or that contradicts another."""


class InfeasibleError(NascliError):
    """A budget that no architecture of the space meets."""


class DataError(NascliError):
    """A data set that is missing, damaged, or does not fit the space."""


class TrainingError(NascliError):
    """Training that cannot go on, such as a loss that is not finite."""


class CheckpointError(NascliError):
    """A checkpoint that is damaged or belongs to something else."""


class RunError(NascliError):
    """A run folder that exists, is in use, or was made with other settings."""


class ProcessGroupError(NascliError):
    """Processes that cannot work together: one of them ended, or has something else than the others."""


class LostProcessError(ProcessGroupError):
    """Another process of the group ended while this one waited for it."""


def missing_package(package: str, extra: str, purpose: str) -> NascliError:
    """The error for an optional dependency that is not installed."""
    return RuntimeUnavailableError(
        f"{purpose} needs the package {package}, which is not installed.",
        f"Install it: pip install 'nascli[{extra}]'",
    )
