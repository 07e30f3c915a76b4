"""Notebook 10: what a machine could do at best with each kind of zeros."""

from functools import cache

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...choices import choose
from ...show import plots
from ...timing import PUBLISHED, Roofline, kinds_at, microjoules, on_threads, roofline, work
from .explorer import choice, explorer, slider
from .storage import SPARSITIES

HERE = "this machine, one thread"
MACHINES = (HERE, *PUBLISHED)
WIDTHS = (256, 1024, 4096, 16384)
BATCHES = (1, 4, 16, 64, 256, 1024)


@cache
def _here() -> Roofline:
    with on_threads(1):
        return roofline()


def draw_at_best(machine: str, width: int, batch: int, sparsity: float) -> Figure:
    """The least time and the energy of a width x width layer by the kind of its zeros; ValueError for no such machine.

    `machine`: "this machine, one thread" is measured, once, in a second or two; the others are as published.
    """
    roof = _here() if machine == HERE else choose(machine, {HERE: None, **PUBLISHED}, "machine")
    times, energy = {}, {}
    for kind in kinds_at(sparsity):
        operations, moved = work(kind, width, batch, sparsity)
        times[kind] = {"memory": roof.milliseconds(0, moved), "arithmetic": roof.milliseconds(operations, 0)}
        energy[kind] = dict(zip(("arithmetic", "memory"), microjoules(operations, moved), strict=True))
    told = f"{roof.gflops:,.0f} GFLOP/s, {roof.gigabytes_per_second:,.0f} GB/s"
    title = f"{width:,} x {width:,}, batch {batch:,}, {100 * sparsity:g}% sparse, at best: {machine} ({told})"
    return plots.at_best(times, energy, title)


def machine_explorer() -> ipw.VBox:
    """Choose a machine, move the layer: where is memory the limit, and where arithmetic?"""
    return explorer(
        draw_at_best,
        machine=choice(MACHINES, HERE, "machine"),
        width=slider(WIDTHS, 4096, "width"),
        batch=slider(BATCHES, 1, "batch"),
        sparsity=slider(SPARSITIES, 0.95, "sparsity"),
    )
