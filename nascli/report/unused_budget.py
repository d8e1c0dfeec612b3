"""Why a winner leaves a part of its budget: nothing larger was better, or the search did not look there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

# A winner that uses less than this share of its budget is explained.
FILLED = 0.95
# With fewer evaluations between that share and the whole budget, the search did not look there.
FEW = 5
# Costs that are equal to a budget may exceed it by rounding.
_ROUNDING = 1e-9


class Reason(Enum):
    """Why a part of the budget is left.

    NOTHING_BETTER: Networks that use the budget were evaluated, and scored no higher.
    NOT_SEARCHED: Hardly any network that uses the budget was evaluated.
    NOT_THERE: The space has no network that uses the budget.
    FASTER_THAN_PREDICTED: By the model, the winner uses the budget.
    PASSED_OVER: Networks that use the budget scored higher, and were not chosen.
    """

    NOTHING_BETTER = "nothing better"
    NOT_SEARCHED = "not searched"
    NOT_THERE = "not there"
    FASTER_THAN_PREDICTED = "faster than predicted"
    PASSED_OVER = "passed over"


@dataclass(frozen=True)
class BudgetUse:
    """How much of its budget a network uses; of several budgets, the one that it uses most counts.

    Attributes:
        share: Its measured or counted cost over the upper bound.
        predicted: Its cost by the model over the bound that the search kept; equal to `share` where nothing was
            measured.
        score: Its validation top-1 with inherited weights, from 0 to 1.
    """

    share: float
    predicted: float
    score: float


@dataclass(frozen=True)
class UnusedBudget:
    """What is known about the part of a budget that a winner leaves.

    Attributes:
        reason: Why it is left.
        winner: How much the winner uses.
        evaluated: The number of evaluations that gave a score.
        near: The number of those that use at least `FILLED` of the budget, by the model.
        best_near: The highest score of these; None where there are none.
        largest: The highest share that any network of the space uses.
        margin: The part of a latency budget that the search kept for the model's error, relative; 0 without a
            confidence.
    """

    reason: Reason
    winner: BudgetUse
    evaluated: int
    near: int
    best_near: float | None
    largest: float
    margin: float = 0.0


def unused_budget(
    winner: BudgetUse,
    shares: Sequence[float],
    scores: Sequence[float],
    *,
    largest: float,
    margin: float = 0.0,
) -> UnusedBudget | None:
    """Return why a winner uses less than `FILLED` of its budget; None where it uses more.

    Args:
        winner: How much the winner uses.
        shares: For each evaluated network its cost by the model over the bound that the search kept.
        scores: Their validation top-1.
        largest: The highest share that any network of the space uses.
        margin: The part of a latency budget that the search kept for the model's error, relative.
    """
    if winner.share >= FILLED:
        return None
    near = [score for share, score in zip(shares, scores, strict=True) if FILLED <= share <= 1 + _ROUNDING]
    best_near = max(near, default=None)
    if winner.predicted >= FILLED:
        reason = Reason.FASTER_THAN_PREDICTED
    elif largest < FILLED:
        reason = Reason.NOT_THERE
    elif len(near) < FEW or best_near is None:
        reason = Reason.NOT_SEARCHED
    elif best_near <= winner.score:
        reason = Reason.NOTHING_BETTER
    else:
        reason = Reason.PASSED_OVER
    return UnusedBudget(reason, winner, len(scores), len(near), best_near, largest, margin)


def unused_budget_text(unused: UnusedBudget) -> str:
    """Return the explanation in words."""
    winner = unused.winner
    text = f"The winner uses {winner.share:.0%} of its budget"
    there = f"{unused.near} of {unused.evaluated} evaluated networks use at least {FILLED:.0%} of it"
    if unused.reason is Reason.FASTER_THAN_PREDICTED:
        within = f" of what the confidence leaves, which is {1 - unused.margin:.0%}" if unused.margin else ""
        return f"{text}: the model put it at {winner.predicted:.0%}{within}, and the device is faster than the model."
    if unused.reason is Reason.NOT_THERE:
        return f"{text}, because the space has nothing larger: its most expensive network uses {unused.largest:.0%}."
    scored = ""
    if unused.best_near is not None:
        scored = (
            f", and the best of them scored {unused.best_near:.2%} against the winner's {winner.score:.2%} "
            "(validation top-1 with inherited weights)"
        )
    if unused.reason is Reason.NOTHING_BETTER:
        return f"{text}, because nothing larger was better: {there}{scored}."
    if unused.reason is Reason.NOT_SEARCHED:
        return f"{text}, and the search hardly looked at larger networks: {there}{scored}."
    return (
        f"{text}: {there}{scored}. They were passed over, because they broke the budget on the device or because "
        "another finalist was preferred."
    )
