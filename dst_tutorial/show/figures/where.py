"""Where sparse wins: the map of regimes, who contends in each, and what noise does."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from ...studies import (
    COLUMNS,
    DST,
    REGIMES,
    Regime,
    Side,
    Standing,
    difference,
    families_recorded,
    in_regime,
    load_results,
    standings,
)
from ...training import NOISE
from .. import plots
from ..pictures import Picture, pictures
from ..tables import Table, mean_sd, provenance_line

_ELSEWHERE = "results/frontier.json, results/ablation-lenet300100.json, results/ablation-mlp1d.json"
_RECORDED = families_recorded()
_SOURCES = ", ".join([*(f"results/{name}{kind}.json" for name in _RECORDED for kind in ("", "-tuning")), _ELSEWHERE])


def where_sparse_wins() -> Figure:
    """The map: moving sparse minus each rival, regime by regime, and what each cost."""
    rows = [row for row in standings() if row.on_map]
    beside = {column: [row.gap(column).verdict for row in rows if column in row.sides] for column in COLUMNS}
    ahead = ", ".join(
        f"of {told} in {beside[column].count('more')} of {len(beside[column])}"
        for column, told in (("small dense", "small dense"), ("static mask", "a static mask"), ("dense", "dense"))
    )
    return plots.standings(rows, f"Moving connections is ahead {ahead} regimes")


def _cell(row: Standing, column: str) -> str:
    if column not in row.sides:
        return "–"
    side = row.sides[column]
    cost = f"{side.weights:,} w, {side.bytes / 2**20:.1f} MB, {side.seconds:.1f} s"
    told = f"{side.name} {mean_sd(list(side.by_seed.values()), 1)}%"
    return f"{told}; {cost}" if column == DST else f"{told}; {row.gap(column).told}; {cost}"


def map_rows(rows: list[Standing]) -> list[dict[str, str]]:
    """The map as a table, all regimes: who stands in each column, moving sparse minus it, and what each cost."""
    columns = [DST, *(column for column in COLUMNS if column != DST)]
    return [{"regime": row.told} | {column: _cell(row, column) for column in columns} for row in rows]


def _within(side: Side) -> str:
    """How wide and how sparse, where only the bytes were given."""
    config = side.runs[0]["config"]
    if config["recipe"]["small"]:
        return "as many bytes"
    return f"{config.get('width', 1)} x as wide, {100 * config['sparsity']:.1f}%"


def contender_rows(family: str) -> list[dict[str, str]]:
    """Everybody in a family's regimes, at all sparsities: accuracy, the first one minus it, and what it cost."""
    rows = []
    for regime in REGIMES[family]:
        for sparsity in (regime.tuned_at,) if regime.state else regime.sparsities:
            everybody = in_regime(family, regime, sparsity)
            ours = regime.contenders[0]
            mine = everybody[ours].by_seed
            for name, side in everybody.items():
                gap = difference([mine[s] for s in side.by_seed], list(side.by_seed.values()), regime.margin)
                rows.append(
                    {
                        "regime": regime.told,
                        "beside": _within(side) if regime.state else f"{100 * sparsity:g}%",
                        "contender": name,
                        "test accuracy": f"{mean_sd(list(side.by_seed.values()), 1)}%",
                        f"{ours} minus it": "–" if name == ours else gap.told,
                        "weights + biases": f"{side.weights:,}",
                        "multiplications": f"{side.macs:,}" if side.macs else "–",
                        "MB of training state": f"{side.bytes / 2**20:.2f}",
                        "s of training": f"{side.seconds:.1f}",
                        "seeds": str(len(side.runs)),
                    }
                )
    return rows


def by_noise(sparsity: float, names: Collection[str] | None = None) -> dict[str, dict[int, list[float]]]:
    """Test accuracies on MNIST beside noise: contender -> times as many inputs -> one a seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for times, regime in zip(NOISE, REGIMES["noise"], strict=True):
        for name, side in in_regime("noise", regime, sparsity).items():
            if names is None or name in names:
                found.setdefault(name, {})[times] = list(side.by_seed.values())
    return found


def accuracy_by_noise(sparsity: float = 0.98) -> Figure:
    """Accuracy against the share of noise, everybody."""
    found = by_noise(sparsity)
    front = ("RigL, L1", "small dense, L1", "static mask")
    means = _means(found, front, max(NOISE))
    title = f"Beside {max(NOISE)} x as much noise, {100 * sparsity:g}% sparse: {means}"
    return plots.accuracy_along({"": found}, plots.NOISE_AXIS, "{} x", title, front)


def _means(found: plots.Found, names: Iterable[str], place: float) -> str:
    return ", ".join(f"{name} {np.mean(found[name][place]):.1f}%" for name in names)


def _along(family: str, panel: Callable[[Regime], str], place: Callable[[Regime], int]) -> dict[str, plots.Found]:
    """Test accuracies of a family that varies two things: panel -> contender -> place -> one a seed."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for regime in REGIMES[family]:
        for name, side in in_regime(family, regime).items():
            of = found.setdefault(panel(regime), {}).setdefault(name, {})
            of[place(regime)] = list(side.by_seed.values())
    return found


def accuracy_by_length() -> Figure:
    """Accuracy against the length of the training, by the number of images."""
    panels = _along("length", lambda r: f"{r.examples:,} images", lambda r: r.epochs)
    (told, most) = list(panels.items())[-1]
    longest = max(regime.epochs for regime in REGIMES["length"])
    means = _means(most, ("dense", "RigL", "static mask", "small dense"), longest)
    return plots.accuracy_along(panels, "epochs", title=f"95% sparse or as many weights, {told}: {means}")


