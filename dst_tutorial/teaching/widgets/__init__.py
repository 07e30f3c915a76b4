"""The explorers: controls over a picture and a line of text. Core ipywidgets only.

Behind each is a function of its controls' values that returns a Figure (which carries its alt text). The functions
are public, so that they can be called, tested and shown without any widget.
"""

from .breakeven import break_even_explorer, draw_break_even
from .dst import draw_dst, dst_explorer
from .masks import draw_moment, save_gif, time_machine
from .observatory import OBSERVATIONS, draw_observation, observatory
from .predict import predict
from .signals import draw_signals, layer_signals, signal_explorer
from .storage import draw_storage, draw_training_bytes, memory_explorer, storage_explorer
