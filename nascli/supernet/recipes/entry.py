"""A recipe in the registry: how it is made, where it comes from, and what its paper says about each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from nascli.supernet.training.recipe import Recipe

RETRAINING, SUPERNET = "retraining", "supernet"
KINDS = (RETRAINING, SUPERNET)

# How a field's value is known. A 'stated' value stands in the paper; a 'referred' one in the work to which the paper
# refers for it. Where the paper is 'open', nascli takes a value from elsewhere, and the words say which and why.
# What is 'absent' is neither in the paper nor in the recipe; 'computing' fields say how a step is computed. A 'chosen'
# value belongs to a recipe of nascli's own, and an 'unused' one changes nothing.
STATED, REFERRED, OPEN, ABSENT, COMPUTING = "stated", "referred", "open", "absent", "computing"
CHOSEN, UNUSED = "chosen", "unused"

# Fields that say how a step is computed rather than what it computes.
_COMPUTING_FIELDS = ("accumulate", "amp", "amp_type", "synchronised")
# Values at which an augmentation or a regularisation is absent.
_ABSENT_VALUES: dict[str, object] = {
    "shift": 0, "clip": 0.0, "mixup": 0.0, "ema": 0.0, "pad": 0, "jitter": 0.0, "policy": "none", "erasing": 0.0,
    "cutout": 0, "cutmix": 0.0, "dropout": 0.0, "drop_path": 0.0,
    "flip_vertical": False,
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """What is known about one field of a recipe.

    Attributes:
        mark: 'stated', 'referred', 'open', 'absent', 'computing', 'chosen', or 'unused'.
        where: Section or table of the paper; empty where the paper does not speak of the field.
        words: What the paper says, in short; for an open field, what is taken and why.
    """

    mark: str
    where: str
    words: str


def stated(where: str, words: str) -> Note:
    """Return the note of a value that stands in the paper."""
    return Note(STATED, where, words)


def referred(where: str, words: str) -> Note:
    """Return the note of a value that stands in another work, to which the paper refers at `where`."""
    return Note(REFERRED, where, words)


def left_open(words: str, where: str = "") -> Note:
    """Return the note of a value that neither the paper nor a work to which it refers states."""
    return Note(OPEN, where, words)


@dataclass(frozen=True)
class RecipeEntry:
    """A recipe of the registry.

    Attributes:
        name: Name by which users choose it.
        kind: 'retraining' for networks trained from scratch, or 'supernet'.
        make: Function from a number of epochs to the recipe; without the number, the recipe has its own. The function
            of a supernet's recipe takes a batch size as well.
        about: One line for lists of recipes.
        paper: Authors, year, and title in short; empty for a recipe of nascli's own.
        notes: What the paper says about fields, by name. Fields without a note are not used by the recipe, say how a
            step is computed, or are at a value at which an augmentation or a regularisation is absent.
    """

    name: str
    kind: str
    make: Callable[..., Recipe]
    about: str
    paper: str = ""
    notes: Mapping[str, Note] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe with its own number of epochs."""
        return self.make()

    def note(self, name: str) -> Note:
        """Return what is known about a field.

        Args:
            name: Name of a field of `Recipe`.

        Raises:
            KeyError: The entry says nothing about a field that its recipe uses.
        """
        if name in self.notes:
            return self.notes[name]
        recipe = self.recipe
        if name in unused_fields(recipe):
            return Note(UNUSED, "", "not used by this recipe")
        if not self.paper:
            return Note(CHOSEN, "", "a choice of nascli")
        if name in _COMPUTING_FIELDS:
            return Note(COMPUTING, "", "how a step is computed, which papers do not say")
        if name in _ABSENT_VALUES and getattr(recipe, name) == _ABSENT_VALUES[name]:
            return Note(ABSENT, "", "neither in the paper nor in the recipe")
        raise KeyError(name)

    @property
    def open_fields(self) -> tuple[str, ...]:
        """The names of the fields that the recipe uses and of which the paper leaves open what its authors did."""
        return tuple(each.name for each in fields(Recipe) if self.note(each.name).mark == OPEN)


def unused_fields(recipe: Recipe) -> frozenset[str]:
    """Return the names of the fields that change nothing in a recipe, because of what other fields say."""
    unused = set()
    if recipe.optimizer not in ("sgd", "rmsprop"):
        unused.add("momentum")
    if recipe.optimizer != "sgd":
        unused.add("nesterov")
    if recipe.optimizer == "sgd":
        unused |= {"betas", "epsilon"}
    if recipe.schedule not in ("cosine", "linear"):
        unused.add("floor")
    if recipe.schedule not in ("exponential", "steps"):
        unused.add("decay")
    if recipe.schedule != "exponential":
        unused.add("decay_epochs")
    if recipe.schedule != "steps":
        unused.add("milestones")
    if recipe.policy != "randaugment":
        unused |= {"operations", "magnitude"}
    if not recipe.amp:
        unused.add("amp_type")
    return frozenset(unused)
