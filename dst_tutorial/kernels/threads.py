"""Sharing one call of a kernel among threads: torch's number of them, each its own samples.

The threads are torch's own where they can be had: those of OpenMP, which wait awake between torch's operations and
would be in the way of any others. Kernels release Python's lock. After a fork, which OpenMP's threads do not survive,
and where there are none (Windows), a pool of Python's threads takes over.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

ENOUGH = 4_000_000  # multiplications that are worth waking a thread

_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_pool: ThreadPoolExecutor | None = None
_forked = False


def _start_again() -> None:
    global _pool, _forked
    _pool, _forked = None, True  # a forked child has the objects, but not their threads


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_start_again)


def parts(samples: int, multiplications: int, whole: int) -> list[tuple[int, int]]:
    """(first, last) for each thread that is worth its while; all but the end are multiples of `whole`."""
    threads = min(torch.get_num_threads(), multiplications // ENOUGH, samples // whole)
    if threads < 2:
        return [(0, samples)]
    size = -(-samples // (threads * whole)) * whole
    return [(first, min(first + size, samples)) for first in range(0, samples, size)]


def each(work: Callable, jobs: list[tuple]) -> None:
    """work(*job) for every job, the first of them here."""
    if len(jobs) == 1:
        work(*jobs[0])
    elif (parallel := _openmp()) and not _forked:
        _in_openmp(parallel, work, jobs)
    else:
        _in_pool(work, jobs)


@cache
def _openmp() -> Callable | None:
    """What GNU's and LLVM's OpenMP run a parallel region with: (body, data, threads, flags); None without them."""
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    parallel.argtypes, parallel.restype = (_Body, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return parallel


def _in_openmp(parallel: Callable, work: Callable, jobs: list[tuple]) -> None:
    left, errors = iter(jobs), []

    def body(_) -> None:
        try:
            for job in left:
                work(*job)
        except BaseException as error:  # it may not leave a function that C has called
            errors.append(error)

    parallel(_Body(body), None, torch.get_num_threads(), 0)  # fewer than torch's would end the others
    if errors:
        raise errors[0]


def _in_pool(work: Callable, jobs: list[tuple]) -> None:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), "dst-kernels")
    others = [_pool.submit(work, *job) for job in jobs[1:]]
    work(*jobs[0])
    for other in others:
        other.result()
