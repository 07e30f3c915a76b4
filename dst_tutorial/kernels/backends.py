"""Which backend runs: a layer asks `backend_for`, unless it has one of its own; `use` settles it for all."""

import logging
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from ..choices import choose
from . import library, reference
from .checks import FLOATS
from .operations import Operation

Backend = Callable[[Tensor, list[Operation]], Tensor]  # as `reference.run`
REFERENCE: Backend = reference.run
LIBRARY: Backend = library.run
TRACEABLE: Backend = partial(reference.run, product=reference.gathered)  # for torch.compile, tracing and export

log = logging.getLogger(__name__)


def _cpu() -> Backend:
    if fault := numba_fault():
        raise ModuleNotFoundError(f"the cpu backend cannot run: {fault}", name="numba")
    from . import cpu  # late: numba takes a second to import

    return cpu.run


def _triton() -> Backend:
    try:
        from . import triton
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the triton backend needs Triton, which torch brings along on Linux with CUDA",
                                  name="triton") from error  # fmt: skip
    return triton.run


BACKENDS: dict[str, Callable[[], Backend]] = {
    "reference": lambda: REFERENCE,
    "library": lambda: LIBRARY,
    "cpu": cache(_cpu),
    "triton": cache(_triton),
}
_settled: Backend | None = None


def use(name: str | None) -> None:
    """Settle the backend of all truly sparse layers, by its name in `BACKENDS`; None leaves it to `backend_for` again.

    ValueError for an unknown name, ModuleNotFoundError where "cpu" lacks numba, or "triton" Triton.
    """
    global _settled
    _settled = None if name is None else choose(name, BACKENDS, "backend")()


def backend_for(values: Tensor, own: Backend | None = None) -> Backend:
    """A layer's own backend, what has been settled, or the fastest one for weights of this device and dtype.

    Where torch traces or compiles, the one that it can look into; ONNX has no such operations: RuntimeError.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError("ONNX cannot say what a truly sparse layer does: export to_masked(model)")
        return TRACEABLE
    if own or _settled:
        return own or _settled
    if values.is_cuda:
        return LIBRARY
    fast = values.is_cpu and values.dtype in FLOATS and has_numba()
    return BACKENDS["cpu" if fast else "reference"]()


@cache
def has_numba() -> bool:
    """Can the fast backend run here? If not, the reason is said, once."""
    if fault := numba_fault():
        log.warning("%s. Truly sparse layers are slow without it; `python -m dst_tutorial doctor` says more", fault)
    return not fault


@cache
def numba_fault() -> str | None:
    """Why the fast backend cannot run here, and the mend; None if it can."""
    try:
        import numba

        if numba.config.DISABLE_JIT:
            return "numba is switched off: unset NUMBA_DISABLE_JIT"
        from . import cpu  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "numba":
            return "numba is not installed: `pip install numba`"
        return f"numba does not run here ({error}): `pip install --upgrade numba numpy`"
    except Exception as error:  # of numba's, or of what it needs
        return f"numba does not run here ({type(error).__name__}: {error}): `pip install --upgrade numba numpy`"
    return None


def keeps_compiled() -> bool:
    """Is there a folder for compiled code, so that the next process finds it?"""
    from .compiled import KEPT

    return KEPT
