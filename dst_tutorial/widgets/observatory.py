"""Notebook 04: the topology observatory. Everything is computed from the positions of active weights alone."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as ipw
import numpy as np
from matplotlib.figure import Figure

from .. import plots
from ..measures import (
    Masks,
    ages,
    exploration,
    in_degrees,
    jaccard,
    neurons,
    out_degrees,
    paths,
    returns,
    survival,
)
from ..training import History
from .explorer import explorer, slider

MOMENTS = 10  # of a run, where each costs a picture or a walk through the network
Runs = Mapping[str, History]


def _masks(history: History) -> list[Masks]:
    return [snapshot.masks for snapshot in history.snapshots]


def _moments(history: History) -> list[int]:
    """The start, the last update, and some evenly spaced between them."""
    last = len(history.snapshots) - 1
    return sorted({round(i * last / (MOMENTS - 1)) for i in range(MOMENTS)})


def _explored(runs: Runs, layer: str) -> Figure:
    steps = {name: [s.step for s in run.snapshots] for name, run in runs.items()}
    masks = {name: _masks(run) for name, run in runs.items()}
    return plots.exploration_and_survival(
        steps, {n: list(exploration(m)) for n, m in masks.items()}, {n: survival(m) for n, m in masks.items()}
    )


def _ages(runs: Runs, layer: str) -> Figure:
    counts = {name: np.concatenate(list(ages(_masks(run)).values())) for name, run in runs.items()}
    return plots.ages(counts, {name: len(run.snapshots) - 1 for name, run in runs.items()})


def _returned(runs: Runs, layer: str) -> Figure:
    shares, updates = {}, {}
    for name, run in runs.items():
        counts = returns(_masks(run))
        shares[name] = [back / grown for grown, back in counts if grown]
        updates[name] = [i for i, (grown, _) in enumerate(counts, 1) if grown]
    return plots.shares_by_update(shares, updates, "grown that had been active before")


def _alike_in_time(runs: Runs, layer: str) -> Figure:
    tables = {}
    for name, run in runs.items():
        moments = _moments(run)
        masks = [run.snapshots[i].masks for i in moments]
        tables[name] = [f"{i}" for i in moments], np.array([[jaccard(a, b) for b in masks] for a in masks])
    return plots.similarity(tables, "Jaccard index between updates")


def _alike_by_run(runs: Runs, layer: str) -> Figure:
    names = [plots.NAMES.get(name, name) for name in runs]
    tables = {}
    for when, i in (("at the start", 0), ("in the end", -1)):
        masks = [run.snapshots[i].masks for run in runs.values()]
        tables[when] = names, np.array([[jaccard(a, b) for b in masks] for a in masks])
    return plots.similarity(tables, "Jaccard index between runs")


def _degrees(runs: Runs, layer: str) -> Figure:
    first = next(iter(runs.values())).snapshots[0].masks[layer]
    masks = {"start": first} | {name: run.snapshots[-1].masks[layer] for name, run in runs.items()}
    kinds = {"into": in_degrees, "out of": out_degrees}
    return plots.degrees({kind: {when: of(mask) for when, mask in masks.items()} for kind, of in kinds.items()}, layer)


def _lost(runs: Runs, layer: str) -> Figure:
    shares = {}
    for name, run in runs.items():
        found = [list(neurons(run.snapshots[i].masks).values())[:-1] for i in _moments(run)]  # not the outputs
        shares[name] = [np.concatenate([units.dead for units in hidden]).mean() for hidden in found]
    return plots.shares_by_update(shares, {n: _moments(run) for n, run in runs.items()}, "hidden units lost")


def _pictured(runs: Runs, count: Callable[[Masks], np.ndarray], what: str) -> Figure:
    first = next(iter(runs.values()))
    masks = {"start": first.snapshots[0].masks} | {n: run.snapshots[-1].masks for n, run in runs.items()}
    return plots.inputs_read({plots.NAMES.get(n, n): as_picture(count(m)) for n, m in masks.items()}, what=what)


def as_picture(values: np.ndarray) -> np.ndarray:
    """A number an input, as a square if they are a square number, else as one line."""
    side = math.isqrt(len(values))
    return values.reshape((side, side) if side * side == len(values) else (1, -1))


def _inputs(runs: Runs, layer: str) -> Figure:
    return _pictured(runs, lambda masks: out_degrees(next(iter(masks.values()))), "connections")


def _paths(runs: Runs, layer: str) -> Figure:
    return _pictured(runs, paths, "paths to the outputs")


OBSERVATIONS: dict[str, Callable[[Runs, str], Figure]] = {
    "exploration and survival": _explored,
    "age": _ages,
    "coming back": _returned,
    "alike from update to update": _alike_in_time,
    "alike from run to run": _alike_by_run,
    "degrees": _degrees,
    "units lost": _lost,
    "inputs read": _inputs,
    "paths": _paths,
}


def draw_observation(runs: Runs, what: str, layer: str) -> Figure:
    """One of `OBSERVATIONS` on the masks of some runs of one network; of a single layer where it concerns one.

    ValueError where a run has no masks, or the runs are not of one network.
    """
    _check(runs)
    return OBSERVATIONS[what](runs, layer)


def _check(runs: Runs) -> Sequence[str]:
    """The layers."""
    if dense := [name for name, run in runs.items() if not run.snapshots] or not runs:
        raise ValueError(f"the observatory looks at masks, and there are none in {dense if runs else 'no run at all'}")
    shapes = [{name: mask.shape for name, mask in run.snapshots[0].masks.items()} for run in runs.values()]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("these runs are not of one network: their layers differ in name or shape")
    return list(shapes[0])


def observatory(runs: Runs) -> ipw.VBox:
    """Choose what to look at, and for degrees the layer. `runs`: name -> the History of a run, of one network."""
    layers = _check(runs)
    return explorer(
        lambda what, layer: draw_observation(runs, what, layer),
        what=slider(tuple(OBSERVATIONS), "exploration and survival", "look at"),
        layer=slider(layers, layers[0], "layer"),
    )
