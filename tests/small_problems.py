"""Problems of the tiny space on a made-up device of known latency, where nothing is measured or trained."""

from simulated_devices import DEVICES, fill_this_machine, truth

from nascli.execution import Execution
from nascli.lut import Measurement
from nascli.pipeline.run.build_problem import build_problem, named_space
from nascli.pipeline.run.settings import SearchSettings, choose_preset
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.search.base import Evaluation, Score
from nascli.search.problem import RankedCandidates, SearchContext

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"


def small_settings(store, *budgets, space=TINY, finalists=2):
    preset, _ = choose_preset("spos", changes=[f"finalists={finalists}"])
    target, execution = TargetSpec(batch=4), Execution(store=store)
    return SearchSettings(space, "digits", budgets, target, "spos", preset, execution=execution)


def fill(store):
    fill_this_machine(store, DEVICES["alpha"], named_space(small_settings(store, "macs<=1G")))
    return store


def small_problem(settings, folder):
    """A problem, and the context of its search; networks take as long as the device's truth says."""
    context = SearchContext(settings.effort, settings.seed, settings.data, folder, Silent(), measured)
    return build_problem(settings, named_space(settings), context), context


def measured(networks, *args, slower=1.0, **options):
    figures = [slower * truth(network.program, DEVICES["alpha"]) for network in networks]
    return [Measurement(seconds, 0.99 * seconds, 1.01 * seconds, 12) for seconds in figures]


def ranking(rows):
    """Candidates in the order of their rows, best first."""
    evaluations = [
        Evaluation(tuple(map(int, row)), Score(0.9 - number / 100), 0.1) for number, row in enumerate(rows)
    ]
    return RankedCandidates(tuple(evaluations), "a made-up supernet")
