"""The one place where the problem of a search is built: its space, data, costs, and feasible set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nascli.costmodel import Constraint
from nascli.costmodel.budgets import CostSet, counted_costs
from nascli.costmodel.space_costs import counted_names
from nascli.errors import ConstraintError, Remedy
from nascli.pipeline.run.measured_costs import measured_costs, require_tables_elsewhere
from nascli.pipeline.run.search_plan import search_phases
from nascli.pipeline.run.settings import SearchSettings
from nascli.search.problem import SearchContext, SearchProblem, SpaceRequest
from nascli.search.run_folder import COSTS
from nascli.spaces.catalog import load_space_of_any_kind, make_space_of_any_kind
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.images import Images, load_images, parameters_for_data, require_fit
from nascli.supernet.data.shared_images import load_together
from nascli.supernet.training import distributed
from nascli.units import format_big_integer

SPACE_FILE = "space.json"


def named_space(settings: SearchSettings) -> Space | StagedSpace:
    """The space that a user named, with the data's classes and channels where its parameters do not say otherwise.

    Raises:
        ConstraintError: The algorithm cannot search it, or it cannot go on from the run that is named.
    """
    named = load_space_of_any_kind(settings.space)
    if settings.after is not None:
        # Only chains of layers have something to inherit.
        settings.descriptor.require_accepts(named)
        assert isinstance(named, Space)
        named = settings.descriptor.continue_run(named, Path(settings.after))
    return make_space_of_any_kind(named.name, **parameters_for_data(named, settings.data))


def build_problem(
    settings: SearchSettings, named: Space | StagedSpace, context: SearchContext
) -> SearchProblem:
    """Build what a search solves.

    Whatever can be refused is refused before minutes are spent on training or measuring.

    Args:
        settings: Of the search.
        named: The space that the user named; `named_space` gives it.
        context: What surrounds the search. Its folder keeps the costs and what was learned.

    Raises:
        NascliError: A space that cannot be searched, data that does not fit it, budgets that nothing meets, or a
            table of another device that is not there.
    """
    algorithm, progress = settings.descriptor, context.progress
    algorithm.require_accepts(named)
    # A run that began with a latency model goes on with it.
    has_latency = settings.bounds_latency or context.folder.read(COSTS) is not None
    _require_measurable(settings, has_latency)
    images = load_together(
        lambda: load_images(
            settings.data, named.input.height, options=settings.data_options, progress=progress
        )
    )
    classes = named.classes if isinstance(named, StagedSpace) else named.output.channels
    require_fit(images, named.input, classes)
    images = images.to(context.device.device)
    request = SpaceRequest(named, images, settings.constraints)
    progress.plan(search_phases(settings, request, has_latency=has_latency))
    space, learned = algorithm.prepare_space(request, context)
    if learned is not None:
        file = context.folder.file(SPACE_FILE)
        context.folder.write(SPACE_FILE, {"spec": space.spec, **learned})
        progress.message(f"learned space: {format_big_integer(space.size)} architectures; it is in {file}")
    return _problem(settings, space, images, context, has_latency)


def _problem(
    settings: SearchSettings, space: Space, images: Images, context: SearchContext, has_latency: bool
) -> SearchProblem:
    constraints = settings.constraints
    if space.low_bit:
        _require_counted(space, settings)
    costs, latency = CostSet(counted_costs(space, constraints)), None
    # Counted budgets that nothing meets are told before anything is measured.
    counted = [c for c in constraints if c.name != "latency"]
    feasible = costs.feasible_set(space, counted)
    require_tables_elsewhere(settings)
    if has_latency:
        costs, latency = measured_costs(settings, space, costs.counted, context.folder, context.progress)
    if len(counted) < len(constraints):
        feasible = costs.feasible_set(space, constraints)
    return SearchProblem(space, images, constraints, costs, feasible, latency)


def _require_measurable(settings: SearchSettings, has_latency: bool) -> None:
    """Refuse a confidence that is about nothing, and a target that is not there when the winner is to be measured.

    Raises:
        ConstraintError: A confidence is asked for under counted budgets.
        DeviceError, RuntimeUnavailableError: The winner cannot be measured on the target.
    """
    if settings.confidence is not None and not has_latency:
        raise ConstraintError(
            "a confidence is about a latency model, and counted budgets are exact.",
            "Leave it out.",
            Remedy(arguments={"confidence": None}),
        )
    if settings.measure:
        setup_of(settings)


def _require_counted(space: Space, settings: SearchSettings) -> None:
    """Refuse what cannot be asked of a space that no runtime here can measure."""
    reason = f"{space.name} has convolutions with bit widths, which no runtime here can measure: "
    for constraint in settings.constraints:
        if constraint.name not in counted_names():
            raise ConstraintError(
                f"{reason}{constraint} cannot be kept.",
                "Bound what is counted.",
                Remedy(arguments={"constraint": "bitops<=6.3G"}),
            )
    if settings.measure:
        raise ConstraintError(
            f"{reason}the winner cannot be timed.",
            "Leave the measurement out.",
            Remedy(arguments={"measure": None}),
        )


def setup_of(settings: SearchSettings) -> dict[str, str | int]:
    """Return the setup on which a search measures, as a JSON document; of several processes, the first one measures.

    Raises:
        DeviceError, RuntimeUnavailableError: The target is not there.
    """
    return distributed.on_first(lambda: settings.target.resolve(settings.execution).setup().to_json())


def budget_text(constraints: Sequence[Constraint]) -> str:
    """Several constraints in one phrase."""
    return " and ".join(str(constraint) for constraint in constraints)
