"""How every picture looks: colours, names of recipes, one matplotlib style, alt text as a figure's label."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, BLACK = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#000000",
)  # fmt: skip
GREY = "#8A8A8A"
SLIDE = 12.3  # inches: the width inside the margins of a 16:9 slide

# Of a mask's four states, in the order of CHANGES. The slides' red and green look alike to many readers.
PALETTES = {
    "okabe-ito": ("#1A1A1A", "#FFFFFF", VERMILLION, SKY),
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

STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "dst-tutorial",  # same results, same bytes
}


_STYLING = RLock()


@contextmanager
def style() -> Iterator[None]:
    """Our look, whatever the reader's matplotlibrc says. In one thread at a time: the settings are the process's."""
    with _STYLING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float, alt: str) -> Figure:
    """An empty Figure of `width` x `height` inches. `alt` says in words what will be seen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(alt)
    return figure


def new_axes(width: float, height: float, alt: str) -> tuple[Figure, Axes]:
    """The same with one panel in it."""
    figure = new_figure(width, height, alt)
    return figure, figure.subplots()


def with_guess(figure: Figure, axis: str, place: float, told: str) -> Figure:
    """The figure with a reader's guess in it: a line across its first axes at the coordinate `place` of "x" or "y"."""
    axes = figure.axes[0]
    line = axes.axvline if axis == "x" else axes.axhline
    line(place, color=VERMILLION, linestyle=(0, (4, 2)), linewidth=2)
    where = {"x": ((place, 0.97), ("data", "axes fraction")), "y": ((0.02, place), ("axes fraction", "data"))}
    at, coordinates = where[axis]
    axes.annotate(f"your guess: {told}", at, xycoords=coordinates, textcoords="offset points", xytext=(4, 4),
                  va="bottom" if axis == "y" else "top", color=VERMILLION, weight="bold")  # fmt: skip
    lowest, highest = sorted(axes.get_xlim() if axis == "x" else axes.get_ylim())
    if not lowest <= place <= highest:  # far off: make room for it
        widen = axes.set_xlim if axis == "x" else axes.set_ylim
        flipped = axes.xaxis_inverted() if axis == "x" else axes.yaxis_inverted()
        limits = min(lowest, place), max(highest, place)
        widen(limits[::-1] if flipped else limits)
    figure.set_label(f"{figure.get_label()} Your guess, a dashed line: {told}.")
    return figure


def styled(function):
    """Draw under our style."""

    @wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with style():
            return function(*args, **kwargs)

    return draw
