"""Which connections there are, and how they move: dynamic sparse training itself.

Begin with `rules.py` (what is dropped, what is grown, how many), then `engine.py`, which calls the rules and imports no
layer. `algorithms.py` has SET, RigL and their controls, a few lines each; `measures.py` looks at masks afterwards, and
`interrupts.py` lets Ctrl-C wait until an update is whole.
"""

from .algorithms import ALGORITHMS, GMP, SET, RigL, Static
from .engine import DynamicSparsity
from .measures import (
    Mask,
    Masks,
    ages,
    changes,
    exploration,
    exploration_rate,
    in_degrees,
    jaccard,
    masks_of,
    neurons,
    out_degrees,
    overlap,
    paths,
    returns,
    share_by_cell,
    survival,
)
from .rules import GROW, Rewirable, at_random, by_gradient, by_magnitude, needs_gradient, within
