"""The phases of a whole search, as far as they are known before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.pipeline.measure.profile import plan
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Phase
from nascli.search.phases import training_phase
from nascli.search.problem import SpaceRequest
from nascli.spaces.space import Space
from nascli.supernet.training import distributed

_MEASURED_NETWORKS = "measured networks"


def search_phases(settings: SearchSettings, request: SpaceRequest, *, has_latency: bool) -> Sequence[Phase]:
    """Return the phases of a search: the table, the algorithm's own, verification, and training from scratch.

    A phase that turns out to be done already, such as the training of a supernet that another search left, is passed
    over when the next one begins.

    Args:
        settings: Of the search.
        request: The space, the data, and the constraints.
        has_latency: Whether the search has a latency model, whose table may have to be measured.
    """
    algorithm, preset = settings.descriptor, settings.effort
    phases = list(algorithm.announced_learning(request, preset))
    if has_latency:
        phases += _table(settings, request)
    phases += algorithm.announced_phases(request, preset)
    if has_latency:
        phases.append(Phase("measuring networks", preset.finalists, _MEASURED_NETWORKS))
    finalists = algorithm.trained_finalists(preset)
    images = len(request.images.train)
    if finalists > 1:
        # Finalists are compared on the validation part, and never train on it.
        phases += [training_phase("training finalist from scratch", images, preset.retraining)] * finalists
    if preset.final_on == "all":
        images += len(request.images.validation)
    trained = ["training winner from scratch", "training random from scratch"]
    if not (isinstance(request.space, Space) and request.space.low_bit):
        trained.append("training largest from scratch")
    if has_latency or settings.measure:
        phases.append(Phase("measuring networks", len(trained), _MEASURED_NETWORKS))
    return [*phases, *(training_phase(task, images, preset.retraining) for task in trained)]


def _table(settings: SearchSettings, request: SpaceRequest) -> list[Phase]:
    """Return the phase that measures the table; none where the store has all of it."""
    task = "measuring operators"
    if settings.descriptor.learns_spaces or not isinstance(request.space, Space):
        # The operators of a space that is yet to be learned are not known.
        return [Phase(task)]
    subjects = space_subjects(request.space, settings.target.batch)

    def missing() -> list[float]:
        work = plan(subjects, settings.target, settings.execution, MeasurementProtocol())
        return [len(work.todo), work.expected_seconds]

    models, seconds = distributed.on_first(missing)
    return [Phase(task, int(models), seconds=seconds)] if models else []
