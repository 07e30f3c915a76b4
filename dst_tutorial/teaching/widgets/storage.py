"""Notebooks 01 and 07: what a sparse matrix, and training one, take in memory."""

import ipywidgets as ipw
import torch
from matplotlib.figure import Figure

from ...layers import bytes_by_form, sparsify
from ...show import figures, plots
from ...training import SlideCNN
from .explorer import explorer, slider

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
FROM_DENSE = (0.0, 0.2, *SPARSITIES)
IMAGES = (1, 16, 64, 256)


def draw_storage(sparsity: float, size: int) -> Figure:
    """What a size x size matrix takes in each format, by sparsity."""
    return figures.bytes_by_sparsity(size, size, sparsity)


def storage_explorer() -> ipw.VBox:
    """Move the sparsity and the size; see what the indices cost."""
    return explorer(
        draw_storage, sparsity=slider(SPARSITIES, 0.95, "sparsity"), size=slider(SIZES, 1000, "rows = columns")
    )


def draw_training_bytes(sparsity: float, batch: int) -> Figure:
    """What training the slide network takes in every form, counted."""
    masked = sparsify(SlideCNN(), sparsity, allocation="uniform")
    ledgers = bytes_by_form(masked, torch.zeros(batch, 1, 28, 28))
    return plots.bytes_held(ledgers, f"SlideCNN, {100 * sparsity:g}% sparse, {batch} images at a time")


def memory_explorer() -> ipw.VBox:
    """Move the sparsity and the batch; see which bytes sparsity saves, and which it does not."""
    return explorer(
        draw_training_bytes, sparsity=slider(FROM_DENSE, 0.95, "sparsity"), batch=slider(IMAGES, 64, "batch")
    )
