"""Estimates against what a run then took: on a simulated clock, and over recorded traces."""

import json
import random
from pathlib import Path

import pytest

from nascli.progress import Phase
from nascli.remaining_time import Pace, RemainingTime

TRACES = json.loads((Path(__file__).parent / "data" / "progress_traces.json").read_text())


def training(steps, step=0.1, first=6.0, resumed=0, jitter=0.2, stall=None, seed=0):
    """Times and numbers of the reports of a training: its first step is slow, every fiftieth writes a checkpoint."""
    rng = random.Random(seed)
    now, events = 0.0, [(0.0, resumed)] if resumed else []
    for number in range(resumed, steps):
        slow = first if number == resumed else 0.0
        checkpoint = 2 * step if number % 50 == 49 else 0.0
        now += step * rng.uniform(1 - jitter, 1 + jitter) + slow + checkpoint
        now += stall[1] if stall is not None and number == stall[0] else 0.0
        events.append((now, 1))
    return steps, events


def evaluation(architectures, batch=32, population=50, step=0.4, set_up=40.0, seed=0):
    """Reports of a search: batches of neighbours, whose evaluations all come at once when their batch is done."""
    rng = random.Random(seed)
    now, events, left = set_up, [], architectures
    while left:
        generation = min(population, left)
        left -= generation
        while generation:
            size = min(batch, generation)
            generation -= size
            now += size * step * rng.uniform(0.85, 1.15)
            for _ in range(size):
                # The journal is written between two of them.
                now += 0.003
                events.append((now, 1))
    return architectures, events


def replayed(architectures, known, **options):
    """Reports of a search that is resumed: what the journal has comes at once."""
    _, events = evaluation(architectures - known, **options)
    return architectures, [(0.0002 * number, 1) for number in range(known)] + [
        (now + 0.0002 * known, n) for now, n in events
    ]


RUNS = {
    "training with a slow first step": training(1000),
    "training whose set-up takes longer than a tenth of it": training(300, first=30.0),
    "training that is resumed": training(1000, resumed=400),
    "training of few long steps": training(40, step=20.0, first=60.0),
    "training with one stall": training(1000, stall=(60, 40.0)),
    "training of many quick steps": training(20_000, step=0.004, first=3.0),
    "evaluation with set-up": evaluation(1000),
    "evaluation whose set-up takes longer than the rest": evaluation(1000, set_up=600.0),
    "evaluation one by one": evaluation(200, batch=1, population=1, set_up=20.0),
    "evaluation that is resumed": replayed(1000, 300),
}


def burst(events):
    """The largest number of steps that are reported at nearly the same time."""
    largest = count = 0
    before = -1.0
    for now, steps in events:
        count = count + steps if now - before < 0.1 * events[-1][0] / len(events) else steps
        largest, before = max(largest, count), now
    return largest


def check(total, events):
    """Assert that after a tenth of a run the time left is within a third of the truth, at each report.

    Of a run of very many reports each seventh is asked: none is special, and seven divides no interval of checkpoints.
    Just before the end the truth is next to nothing: there a hundredth of the run, or two bursts, may be between them.
    Where the first burst is more than a tenth of the run, nobody knows before the second has ended.
    """
    remaining, end = RemainingTime(), events[-1][0]
    remaining.start("task", total, 0.0)
    # What a run that is resumed had done is no part of this one.
    known = sum(steps for now, steps in events if now < 0.1)
    largest = burst([event for event in events if event[0] >= 0.1])
    allowed = max(2 * largest / total, 0.01) * end
    checked, every = 0, 7 if len(events) > 5000 else 1
    for number, (now, steps) in enumerate(events):
        remaining.advance(steps, now)
        if number % every:
            continue
        if remaining.done - known < (total - known) / 10:
            continue
        estimate, truth = remaining.of_task(now), end - now
        if estimate is None and remaining.done - known < 2 * largest:
            continue
        assert estimate is not None, now
        assert abs(estimate - truth) <= truth / 3 or abs(estimate - truth) <= allowed < end / 3, (
            now,
            estimate,
            truth,
        )
        checked += 1
    assert every * checked > 0.7 * (total - known) / max(steps for _, steps in events[-5:])


@pytest.mark.parametrize("name", RUNS)
def test_after_a_tenth_of_a_run_the_time_left_is_within_a_third_of_the_truth(name):
    check(*RUNS[name])


@pytest.mark.parametrize("name", TRACES)
def test_so_it_is_on_recorded_traces(name):
    """Each phase of searches as they reported it, in processor time, so that what else ran on the machine does not count."""
    phase = TRACES[name]
    check(phase["total"], [tuple(event) for event in phase["events"]])


