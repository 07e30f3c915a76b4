"""What each ingredient is worth: step by step from the slides' protocol to the best recipe, alone, and taken away."""

from collections.abc import Mapping
from dataclasses import replace

from matplotlib.figure import Figure

from ...studies import BASE, MODERN, PATH, at_sparsity, effects, final_accuracies, holm, load_results, slides
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
        "dense, cosine": found["tuned-dense"],
    }
    return plots.waterfall(
        steps, controls, "SlideCNN on MNIST, 10 epochs, 95% sparse; the dense ones each in their way"
    )


def ablation() -> Figure:
    """What each ingredient is worth, alone and taken away."""
    return plots.effects(effects(accuracies_at_95()))


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


_RUNS = "results/ablation.json, results/frontier.json"
FIGURES = pictures(_RUNS, waterfall, ablation)
TABLES = (replace(table_of("ablation", lambda _: ablation_rows(accuracies_at_95())), source=_RUNS),)
