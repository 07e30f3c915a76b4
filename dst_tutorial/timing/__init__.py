"""Honest timing: the same work on both sides, outputs compared first, readings in turns.

Begin with `clock.py` (a reading) and `benchmark.py` (what is compared, then timed). `rivals.py` has every way to
compute a sparse network, ours and the others'; `breakeven.py` asks from which sparsity on it pays, `machine.py` what a
machine could do at best, `structures.py` which zeros suit it. `memory.py` measures what a process takes.
"""

from . import benchmark, breakeven, structures
from .benchmark import WORKS
from .breakeven import DENSE, SPARSE, fewer_bytes_from, layer_times, medians_by_sparsity, pays_from
from .clock import Row, first_call, on_threads, row_of, rows_of
from .machine import PUBLISHED, Roofline, kinds_at, microjoules, roofline, stored_bytes, work
from .memory import peak_memory
from .rivals import METHODS, rivals
