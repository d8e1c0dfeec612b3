"""Everything that decides what a search finds; two runs with equal settings and table find the same."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from nascli.costmodel import Constraint, parse_constraint
from nascli.costmodel.constraints import intersect
from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.execution import Execution
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.target import TargetSpec
from nascli.search.autospace.settings import AutoSpaceSettings
from nascli.search.nse.settings import NseSettings
from nascli.search.nss.settings import NssSettings
from nascli.search.pcnas.settings import PcnasSettings
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.spos.settings import SposSettings
from nascli.supernet.recipes.registry import recipe_of, supernet_recipe
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe

ALGORITHMS = ("spos", "random", "evolution", "guided", "pcnas", "proxyless", "nse", "nss", "autospace")
# They learn a space first, which SPOS then searches.
SPACE_ALGORITHMS = ("nss", "autospace")
PRESETS = ("small", "paper")


@dataclass(frozen=True)
class Effort:
    """How much training and evaluation a search spends; the defaults suit a CPU and small images.

    Attributes:
        supernet_epochs: training of the supernet.
        retrain_epochs: training from scratch of the winner and of each baseline.
        evolution: population, generations and the rest, of SPOS.
        finalists: how many candidates are measured at a time.
        guidance: of the guided search; its number of evaluations is random's and evolution's too.
        pcnas: of PC-NAS.
        nse: of NSE; and `fitness`, and the epochs of a round.
        gates: how ProxylessNAS learns its choices; `supernet_epochs` is how long.
        nss: of Network Space Search; and the epochs of its supernet.
        autospace: of AutoSpace.
        calibration_images: on which normalisation statistics are recalculated.
        batch: images per training step.
        recipe: whose recipe trains the supernet: a paper's algorithm, 'nse-small', or None for a small one.
        retrain: whose recipe trains networks from scratch.
    """

    supernet_epochs: int = 14
    retrain_epochs: int = 8
    evolution: SposSettings = field(default_factory=lambda: SposSettings(population=20, generations=6))
    finalists: int = 5
    guidance: GuidedSettings = field(default_factory=lambda: GuidedSettings(evaluations=80))
    pcnas: PcnasSettings = field(
        default_factory=lambda: PcnasSettings(pool=3, draws=32, warmup=10, interval=1)
    )
    nse: NseSettings = field(
        default_factory=lambda: NseSettings(candidates=4, samples=120, beyond=20, rounds=3)
    )
    fitness: ArchitectureParameterSettings = field(
        default_factory=lambda: ArchitectureParameterSettings(start=0.3)
    )
    nse_epochs: int = 12
    gates: ArchitectureParameterSettings = field(
        default_factory=lambda: ArchitectureParameterSettings(start=0.3)
    )
    nss: NssSettings = field(default_factory=lambda: NssSettings(depth_bin=2, width_bin=8))
    nss_epochs: int = 10
    autospace: AutoSpaceSettings = field(
        default_factory=lambda: AutoSpaceSettings(
            cells=4,
            population=60,
            first_team=5,
            last_team=20,
            warmup=4,
            evolution=12,
            mutants=0.5,
            frequency=20,
            reference_epochs=6,
        )
    )
    calibration_images: int = 128
    batch: int = 32
    recipe: str | None = None
    retrain: str = "small"

    def __post_init__(self) -> None:
        counts = {
            "finalists": self.finalists, "supernet_epochs": self.supernet_epochs, "retrain_epochs": self.retrain_epochs,
            "nse_epochs": self.nse_epochs, "nss_epochs": self.nss_epochs, "calibration_images": self.calibration_images,
        }  # fmt: skip
        for name, value in counts.items():
            if value < 1:
                raise NascliError(f"{name} >= 1 must hold, got {value}")

    def overridden(
        self,
        *,
        population: int | None = None,
        generations: int | None = None,
        evaluations: int | None = None,
        supernet_epochs: int | None = None,
        retrain_epochs: int | None = None,
    ) -> Effort:
        """The effort with what a user says otherwise."""
        evolution = replace(
            self.evolution,
            population=population or self.evolution.population,
            generations=generations or self.evolution.generations,
        )
        epochs = supernet_epochs
        return replace(
            self,
            evolution=evolution,
            guidance=replace(self.guidance, evaluations=evaluations or self.guidance.evaluations),
            supernet_epochs=epochs or self.supernet_epochs,
            nse_epochs=epochs or self.nse_epochs,
            nss_epochs=epochs or self.nss_epochs,
            pcnas=replace(self.pcnas, warmup=epochs or self.pcnas.warmup),
            retrain_epochs=retrain_epochs or self.retrain_epochs,
        )

    def supernet_recipe(self, epochs: int) -> Recipe:
        """How a supernet is trained for so many epochs."""
        return supernet_recipe(self.recipe, epochs, self.batch)

    def retrain_recipe(self) -> Recipe:
        """How the winner, the baselines and, of some algorithms, the finalists are trained from scratch."""
        return recipe_of(self.retrain, self.retrain_epochs)


def effort_of(preset: str, algorithm: str) -> Effort:
    """The effort of a preset: 'small' for a CPU and small images, 'paper' for what the papers did on ImageNet.

    Raises:
        UnknownNameError: no such preset.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, list(PRESETS))
    if preset == "small":
        return Effort(recipe="nse-small") if algorithm == "nse" else Effort()
    return Effort(
        supernet_epochs=120,
        retrain_epochs={"pcnas": 300, "nse": 350}.get(algorithm, 240),
        evolution=SposSettings(),
        guidance=GuidedSettings(evaluations=1000),
        pcnas=PcnasSettings(),
        nse=NseSettings(),
        fitness=ArchitectureParameterSettings(),
        # ProxylessNAS, section 4.2: Adam at 0.006, without momentum; 40 of 200 epochs for the weights alone.
        gates=ArchitectureParameterSettings(rate=0.006, betas=(0.0, 0.999), start=0.2),
        nse_epochs=100,
        nss=NssSettings(),
        nss_epochs=200,
        autospace=AutoSpaceSettings(),
        calibration_images=20_000,
        batch={"pcnas": 512, "nss": 64, "autospace": 256, "proxyless": 256}.get(algorithm, 1024),
        recipe=algorithm if algorithm in ("pcnas", "nse") else "spos",
        retrain=algorithm if algorithm in ("pcnas", "nse") else "spos",
    )


