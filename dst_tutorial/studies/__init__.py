"""The runs behind every recorded number, and what was recorded.

Begin with `slides.py` (what the slides say) and `experiments.py` (what is run, and its result files). `runner.py` does
the runs, none of them twice. `selection.py` and `ablation.py` are two studies, `atlas.py` a third, for the explorers;
`paired.py` has differences with intervals, `recorded.py` the recorded timings.
"""

from . import slides
from .ablation import ADDED, BASE, MODERN, PATH, TAKEN, effects
from .atlas import CHOICES, EPOCHS, POINTS, Atlas, Entry, Point, condense, load_atlas, train_point
from .experiments import (
    EXPERIMENTS,
    at_sparsity,
    by_recipe_and_sparsity,
    differences,
    final_accuracies,
    load_masks,
    load_results,
    typical_seconds,
)
from .paired import TIE, Difference, difference
from .recorded import expected_seconds, latest_first, load_timings, machine, record_timing, slide8
from .runner import run_missing
from .selection import CONTENDERS, TUNED_AT, chosen, validation
