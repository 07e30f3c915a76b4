"""Named ways to train, a few lines each. `by_recipe.py` trains by them."""

from dataclasses import dataclass, field, replace

from ..choices import choose
from ..topology import ALGORITHMS, DynamicSparsity


@dataclass(frozen=True)
class Recipe:
    """How to make a network sparse, move its topology and train it."""

    name: str
    about: str
    sparsify: dict | None = None  # options of `sparsify`; None: dense
    algorithm: str = "static"  # a name of `ALGORITHMS`
    topology: dict = field(default_factory=dict)  # options of the algorithm, where they are not its own
    small: bool | str = False  # a dense network in its place: of as many parameters as the sparse one (True), or of as
    # many multiplications as that of another recipe (its name); with `sparsify` it has our layers, without a zero
    learning_rate: float = 1e-3  # of Adam
    learning_rate_schedule: str = "constant"  # or "cosine", to zero at the end of the training
    batch_size: int = 64
    weight_decay: float = 0.0  # decoupled from the gradient: AdamW's
    l1: float = 0.0  # times the sum of the weights' magnitudes, added to the loss
    inputs: int = 0  # so many are selected before the training, one by one (`most_telling`); 0: all

    @property
    def has_sparsity(self) -> bool:
        """Does the sparsity concern it?"""
        return self.sparsify is not None or self.small


_SLIDES = {"allocation": "uniform", "init": "dense"}
_ERK = {"allocation": "erk", "init": "fan_in"}
_TAPERED = {"allocation": "tapered", "init": "fan_in"}
_LEAN = {"allocation": "er", "init": "fan_in", "densities": {"conv1": 0.75, "conv2": 0.09}}
_DENSE_VALUES = {"init": "dense"}
_COSINE = {"learning_rate_schedule": "cosine"}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # the slides' protocol, and its controls
        Recipe("dense", "all weights, the slides' optimiser: the baseline"),
        Recipe("slides", "the slides' Dense+Mask: every 2 epochs 10% dropped, regrown at random", _SLIDES, "slides"),
        Recipe("slides-fan-in", "the slides' Dense+Mask, drawn for the actual fan-in",
               _SLIDES | {"init": "fan_in"}, "slides"),
        Recipe("slides-static", "the control: the slides' Dense+Mask with a mask that never moves", _SLIDES),
        # one way of training (ERK, per-unit initialisation, cosine learning rate), and one algorithm each
        Recipe("erk-rigl", "RigL: grown where the gradient is largest", _ERK, "RigL", **_COSINE),
        Recipe("uniform-rigl", "RigL with one density for all layers: the fewest multiplications",
               {"allocation": "uniform", "init": "fan_in"}, "RigL", **_COSINE),
        Recipe("set", "SET: dropped by sign and grown at random after every epoch", _ERK, "SET", **_COSINE),
        Recipe("static", "the control: a mask that never moves", _ERK, **_COSINE),
        Recipe("gmp", "gradual pruning: starts dense and only drops", _ERK, "GMP", **_COSINE),
        Recipe("small-dense", "a well-shaped dense network of as many parameters", small=True, **_COSINE),
        Recipe("dense-cosine", "all weights, trained as the sparse ones are", **_COSINE),
        # the best recipe and its rivals, each chosen on held-out images by one rule: see `selection.py`
        Recipe("modern", "the best recipe: RigL on a tapered allocation", _TAPERED, "RigL",
               learning_rate=3e-3, **_COSINE),
        Recipe("modern-static", "its control: a mask that never moves", _TAPERED, learning_rate=3e-3, **_COSINE),
        Recipe("lean", "at 95% within a tenth of the dense multiplications", _LEAN, "RigL",
               learning_rate=3e-3, **_COSINE),
        Recipe("tuned-gmp", "gradual pruning to a tapered allocation", _TAPERED, "GMP", learning_rate=2e-3, **_COSINE),
        Recipe("tuned-small-dense", "a dense network of as many parameters", small=True,
               learning_rate=5e-3, **_COSINE),
        Recipe("tuned-narrow-dense", "a dense network of as many multiplications as modern's", small="modern",
               learning_rate=3e-3, **_COSINE),
        Recipe("tuned-narrow-lean", "a dense network of as many multiplications as lean's", small="lean",
               learning_rate=2e-3, **_COSINE),
        # the same through the kernels of the truly sparse layers, so that seconds compare networks and not libraries
        Recipe("fused-small-dense", "tuned-small-dense in truly sparse layers that lack no weight", _DENSE_VALUES,
               small=True, learning_rate=5e-3, **_COSINE),
        Recipe("fused-narrow-dense", "tuned-narrow-dense, likewise", _DENSE_VALUES, small="modern",
               learning_rate=3e-3, **_COSINE),
        Recipe("fused-narrow-lean", "tuned-narrow-lean, likewise", _DENSE_VALUES, small="lean",
               learning_rate=2e-3, **_COSINE),
        Recipe("tuned-dense", "all weights", learning_rate=2e-3, **_COSINE),
        Recipe("tuned-dense-constant", "all weights, with the slides' constant learning rate"),
    )
}  # fmt: skip


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; ValueError names those there are."""
    return choose(name, RECIPES, "recipe")


def with_options(recipe: Recipe, **options) -> Recipe:
    """The recipe with these options of its algorithm. ValueError for one that the algorithm does not have."""
    known = algorithm_of(recipe).options()
    if unknown := [name for name in options if name not in known]:
        has = f"it has {', '.join(known)}" if known else "it moves no connection"
        raise ValueError(f"recipe {recipe.name!r} has no option {unknown[0]!r}: {has}")
    return replace(recipe, topology=recipe.topology | options)


def algorithm_of(recipe: Recipe) -> type[DynamicSparsity]:
    """The recipe's algorithm; ValueError names those there are."""
    return choose(recipe.algorithm, ALGORITHMS, "algorithm")
