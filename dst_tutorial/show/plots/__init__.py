"""Drawing. Every function returns a matplotlib Figure, whose label is its alt text; only notebooks display.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only cue.
"""

from .atlas import point_of_atlas
from .breakeven import break_even_maps, from_sparsity, times_by_sparsity
from .comparisons import effects, frontier, waterfall
from .look import LOOKS, NAMES, PALETTES, SLIDE, Answer, for_slides, in_words, style, with_guess
from .machine import at_best
from .masks import explored_over_time, mask_evolution, mask_moment, mask_product, topology_update
from .regimes import NOISE_AXIS, Found, accuracy_along, point_of_noise, standings
from .storage import bytes_by_sparsity, bytes_held, dense_and_sparse, layer_budgets, storage_formats
from .timing import cost_by_connections, readings, same_losses, timings
from .topologies import (
    ages,
    degrees,
    drop_schedules,
    exploration_and_survival,
    inputs_over_time,
    inputs_read,
    neurons_lost,
    shares_by_update,
    similarity,
)
from .training import accuracies, accuracy_by_sparsity, signal_strength, training_curves
