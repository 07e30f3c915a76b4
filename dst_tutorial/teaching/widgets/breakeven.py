"""Notebook 06: from which sparsity on truly sparse pays, on the reader's machine."""

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...show import plots
from ...timing import DENSE, layer_times, medians_by_sparsity, pays_from
from .explorer import explorer, slider
from .storage import SPARSITIES

WIDTHS = (256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256)


def draw_break_even(width: int, batch: int, rounds: int = 7) -> Figure:
    """One width x width layer, timed now on one thread: inference of `batch` random inputs, by method and sparsity."""
    return break_even_here(width, batch, rounds).figure


def break_even_here(width: int, batch: int, rounds: int = 7) -> plots.Answer:
    """The same, to be guessed: from which sparsity (percent) on truly sparse is no slower than dense; None: never."""
    points = layer_times(width, batch, SPARSITIES, rounds=rounds, threads=1)
    pays = {method: pays_from(points, "truly sparse", method)[width, batch] for method in DENSE}
    told = "; ".join(f"{method} {plots.from_sparsity(pays[method], SPARSITIES[0])}" for method in DENSE)
    title = f"{width:,} x {width:,}, batch {batch}, 1 thread. Truly sparse pays against:\n{told}"
    times, found = medians_by_sparsity(points), pays["dense"]
    figure = plots.times_by_sparsity(times, {}, title)
    return plots.Answer(figure, None if found is None else 100 * found, times["dense"][None])


def break_even_explorer() -> ipw.VBox:
    """Move the width and the batch; the layer is timed anew, at every sparsity and in every form, in seconds."""
    return explorer(
        draw_break_even, "timing ...", width=slider(WIDTHS, 1024, "width"), batch=slider(BATCHES, 64, "batch")
    )
