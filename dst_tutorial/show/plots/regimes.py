"""Where sparse wins: the map of regimes, and what noise does."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from ...studies import COLUMNS, DST, Difference, Side, Standing
from .look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SKY,
    SLIDE,
    VERMILLION,
    WIDE,
    ends,
    new_figure,
    on_slide,
    sentence,
    slanted,
    styled,
)

_CELLS = {  # of a verdict: colour, sign
    "more": (GREEN, "▲"),
    "less": (VERMILLION, "▼"),
    "level": (GREY, "="),
    "undecided": ("white", "?"),
}
_HEADS = {
    "dense": "dense",
    "small dense": "small dense\n(as many weights)",
    "static mask": "static mask",
    DST: "moving sparse",
    "remedy": "what one would\ndo first",
}
_SHORT_NAMES = {
    "dense, weight decay": "weight decay",
    "dense, L1": "L1",
    "small dense, L1": "L1",
    "selected inputs, small dense": "selection",
    "random forest": "forest",
}
NOISE_AXIS = "inputs of pure noise for each pixel"
_SHORT = EngFormatter(places=1, sep="")
_LOOKS = {  # contender -> colour, marker, line
    "RigL": (VERMILLION, "P", "-"),
    "RigL, L1": (VERMILLION, "*", "--"),
    "SET": (SKY, "X", "-."),
    "static mask": (PURPLE, "<", "--"),
    "small dense": (GREY, "D", "-."),
    "small dense, L1": (GREY, "d", ":"),
    "dense": (BLACK, "o", "-"),
    "dense, weight decay": (BLACK, "v", ":"),
    "dense, L1": (BLACK, "s", "--"),
    "selected inputs, small dense": (GREEN, "h", "-"),
    "random forest": (BLUE, "^", "-"),
    "RigL, uniform": (VERMILLION, "P", "-"),
    "RigL, constant fan-in": (BLUE, "^", "-"),
    "RigL, N of 16": (GREEN, "h", "-"),
    "static mask, uniform": (PURPLE, "<", "--"),
    "static mask, constant fan-in": (SKY, "X", "--"),
}


def _cost(side: Side) -> str:
    seconds = f"{side.seconds:.0f}" if side.seconds >= 10 else f"{side.seconds:.1f}"
    return f"{_SHORT(side.weights)} w, {_SHORT(side.bytes)}B, {seconds} s"


def _points(gap: Difference) -> str:
    """With as many digits as its margin."""
    digits = 1 if gap.margin >= 1 else 2
    return f"{gap.mean:+.{digits}f} [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"


@styled
def standings(rows: Sequence[Standing], title: str = "") -> Figure:
    """The map: a row a regime, a column a way to train; in a cell the moving sparse one minus it, and what it costs.

    Green: moving connections is ahead. w: weights and biases; B: bytes of training state; s: seconds of training.
    On a slide there is room for the differences alone.
    """
    brief = on_slide()
    size, heads = ("x-small", "x-small") if brief else ("small", "medium")
    told = ". ".join(
        f"{row.told}: moving sparse {row.sides[DST].accuracy:.1f}%"
        + "".join(f", minus {row.sides[column].name} {gap} {gap.verdict}" for column, gap in row.gaps.items())
        for row in rows
    )
    height = 0.9 + 0.345 * len(rows)
    in_short = "; ".join(
        f"{' '.join(_HEADS[column].split())}: ahead in {sum(gap.verdict == 'more' for gap in gaps)}, behind in "
        f"{sum(gap.verdict == 'less' for gap in gaps)} of {len(gaps)}"
        for column in COLUMNS
        if (gaps := [row.gap(column) for row in rows if column != DST and column in row.sides])
    )
    finding = f"{sentence(title)}Moving connections beside each rival, regime by regime. Beside {in_short}."
    figure = new_figure(SLIDE, height, finding, f"Moving sparse minus each rival, test accuracy in points. {told}.")
    axes = figure.subplots()
    columns = [DST, *(column for column in COLUMNS if column != DST)]
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if column not in row.sides:
                axes.text(x, y, "–", ha="center", va="center", color=GREY)
                continue
            side, big = row.sides[column], f"{row.sides[column].accuracy:.1f}%"
            if column != DST:
                gap = row.gap(column)
                colour, sign = _CELLS[gap.verdict]
                axes.add_patch(Rectangle((x - 0.49, y - 0.46), 0.98, 0.92, facecolor=colour, alpha=0.22, linewidth=0))
                big = f"{sign} {gap.mean:+.1f}" if brief else f"{sign} {_points(gap)}"
            axes.text(x, y - 0.17 * (not brief), big, ha="center", va="center", fontsize=size, weight="bold")
            if brief:
                continue
            who = "" if side.name == column else f"{_SHORT_NAMES.get(side.name, side.name)}: "
            axes.text(x, y + 0.24, f"{who}{_cost(side)}", ha="center", va="center", fontsize="xx-small")
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [row.told for row in rows], fontsize=size)
    axes.set_xticks(range(len(columns)), [_HEADS[column] for column in columns], fontsize=heads, weight="bold")
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    figure.suptitle(title)
    return figure


Found = Mapping[str, Mapping[int, Sequence[float]]]  # contender -> where -> test accuracies (percent), one a seed


@styled
def accuracy_along(panels: Mapping[str, Found], label: str, tick: str = "{:,}", title: str = "",
                   front: Collection[str] = ()) -> Figure:  # fmt: skip
    """Test accuracy against what a family of regimes varies: a panel a task, a line a contender.

    Lines are means, whiskers reach from the lowest to the highest. `front`: contenders drawn thick, the others thin.
    """
    told = ". ".join(
        f"{panel}: {_told(found, tick)}" if panel else _told(found, tick) for panel, found in panels.items()
    )
    last = "; ".join(
        f"{f'{panel}, ' if panel else ''}{tick.format(place)}: {ends(there)}"
        for panel, found in panels.items()
        for place in [list(next(iter(found.values())))[-1]]
        for there in [{name: float(np.mean(by[place])) for name, by in found.items() if place in by}]
    )
    figure = new_figure(WIDE, 4.4, f"{sentence(title)}Test accuracy by {label}. At {last}.", f"{told}.")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (panel, found) in zip(every, panels.items(), strict=True):
        _lines(axes, found, label, tick, front)
        axes.set_title(panel)
    every[0].set_ylabel("test accuracy (%)")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.suptitle(title)
    return figure


@styled
def point_of_noise(found: Found, times: int, maps: Mapping[str, Sequence[int]],
                   shares: Mapping[str, tuple[float, float]], live: Mapping[str, Sequence[float]], chosen: str = "",
                   title: str = "") -> Figure:  # fmt: skip
    """Both together, for the explorer: who gets how far, with one amount of noise marked; and what is read there.

    `live[contender]`: test accuracy by epoch of a fresh run, whose last stands as a star; `chosen` is drawn thick.
    """
    told = "".join(f" A fresh run of {name} has come to {curve[-1]:.1f}%." for name, curve in live.items() if curve)
    told += f" Drawn thick: {chosen}." if chosen else ""
    here = {name: float(np.mean(by[times])) for name, by in found.items()}
    finding = f"Beside {times} x as many inputs of noise {ends(here)}.{told}"
    numbers = f"Test accuracy: {_told(found, '{} x')}. Connections that read pixels: {_told_shares(shares)}."
    figure = new_figure(SLIDE, 6.4, finding, numbers)
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2.2))
    axes = above.subplots()
    _lines(axes, found, NOISE_AXIS, "{} x", (chosen,))
    axes.set_ylabel("test accuracy (%)")
    place = list(next(iter(found.values()))).index(times)
    axes.axvspan(place - 0.12, place + 0.12, color=GREY, alpha=0.18, linewidth=0)
    for name, curve in live.items():
        if curve:
            axes.plot(place, curve[-1], "*", color=_LOOKS[name][0], markeredgecolor=BLACK, markersize=17,
                      label=f"{name}, trained now")  # fmt: skip
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    _maps_of_pixels(below, maps, shares)
    return figure


def _told(found: Found, tick: str) -> str:
    return "; ".join(
        f"{name} " + ", ".join(f"{np.mean(seeds):.1f}% at {tick.format(place)}" for place, seeds in by.items())
        for name, by in found.items()
    )


def _told_shares(shares: Mapping[str, tuple[float, float]]) -> str:
    return "; ".join(
        f"{name} {100 * a:.0f}% at the start, {100 * b:.0f}% in the end" for name, (a, b) in shares.items()
    )


def _lines(axes: Axes, found: Found, label: str, tick: str, front: Collection[str] = ()) -> None:
    for name, by in found.items():
        colour, marker, line = _LOOKS[name]
        means = np.array([np.mean(seeds) for seeds in by.values()])
        ends = np.array([[min(seeds), max(seeds)] for seeds in by.values()]).T
        in_front = name in front
        thin = front and not in_front
        axes.errorbar(range(len(by)), means, np.abs(ends - means), color=colour, marker=marker, linestyle=line,
                      capsize=2, elinewidth=0.8, label=name, linewidth=3 if in_front else 1.2 if thin else None,
                      markersize=4 if thin else None, zorder=3 if in_front else 2)  # fmt: skip
    places = list(next(iter(found.values())))
    axes.set_xticks(range(len(places)), [tick.format(place) for place in places], **slanted())
    axes.set_xlabel(label)


def _maps_of_pixels(figure: Figure | SubFigure, maps: Mapping[str, Sequence[int]],
                    shares: Mapping[str, tuple[float, float]]) -> None:  # fmt: skip
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    most = max(max(counts) for counts in maps.values())
    for axes, (name, counts) in zip(panels, maps.items(), strict=True):
        image = axes.imshow(np.reshape(counts, (28, 28)), cmap="magma", vmin=0, vmax=most)
        start, end = shares[name]
        axes.set_title(f"{name}: {100 * end:.0f}% read pixels,\n{100 * start:.0f}% at the start", fontsize="medium")
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    figure.colorbar(image, ax=list(panels), label="connections of a pixel", shrink=0.8)
