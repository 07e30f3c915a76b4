"""What every picture looks like: seen on white, told apart by colour-blind readers, read from the last row."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dst_tutorial.show import figures, plots
from dst_tutorial.show.figures import shapes
from dst_tutorial.show.plots import comparisons, look, regimes, timing

LINES = {
    name: getattr(look, name) for name in ("ORANGE", "SKY", "GREEN", "BLUE", "VERMILLION", "PURPLE", "BLACK", "GREY")
}
# of linear RGB; Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009: deuteranopia
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65
WHITE = np.array([0.95047, 1, 1.08883])


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast_to_white(colour):
    """As in WCAG 2."""
    return 1.05 / ((TO_XYZ @ linear(colour))[1] + 0.05)


def lab(rgb):
    x, y, z = np.cbrt(TO_XYZ @ rgb / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(a, b):
    """How far two colours are from each other for readers without green cones, in CIELAB; 2 can just be seen."""
    seen = [lab(np.clip(DEUTERANOPIA @ linear(colour), 1e-4, 1)) for colour in (a, b)]
    return np.linalg.norm(seen[0] - seen[1])


def test_the_arithmetic_of_colours_is_right():
    assert contrast_to_white("#767676") == pytest.approx(4.54, abs=0.01)  # the usual example
    assert apart("#ff0000", "#ff0000") == 0
    assert apart("#E00000", "#7A6A00") < apart("#005A9C", "#D55E00")


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_every_colour_is_seen_on_white(name):
    assert contrast_to_white(LINES[name]) >= 3


DRAWN_TOGETHER = {
    "slides": [look.LOOKS[r] for r in ("dense", "slides", "slides-static", "slides-fan-in")],
    "algorithms": [look.LOOKS[r] for r in ("erk-rigl", "set", "static", "gmp", "small-dense", "dense-cosine")],
    "noise": [regimes._LOOKS[c] for c in list(regimes._LOOKS)[:11]],
    "structure": [regimes._LOOKS[c] for c in list(regimes._LOOKS)[11:]],
    "times by sparsity": [(colour, *rest) for colour, _, *rest in timing.METHODS.values() if rest],
    "frontier": [look.LOOKS[r] for r in comparisons._IN_FRONT],
}


@pytest.mark.parametrize("picture", DRAWN_TOGETHER)
def test_lines_of_one_picture_differ_in_dashes_or_by_far_in_colour(picture):
    """A marker is too small to be the only cue."""
    for (colour, _, line), (other, _, other_line) in itertools.combinations(DRAWN_TOGETHER[picture], 2):
        assert line != other_line or apart(colour, other) >= 15, (colour, other)


@pytest.mark.parametrize(
    "draw", [figures.training_curves, shapes.storage_formats, shapes.layers, figures.benchmark, figures.ten_calls]
)
def test_letters_on_a_slide_are_read_from_the_last_row(draw):
    with plots.for_slides():
        figure = draw()
        figure.canvas.draw()
    width, height = figure.get_size_inches()
    assert width == pytest.approx(plots.SLIDE)
    assert height <= 7.5
    sizes = [axes.xaxis.label.get_fontsize() for axes in figure.axes] + [a.title.get_fontsize() for a in figure.axes]
    assert min(sizes) >= 18