def accuracy_by_memory() -> Figure:
    """Accuracy against the bytes of training state that each may have, on two tasks."""
    panels = _along("memory", lambda r: r.told.split(",")[0], lambda r: r.state // 2**20)
    most = max(regime.state // 2**20 for regime in REGIMES["memory"])
    means = "; ".join(f"{task}: {_means(of, ('RigL', 'small dense'), most)}" for task, of in panels.items())
    return plots.accuracy_along(panels, "MB of training state", title=f"In {most} MB, {means}")


def accuracy_by_structure() -> Figure:
    """Accuracy against the sparsity, where zeros are anywhere and where each row or group has as many."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for regime in REGIMES["structure"]:
        for sparsity in regime.sparsities:
            for name, side in in_regime("structure", regime, sparsity).items():
                panel = panels.setdefault(regime.told.split(", ")[1], {})
                panel.setdefault(name, {})[sparsity] = list(side.by_seed.values())
    most = max(regime.sparsities)
    means = "; ".join(
        "{} loses {:.1f} points".format(
            network,
            np.mean(of["RigL, uniform"][most]) - np.mean(of["RigL, constant fan-in"][most]),
        )
        for network, of in panels.items()
    )
    title = f"{100 * most:g}% sparse, as many weights in every row: {means}"
    return plots.accuracy_along(panels, "sparsity", "{:.2%}", title)


def what_is_read(times: int, sparsity: float) -> tuple[dict[str, list[int]], dict[str, tuple[float, float]]]:
    """Of the sparse contenders: connections of each pixel in the end (one seed), and the share that reads pixels."""
    regime = REGIMES["noise"][NOISE.index(times)]
    maps, shares = {}, {}
    for name, side in in_regime("noise", regime, sparsity).items():
        reads = [run["read"] for run in side.runs if "read" in run]
        if reads:
            maps[name] = next(read["connections"] for read in reads if "connections" in read)
            shares[name] = tuple(sum(read[when] for read in reads) / len(reads) for when in ("start", "end"))
    return maps, shares


def pixels_read(times: int = 19, sparsity: float = 0.98) -> Figure:
    """What the first layer comes to read beside 19 times as many inputs of noise."""
    maps, shares = what_is_read(times, sparsity)
    told = {
        name: f"{name}: {100 * end:.0f}% read pixels,\n{100 * start:.0f}% at the start"
        for name, (start, end) in shares.items()
    }
    title = f"Grown by gradient, they come to read the digits: {times} x as much noise, {100 * sparsity:g}% sparse"
    return plots.inputs_read({told[name]: np.reshape(counts, (28, 28)) for name, counts in maps.items()}, title)


def _watched() -> dict[str, np.ndarray]:
    """Way -> connections of each pixel [epochs, 28, 28], from the start on."""
    return {
        run["config"]["recipe"]["name"]: np.reshape(run["read"]["by_epoch"], (-1, 28, 28))
        for run in load_results("first-layer")["runs"]
    }


def first_layer(epochs: Sequence[int] = (0, 1, 2, 5, 20)) -> Figure:
    """Where the first layer's connections go, beside nine times as many inputs of noise."""
    counts = {way: {_after(epoch): by_epoch[epoch] for epoch in epochs} for way, by_epoch in _watched().items()}
    return plots.inputs_over_time(counts, "Connections that move find the digits beside the noise")


def first_layer_moving() -> Iterator[Figure]:
    """The same, epoch by epoch."""
    watched = _watched()
    highest = max(by_epoch.max() for by_epoch in watched.values())
    for epoch in range(len(next(iter(watched.values())))):
        counts = {way: by_epoch[epoch] for way, by_epoch in watched.items()}
        yield plots.inputs_read(counts, _after(epoch), highest=highest)


def _after(epoch: int) -> str:
    return f"after {epoch} epoch{'s' * (epoch > 1)}" if epoch else "at the start"


def _table(family: str) -> Table:
    source = f"results/{family}.json, results/{family}-tuning.json"
    rows = partial(contender_rows, family)
    return Table(f"regimes_{family}", source, partial(load_results, family), lambda _: rows(), provenance_line)


_OF_A_FAMILY = {
    "noise": (accuracy_by_noise, pixels_read),
    "length": (accuracy_by_length,),
    "memory": (accuracy_by_memory,),
    "structure": (accuracy_by_structure,),
}
FIGURES = (
    Picture("first_layer", "results/first-layer.json", first_layer, moving=first_layer_moving),
    *pictures(_SOURCES, where_sparse_wins),
    *(
        picture
        for family, drawn in _OF_A_FAMILY.items()
        if family in _RECORDED
        for picture in pictures(f"results/{family}.json, results/{family}-tuning.json", *drawn)
    ),
)
TABLES = (Table("where_sparse_wins", _SOURCES, standings, map_rows, lambda _: _LINE), *map(_table, _RECORDED))
_LINE = (
    "In each column the contender that did best on held-out examples; mean ± sample standard deviation over seeds, "
    "moving sparse minus it in points with its 95% interval and verdict; w: weights and biases (nodes of a forest), "
    "MB: what is held from step to step of the training, s: seconds of training, one thread, "
    "dense and small dense in torch, the others in our kernels. All: regimes_*.md."
)
