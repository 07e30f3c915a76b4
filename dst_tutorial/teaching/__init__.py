"""What only the notebooks need: their first cell and clock, the explorers, the exercises.

Begin with `notebook.py`; `widgets/` has an explorer a module, `exercises/` a module a notebook.
"""

from .. import require

require("IPython", "ipywidgets", extra="[notebooks]")

from .exercises.algorithms import check_drop_count, check_drop_signed
from .exercises.closing_the_gap import check_most_in_convolution, check_paired_interval
from .exercises.csr_benchmark import check_cold_and_warm, check_fair_time
from .exercises.dst_loop import check_grow_elsewhere, check_updated
from .exercises.hardware_and_software import check_largest_of_groups, check_least_milliseconds
from .exercises.judging import hint_of, solution_of
from .exercises.mask_evolution import check_explored, check_returned
from .exercises.masked_layers import check_fan_in_std, check_masked_gradient
from .exercises.sparsity_basics import check_most_nonzeros, check_to_csr
from .exercises.truly_sparse_training import check_rewired, check_training_bytes
from .exercises.where_sparse_wins import check_hidden_units, check_most_telling
from .notebook import by_mode, start
from .widgets.breakeven import break_even_explorer, break_even_here, draw_break_even
from .widgets.dst import DST_NAMES, DST_WORDS, draw_dst, dst_explorer
from .widgets.machine import draw_at_best, machine_explorer
from .widgets.masks import draw_moment, time_machine
from .widgets.noise import draw_noise, noise_explorer
from .widgets.observatory import draw_observation, observatory
from .widgets.predict import predict
from .widgets.signals import draw_signals, layer_signals, signal_explorer
from .widgets.storage import draw_storage, draw_training_bytes, memory_explorer, storage_explorer
