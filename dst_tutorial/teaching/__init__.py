"""What only the notebooks need: their first cell and clock, the explorers, the exercises.

Begin with `notebook.py`; `widgets/` has an explorer a module, `exercises/` a module a notebook.
"""

from .exercises import solution_of
from .exercises.closing_the_gap import check_most_in_convolution, check_paired_interval
from .exercises.csr_benchmark import check_cold_and_warm, check_fair_time
from .exercises.dst_loop import check_drop_signed, check_grow_elsewhere
from .exercises.mask_evolution import check_explored, check_returned
from .exercises.masked_layers import check_fan_in_std, check_masked_gradient
from .exercises.sparsity_basics import check_most_nonzeros, check_to_csr
from .exercises.truly_sparse import check_rewired, check_training_bytes
from .notebook import by_mode, start
from .widgets import (
    break_even_explorer,
    draw_break_even,
    draw_dst,
    draw_moment,
    draw_observation,
    draw_signals,
    draw_storage,
    draw_training_bytes,
    dst_explorer,
    layer_signals,
    memory_explorer,
    observatory,
    predict,
    signal_explorer,
    storage_explorer,
    time_machine,
)
from .widgets.dst import latency
