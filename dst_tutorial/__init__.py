"""Dynamic sparse training (DST), taken apart and measured.

The package behind the notebooks. Its modules stand on floors, and imports run one way, downwards:

    widgets, figures, exercises         what a reader sees
    plots, experiments                  drawing; the runs behind every number
    recipes                             named ways to train, a few lines each
    training, measures                  fit, evaluate, History; exploration, overlap
    sparsify, topology                  make a network sparse; drop and grow (the engine imports no layer)
    masked, models                      simulated sparsity; the dense networks
    positions, randomness, data,        the ground floor
    checkpoint, paths, provenance

The names imported below are stable; everything else may move.
"""

__version__ = "0.1.0"

try:
    from .data import load_mnist
    from .masked import MaskedConv2d, MaskedLinear
    from .models import LeNet300100, SlideCNN, mlp
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
    "DynamicSparsity",
    "LeNet300100",
    "MaskedConv2d",
    "MaskedLinear",
    "SlideCNN",
    "evaluate",
    "fit",
    "load_mnist",
    "mlp",
    "sparsify",
]
