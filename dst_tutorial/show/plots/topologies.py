"""How topologies move, and what becomes of the neurons."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from .look import (
    BLUE,
    GREEN,
    GREY,
    LOOKS,
    NAMES,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDE,
    ends,
    new_axes,
    new_figure,
    sentence,
    styled,
)


@styled
def drop_schedules(fractions: Mapping[str, Sequence[float]], stop: float, title: str = "") -> Figure:
    """The drop fraction over the training: `fractions[schedule]`, evenly spaced up to `stop`, a share of it."""
    told = ", ".join(f"{name} from {100 * f[0]:.0f}% to {100 * f[-1]:.0f}%" for name, f in fractions.items())
    figure, axes = new_axes(8, 3.2, f"Share of active connections dropped at an update, over the training: {told}.")
    for (name, values), colour, line in zip(fractions.items(), (BLUE, VERMILLION, GREEN), ("-", "--", "-."),
                                            strict=False):  # fmt: skip
        times = 100 * stop * np.linspace(0, 1, len(values))
        axes.plot(times, 100 * np.array(values), line, color=colour, label=name)
    axes.axvline(100 * stop, color=GREY, linestyle=":")
    axes.annotate(
        "no update from here on", (100 * stop, 0), textcoords="offset points", xytext=(4, 4), fontsize="small"
    )
    axes.set(xlabel="training done (%)", ylabel="dropped (%)", title=title, xlim=(0, 102), ylim=(0, None))
    axes.legend()
    return figure


@styled
def exploration_and_survival(steps: Mapping[str, Sequence[int]], explored: Mapping[str, Sequence[float]],
                             survived: Mapping[str, Sequence[float]], title: str = "") -> Figure:  # fmt: skip
    """Two panels by step, a curve a recipe: R_s so far, and the share of the first connections active ever since."""
    told = "; ".join(
        f"{NAMES.get(n, n)} has explored {100 * e[-1]:.1f}% and kept {100 * survived[n][-1]:.0f}% of its first "
        "connections"
        for n, e in explored.items()
    )
    figure = new_figure(10, 3.4, f"{sentence(title)}Exploration and survival over the training. At the end {told}.")
    for axes, series, label in zip(figure.subplots(1, 2), (explored, survived),
                                   ("ever active (% of all positions)", "first connections\nnever dropped (%)"),
                                   strict=True):  # fmt: skip
        for name, values in series.items():
            colour, _, line = LOOKS.get(name, (GREY, "d", "-"))
            axes.step(steps[name], [100 * v for v in values], line, where="post", color=colour,
                      label=NAMES.get(name, name))  # fmt: skip
        axes.set(xlabel="step", ylabel=label, ylim=(0, None))
    axes.legend()
    figure.suptitle(title)
    return figure


@styled
def ages(counts: Mapping[str, np.ndarray], updates: Mapping[str, int], title: str = "") -> Figure:
    """How many updates ago the active connections were grown: `counts[recipe]`, an age each, all layers together.

    updates   of each recipe; a connection of that age has been there from the start
    """
    told = "; ".join(
        f"{NAMES.get(n, n)}: {100 * np.mean(age == updates[n]):.0f}% are there from the start, "
        f"{100 * np.mean(age <= updates[n] / 10):.0f}% came in the last tenth of the updates"
        for n, age in counts.items()
    )
    old = {NAMES.get(n, n): 100 * float(np.mean(age == updates[n])) for n, age in counts.items()}
    finding = (
        f"{sentence(title)}The age of the connections at the end. From the start on there: {ends(old, '{:.0f}%')}."
    )
    figure, axes = new_axes(9, 3.2, finding, f"{told}.")
    for name, age in counts.items():
        colour, _, line = LOOKS.get(name, (GREY, "d", "-"))
        shares = 100 * np.bincount(age, minlength=updates[name] + 1).cumsum() / len(age)
        times = 100 * np.arange(updates[name] + 1) / max(updates[name], 1)
        shares[-1] = shares[-2] if len(shares) > 1 else 0  # the rest is as old as the training: not a jump, a margin
        axes.step(times, shares, line, where="post", color=colour, label=NAMES.get(name, name))
    axes.set(xlabel="age (% of all updates)", title=title, ylim=(0, 100))
    axes.set_ylabel("connections\nat most so old (%)")
    axes.annotate("the rest: there from the start", (50, 97), ha="center", va="top", fontsize="small")
    axes.legend()
    return figure


def _middle(picture: np.ndarray) -> np.ndarray:
    """Its middle half, down and across."""
    down, across = (size // 4 for size in picture.shape)
    return picture[down : len(picture) - down, across : picture.shape[1] - across]


@styled
def inputs_read(degrees: Mapping[str, np.ndarray], title: str = "", what: str = "connections",
                highest: float | None = None) -> Figure:  # fmt: skip
    """Connections (or paths) out of each input pixel, a picture each: `degrees[name]` [height, width], on one scale.

    `highest`: of that scale; the highest of these, if none.
    """
    means = {" ".join(name.split()): (_middle(counts).mean(), counts.mean()) for name, counts in degrees.items()}
    told = "; ".join(
        f"{name}: {middle:.1f} a pixel in the middle half, {every:.1f} on average"
        for name, (middle, every) in means.items()
    )
    ratios = {name: float(middle / every) for name, (middle, every) in means.items()}
    finding = (
        f"How many {what} leave each input pixel; the middle half, beside the average: {ends(ratios, '{:.1f} times')}."
    )
    figure = new_figure(2.9 * len(degrees) + 0.9, 3.3, f"{sentence(title)}{finding}", f"{told}.")
    highest = highest or max(picture.max() for picture in degrees.values())
    panels = figure.subplots(1, len(degrees), squeeze=False)[0]
    for axes, (name, picture) in zip(panels, degrees.items(), strict=True):
        image = axes.imshow(picture, cmap="magma", vmin=0, vmax=highest, interpolation="nearest")
        axes.set(title=name, xticks=[], yticks=[])
        axes.grid(False)
    figure.colorbar(image, ax=list(panels), label=what, shrink=0.8)
    figure.suptitle(title)
    return figure


@styled
def inputs_over_time(counts: Mapping[str, Mapping[str, np.ndarray]], title: str = "") -> Figure:
    """Connections out of each input pixel: a row a way to train, a column a moment, all on one scale.

    `counts[way][moment]` [height, width].
    """
    moments = list(next(iter(counts.values())))
    told = "; ".join(
        f"{way}: {', '.join(f'{picture.sum():,.0f} {moment}' for moment, picture in by.items())}"
        for way, by in counts.items()
    )
    last = {way: by[moments[-1]] for way, by in counts.items()}
    ratios = ", ".join(f"{way} {_middle(picture).mean() / picture.mean():.1f}" for way, picture in last.items())
    finding = f"Connections out of each pixel; {moments[-1]} the middle half has, times the average: {ratios}."
    figure = new_figure(
        WIDE, 0.6 + 1.65 * len(counts), f"{sentence(title)}{finding}", f"Connections to pixels: {told}."
    )
    highest = max(float(np.percentile(picture, 99.5)) for by in counts.values() for picture in by.values())
    panels = figure.subplots(len(counts), len(moments), squeeze=False)
    for row, (line, (way, by)) in enumerate(zip(panels, counts.items(), strict=True)):
        for axes, (moment, picture) in zip(line, by.items(), strict=True):
            axes.imshow(picture, cmap="magma", vmin=0, vmax=highest, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            if not row:
                axes.set_title(moment, fontsize="medium")
        line[0].set_ylabel(fill(way, 10), fontsize="medium")
    figure.suptitle(title, fontsize="large")
    return figure


@styled
def neurons_lost(shares: Mapping[str, Mapping[float, tuple[float, float]]], title: str = "") -> Figure:
    """Units that no input reaches, or that no output hears: `shares[name][sparsity]` = (unreachable, unread).

    Fractions of all hidden units; one group of bars a sparsity, one bar a name.
    """
    told = "; ".join(
        f"{name}: {', '.join(f'{100 * (a + b):.1f}% at {100 * s:g}%' for s, (a, b) in by.items())}"
        for name, by in shares.items()
    )
    most = max(s for by in shares.values() for s in by)
    lost = {name: 100 * sum(by[most]) for name, by in shares.items()}
    finding = f"Hidden units without a path from the inputs, or to the outputs. At {100 * most:g}% {ends(lost)}."
    figure, axes = new_axes(9, 3.4, f"{sentence(title)}{finding}", f"{told}.")
    sparsities = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    looks = zip(shares.items(), (ORANGE, PURPLE, BLUE), ("", "//", "xx"), strict=False)
    for i, ((name, by), colour, hatch) in enumerate(looks):
        places = np.arange(len(sparsities)) + (i - (len(shares) - 1) / 2) * width
        unreachable, unread = (100 * np.array([by[s][k] for s in sparsities]) for k in (0, 1))
        axes.bar(places, unreachable, width, color=colour, hatch=hatch, edgecolor="white", label=f"{name}: unreachable")
        axes.bar(places, unread, width, bottom=unreachable, color=colour, hatch=hatch, edgecolor="white", alpha=0.45,
                 label=f"{name}: unread")  # fmt: skip
    axes.set(xticks=range(len(sparsities)), xticklabels=[f"{100 * s:g}%" for s in sparsities], xlabel="sparsity",
             ylabel="hidden units (%)", title=title)  # fmt: skip
    axes.legend(ncols=2)
    return figure


@styled
def shares_by_update(series: Mapping[str, Sequence[float]], updates: Mapping[str, Sequence[int]], label: str,
                     title: str = "") -> Figure:  # fmt: skip
    """A share in [0, 1] along the topology updates: `series[name]` at `updates[name]`, drawn in percent."""
    told = "; ".join(f"{NAMES.get(n, n)} ends at {100 * v[-1]:.1f}%" for n, v in series.items() if len(v))
    figure, axes = new_axes(9, 3.4, f"{label}, by update. {told}.")
    others = iter(((GREEN, ":"), (BLUE, "-."), (ORANGE, "--"), (GREY, "-")) * 4)
    for name, values in series.items():
        colour, line = LOOKS[name][::2] if name in LOOKS else next(others)
        axes.plot(updates[name], [100 * v for v in values], line, color=colour, label=NAMES.get(name, name))
    highest = 100 * max((max(values) for values in series.values() if len(values)), default=0)
    axes.set(xlabel="update", ylabel=f"{label} (%)", ylim=(-0.02, 1.05) if highest < 1 else (0, None), title=title)
    axes.legend()
    return figure


@styled
def similarity(tables: Mapping[str, tuple[Sequence[str], np.ndarray]], title: str = "") -> Figure:
    """Jaccard indices, a matrix each: `tables[name] = (what each row and column is, [n, n])`."""
    told = "; ".join(
        f"{NAMES.get(name, name)}: {labels[0]} and {labels[-1]} share {100 * table[0, -1]:.1f}%"
        for name, (labels, table) in tables.items()
    )
    figure = new_figure(1.2 + 4.2 * len(tables), 4.2, f"How alike topologies are (Jaccard index). {told}.")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, (labels, table)) in zip(panels, tables.items(), strict=True):
        image = axes.imshow(100 * table, cmap="cividis", vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(table):
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize="x-small",
                      color="black" if value > 0.6 else "white")  # fmt: skip
        axes.set(xticks=range(len(labels)), yticks=range(len(labels)), title=NAMES.get(name, name))
        axes.set_xticklabels(labels, rotation=90)
        axes.set_yticklabels(labels)
        axes.grid(False)
    figure.colorbar(image, ax=list(panels), label="shared (%)", shrink=0.8)
    figure.suptitle(title)
    return figure


@styled
def degrees(fans: Mapping[str, Mapping[str, np.ndarray]], title: str = "") -> Figure:
    """How many connections units have, a panel a kind (into, out of): `fans[kind][when]`, a number a unit."""
    told = "; ".join(
        f"{kind} {when}: {d.min()} to {d.max()}, {d.mean():.1f} on average"
        for kind, by in fans.items()
        for when, d in by.items()
    )
    figure = new_figure(10, 3.4, f"{sentence(title)}Connections of a unit, {' and '.join(fans)} it.", f"{told}.")
    for axes, (kind, by) in zip(figure.subplots(1, len(fans), squeeze=False)[0], fans.items(), strict=True):
        for (when, d), (colour, line) in zip(by.items(), ((GREY, "--"), (BLUE, "-"), (ORANGE, "-."), (GREEN, ":")),
                                             strict=False):  # fmt: skip
            axes.plot(np.sort(d)[::-1], np.arange(1, len(d) + 1) * 100 / len(d), line, color=colour,
                      label=NAMES.get(when, when))  # fmt: skip
        axes.set(xlabel=f"connections {kind} a unit", ylabel="units with at least so many (%)", ylim=(0, 102))
        axes.legend(fontsize="small")
    figure.suptitle(title)
    return figure
