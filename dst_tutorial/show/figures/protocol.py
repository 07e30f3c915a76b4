"""Slides 6 and 7: the slides' protocol over seeds and beside its controls, and how its masks move."""

from functools import partial
from statistics import mean

from matplotlib.figure import Figure

from ...studies import (
    EXPERIMENTS,
    accuracy_curves,
    by_recipe_and_sparsity,
    final_accuracies,
    load_masks,
    load_results,
    slides,
)
from .. import plots
from ..pictures import Picture, pictures
from ..tables import facts_of, mean_sd, table_of
from .shapes import LAYERS


def results_rows(results: dict) -> list[dict[str, str]]:
    """The slides' results table with seeds, spread and the controls, a row a recipe."""
    rows = []
    for (recipe, _), runs in by_recipe_and_sparsity(results).items():
        facts = facts_of(runs)
        rows.append(
            {
                "": plots.NAMES[recipe],
                "slides: accuracy": f"{slides.ACCURACY[recipe]:.2f}%" if recipe in slides.ACCURACY else "not run",
                "ours: accuracy": facts["test accuracy"],
                "slides: loss": f"{slides.LOSS[recipe]:.4f}" if recipe in slides.LOSS else "not run",
                "ours: loss": mean_sd([run["summary"]["test_loss"] for run in runs], 4),
                "weights + biases": facts["weights + biases"],
                "seeds": facts["seeds"],
            }
        )
    return rows


def training_curves() -> Figure:
    """Slide 6, as curves over seeds."""
    results = load_results("slides")
    dense, moved, stays = (mean(final_accuracies(results)[name]) for name in ("dense", "slides", "slides-static"))
    title = f"The slides' protocol: dense {dense:.1f}%, moving {moved:.1f}%, with a mask that stays {stays:.1f}%"
    return plots.training_curves(accuracy_curves(results), slides.ACCURACY, title=title)


def mask_evolution(layer: str = "fc4", palette: str = "okabe-ito") -> Figure:
    """Slide 7: the recorded mask of a layer, one panel an epoch."""
    recorded = load_masks("slides")
    epochs = range(EXPERIMENTS["slides"].epochs + 1)
    return plots.mask_evolution([recorded.masks_at(epoch)[layer] for epoch in epochs], layer, palette)


FIGURES = (
    *pictures("results/slides.json", training_curves, slide=6),
    *(
        Picture(
            f"slide7_mask_{layer}{ending}",
            "results/slides_masks.npz",
            partial(mask_evolution, layer, palette),
            7,
            ("png",),
        )
        for layer in LAYERS
        for ending, palette in (("", "okabe-ito"), ("_slides_palette", "slides"))
    ),
)
TABLES = (table_of("slides", results_rows, "slide6_results"),)
