"""The runs behind every recorded number, and what was recorded.

Begin with `slides.py` (what the slides say) and `experiments.py` (what is run; `experiment.py` says what that is).
`runner.py` does the runs, none of them twice, and `results.py` reads what they came to. `selection.py`, `ablation.py`,
`regimes.py` and `atlas.py` (for the explorers) are studies; `standing.py` says who wins in which regime, and
`forest.py` is what a practitioner would try before any network. `paired.py` has differences with intervals,
`recorded.py` the recorded timings.
"""

from . import slides
from .ablation import ADDED, BASE, MODERN, PATH, TAKEN, effects
from .atlas import CHOICES, EPOCHS, POINTS, Atlas, Entry, Point, condense, load_atlas, train_point
from .experiments import EXPERIMENTS
from .paired import MARGINS, Difference, difference, holm
from .recorded import expected_seconds, latest_first, load_timings, machine, record_timing, recorded_timings, slide8
from .regimes import FINAL, REGIMES, Candidate, Regime, candidates, held_out, tuned, winner
from .results import (
    accuracies,
    accuracy_curves,
    at_sparsity,
    by_recipe_and_sparsity,
    differences,
    final_accuracies,
    load_masks,
    load_results,
    margin_of,
    typical_seconds,
)
from .runner import run_missing
from .selection import CONTENDERS, TUNED_AT, chosen, validation
from .standing import COLUMNS, DST, Side, Standing, champions, families_recorded, in_regime, standings
