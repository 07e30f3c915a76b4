"""Which backend runs: a layer asks `backend_for`, unless it has one of its own; `use` settles it for all."""

import importlib.util
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ..choices import choose
from . import library, reference
from .operations import Operation

Backend = Callable[[Tensor, list[Operation]], Tensor]  # as `reference.run`
REFERENCE: Backend = reference.run
LIBRARY: Backend = library.run


def _cpu() -> Backend:
    if not has_numba():
        raise ModuleNotFoundError("the cpu backend needs numba: `pip install numba`", name="numba")
    from . import cpu  # late: numba takes a second to import

    return cpu.run


BACKENDS: dict[str, Callable[[], Backend]] = {
    "reference": lambda: REFERENCE,
    "library": lambda: LIBRARY,
    "cpu": cache(_cpu),
}
_settled: Backend | None = None


def use(name: str | None) -> None:
    """Settle the backend of all truly sparse layers, by its name in `BACKENDS`; None leaves it to `backend_for` again.

    ValueError for an unknown name, ModuleNotFoundError where "cpu" lacks numba.
    """
    global _settled
    _settled = None if name is None else choose(name, BACKENDS, "backend")()


def backend_for(values: Tensor) -> Backend:
    """What has been settled, or else the fastest backend for weights of this device and dtype."""
    if _settled:
        return _settled
    if values.dtype not in (torch.float32, torch.float64):
        return REFERENCE
    if values.is_cuda:
        return LIBRARY
    return BACKENDS["cpu" if values.device.type == "cpu" and has_numba() else "reference"]()


@cache
def has_numba() -> bool:
    """Can the fast backend run here?"""
    return importlib.util.find_spec("numba") is not None
