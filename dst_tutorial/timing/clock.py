"""Readings that can stand side by side: in turns, behind a warm-up, call by call (`torch.utils.benchmark`)."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

# On a machine with CUDA's compiler and no GPU, torch's timer warns of that: no concern of a reader's.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


from torch.utils.benchmark import Timer  # noqa: E402  it is its import that warns


@dataclass
class Row:
    """The readings of one method, in milliseconds."""

    method: str
    device: str
    copies: bool  # are the copies to and from the device on the clock?
    largest_difference: float  # from the first method's outputs or losses
    first_ms: float  # its very first call: with what is set up only once, unless an earlier method did so
    times_ms: list[float] = field(default_factory=list, repr=False)  # one call each, in the order they were made

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """(q1, median, q3)."""
        return tuple(np.percentile(self.times_ms, (25, 50, 75)).tolist())

    @property
    def median(self) -> float:
        return self.quartiles[1]

    def times(self, other: "Row") -> float:
        """How many times as long as the other it takes: the median over the rounds, in which both had their turns.

        A busy spell hits both, and leaves their ratio alone; it need not leave that of their medians.
        """
        return float(np.median(np.divide(self.times_ms, other.times_ms)))


def rows_of(result: dict) -> list[Row]:
    """The rows of a (recorded) benchmark."""
    return [Row(**row) for row in result["rows"]]


def row_of(rows: Iterable[Row], method: str, device: str = "cpu", *, copies: bool = False) -> Row | None:
    """The one row of that kind, or None."""
    return next((row for row in rows if (row.method, row.device, row.copies) == (method, device, copies)), None)


def take_turns(tasks: Iterable[Callable], rounds: int, threads: int, seconds: float = 0.0) -> list[list[float]]:
    """Milliseconds of calls of each task, each behind two unread ones, round by round; a GPU is waited for.

    At least so many rounds, and more until so many seconds are over: what is over in a wink needs more readings.
    """
    timers = [Timer("task()", globals={"task": task}, num_threads=threads) for task in tasks]
    times: list[list[float]] = [[] for _ in timers]
    until = time.perf_counter() + seconds
    for done in itertools.count():
        if done >= rounds and time.perf_counter() >= until:
            break
        for timer, mine in zip(timers, times, strict=True):
            mine += [1e3 * seconds for seconds in timer.timeit(1).raw_times]
    return times


def first_call(task: Callable) -> tuple[object, float]:
    """What the task returns, and how many milliseconds that took."""
    started = time.perf_counter()
    found = task()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, 1e3 * (time.perf_counter() - started)


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """So many threads of torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32 on a GPU: with its 10 bits the work is not the same."""
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting in settings:
            setting.allow_tf32 = False
        yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed
