"""What each ingredient is worth: step by step from the slides' protocol to the best recipe, alone, and taken away."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from statistics import mean

from matplotlib.figure import Figure

from ...studies import (
    BASE,
    MARGINS,
    MODERN,
    PATH,
    Difference,
    at_sparsity,
    difference,
    effects,
    final_accuracies,
    holm,
    load_results,
    margin_of,
    slides,
)
from .. import plots
from ..pictures import pictures
from ..tables import table_of


def accuracies_at_95() -> dict[str, list[float]]:
    """Of the ablation and of what stands beside it: recipe -> test accuracy (percent), one a seed, the same seeds."""
    frontier = at_sparsity(load_results("frontier"), slides.SPARSITY)
    return final_accuracies(load_results("ablation")) | final_accuracies(frontier)


def waterfall() -> Figure:
    """From the slides' protocol to the best recipe, one ingredient a step, and what stands beside it."""
    found = accuracies_at_95()
    steps = {
        "slides' protocol": found["slides"],
        f"+ {BASE.name}": found[BASE.name],
        **{row.name: found[row.name] for row in PATH},
        f"+ {MODERN.sparsify['allocation']}: modern": found["modern"],
    }
    controls = {
        "static mask": found["modern-static"],
        "small dense": found["tuned-small-dense"],
        "dense, tuned": found["tuned-dense"],
    }
    (name, gained), whole = _most(steps), mean(found["modern"]) - mean(found["slides"])
    title = f"In this order {gained:.1f} of {whole:.1f} points come with one step: {name.removeprefix('+ ')}"
    return plots.waterfall(steps, controls, title)


def _most(steps: Mapping[str, list[float]]) -> tuple[str, float]:
    gained = {name: mean(steps[name]) - mean(steps[before]) for before, name in pairwise(steps)}
    name = max(gained, key=gained.get)
    return name, gained[name]


def ablation() -> Figure:
    """What each ingredient is worth, alone and taken away."""
    groups = {
        group: dict(sorted(rows.items(), key=lambda row: -row[1].mean))
        for group, rows in effects(accuracies_at_95()).items()
    }
    added, taken = groups.values()
    gains, costs = next(iter(added)), list(taken)[-1]
    title = (
        f"Added alone, {gains} gains most: {added[gains].mean:+.1f} points; "
        f"changed in the best recipe, {costs} costs most: {taken[costs].mean:+.1f}"
    )
    return plots.effects(groups, title)


def waterfall_to_guess() -> plots.Answer:
    """The waterfall, and where the best recipe ends."""
    figure = waterfall()
    places = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    at = next(i for i, name in enumerate(places) if name.endswith("modern"))
    return plots.Answer(figure, mean(accuracies_at_95()["modern"]), at)


def ablation_rows(accuracies: Mapping[str, list[float]]) -> list[dict[str, str]]:
    """What each ingredient is worth, with its interval: `accuracies[recipe]`, one a seed."""
    changes = {(group, name): change for group, rows in effects(accuracies).items() for name, change in rows.items()}
    corrected = holm(changes)
    return [
        {
            "group": group,
            "row": name,
            "difference, points [95% interval]": str(change),
            "verdict": change.told.removeprefix(f"{change} "),
            "p": _probability(change.p),
            f"p of {len(changes)} (Holm)": _probability(corrected[group, name]),
            "seeds": str(change.seeds),
        }
        for (group, name), change in changes.items()
    ]


def _probability(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


_CLAIMS = {  # what one may be told of sparse training: this recipe minus that
    "dense is ahead of the best recipe": ("tuned-dense", "modern"),
    "the best recipe is ahead of small dense": ("modern", "tuned-small-dense"),
    "an allocation by layer shape helps (best recipe)": (
        "modern",
        f"modern, uniform for {MODERN.sparsify['allocation']}",
    ),
    "an allocation by layer shape helps (slides)": ("slides + ERK", BASE.name),
    "moving connections helps (best recipe)": ("modern", "modern, static mask"),
    "moving connections helps (slides)": (BASE.name, "slides + static mask"),
    "growing by gradient beats growing at random": ("modern", "modern, random growth"),
    "growing at random beats a static mask": ("modern, random growth", "modern, static mask"),
    "dropping by magnitude beats dropping at random (best recipe)": ("modern", "modern, dropped at random"),
    "dropping by magnitude beats dropping at random (slides, RigL)": (
        "slides + RigL",
        "slides + RigL, dropped at random",
    ),
    "fan-in initialisation helps (best recipe)": ("modern", "modern, initialised as dense"),
    "fan-in initialisation helps (slides)": ("slides + fan-in initialisation", BASE.name),
    "a falling learning rate helps (best recipe)": ("modern", "modern, constant learning rate"),
    "a falling learning rate helps (slides)": ("slides + cosine learning rate", BASE.name),
}
ELSEWHERE = {"LeNet-300-100": "ablation-lenet300100", "MNIST-1D": "ablation-mlp1d"}


def claim_changes() -> dict[str, dict[str, Difference]]:
    """Claim -> network -> the difference, in points, that would be more than zero if the claim held there."""
    networks = {"SlideCNN": (accuracies_at_95(), MARGINS["mnist"])}
    for told, experiment in ELSEWHERE.items():
        results = load_results(experiment)
        networks[told] = final_accuracies(results), margin_of(results)
    return {
        claim: {
            told: difference(found[a], found[b], margin)
            for told, (found, margin) in networks.items()
            if a in found and b in found
        }
        for claim, (a, b) in _CLAIMS.items()
    }


def claim_rows(_: object = None) -> list[dict[str, str]]:
    """What holds on which network: a row a claim."""
    networks = ("SlideCNN", *ELSEWHERE)
    return [
        {"claim": claim} | {network: by[network].told if network in by else "not run" for network in networks}
        for claim, by in claim_changes().items()
    ]


_RUNS = "results/ablation.json, results/frontier.json"
FIGURES = pictures(_RUNS, waterfall, ablation)
_ELSEWHERE = ", ".join((_RUNS, *(f"results/{experiment}.json" for experiment in ELSEWHERE.values())))
TABLES = (
    replace(table_of("ablation", lambda _: ablation_rows(accuracies_at_95())), source=_RUNS),
    replace(table_of("ablation-mlp1d", claim_rows, "networks"), source=_ELSEWHERE),
)
