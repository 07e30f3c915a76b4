"""Dynamic sparse training (DST), taken apart and measured.

The package behind the notebooks. Its folders are chapters: each imports only those above it in this list, by the names
that their `__init__.py` hands on.

    positions, randomness, choices, paths, provenance   the ground, which everything may use
    kernels         what truly sparse layers call: loops over the active weights, in several backends
    layers          simulated and truly sparse layers, and what makes a network of them
    topology        drop and grow: the engine, its rules, SET and RigL, measures of masks
    training        fit and evaluate, networks and data, named ways to train
    timing          honest timing, of ours and of others' ways to compute a sparse network
    studies         the runs behind every recorded number, and what was recorded
    show            pictures and tables of it, and what became of each number on the slides
    teaching        a notebook's first cell and clock, the explorers, the exercises
    doctor, __main__                                    is this machine ready? The command line

The names imported below are stable; everything else may move.
"""

__version__ = "0.1.0"

try:
    from .layers import (
        MaskedConv2d,
        MaskedLinear,
        SparseConv2d,
        SparseLinear,
        SparseSequential,
        sparsify,
        to_masked,
        to_truly_sparse,
    )
    from .topology import SET, DynamicSparsity, RigL
    from .training import LeNet300100, SlideCNN, evaluate, fit, load_mnist, mlp
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
