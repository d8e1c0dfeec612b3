from dataclasses import dataclass, field

import pytest

from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.search.preset import Preset, change_known_fields
from nascli.supernet.recipes.small import small, small_supernet


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    betas: tuple[float, ...] = (0.9, 0.99)


@dataclass(frozen=True)
class Settings:
    count: int = 3
    limit: int | None = None
    lock: bool = True
    name: str = "a"
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.limit is not None and self.limit < self.count:
            raise NascliError("count <= limit must hold")


PRESET = Preset(Settings(), small_supernet(epochs=2), small(epochs=3))
ALIASES = {"toy": "settings", "inner": "settings.inner", "epochs": "supernet.epochs"}


def test_values_become_of_the_field_s_type():
    texts = [
        "toy.count=5",
        "settings.limit=9",
        "toy.lock=False",
        "toy.name=5",
        "inner.betas=0,0.5",
        "finalists=2",
    ]
    preset = PRESET.with_changes(texts, ALIASES)
    assert preset.settings == Settings(5, 9, False, "5", Inner(betas=(0.0, 0.5))) and preset.finalists == 2
    assert preset.with_changes(["settings.limit=None"]).settings.limit is None
    assert PRESET.settings == Settings()


def test_the_longest_alias_counts_and_groups_may_be_nested():
    assert PRESET.with_changes(["toy.inner.rate=2"], ALIASES).settings.inner.rate == 2.0
    assert PRESET.with_changes(["settings.inner.rate=2"]).settings.inner.rate == 2.0
    assert PRESET.with_changes(["epochs=7"], ALIASES).supernet.epochs == 7


def test_a_rule_sees_all_changes_at_once():
    preset = PRESET.with_changes(["settings.limit=2", "settings.count=1"])
    assert (preset.settings.count, preset.settings.limit) == (1, 2)
    with pytest.raises(NascliError, match="count <= limit"):
        PRESET.with_changes(["settings.limit=2"])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("finalists", ConstraintError, "NAME=VALUE"),
        ("toys.count=3", UnknownNameError, "Did you mean toy"),
        ("toy.counts=3", UnknownNameError, "Did you mean count"),
        ("toy=3", UnknownNameError, "hyper-parameter"),
        ("toy.count=x", ConstraintError, "count takes int"),
        ("toy.limit=x", ConstraintError, "limit takes int or none"),
        ("toy.lock=1", ConstraintError, "lock takes bool"),
        ("inner.betas=x", ConstraintError, "numbers with commas"),
        ("calibration_images=0", NascliError, "calibration_images >= 1"),
    ],
)
def test_what_cannot_be_set(text, error, message):
    with pytest.raises(error, match=message):
        PRESET.with_changes([text], ALIASES)


def test_epochs_of_all_supernets_change_together():
    learned = Preset(None, small_supernet(epochs=2), small(epochs=3), space_recipe=small_supernet(epochs=4))
    changed = learned.with_supernet_epochs(9)
    assert (changed.supernet.epochs, changed.space_recipe.epochs, changed.retraining.epochs) == (9, 9, 3)
    assert PRESET.with_supernet_epochs(9).space_recipe is None
    assert PRESET.with_retraining_epochs(9).retraining.epochs == 9


def test_fields_that_a_holder_has_change_and_others_are_told():
    assert change_known_fields(Settings(), {"count": 1, "other": 2}) == (Settings(count=1), ["other"])
    assert change_known_fields(None, {"count": 1}) == (None, ["count"])
