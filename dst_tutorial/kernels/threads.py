"""How many threads the compiled loops take: as many as torch, unless told otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_own: int | None = None


def num_threads() -> int:
    """Of the next call of a loop."""
    return torch.get_num_threads() if _own is None else _own


def set_num_threads(n: int | None) -> None:
    """As `torch.set_num_threads`, for the compiled loops alone; None: as many as torch has. ValueError for less than 1.

    With `torch.set_num_threads(1)` beside it, nobody waits for torch's threads: where another process has one of the
    cores, torch's loss of 64 samples takes longer than our whole step.
    """
    global _own
    if n is not None and n < 1:
        raise ValueError(f"there is at least one thread, got {n}")
    _own = n


@contextmanager
def instead_of_torch(really: bool = True) -> Iterator[None]:
    """The loops keep the threads that they have, and torch takes one, for a while; nothing if not `really`."""
    if not really:
        yield
        return
    before, own = torch.get_num_threads(), _own
    set_num_threads(num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_num_threads(own)
