"""What a machine could do at best with each kind of zeros: time and energy of one layer."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .look import BLUE, ORANGE, WIDE, ends, new_figure, styled

_LIMITS = {"memory": (BLUE, ""), "arithmetic": (ORANGE, "//")}


@styled
def at_best(times: Mapping[str, Mapping[str, float]], energy: Mapping[str, Mapping[str, float]],
            title: str = "") -> Figure:  # fmt: skip
    """Two bars a kind of zeros: the least time, which is the longer of two, and the energy, which is their sum.

    Bars are as long as they are times the first's, which is dense; numbers are in milliseconds and microjoules.

    times    kind -> {"memory": milliseconds, "arithmetic": milliseconds}
    energy   kind -> the same in microjoules
    """
    limits = {kind: max(two, key=two.get) for kind, two in times.items()}
    told = "; ".join(
        f"{kind} {_short(times[kind][limit])} ms, limited by {limit}, and {_short(sum(energy[kind].values()))} µJ"
        for kind, limit in limits.items()
    )
    least = {kind: times[kind][limit] for kind, limit in limits.items()}
    figure = new_figure(
        WIDE, 0.5 * len(times) + 1.7, f"At best, in milliseconds: {ends(least, '{:.3g}')}.", f"At best: {told}."
    )
    left, right = figure.subplots(1, 2, sharey=True)
    dense = next(iter(times))
    least_of_dense, energy_of_dense = least[dense], sum(energy[dense].values())
    edge = {"edgecolor": "white", "linewidth": 0.5}
    for kind, limit in limits.items():
        colour, hatch = _LIMITS[limit]
        share = least[kind] / least_of_dense
        left.barh(kind, share, color=colour, hatch=hatch, **edge)
        left.annotate(f" {_short(least[kind])} ms", (share, kind), va="center")
        start = 0.0
        for what, (colour, hatch) in _LIMITS.items():
            share = energy[kind][what] / energy_of_dense
            right.barh(kind, share, left=start, color=colour, hatch=hatch, **edge)
            start += share
        right.annotate(f" {_short(sum(energy[kind].values()))} µJ", (start, kind), va="center")
    left.invert_yaxis()
    left.set(title="least time, and what limits it", xlabel=f"{dense} = 1")
    right.set(title="energy, 45 nm, published figures", xlabel=f"{dense} = 1")
    for axes in (left, right):
        axes.set_xlim(0, 1.6)  # a mask of bytes beside float32 makes 1.25, and the numbers need their room
        axes.grid(False, axis="y")
    handles = [Patch(facecolor=c, hatch=h, edgecolor="white", label=name) for name, (c, h) in _LIMITS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title)
    return figure


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
