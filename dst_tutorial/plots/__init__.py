"""Drawing. Every function returns a matplotlib Figure, whose label is its alt text; only notebooks display.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only cue.
"""

from .look import LOOKS, NAMES, PALETTES, SLIDE, style
from .masks import explored_over_time, mask_changes, mask_close_up, mask_evolution, mask_product, topology_update
from .storage import bytes_by_sparsity, bytes_held, dense_and_sparse, layer_budgets, storage_formats
from .timing import readings, timings
from .training import accuracy_by_sparsity, signal_strength, topology_in_motion, training_curves

__all__ = [
    "LOOKS",
    "NAMES",
    "PALETTES",
    "SLIDE",
    "accuracy_by_sparsity",
    "bytes_by_sparsity",
    "bytes_held",
    "dense_and_sparse",
    "explored_over_time",
    "layer_budgets",
    "mask_changes",
    "mask_close_up",
    "mask_evolution",
    "mask_product",
    "readings",
    "signal_strength",
    "storage_formats",
    "style",
    "timings",
    "topology_in_motion",
    "topology_update",
    "training_curves",
]
