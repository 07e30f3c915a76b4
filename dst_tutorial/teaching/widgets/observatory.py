"""Notebook 05: the topology observatory. Everything is computed from the positions of active weights alone."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as ipw
import numpy as np
from matplotlib.figure import Figure

from ...show import plots
from ...topology import Masks, ages, exploration, in_degrees, jaccard, neurons, out_degrees, paths, returns, survival
from ...training import History
from .explorer import choice, explorer

MOMENTS = 10  # of a run, where each costs a picture or a walk through the network
ALL = "all layers"
Runs = Mapping[str, History]


def _masks(history: History, layer: str) -> list[Masks]:
    """At every snapshot, of one layer or of all."""
    every = [snapshot.masks for snapshot in history.snapshots]
    return every if layer == ALL else [{layer: masks[layer]} for masks in every]


def _moments(history: History) -> list[int]:
    """The start, the last update, and some evenly spaced between them."""
    last = len(history.snapshots) - 1
    return sorted({round(i * last / (MOMENTS - 1)) for i in range(MOMENTS)})


def _start_and_ends(runs: Runs, layer: str) -> dict[str, Masks]:
    """The masks that the first run began with, and those that each run ended with."""
    start = next(iter(runs.values()))
    return {"start": _masks(start, layer)[0]} | {name: _masks(run, layer)[-1] for name, run in runs.items()}


def _explored(runs: Runs, layer: str) -> Figure:
    steps = {name: [s.step for s in run.snapshots] for name, run in runs.items()}
    masks = {name: _masks(run, layer) for name, run in runs.items()}
    explored, survived = ({name: list(of(m)) for name, m in masks.items()} for of in (exploration, survival))
    return plots.exploration_and_survival(steps, explored, survived, layer)


def _ages(runs: Runs, layer: str) -> Figure:
    counts = {name: np.concatenate(list(ages(_masks(run, layer)).values())) for name, run in runs.items()}
    return plots.ages(counts, {name: len(run.snapshots) - 1 for name, run in runs.items()}, layer)


def _returned(runs: Runs, layer: str) -> Figure:
    shares, updates = {}, {}
    for name, run in runs.items():
        counts = returns(_masks(run, layer))
        shares[name] = [back / grown for grown, back in counts if grown]
        updates[name] = [i for i, (grown, _) in enumerate(counts, 1) if grown]
    return plots.shares_by_update(shares, updates, "grown that had been active before", layer)


def _alike_in_time(runs: Runs, layer: str) -> Figure:
    tables = {}
    for name, run in runs.items():
        moments, every = _moments(run), _masks(run, layer)
        tables[name] = [str(i) for i in moments], _jaccards([every[i] for i in moments])
    return plots.similarity(tables, f"Jaccard index between updates, {layer}")


def _alike_by_run(runs: Runs, layer: str) -> Figure:
    names = [plots.NAMES.get(name, name) for name in runs]
    moments = {"at the start": 0, "in the end": -1}
    tables = {when: (names, _jaccards([_masks(run, layer)[i] for run in runs.values()])) for when, i in moments.items()}
    return plots.similarity(tables, f"Jaccard index between runs, {layer}")


def _jaccards(masks: Sequence[Masks]) -> np.ndarray:
    return np.array([[jaccard(a, b) for b in masks] for a in masks])


def _degrees(runs: Runs, layer: str) -> Figure:
    fans = {
        kind: {
            when: np.concatenate([of(mask) for mask in masks.values()])
            for when, masks in _start_and_ends(runs, layer).items()
        }
        for kind, of in (("into", in_degrees), ("out of", out_degrees))
    }
    return plots.degrees(fans, layer)


def _lost(runs: Runs, layer: str) -> Figure:
    shares = {}
    for name, run in runs.items():
        found = [neurons(run.snapshots[i].masks) for i in _moments(run)]
        hidden = list(found[0])[:-1] if layer == ALL else [layer]  # outputs are not hidden
        shares[name] = [np.concatenate([units[one].dead for one in hidden]).mean() for units in found]
    return plots.shares_by_update(shares, {n: _moments(run) for n, run in runs.items()}, "units lost", layer)


def _pictured(runs: Runs, layer: str, count: Callable[[Masks], np.ndarray], what: str) -> Figure:
    """A number an input of the layer, or of the network, from the masks of this layer and those behind it."""
    found = {}
    for when, masks in _start_and_ends(runs, ALL).items():
        names = list(masks)
        behind = names if layer == ALL else names[names.index(layer) :]
        found[plots.NAMES.get(when, when)] = as_picture(count({name: masks[name] for name in behind}))
    return plots.inputs_read(found, f"inputs of {'the network' if layer == ALL else layer}", what)


def as_picture(values: np.ndarray) -> np.ndarray:
    """A number an input, as a square if they are a square number, else as one line."""
    side = math.isqrt(len(values))
    return values.reshape((side, side) if side * side == len(values) else (1, -1))


def _inputs(runs: Runs, layer: str) -> Figure:
    return _pictured(runs, layer, lambda masks: out_degrees(next(iter(masks.values()))), "connections")


def _paths(runs: Runs, layer: str) -> Figure:
    return _pictured(runs, layer, paths, "paths to the outputs")


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


def draw_observation(runs: Runs, what: str, layer: str = ALL) -> Figure:
    """One of `OBSERVATIONS` on the masks of some runs of one network, or of one of its layers.

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
    """Choose what to look at, and at which layer. `runs`: name -> the History of a run, of one network."""
    layers = _check(runs)
    return explorer(
        lambda what, layer: draw_observation(runs, what, layer),
        what=choice(tuple(OBSERVATIONS), "exploration and survival", "look at"),
        layer=choice((ALL, *layers), ALL, "layer"),
    )
