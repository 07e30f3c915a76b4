"""Drawing. Every function returns a matplotlib Figure, whose label is its alt text; only notebooks display.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only cue.
"""

from .breakeven import break_even_maps, from_sparsity, times_by_sparsity
from .comparisons import effects, frontier, waterfall
from .look import LOOKS, NAMES, PALETTES, SLIDE, style
from .masks import explored_over_time, mask_changes, mask_close_up, mask_evolution, mask_product, topology_update
from .storage import bytes_by_sparsity, bytes_held, dense_and_sparse, layer_budgets, storage_formats
from .timing import cost_by_connections, readings, same_losses, timings
from .topologies import ages, drop_schedules, exploration_and_survival, inputs_read, neurons_lost
from .training import accuracies, accuracy_by_sparsity, signal_strength, topology_in_motion, training_curves

__all__ = [
    "LOOKS",
    "NAMES",
    "PALETTES",
    "SLIDE",
    "accuracies",
    "accuracy_by_sparsity",
    "ages",
    "break_even_maps",
    "bytes_by_sparsity",
    "bytes_held",
    "cost_by_connections",
    "dense_and_sparse",
    "drop_schedules",
    "effects",
    "exploration_and_survival",
    "explored_over_time",
    "from_sparsity",
    "frontier",
    "inputs_read",
    "layer_budgets",
    "mask_changes",
    "mask_close_up",
    "mask_evolution",
    "mask_product",
    "neurons_lost",
    "readings",
    "same_losses",
    "signal_strength",
    "storage_formats",
    "style",
    "times_by_sparsity",
    "timings",
    "topology_in_motion",
    "topology_update",
    "training_curves",
    "waterfall",
]