def test_set_up_is_not_counted_as_work():
    pace = Pace(0.0)
    assert pace.seconds_per_step() is None
    for now in (100.0, 101.0, 102.0, 103.0):
        pace.report(now, 1)
    assert pace.seconds_per_step() == pytest.approx(1.0)
    assert pace.overall(103.0) == pytest.approx(103 / 4)


def test_the_first_report_of_a_burst_does_not_stand_for_all_the_time_since_the_last():
    pace = Pace(0.0)
    for end in (100.0, 200.0, 300.0):
        for number in range(50):
            pace.report(end + 0.001 * number, 1)
    before = pace.seconds_per_step()
    pace.report(400.0, 1)
    assert before == pytest.approx(2.0, rel=0.01) and pace.seconds_per_step() == pytest.approx(2.0, rel=0.01)


PLAN = [
    Phase("measuring operators", 100, seconds=35.0),
    Phase("training the supernet of", 100, "training", work=64),
    Phase("searching", 50, "evaluation"),
    Phase("measuring networks", 5, "networks"),
    *(Phase(f"training {name} from scratch", 200, "training", work=32) for name in ("winner", "random")),
]


def run_task(remaining, task, total, start, step):
    """A task all of whose steps take equally long; its end."""
    remaining.start(task, total, start)
    run_steps(remaining, total, start, step)
    return start + total * step


def run_steps(remaining, total, start, step):
    for number in range(1, total + 1):
        remaining.advance(1, start + number * step)


def test_phases_are_counted_and_their_rates_shared():
    remaining = RemainingTime()
    remaining.plan(PLAN)
    assert remaining.phases == 6 and remaining.of_job(0.0) == (None, False)
    remaining.start("measuring operators on this CPU", 100, 0.0)
    # Nothing but the table's own expectation is known.
    assert remaining.number == 1 and remaining.of_task(5.0) == 30.0 and remaining.of_job(5.0) == (30.0, False)
    now = run_task(remaining, "training the supernet of tiny", 100, 40.0, 0.64)
    assert remaining.number == 2 and remaining.of_task(now) == 0
    # 0.01 s for an image: 200 steps of 32 images take 64 s.
    seconds, is_complete = remaining.of_job(now)
    assert seconds == pytest.approx(128.0) and not is_complete
    now = run_task(remaining, "searching (spos)", 50, now, 2.0)
    now = run_task(remaining, "measuring networks on this CPU", 5, now, 1.0)
    seconds, is_complete = remaining.of_job(now)
    assert seconds == pytest.approx(128.0) and is_complete
    remaining.start("training winner from scratch", 200, now)
    # Before its first step, by the rate of the supernet.
    assert remaining.number == 5 and remaining.of_task(now) == pytest.approx(64.0)
    run_steps(remaining, 200, now, 0.16)
    now += 32.0
    assert remaining.of_job(now)[0] == pytest.approx(32.0)
    remaining.start("training random from scratch", 200, now)
    assert remaining.is_last and remaining.of_task(now) == pytest.approx(32.0)


def test_phases_that_are_done_already_are_passed_over():
    remaining = RemainingTime()
    remaining.plan(PLAN)
    remaining.start("searching (spos)", 50, 0.0)
    assert remaining.number == 3 and not remaining.is_last


def test_a_task_that_is_not_planned_has_no_number_and_the_plan_goes_on():
    remaining = RemainingTime()
    remaining.plan(PLAN)
    run_task(remaining, "measuring operators here", 100, 0.0, 0.1)
    remaining.start("timing networks", 4, 10.0)
    assert remaining.number is None
    remaining.start("training the supernet of tiny", 100, 12.0)
    assert remaining.number == 2


def test_a_phase_in_parts_is_one_phase():
    remaining = RemainingTime()
    remaining.plan([Phase("evolving cells", 120, "cells", in_parts=True), Phase("searching", 10)])
    for part in range(3):
        assert remaining.continues("evolving cells") is (part > 0)
        remaining.start("evolving cells", 40 * (part + 1), 40.0 * part)
        remaining.advance(40 * part, 40.0 * part)
        for number in range(1, 41):
            remaining.advance(1, 40.0 * part + number)
        assert (remaining.number, remaining.done, remaining.total) == (1, 40 * (part + 1), 120)
        assert remaining.of_task(40.0 * (part + 1)) == pytest.approx(80 - 40 * part)
    remaining.start("evolving cells", 120, 120.0)
    remaining.advance(80, 120.0)
    # Right after a part begins, the rate of the one before counts.
    assert remaining.of_task(120.0) == pytest.approx(40.0)


def test_resumed_steps_are_no_pace():
    remaining = RemainingTime()
    remaining.plan([Phase("training a", 100, "training"), Phase("training b", 100, "training")])
    remaining.start("training a", 100, 0.0)
    remaining.advance(100, 0.001)
    remaining.start("training b", 100, 0.002)
    # A training that was complete took no time, and says nothing of the next.
    assert remaining.of_task(0.002) is None