@dataclass(frozen=True)
class SearchSettings:
    """What to search, where, under which constraints.

    Attributes:
        confidence: with which the latency model must say that a budget is kept; None takes its figure as it is.
        supernet: a checkpoint of `nascli supernet train`, instead of training one.
        after: a finished run of NSE, whose last operations a second space inherits.
        execution: The store and the cluster that the search uses. Nothing in it changes what a search finds, so
            `to_json` leaves it out.
    """

    space: str
    data: str
    constraints: tuple[str, ...]
    target: TargetSpec
    algorithm: str = "spos"
    seed: int = 0
    effort: Effort = field(default_factory=Effort)
    confidence: float | None = None
    supernet: str | None = None
    after: str | None = None
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise UnknownNameError("algorithm", self.algorithm, list(ALGORITHMS))
        if not self.constraints:
            raise ConstraintError("a search needs at least one constraint, such as latency=8ms.")
        if self.after is not None and self.algorithm != "nse":
            raise ConstraintError("--after continues a search by NSE.", "Add --algorithm nse.")
        own = ("pcnas", "proxyless", "nse")
        if self.supernet is not None and self.algorithm in (*own, *SPACE_ALGORITHMS):
            raise ConstraintError(
                f"--supernet is for searches of a supernet trained beforehand; {self.algorithm} trains its own as it "
                "searches.",
                "Leave it out, or choose spos, guided, evolution or random.",
            )
        if self.execution.ray is not None and self.algorithm in own:
            raise ConstraintError(
                f"--ray spreads evaluations, and {self.algorithm} evaluates between steps of its training.",
                "Leave it out, or choose spos, guided, evolution or random.",
            )

    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints; a latency without a device is about the one that is measured on.

        Raises:
            ConstraintError: a device on a cost that depends on none, or contradictory bounds.
        """
        here = {self.target.device}
        if self.target.device in ("cpu", this_cpu().key):
            here = {"cpu", this_cpu().key}
        parsed = []
        for constraint in map(parse_constraint, self.constraints):
            if constraint.device is not None and constraint.name != "latency":
                raise ConstraintError(f"{constraint}: {constraint.name} is the same on every device.")
            parsed.append(replace(constraint, device=None) if constraint.device in here else constraint)
        return intersect(parsed)

    def to_json(self) -> dict[str, Any]:
        """The document of all settings that decide the result, under the names that settings.json has always had."""
        return {
            "space": self.space,
            "data": self.data,
            "constraints": self.constraints,
            "where": self.target.to_json(),
            "algorithm": self.algorithm,
            "seed": self.seed,
            "effort": asdict(self.effort),
            "confidence": self.confidence,
            "supernet": self.supernet,
            "after": self.after,
        }

    @property
    def default_name(self) -> str:
        """A folder's name that tells runs apart."""
        parts = [self.algorithm, self.space, self.data, *self.constraints, f"seed{self.seed}"]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")[:120]


