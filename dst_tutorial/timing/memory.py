"""The memory that a process really takes, measured."""

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """By how many bytes this process grows at most inside: call what it yields, afterwards. None where not on Linux.

    Everything counts: weights, activations, gradients, optimiser, Python, and what libraries load or compile when they
    are first used. Rehearse before, so that these are there already.
    """
    if not _STATUS.exists():
        yield lambda: None
        return
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what was freed before: it would hide growth
    if trim:
        trim(0)
    before = _resident("VmRSS")
    _STATUS.with_name("clear_refs").write_text("5")  # forget the old peak: `man 5 proc`
    yield lambda: _resident("VmHWM") - before


_STATUS = Path("/proc/self/status")


def _resident(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
