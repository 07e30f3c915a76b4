"""What all explorers are made of: controls over a picture and its text. Core ipywidgets only.

An explorer is a function of its controls' values that returns a Figure, whose label is its alt text.
"""

import html
from collections.abc import Callable, Iterable

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...show import plots
from ..notebook import DPI, image, numbers


class Picture(ipw.HTML):
    """A Figure with its alt text below. It never shrinks, so that nothing below it jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("dst-explorer-picture")
        self._tallest = 0

    def show(self, figure: Figure) -> None:
        self._tallest = max(self._tallest, round(DPI * figure.get_size_inches()[1]) + 60)  # two lines of text
        self.layout.min_height = f"{self._tallest}px"
        self.value = as_html(figure)

    def attempt(self, draw: Callable[[], Figure], meanwhile: str = "") -> None:
        """Show what `draw` makes, or its error: in a widget's callback nobody would see it. `meanwhile` it says so."""
        if meanwhile:
            self.value = f'<p role="status">{meanwhile}</p>{self.value}'
        try:
            self.show(draw())
        except Exception as error:
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        self.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"


def as_html(figure: Figure) -> str:
    """The image that appears whole, and its text, which screen readers say at a change."""
    finding, _ = plots.in_words(figure)
    return f'{image(figure)}<p aria-live="polite">{html.escape(finding)}</p>{numbers(figure)}'


def explorer(draw: Callable[..., Figure], meanwhile: str = "", **controls: ipw.Widget) -> ipw.VBox:
    """`draw(**values)` below its controls, drawn anew at every move. An error is shown where the picture was.

    meanwhile   what is said while it is drawn, if that takes long
    """
    picture = Picture()

    def drawn() -> Figure:
        return draw(**{name: control.value for name, control in controls.items()})

    picture.show(drawn())  # an error at the first values is the cell's error
    for control in controls.values():
        control.observe(lambda _: picture.attempt(drawn, meanwhile), names="value")
    return ipw.VBox([row(controls.values()), picture])


def row(controls: Iterable[ipw.Widget]) -> ipw.Box:
    """Side by side, and on a narrow screen below each other."""
    return ipw.Box(list(controls), layout=ipw.Layout(flex_flow="row wrap"))


def slider(options: Iterable, value: object, description: str) -> ipw.SelectionSlider:
    """One of some values, or of (name, value) pairs; it tells its value when it comes to rest."""
    options = list(options)
    longest = max(len(str(option[0] if isinstance(option, tuple) else option)) for option in options)
    return ipw.SelectionSlider(
        options=options,
        value=value,
        description=description,
        continuous_update=False,
        style={"description_width": "initial"},
        layout={"width": f"{170 + 8 * (longest + len(description))}px", "max_width": "95%"},  # room for the words
    )


def choice(options: Iterable, value: object, description: str) -> ipw.Dropdown:
    """One of some names, or of (name, value) pairs."""
    options = list(options)
    longest = max(len(str(option[0] if isinstance(option, tuple) else option)) for option in options)
    return ipw.Dropdown(
        options=options,
        value=value,
        description=description,
        style={"description_width": "initial"},
        layout={"width": f"{60 + 8 * (longest + len(description))}px", "max_width": "95%"},
    )
