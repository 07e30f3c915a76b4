"""Choosing how to train, on images that are neither trained nor tested on: the candidates and the rule.

Every contender, dense ones included, chooses in the same way: all its candidates are trained at two sparsities and on
the same seeds, and the one with the highest mean validation accuracy is taken. A contender that has more to choose has
more candidates; all have at least three learning rates.
"""

import statistics
from dataclasses import replace

from .recipes import RECIPES, Recipe

TUNED_AT = (0.95, 0.99)  # what is chosen at 95% serves all lower sparsities and 98%, what is chosen at 99% the higher

_RATES = (1e-3, 2e-3, 3e-3)
_RIGL = RECIPES["erk-rigl"]


def _at_rates(recipe: Recipe, name: str, rates: tuple[float, ...] = _RATES) -> tuple[Recipe, ...]:
    return tuple(replace(recipe, name=f"{name}, {rate:g}", learning_rate=rate) for rate in rates)


def _allocated(allocation: str, **densities: float) -> Recipe:
    options = {"allocation": allocation, "init": "fan_in"} | ({"densities": densities} if densities else {})
    return replace(_RIGL, sparsify=options)


def _scheduled(name: str, **options) -> Recipe:
    """On the allocation and learning rate in the middle."""
    return replace(_allocated("er"), name=f"er, 0.002, {name}", learning_rate=2e-3, topology=options)


CONTENDERS: dict[str, tuple[Recipe, ...]] = {
    "modern": (
        *(c for allocation in ("erk", "er", "tapered") for c in _at_rates(_allocated(allocation), allocation)),
        _scheduled("every 50 steps", update_interval=50),
        _scheduled("every 400 steps", update_interval=400),
        _scheduled("drop 10%", drop_fraction=0.1),
        _scheduled("drop 50%", drop_fraction=0.5),
    ),
    # within a tenth of the dense multiplications at 95%
    "lean": (
        *_at_rates(_allocated("er", conv1=1.0, conv2=0.06), "conv2 6%"),
        *_at_rates(_allocated("er", conv1=0.75, conv2=0.09), "conv2 9%"),
        *_at_rates(_allocated("er", conv1=0.5, conv2=0.12), "conv2 12%"),
        *_at_rates(_allocated("tapered", conv1=0.75, conv2=0.09), "tapered, conv2 9%"),
    ),
    "modern-static": tuple(
        replace(c, algorithm="static")
        for allocation in ("er", "tapered")
        for c in _at_rates(_allocated(allocation), f"static {allocation}")
    ),
    "small-dense": _at_rates(RECIPES["small-dense"], "small dense"),
    "narrow-dense": _at_rates(RECIPES["narrow-dense"], "narrow dense"),
    "dense": _at_rates(RECIPES["dense"], "dense, constant", (5e-4, 1e-3, 2e-3)),
    "dense-cosine": _at_rates(RECIPES["dense-cosine"], "dense, cosine", (5e-4, 1e-3, 2e-3)),
}


def validation(results: dict) -> dict[str, dict[float, dict[str, list[float]]]]:
    """Validation accuracies (percent) of a result file: contender -> sparsity -> candidate -> one a seed."""
    found: dict[str, dict[float, dict[str, list[float]]]] = {}
    for run in results["runs"]:
        name, sparsity = run["config"]["recipe"]["name"], run["config"]["sparsity"]
        for contender, candidates in CONTENDERS.items():
            if name in {candidate.name for candidate in candidates}:
                accuracies = found.setdefault(contender, {}).setdefault(sparsity, {})
                accuracies.setdefault(name, []).append(run["summary"]["test_accuracy"])
    return found


def chosen(results: dict) -> dict[tuple[str, float], Recipe]:
    """The rule: (contender, sparsity) -> the candidate with the highest mean, of equal ones the first."""
    return {
        (contender, sparsity): max(
            (c for c in CONTENDERS[contender] if c.name in accuracies),
            key=lambda candidate: statistics.mean(accuracies[candidate.name]),
        )
        for contender, by_sparsity in validation(results).items()
        for sparsity, accuracies in by_sparsity.items()
    }
