"""What each ingredient is worth: alone on top of the slides' protocol, step by step from there to the best recipe, and
taken away from the best recipe. Each row is a recipe that differs from another in one thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from ..topology import Rewirable, by_magnitude
from ..training import RECIPES, Recipe
from .paired import MARGINS, Difference, difference

MODERN = RECIPES["modern"]
_ALLOCATION = MODERN.sparsify["allocation"]
_RIGL_SCHEDULE = {"update_interval": 100, "unit": "steps", "stop": 0.75, "drop_fraction": 0.3, "schedule": "cosine"}


def _but(recipe: Recipe, name: str, *, sparsify: dict | None = None, topology: dict | None = None, **fields) -> Recipe:
    """The recipe in all but this."""
    kept = {} if "algorithm" in fields else recipe.topology  # another algorithm has options of its own
    options = {"sparsify": recipe.sparsify | (sparsify or {}), "topology": kept | (topology or {})}
    return replace(recipe, name=name, **(options | fields))


# The slides leave the optimiser's moments where a connection was, for the next one there. A truly sparse layer has no
# place for them: all rows but the slides' own start from here.
BASE = _but(RECIPES["slides"], "optimiser reset", topology={"reset_moments": True})


def _reads_the_image(layer: Rewirable) -> bool:
    return layer.weight_shape[1] == 1  # of SlideCNN conv1 alone: one channel


def but_in_conv1(layer: Rewirable, fraction: float | Fraction, generator: torch.Generator) -> torch.Tensor:
    """RigL's drop, but conv1's connections stay where they are."""
    return by_magnitude(layer, 0 if _reads_the_image(layer) else fraction)


def in_conv1_alone(layer: Rewirable, fraction: float | Fraction, generator: torch.Generator) -> torch.Tensor:
    """RigL's drop, but all others stay where they are."""
    return by_magnitude(layer, fraction if _reads_the_image(layer) else 0)


ADDED = tuple(
    _but(BASE, f"slides + {name}", **changed)
    for name, changed in {
        "ERK": {"sparsify": {"allocation": "erk"}},
        _ALLOCATION: {"sparsify": {"allocation": _ALLOCATION}},
        "conv1 dense": {"sparsify": {"densities": {"first": 1.0}}},
        "fan-in initialisation": {"sparsify": {"init": "fan_in"}},
        "RigL's schedule, random growth": {"topology": _RIGL_SCHEDULE},
        "SET": {"algorithm": "SET"},
        "RigL": {"algorithm": "RigL"},
        "RigL, conv1 stays": {"algorithm": "RigL", "topology": {"drop": but_in_conv1}},
        "RigL in conv1 alone": {"algorithm": "RigL", "topology": {"drop": in_conv1_alone}},
        "RigL, dropped at random": {"algorithm": "RigL", "topology": {"drop": "random"}},
        "barring": {"topology": {"bar_dropped": True}},
        "cosine learning rate": {"learning_rate_schedule": "cosine"},
        f"learning rate {MODERN.learning_rate:g}": {"learning_rate": MODERN.learning_rate},
        "static mask": {"algorithm": "static"},
    }.items()
)

TAKEN = tuple(
    _but(MODERN, f"modern, {name}", **changed)
    for name, changed in {
        f"uniform for {_ALLOCATION}": {"sparsify": {"allocation": "uniform"}},
        f"ERK for {_ALLOCATION}": {"sparsify": {"allocation": "erk"}},
        "conv1 at 5%": {"sparsify": {"densities": {"first": 0.05}}},
        "initialised as dense": {"sparsify": {"init": "dense"}},
        "random growth": {"topology": {"grow": "random"}},
        "dropped at random": {"topology": {"drop": "random"}},
        "SET for RigL": {"algorithm": "SET"},
        "the slides' update for RigL": {"algorithm": "slides", "topology": {"reset_moments": True}},
        "static mask": {"algorithm": "static"},
        "no optimiser reset": {"topology": {"reset_moments": False}},
        "barring": {"topology": {"bar_dropped": True}},
        "constant learning rate": {"learning_rate_schedule": "constant"},
        f"learning rate {RECIPES['slides'].learning_rate:g}": {"learning_rate": RECIPES["slides"].learning_rate},
    }.items()
)


def _path() -> tuple[Recipe, ...]:
    """From the slides' protocol to the best recipe, one ingredient more a step; the last step is "modern" itself."""
    steps, recipe = [], BASE
    for name, changed in {
        "+ ERK": {"sparsify": {"allocation": "erk"}},
        "+ fan-in initialisation": {"sparsify": {"init": "fan_in"}},
        "+ RigL": {"algorithm": "RigL", "topology": MODERN.topology},
        "+ cosine learning rate": {"learning_rate_schedule": "cosine"},
        f"+ learning rate {MODERN.learning_rate:g}": {"learning_rate": MODERN.learning_rate},
    }.items():
        recipe = _but(recipe, name, **changed)
        steps.append(recipe)
    return tuple(steps)


PATH = _path()

# the rows that are repeated on other networks and data
MATTER = (
    "slides + ERK",
    "slides + fan-in initialisation",
    "slides + RigL",
    "slides + RigL, dropped at random",
    "slides + cosine learning rate",
    "slides + static mask",
    f"modern, uniform for {_ALLOCATION}",
    "modern, initialised as dense",
    "modern, random growth",
    "modern, dropped at random",
    "modern, SET for RigL",
    "modern, static mask",
    "modern, constant learning rate",
)


# The slides' and our "uniform" is one density for all layers. The one in RigL's paper leaves the first layer dense.
_TOLD = {"conv1 dense": "conv1 dense (RigL's Uniform)"}


def effects(
    accuracies: Mapping[str, Sequence[float]], margin: float = MARGINS["mnist"]
) -> dict[str, dict[str, Difference]]:
    """What each row changes, paired by seed: group -> row -> difference from the recipe it was made from.

    `accuracies[recipe]`, one a seed; rows that were not run are left out. Level within `margin` points.
    """
    groups = {
        "added to the slides' protocol": {BASE.name: (BASE, RECIPES["slides"])}
        | {row.name.partition(" + ")[2]: (row, BASE) for row in ADDED},
        "changed in the best recipe": {row.name.partition(", ")[2]: (row, MODERN) for row in TAKEN},
    }
    return {
        group: {
            _TOLD.get(told, told).replace(" for ", " instead of "): difference(
                accuracies[row.name], accuracies[base.name], margin
            )
            for told, (row, base) in rows.items()
            if row.name in accuracies and base.name in accuracies
        }
        for group, rows in groups.items()
    }
