import json

from nascli.search.algorithm import SearchRecord
from nascli.search.nse.rounds import EvaluatedPoint, Round, RoundTraining
from nascli.search.nse.story import fronts_chart, nse_stories, round_story, trajectories_chart
from nascli.spaces import load_space

SPACE = load_space("nse-27-mini:resolution=8")
LAYERS = len(SPACE.layers)
FRONT = (EvaluatedPoint((1,) * LAYERS, 3e5, 0.8), EvaluatedPoint((1,) * LAYERS, 4e5, 0.9))


def a_round(trajectory=True):
    moments = tuple(((0.1 * t, -0.5 * t, -0.9 * t),) * LAYERS for t in range(6))
    training = RoundTraining(
        ((0.5, -2.5, -4.5),) * LAYERS, ((True, True, False),) * LAYERS, moments if trajectory else ()
    )
    return Round(((0, 5, 9),) * LAYERS, ((5,),) * LAYERS, training, FRONT, FRONT, ((0,),) * LAYERS)


def test_a_run_has_all_pictures():
    story = json.loads(json.dumps({"rounds": [a_round().to_json()] * 3}))
    record = SearchRecord(SPACE, (1,) * LAYERS, (), story, {"threshold": -1.5})
    stories = nse_stories(record)
    assert [each.title for each in stories] == [
        "Which operations live where", "Pareto fronts by round", "Fitness indicators", "Round 1", "Round 2", "Round 3",
    ]  # fmt: skip
    lives = stories[0].svg
    assert lives.count("drawn in round 1, on fronts until round 3") == LAYERS
    assert lives.count("drawn in round 1, never on a front") == 2 * LAYERS
    assert lives.count("never drawn") == 24 * LAYERS and lives.count('class="best"') == LAYERS


def test_runs_without_trajectories_have_no_picture_of_them():
    assert trajectories_chart([a_round(False)], -2.0) is None
    assert trajectories_chart([a_round()], -2.0).count('class="keep"') == LAYERS


def test_a_round_tells_what_became_of_its_operations():
    svg = round_story(SPACE, a_round(), 1).svg
    for state in ("on the front", "left by simplification, inherited", "dropped"):
        assert svg.count(f": {state}<") == LAYERS
    assert fronts_chart([a_round()]).count("round 1: 90.00%") >= 1
