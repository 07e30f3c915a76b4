"""Sharing one call of a kernel among threads: torch's number of them, each its own samples.

Kernels release Python's lock. A pool of Python's threads, unlike numba's own, may be used from several threads and
after a fork.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

ENOUGH = 4_000_000  # multiplications that are worth waking a thread
STEP = 16  # lanes: whole vectors

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None  # a forked child has the object, but not its threads


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_pool)


def parts(lanes: int, multiplications: int) -> list[tuple[int, int]]:
    """(start, stop) for each thread that is worth its while."""
    threads = min(torch.get_num_threads(), multiplications // ENOUGH, lanes // STEP)
    if threads < 2:
        return [(0, lanes)]
    size = -(-lanes // (threads * STEP)) * STEP
    return [(start, min(start + size, lanes)) for start in range(0, lanes, size)]


def each(work: Callable, jobs: list[tuple]) -> None:
    """work(*job) for every job, the first of them here."""
    global _pool
    if len(jobs) > 1 and _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), "dst-kernels")
    others = [_pool.submit(work, *job) for job in jobs[1:]]
    work(*jobs[0])
    for other in others:
        other.result()
