"""Choosing how to train, on images that are neither trained nor tested on: the candidates and the rule.

Every contender, dense ones included, chooses in the same way: all its candidates are trained at two sparsities (a dense
network as it is) on the same seeds, and the one with the highest mean validation accuracy is taken, for all sparsities.
All have four learning rates at least; one that has more to choose (an allocation, a schedule) has more candidates.
"""

import statistics
from dataclasses import replace

from ..training import RECIPES, Recipe

TUNED_AT = (0.95, 0.99)
ONLY_AT_95 = ("lean", "tuned-narrow-lean")  # whose limit is a tenth of the multiplications

_RATES = (1e-3, 2e-3, 3e-3, 5e-3)
_DENSE_RATES = (5e-4, 1e-3, 2e-3, 3e-3)
_RIGL = RECIPES["erk-rigl"]


def _at_rates(recipe: Recipe, name: str, rates: tuple[float, ...] = _RATES) -> tuple[Recipe, ...]:
    return tuple(replace(recipe, name=f"{name}, {rate:g}", learning_rate=rate) for rate in rates)


def _allocated(allocation: str, **densities: float) -> Recipe:
    options = {"allocation": allocation, "init": "fan_in"} | ({"densities": densities} if densities else {})
    return replace(_RIGL, sparsify=options)


def _scheduled(name: str, **options) -> Recipe:
    """On the allocation and learning rate in the middle."""
    return replace(_allocated("er"), name=f"er, 0.002, {name}", learning_rate=2e-3, topology=options)


# by the name of the recipe that each became
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
    # gradual pruning, from a dense network
    "tuned-gmp": tuple(
        replace(c, algorithm="GMP")
        for allocation in ("er", "tapered")
        for c in _at_rates(_allocated(allocation), f"pruned to {allocation}")
    ),
    "tuned-small-dense": _at_rates(RECIPES["small-dense"], "small dense", (*_RATES, 8e-3)),  # the fifth: the fourth won
    "tuned-narrow-dense": _at_rates(RECIPES["tuned-narrow-dense"], "narrow dense"),  # as wide as modern's choice allows
    "tuned-narrow-lean": _at_rates(RECIPES["tuned-narrow-lean"], "narrow dense for lean"),
    "tuned-dense-constant": _at_rates(RECIPES["dense"], "dense, constant", _DENSE_RATES),
    "tuned-dense": _at_rates(RECIPES["dense-cosine"], "dense, cosine", _DENSE_RATES),
}


def validation(results: dict, contender: str) -> dict[str, dict[float, list[float]]]:
    """Its validation accuracies (percent) in a result file: candidate -> sparsity -> one a seed."""
    found: dict[str, dict[float, list[float]]] = {candidate.name: {} for candidate in CONTENDERS[contender]}
    for run in results["runs"]:
        config = run["config"]
        if (name := config["recipe"]["name"]) in found:
            found[name].setdefault(config["sparsity"], []).append(run["summary"]["test_accuracy"])
    return found


def chosen(results: dict, contender: str) -> Recipe:
    """The rule: the candidate with the highest mean over seeds and sparsities, of equal ones the first."""
    means = {
        name: statistics.mean(map(statistics.mean, by_sparsity.values()))
        for name, by_sparsity in validation(results, contender).items()
        if by_sparsity
    }
    return max((c for c in CONTENDERS[contender] if c.name in means), key=lambda candidate: means[candidate.name])
