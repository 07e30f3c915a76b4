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
    points = layer_times(width, batch, SPARSITIES, rounds=rounds, threads=1)
    pays = {method: pays_from(points, "truly sparse", method)[width, batch] for method in DENSE}
    told = "; ".join(f"{method} {plots.from_sparsity(pays[method], SPARSITIES[0])}" for method in DENSE)
    title = f"{width:,} x {width:,}, batch {batch}, 1 thread. Truly sparse pays against:\n{told}"
    return plots.times_by_sparsity(medians_by_sparsity(points), {}, title)


def break_even_explorer() -> ipw.VBox:
    """Move the width and the batch; the layer is timed anew, at every sparsity and in every form, in seconds."""
    return explorer(draw_break_even, width=slider(WIDTHS, 1024, "width"), batch=slider(BATCHES, 64, "batch"))
