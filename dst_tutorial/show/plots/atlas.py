"""A point of the atlas: its curve over its control's, and what the prune interval moves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ...studies import Entry
from .look import BLACK, BLUE, GREEN, PURPLE, VERMILLION, new_figure, styled


@styled
def point_of_atlas(point: Entry, static: Entry, by_interval: Mapping[int | None, Entry], interval: int | None,
                   live: Sequence[float] = (), live_topology: tuple[float, float] | None = None,
                   title: str = "") -> Figure:  # fmt: skip
    """Left: accuracy by epoch of a point and of its static control, mean over seeds and where a further run lands.
    Right: by interval, mean and standard deviation.

    live, live_topology   a fresh run, drawn on top: accuracy by epoch; (explored, kept) as shares
    """
    fresh = f" A fresh run has come to {live[-1]:.1f}% in epoch {len(live)}." if live else ""
    (low, high), (static_low, static_high) = point.band, static.band
    told = ", ".join(f"{_every(i)} {e.mean[-1]:.1f}%" for i, e in by_interval.items())
    figure = new_figure(
        10,
        3.8,
        f"Test accuracy ends at {point.mean[-1]:.1f} ± {point.sd[-1]:.1f}%; with a mask that never moves at "
        f"{static.mean[-1]:.1f}%.{fresh}",
        f"{len(point.final)} seeds; band: where a further run lands, at the end {low[-1]:.1f} to {high[-1]:.1f}. By "
        f"prune interval: {told}. Explored: {100 * point.explored:.1f}% of all positions; {100 * point.kept:.0f}% of "
        "the first connections are left.",
    )
    figure.set_layout_engine("none")  # an answer takes a third of the time that a computed layout takes
    left = figure.add_axes((0.07, 0.15, 0.47, 0.74))
    above, below = figure.add_axes((0.63, 0.57, 0.35, 0.32)), figure.add_axes((0.63, 0.15, 0.35, 0.32))

    epochs = range(1, len(point.mean) + 1)
    left.fill_between(epochs, static_low, static_high, color=PURPLE, alpha=0.15, linewidth=0)
    left.plot(epochs, static.mean, "--", color=PURPLE, label="static mask, recorded")
    left.fill_between(epochs, low, high, color=VERMILLION, alpha=0.2, linewidth=0)
    left.plot(epochs, point.mean, "-", color=VERMILLION, label=f"{_every(interval)}, recorded")
    if live:
        left.plot(epochs[: len(live)], live, "o-", color=BLACK, label="fresh run")
    left.set(xlabel="epoch", ylabel="test accuracy (%)", title=title, xlim=(0.7, len(epochs) + 0.3))
    _by_error(left)
    left.legend(loc="lower right")

    places = range(len(by_interval))
    entries, here = list(by_interval.values()), list(by_interval).index(interval)
    ends, sds = [e.mean[-1] for e in entries], [e.sd[-1] for e in entries]
    above.errorbar(places, ends, sds, fmt="o", color=VERMILLION, capsize=3)
    above.set_ylabel("accuracy (%)")
    above.set_title("after the last epoch, ± SD over seeds", fontsize="small")
    _by_error(above)
    below.plot(places, [100 * e.explored for e in entries], "s-", color=GREEN, label="positions ever active")
    below.plot(places, [100 * e.kept for e in entries], "^--", color=BLUE, label="first connections kept")
    if live_topology:
        for share, marker in zip(live_topology, "s^", strict=True):
            below.plot([here], [100 * share], marker, color=BLACK, markersize=8)
    below.set(xlabel="prune interval (steps)", ylabel="%", ylim=(0, 105))
    below.legend(fontsize="x-small", loc="center right")
    for axes in (above, below):
        axes.axvline(here, color=BLACK, alpha=0.15, linewidth=12)
        axes.set_xticks(places, ["never" if i is None else str(i) for i in by_interval])
        axes.set_xlim(-0.4, len(entries) - 0.6)
    above.tick_params(labelbottom=False)
    return figure


def _by_error(axes: Axes) -> None:
    """Equal steps for equal factors of the error: half a point is seen at 95%, and the limits stay for all points."""
    axes.set_yscale("function", functions=(lambda a: -np.log(np.maximum(100 - a, 0.1)), lambda e: 100 - np.exp(-e)))
    axes.set_ylim(8, 98)
    axes.set_yticks([20, 50, 70, 80, 90, 95])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _every(interval: int | None) -> str:
    return "never" if interval is None else f"every {interval} steps"
