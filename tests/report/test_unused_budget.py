import pytest

from nascli.report.unused_budget import BudgetUse, Reason, unused_budget, unused_budget_text

# Of ten evaluations, five use between 95 % and the whole of the budget.
SHARES = [0.3, 0.5, 0.88, 0.94, 0.95, 0.96, 0.97, 0.99, 1.0, 1.2]
SCORES = [0.5, 0.6, 0.80, 0.70, 0.71, 0.72, 0.79, 0.75, 0.6, 0.9]


def explained(share=0.88, predicted=0.88, score=0.8, shares=SHARES, scores=SCORES, largest=2.0, **options):
    return unused_budget(BudgetUse(share, predicted, score), shares, scores, largest=largest, **options)


@pytest.mark.parametrize("share", [0.95, 1.0, 1.01])
def test_a_winner_that_fills_its_budget_needs_no_explanation(share):
    assert explained(share=share, predicted=share) is None


def test_nothing_larger_was_better():
    found = explained()
    # The last one broke the budget, and does not count although its score is the highest.
    assert (found.reason, found.near, found.best_near, found.evaluated) == (
        Reason.NOTHING_BETTER,
        5,
        0.79,
        10,
    )
    assert unused_budget_text(found) == (
        "The winner uses 88% of its budget, because nothing larger was better: 5 of 10 evaluated networks use at least "
        "95% of it, and the best of them scored 79.00% against the winner's 80.00% (validation top-1 with inherited "
        "weights)."
    )


def test_an_equal_score_is_not_better():
    assert explained(score=0.79).reason is Reason.NOTHING_BETTER


def test_a_better_one_that_did_not_win_was_passed_over():
    found = explained(score=0.78)
    assert found.reason is Reason.PASSED_OVER and "79.00% against the winner's 78.00%" in unused_budget_text(
        found
    )


@pytest.mark.parametrize(("count", "reason"), [(5, Reason.NOTHING_BETTER), (4, Reason.NOT_SEARCHED)])
def test_too_few_evaluations_near_the_budget_say_nothing(count, reason):
    found = explained(shares=[0.5] + [0.97] * count, scores=[0.8] + [0.7] * count)
    assert found.reason is reason and found.near == count


def test_a_search_that_never_looked_there():
    found = explained(shares=[0.3, 0.88], scores=[0.5, 0.8])
    assert (found.reason, found.near, found.best_near) == (Reason.NOT_SEARCHED, 0, None)
    assert unused_budget_text(found) == (
        "The winner uses 88% of its budget, and the search hardly looked at larger networks: 0 of 2 evaluated networks "
        "use at least 95% of it."
    )


def test_a_space_that_has_nothing_larger():
    found = explained(shares=[0.3, 0.88], scores=[0.5, 0.8], largest=0.9)
    assert found.reason is Reason.NOT_THERE and unused_budget_text(found).endswith("network uses 90%.")


def test_a_device_that_is_faster_than_the_model():
    found = explained(predicted=0.98)
    assert found.reason is Reason.FASTER_THAN_PREDICTED
    assert unused_budget_text(found) == (
        "The winner uses 88% of its budget: the model put it at 98%, and the device is faster than the model."
    )
    confident = unused_budget_text(explained(predicted=0.98, margin=0.07))
    assert "98% of what the confidence leaves, which is 93%, and" in confident
