"""What a reader sees of the results: pictures, tables, and what became of each number on the slides.

`plots/` draws and knows no result file; `gallery.py` and `tables.py` take the recorded results to it, `claims.py`
judges the slides' numbers by them.
"""

from . import gallery as figures
from . import plots, tables
from .claims import CLAIMS, ledger
from .gallery import (
    algorithms,
    bytes_by_sparsity,
    changed_results,
    dense_and_sparse,
    linear_cost,
    mask_evolution,
    mnist1d,
    rendered,
    storage_formats,
    timings_of,
    training_curves,
    write_all,
)
from .tables import (
    ablation_rows,
    algorithm_rows,
    form_rows,
    frontier_rows,
    markdown,
    provenance_line,
    results_rows,
    selection_rows,
    slide8_rows,
    timing_line,
    timing_rows,
)
