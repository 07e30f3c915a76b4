"""Threads that share one call of a kernel.

A kernel's work is a list of phases, one after the other; a phase has parts that may be done at once. One thread leads,
and whoever is free takes the next part. What a part computes does not depend on who does it, so that results are the
same to the bit for a number of threads. Where a thread came late, since something else runs on its core, the next calls
are done by one alone: more and more of them, if that goes on.

The threads are torch's own where they can be had: those of OpenMP, which wait awake between torch's operations and
would be in the way of any others. After a fork, which OpenMP's threads do not survive, and where there are none
(Windows), a pool of Python's threads takes over.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numba import njit

from .atomics import call_at, fetch_add, pause, publish, read
from .compiled import as_c, compiled, inner
from .steps import PHASE

# a call's memory: bytes; what many threads write is on a cache line of its own
_UNTAKEN, _DONE, _PHASE, _ENTERED, _FINISHED, _GONE = range(0, 768, 128)  # how many, but for the address of the phase
_FUNCTION, _CALL, _PHASES, _SIZE, _THREADS, _WAITED = 768, 776, 784, 792, 800, 808
_BYTES, _PHASE_BYTES = 896, PHASE.itemsize
LATE = 50_000  # pauses, a millisecond or more, after which something else must have the core of a thread
A_PAUSE = 250  # multiplications that take about as long
ALONE = 128  # calls that follow a late thread, at most
_FOREVER = 2**62


@njit(**inner)
def _take(at):
    """Do a part that nobody has taken, if there is one."""
    part = fetch_add(at + _UNTAKEN, -1) - 1
    if part < 0:
        return False
    call_at(read(at + _FUNCTION), read(at + _CALL), read(at + _PHASE), part)  # its phase ends after this part
    fetch_add(at + _DONE, 1)
    return True


@njit(**inner)
def _wait(address, number, most):
    """Until there are so many, or in vain for so many pauses; how many it took."""
    waited = 0
    while read(address) < number and waited < most:
        pause()
        waited += 1
    return waited


@njit(**inner)
def _lead(at):
    """All phases, one after the other; then as long as the others need to leave."""
    function, call, longest = read(at + _FUNCTION), read(at + _CALL), 0
    for phase in range(read(at + _PHASES), read(at + _PHASES) + read(at + _SIZE), _PHASE_BYTES):
        parts = read(phase)
        if parts == 1:
            call_at(function, call, phase, 0)
            continue
        publish(at + _PHASE, phase)
        publish(at + _DONE, 0)
        publish(at + _UNTAKEN, parts)
        while _take(at):
            pass
        longest = max(longest, _wait(at + _DONE, parts, _FOREVER))
    publish(at + _FINISHED, 1)
    publish(at + _WAITED, max(longest, _wait(at + _GONE, read(at + _THREADS) - 1, LATE)))


@njit(**inner)
def _share(at):
    if fetch_add(at + _ENTERED, 1) == 0:
        _lead(at)
        return
    while not read(at + _FINISHED):
        if read(at + _UNTAKEN) <= 0 or not _take(at):
            pause()
    fetch_add(at + _GONE, 1)


def share_in(keep):
    """What each thread does: the first one leads."""

    def run(at):
        _share(at)

    return as_c(run, 1, keep)


def alone_in(keep):
    def run(function, call, phases, size):
        for phase in range(phases, phases + size, _PHASE_BYTES):
            for part in range(read(phase)):
                call_at(function, call, phase, part)

    return as_c(run, 4, keep)


_left_alone, _penalty = 0, 1  # shared calls that one does alone now, and how many will be after the next late one


def do(function: int, call: int, phases: np.ndarray, threads: int, uneven: int = 0) -> None:
    """All phases of a call: the addresses of a kernel and of what it takes.

    uneven   multiplications by which the largest part exceeds the smallest, whose thread waits for no late one
    """
    global _left_alone, _penalty
    if threads < 2 or _left_alone:
        _left_alone = max(0, _left_alone - (threads > 1))  # other threads of Python count, too
        compiled(alone_in).call(function, call, phases.ctypes.data, phases.nbytes)
        return
    memory = np.zeros(_BYTES // 8, np.int64)
    parallel = None if _forked else _openmp()
    team = max(threads, torch.get_num_threads()) if parallel else 1  # fewer than torch's would end the others
    memory[_FUNCTION // 8 : _WAITED // 8] = function, call, phases.ctypes.data, phases.nbytes, team
    if parallel:
        parallel(compiled(share_in).address, memory.ctypes.data, team, 0)
    else:
        _in_pool(memory.ctypes.data, threads)
    if memory[_WAITED // 8] >= LATE + uneven // A_PAUSE:
        _left_alone, _penalty = _penalty, min(2 * _penalty, ALONE)
    else:
        _penalty = max(1, _penalty - 1)  # slower than it grows: a core that is busy half of the time is busy


# --- who they are -----------------------------------------------------------------------------------------------------

_pool: ThreadPoolExecutor | None = None
_forked = False


def _start_again() -> None:
    global _pool, _forked
    _pool, _forked = None, True  # a forked child has the objects, but not their threads


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_start_again)


@cache
def _openmp() -> Callable | None:
    """What GNU's and LLVM's OpenMP run a parallel region with: (body, data, threads, flags); None without them."""
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    parallel.argtypes, parallel.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return parallel


def _in_pool(memory: int, threads: int) -> None:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), "dst-kernels")
    share = compiled(share_in).call
    others = [_pool.submit(share, memory) for _ in range(threads - 1)]
    share(memory)
    for other in others:
        if not other.cancel():
            other.result()
