"""What a machine could do at best with one layer: time by its roofline, energy by published figures.

Arithmetic, but for `roofline`, which measures the machine at hand. It says where a limit lies, not what kernels reach.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..choices import choose
from ..layers import INDEX, MASK, VALUE, format_bytes
from .clock import Timer, exact_float32

GROUP, BLOCK = 16, 16  # inputs of a group of N:M, rows and columns of a block


# --- kinds of zeros ---------------------------------------------------------------------------------------------------


def _blocks(width: int, kept: int) -> float:
    """A value each, and the place of each block; pointers to the rows of blocks."""
    return VALUE * kept + INDEX * (kept / BLOCK**2 + width / BLOCK + 1)


STORED: dict[str, Callable[[int, int], float]] = {  # width, kept weights -> bytes of one matrix of float32
    "dense": lambda width, kept: VALUE * width**2,
    "Dense+Mask": lambda width, kept: (VALUE + MASK) * width**2,
    "CSR": lambda width, kept: format_bytes(width, width, kept)["CSR"],
    "constant fan-in": lambda width, kept: (VALUE + INDEX) * kept,  # where a row begins need not be said
    f"N of {GROUP}": lambda width, kept: (VALUE + 0.5) * kept,  # four bits say which of the group
    f"blocks of {BLOCK} x {BLOCK}": _blocks,
}
KEEPS_ZEROS = ("dense", "Dense+Mask")  # which stores them, and multiplies by them


def kinds_at(sparsity: float) -> list[str]:
    """Those that there are at this sparsity: of a group at least one weight is left."""
    return [kind for kind in STORED if not (kind.startswith("N of") and (1 - sparsity) * GROUP < 1)]


def stored_bytes(kind: str, width: int, sparsity: float) -> float:
    """What one matrix of width x width takes in memory; ValueError for a kind that there is not."""
    return choose(kind, STORED, "kind of zeros")(width, round((1 - sparsity) * width**2))


# --- time -------------------------------------------------------------------------------------------------------------


class Roofline(NamedTuple):
    """What the machine can do at best. Source: Williams, Waterman and Patterson, CACM 52(4), 2009."""

    gflops: float  # of float32 arithmetic, a multiplication and an addition counted as two
    gigabytes_per_second: float  # from and to memory, not the caches

    def milliseconds(self, operations: float, moved: float) -> float:
        """The least time for so many operations on so many bytes."""
        return 1e3 * max(operations / self.gflops, moved / self.gigabytes_per_second) / 1e9

    def layer(self, kind: str, width: int, batch: int, sparsity: float) -> float:
        """The least milliseconds of inference of a layer, whose weights, inputs and outputs are moved once."""
        return self.milliseconds(*work(kind, width, batch, sparsity))


def work(kind: str, width: int, batch: int, sparsity: float) -> tuple[float, float]:
    """(operations, bytes moved) of inference of one layer of width x width on so many inputs."""
    density = 1 if kind in KEEPS_ZEROS else 1 - sparsity
    return 2 * density * width**2 * batch, stored_bytes(kind, width, sparsity) + 2 * VALUE * width * batch


PUBLISHED = {  # peaks of float32 without tensor cores and of memory, from tables of specifications
    "NVIDIA T4": Roofline(8_100, 320),
    "NVIDIA A100, 40 GB": Roofline(19_500, 1_555),
}


def roofline(device: str = "cpu") -> Roofline:
    """Measured on the spot: a product of large matrices, and a copy of what no cache holds. The best of some calls."""
    size = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode(), exact_float32():
        product = _best("torch.mm(a, b, out=c)", a=a, b=b, c=torch.empty_like(a))
        copy = _best("target.copy_(source)", source=source, target=target)
    return Roofline(2 * size**3 / product / 1e9, 2 * source.nbytes / copy / 1e9)


def _best(statement: str, **variables) -> float:
    """Seconds."""
    timer = Timer(statement, globals=variables, num_threads=torch.get_num_threads())
    return min(timer.timeit(1).raw_times[0] for _ in range(8))


# --- energy -----------------------------------------------------------------------------------------------------------

# Of a 45 nm chip, float32: a multiplication 3.7, an addition 0.9, 32 bits from DRAM 640. Source: Horowitz, "Computing's
# energy problem", ISSCC 2014; the last as in Han et al., arXiv 1602.01528.
PICOJOULES_PER_OPERATION = (3.7 + 0.9) / 2
PICOJOULES_PER_BYTE = 640 / 4


def microjoules(operations: float, moved: float) -> tuple[float, float]:
    """(arithmetic, memory): what so many operations take, and so many bytes from DRAM. Counted, not measured."""
    return 1e-6 * PICOJOULES_PER_OPERATION * operations, 1e-6 * PICOJOULES_PER_BYTE * moved
