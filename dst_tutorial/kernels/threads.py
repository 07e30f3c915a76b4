"""Sharing one call of a kernel among threads: torch's number of them, each its own samples.

Kernels release Python's lock. A pool of Python's threads, unlike numba's own, may be used from several threads and
after a fork.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

ENOUGH = 4_000_000  # multiplications that are worth waking a thread

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None  # a forked child has the object, but not its threads


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_pool)


def parts(samples: int, multiplications: int, whole: int) -> list[tuple[int, int]]:
    """(first, last) for each thread that is worth its while; all but the end are multiples of `whole`."""
    threads = min(torch.get_num_threads(), multiplications // ENOUGH, samples // whole)
    if threads < 2:
        return [(0, samples)]
    size = -(-samples // (threads * whole)) * whole
    return [(first, min(first + size, samples)) for first in range(0, samples, size)]


def each(work: Callable, jobs: list[tuple]) -> None:
    """work(*job) for every job, the first of them here."""
    global _pool
    if len(jobs) > 1 and _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), "dst-kernels")
    others = [_pool.submit(work, *job) for job in jobs[1:]]
    work(*jobs[0])
    for other in others:
        other.result()
