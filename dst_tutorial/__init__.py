"""Dynamic sparse training (DST), taken apart and measured.

The package behind the notebooks. Its modules stand on floors, and imports run one way, downwards:

    __main__                                 the command line
    widgets, figures, claims, tables         what a reader sees: explorers, figures, tables, claims,
    exercises, doctor                        what checks a reader's answers, and a reader's machine
    notebook                                 a notebook's set-up and clock
    runner                                   does them: none twice, here or on a cluster
    plots, experiments                       drawing; the runs behind every number
    selection, ablation, atlas               how a recipe was chosen, what its parts are worth; a grid for the explorers
    breakeven, structures                    from which sparsity on it pays, and why; zeros that suit the hardware
    by_recipe, benchmark                     train by a recipe; honest timing
    recipes                                  named ways to train, a few lines each
    training, measures, ledger               fit, evaluate, History; exploration, overlap; bytes
    algorithms, rivals                       SET, RigL and their controls; every way to compute a sparse network
    sparsify, topology                       make a network sparse; drop and grow (the engine imports no layer)
    convert, sequential                      from one form of a layer to the other; sparse layers side by side
    masked, sparse, models, data             simulated and truly sparse layers; the dense networks; MNIST
    optim, initialisation                    Adam for few weights; what active weights start from
    kernels                                  what truly sparse layers call, in several backends
    allocation, rules                        how layers share a budget of weights; what an update drops and grows
    clock, recorded                          readings in turns, and those that were kept
    positions, randomness, slides, choices   the ground floor: sets of positions, random streams, the slides' numbers,
    checkpoint, paths, provenance, paired    choosing by name; files, folders, where a number comes from, differences

The names imported below are stable; everything else may move.
"""

__version__ = "0.1.0"

try:
    from .algorithms import SET, RigL
    from .convert import to_masked, to_truly_sparse
    from .data import load_mnist
    from .masked import MaskedConv2d, MaskedLinear
    from .models import LeNet300100, SlideCNN, mlp
    from .sequential import SparseSequential
    from .sparse import SparseConv2d, SparseLinear
    from .sparsify import sparsify
    from .topology import DynamicSparsity
    from .training import evaluate, fit
except ModuleNotFoundError as error:
    if (error.name or "").startswith(__name__):
        raise
    raise ModuleNotFoundError(
        f"dst_tutorial needs the package {error.name!r}, which this Python does not have. "
        "`make setup` installs everything; by hand, `pip install -e .` in the checkout does.",
        name=error.name,
    ) from error

__all__ = [
    "SET",
    "DynamicSparsity",
    "LeNet300100",
    "MaskedConv2d",
    "MaskedLinear",
    "RigL",
    "SlideCNN",
    "SparseConv2d",
    "SparseLinear",
    "SparseSequential",
    "evaluate",
    "fit",
    "load_mnist",
    "mlp",
    "sparsify",
    "to_masked",
    "to_truly_sparse",
]