def default_folder(settings: SearchSettings) -> Path:
    """Where a run goes when the user names no place."""
    return Path("runs") / settings.default_name


_WORDS = {"true": True, "false": False, "none": None}


def with_settings(effort: Effort, texts: Sequence[str]) -> Effort:
    """An effort with hyper-parameters of its algorithms changed.

    Args:
        effort: of a preset.
        texts: ``GROUP.NAME=VALUE``, such as ``nse.lock=false`` or ``fitness.betas=0,0.999``; or ``NAME=VALUE`` of the
            effort itself.

    Raises:
        UnknownNameError: no such group or name.
        ConstraintError: no value of its type.
        NascliError: a value that a rule of the algorithm refuses.
    """
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConstraintError(f"--set takes NAME=VALUE such as nse.threshold=-3, not {text!r}.")
        group, dot, field = name.strip().rpartition(".")
        if not dot:
            effort = replace(effort, **{field: _value(effort, field, value)})
            continue
        groups = [f.name for f in fields(effort) if is_dataclass(getattr(effort, f.name))]
        if group not in groups:
            raise UnknownNameError("group of hyper-parameters", group, groups)
        inside = getattr(effort, group)
        effort = replace(effort, **{group: replace(inside, **{field: _value(inside, field, value)})})
    return effort


def _value(holder: Any, name: str, text: str) -> Any:
    """A text as what a field of a dataclass holds."""
    plain = [f.name for f in fields(holder) if not is_dataclass(getattr(holder, f.name))]
    if name not in plain:
        raise UnknownNameError("hyper-parameter", name, plain)
    wanted = typing.get_type_hints(type(holder))[name]
    kinds = [kind for kind in (typing.get_args(wanted) or (wanted,)) if kind is not ...]
    word = text.strip()
    if typing.get_origin(wanted) is tuple:
        try:
            return tuple(kinds[0](part) for part in word.split(","))
        except ValueError as error:
            raise ConstraintError(f"{name} takes numbers with commas between them, not {text!r}.") from error
    if word.lower() in _WORDS and type(_WORDS[word.lower()]) in kinds:
        return _WORDS[word.lower()]
    for kind in kinds:
        if kind in (int, float, str):
            try:
                return kind(word)
            except ValueError:
                continue
    shown = " or ".join("none" if kind is type(None) else kind.__name__ for kind in kinds)
    raise ConstraintError(f"{name} takes {shown}, not {text!r}.")
