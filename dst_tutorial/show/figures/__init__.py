"""The figures and tables of the slides and of our studies, a module a study: recorded results -> Figure, or rows.

`gallery.py` writes them all.
"""

from .best_recipe import frontier, frontier_rows, frontier_to_guess, headline_rows, rivals
from .breakeven import break_even, pays_rows, roofline
from .candidates import selection_rows
from .ingredients import (
    ablation,
    ablation_rows,
    accuracies_at_95,
    claim_changes,
    claim_rows,
    waterfall,
    waterfall_to_guess,
)
from .processors import processor_rows
from .protocol import mask_evolution, results_rows, training_curves
from .set_and_rigl import algorithm_rows, algorithms, mnist1d
from .shapes import (
    LAYERS,
    bytes_by_sparsity,
    bytes_to_guess,
    dense_and_sparse,
    storage_formats,
    topology_update,
    training_memory,
)
from .timings import (
    benchmark,
    cores,
    cores_rows,
    form_rows,
    linear_cost,
    slide8_rows,
    ten_calls,
    timing_line,
    timing_rows,
    timings_of,
    training_step,
)
from .where import (
    accuracy_by_length,
    accuracy_by_memory,
    accuracy_by_noise,
    accuracy_by_structure,
    by_noise,
    contender_rows,
    map_rows,
    pixels_read,
    what_is_read,
    where_sparse_wins,
)
