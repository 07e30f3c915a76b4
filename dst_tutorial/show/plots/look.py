"""How every picture looks: colours, names of recipes, two matplotlib styles; what it says in words is its label."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from textwrap import fill
from threading import RLock

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's, darkened until a line of each is seen on white (3:1), and apart by lightness where hues look alike
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, BLACK = (
    "#7A5000", "#3A9BD9", "#00A070", "#005A9C", "#D55E00", "#A63D87", "#000000",
)  # fmt: skip
GREY = "#8A8A8A"
SLIDE = 12.3  # inches: the width inside the margins of a 16:9 slide
WIDE = 9.6  # inches: as wide as a page, and on a phone the letters can still be read

# Of a mask's four states, in the order of CHANGES. The slides' red and green look alike to many readers.
PALETTES = {
    "okabe-ito": ("#1A1A1A", "#FFFFFF", "#D55E00", "#56B4E9"),
    "slides": ("#000000", "#FFFFFF", "#E00000", "#00B000"),
}
_RECIPES = {  # one name and one look for one recipe, everywhere: colour, marker, line
    "dense": ("dense", BLACK, "o", "-"),
    "slides": ("Dense+Mask, DST", BLUE, "s", "-"),
    "slides-static": ("Dense+Mask, static", ORANGE, "^", "--"),
    "slides-fan-in": ("Dense+Mask, DST, fan-in init", GREEN, "v", "-."),
    "grown by gradient": ("grown by gradient", VERMILLION, "P", "-"),
    "grown at random": ("grown at random", SKY, "X", "-."),
    "erk-rigl": ("RigL", VERMILLION, "P", "-"),
    "uniform-rigl": ("RigL, uniform", BLUE, "h", "-."),
    "set": ("SET", SKY, "X", "-."),
    "static": ("static mask", PURPLE, "<", "--"),
    "gmp": ("gradual pruning", BLUE, ">", ":"),
    "small-dense": ("small dense", GREY, "D", "-."),
    "dense-cosine": ("dense, cosine learning rate", BLACK, "*", "--"),
    "modern": ("modern", VERMILLION, "P", "-"),
    "modern-static": ("modern, static mask", PURPLE, "<", "--"),
    "lean": ("lean", ORANGE, "*", "-"),
    "tuned-gmp": ("gradual pruning", BLUE, ">", ":"),
    "tuned-small-dense": ("small dense: as many weights", GREY, "D", "-."),
    "tuned-narrow-dense": ("narrow dense: as many MACs", SKY, "s", ":"),
    "tuned-narrow-lean": ("narrow dense: as many MACs as lean", GREEN, "X", ":"),
    "fused-small-dense": ("small dense, our kernels", GREY, "d", "-"),
    "fused-narrow-dense": ("narrow dense, our kernels", SKY, "8", "-"),
    "fused-narrow-lean": ("narrow dense as lean, our kernels", GREEN, "p", "-"),
    "tuned-dense": ("dense, tuned", BLACK, "o", "-"),
    "tuned-dense-constant": ("dense, constant rate", BLUE, "v", "-"),
}
NAMES = {recipe: name for recipe, (name, *_) in _RECIPES.items()}
LOOKS = {recipe: tuple(look) for recipe, (_, *look) in _RECIPES.items()}

PAGE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "dst-tutorial",  # same results, same bytes
}
# for the last row of a room: 18 points on a slide of 13.3 inches
ON_SLIDE = PAGE | {"font.size": 18, "lines.linewidth": 3, "lines.markersize": 10}

_STYLING = RLock()
_chosen = [PAGE]


@contextmanager
def style() -> Iterator[None]:
    """Our look, whatever the reader's matplotlibrc says. In one thread at a time: the settings are the process's."""
    with _STYLING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_chosen[-1])
        yield


@contextmanager
def for_slides() -> Iterator[None]:
    """What is drawn in here is drawn for a slide: as wide as one, in letters that a room can read."""
    with _STYLING:
        _chosen.append(ON_SLIDE)
        try:
            yield
        finally:
            _chosen.pop()


def new_figure(width: float, height: float, finding: str, numbers: str = "") -> Figure:
    """An empty Figure of `width` x `height` inches; for a slide, as wide as that and up to 6.9 inches high.

    finding   its alt text: what one sees at a glance, in a sentence or two
    numbers   all that is drawn, in words, for who wants to know
    """
    if on_slide():
        width, height = SLIDE, min(6.9, 1.25 * height * SLIDE / width)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(f"{finding}\n{numbers}" if numbers else finding)
    return figure


def new_axes(width: float, height: float, finding: str, numbers: str = "") -> tuple[Figure, Axes]:
    """The same with one panel in it."""
    figure = new_figure(width, height, finding, numbers)
    return figure, figure.subplots()


def on_slide() -> bool:
    """Is it drawn for a slide? Then there is room for less."""
    return _chosen[-1] is ON_SLIDE


def slanted() -> dict:
    """How long names stand below an axis: on a slide, where letters are large, at a slant."""
    return {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if on_slide() else {}


def in_words(figure: Figure) -> tuple[str, str]:
    """(finding, numbers) of a figure: its alt text, and what it shows in full."""
    finding, _, numbers = figure.get_label().partition("\n")
    return finding, numbers


def sentence(title: str) -> str:
    """A title as the beginning of a longer text."""
    return f"{' '.join(title.split())}. " if title else ""


def ends(means: Mapping[str, float], told: str = "{:.1f}%") -> str:
    """Which is highest, and which is lowest."""
    high, low = max(means, key=means.get), min(means, key=means.get)
    if len(means) == 1:
        return f"{high} {told.format(means[high])}"
    if told.format(means[high]) == told.format(means[low]):
        return f"all are alike, {told.format(means[high])}"
    return f"{high} is highest, {told.format(means[high])}, and {low} lowest, {told.format(means[low])}"


@dataclass(frozen=True)
class Answer:
    """A figure, and the number in it that readers are to guess; `other` is its other coordinate, to ring it."""

    figure: Figure
    value: float | None  # None: there is none, such as a break-even that is never reached
    other: float | None = None


def with_guess(answer: Answer, guess: float, told: str, axis: str = "y",
               place: Callable[[float], float] = float) -> Figure:  # fmt: skip
    """The figure with the reader's guess as a dashed line across its first axes, and the answer ringed.

    told    the guess and the answer in words
    axis    on which both lie, "x" or "y"; `place` makes a coordinate there of a guess
    A guess beyond the axes is an arrow at their edge: their limits stay, so that what is drawn can still be seen.
    """
    figure, axes = answer.figure, answer.figure.axes[0]
    share = _share_of(axes, axis, place(guess))
    if 0 <= share <= 1:
        line = axes.axvline if axis == "x" else axes.axhline
        line(place(guess), color=VERMILLION, linestyle=(0, (4, 2)), linewidth=2)
    edge = min(max(share, 0.0), 1.0)
    spot, towards = ((edge, 0.97), (0.1, 0)) if axis == "x" else ((0.02, edge), (0, 0.1))
    if edge == share:
        axes.annotate("your guess", spot, xycoords="axes fraction", xytext=(4, 4 if axis == "y" else -4),
                      textcoords="offset points", va="bottom" if axis == "y" else "top", color=VERMILLION,
                      weight="bold")  # fmt: skip
    else:
        inwards = 1 if edge == 0 else -1
        start = tuple(at + inwards * step for at, step in zip(spot, towards, strict=True))
        axes.annotate("your guess", spot, start, xycoords="axes fraction", textcoords="axes fraction", color=VERMILLION,
                      weight="bold", ha="left" if inwards > 0 or axis == "y" else "right", va="center",
                      arrowprops={"arrowstyle": "->", "color": VERMILLION, "linewidth": 2})  # fmt: skip
    if answer.value is not None and answer.other is not None:
        at = (place(answer.value), answer.other)
        axes.plot(*(at if axis == "x" else at[::-1]), "o", markersize=18, markerfacecolor="none",
                  markeredgecolor=VERMILLION, markeredgewidth=2.5, zorder=9)  # fmt: skip
    finding, numbers = in_words(figure)
    figure.set_label(f"{told} {finding}\n{numbers}".rstrip("\n"))
    return figure


def _share_of(axes: Axes, axis: str, place: float) -> float:
    """Where a coordinate lies between the ends of its axis, as a share; below 0 or above 1 beyond them."""
    scale = (axes.xaxis if axis == "x" else axes.yaxis).get_transform()
    low, high, at = scale.transform([*(axes.get_xlim() if axis == "x" else axes.get_ylim()), place])
    return float(np.nan_to_num((at - low) / (high - low), nan=-1.0))


def styled(function):
    """Draw under our style."""

    @wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with style():
            figure = function(*args, **kwargs)
            _head(figure)
            return figure

    return draw


def _head(figure: Figure) -> None:
    """A finding stands above the whole figure, in as many lines as it takes."""
    laid_out = isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
    if len(figure.axes) == 1 and not figure.texts and laid_out:
        (axes,) = figure.axes
        figure.suptitle(axes.get_title(), fontsize=axes.title.get_fontsize())
        axes.set_title("")
    for title in figure.texts:
        letters = int(figure.get_figwidth() * 72 / (0.55 * title.get_fontsize()))
        title.set_text("\n".join(fill(line, letters) for line in title.get_text().split("\n")))
