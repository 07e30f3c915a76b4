"""Dynamic sparse training (DST), taken apart and measured.

The package behind the notebooks. Its folders are chapters: each imports only those above it in this list, by the names
that their `__init__.py` hands on.

    positions, randomness, choices, paths, progress, provenance   the ground, which everything may use
    kernels         what truly sparse layers call: loops over the active weights, in several backends
    layers          simulated and truly sparse layers, and what makes a network of them
    topology        drop and grow: the engine, its rules, SET and RigL, measures of masks
    training        fit and evaluate, networks and data, named ways to train
    timing          honest timing, of ours and of others' ways to compute a sparse network
    studies         the runs behind every recorded number, and what was recorded
    show            pictures and tables of the results, and what became of each number on the slides
    teaching        a notebook's first cell and clock, the explorers, the exercises
    doctor, __main__                                    is this machine ready? The command line

The names of `__all__` are stable; everything else may move.
"""

from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

_HOMES = {  # of the stable names, each imported when it is first asked for: torch takes seconds
    "layers": ("MaskedConv2d", "MaskedLinear", "SparseConv2d", "SparseLinear", "SparseSequential", "sparsify",
               "to_masked", "to_truly_sparse"),
    "topology": ("SET", "DynamicSparsity", "RigL"),
    "training": ("LeNet300100", "SlideCNN", "evaluate", "fit", "load_mnist", "mlp"),
}  # fmt: skip
__all__ = [name for names in _HOMES.values() for name in names]


def require(*packages: str, extra: str = "") -> None:
    """ModuleNotFoundError with its mend where one of the packages is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"dst_tutorial needs the package {package!r}, which this Python does not have. "
                f"`make setup` installs everything; by hand, `pip install -e '.{extra}'` in the checkout does.",
                name=package,
            )


require("numpy", "platformdirs", "safetensors", "torch", "tqdm")


def __getattr__(name: str):
    for folder, names in _HOMES.items():
        if name in names:
            globals()[name] = found = getattr(import_module(f"{__name__}.{folder}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
