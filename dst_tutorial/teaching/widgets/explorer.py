"""What all explorers are made of: controls over a picture and its text. Core ipywidgets only.

An explorer is a function of its controls' values that returns a Figure, whose label is its alt text.
"""

import base64
import html
from collections.abc import Callable, Iterable

import ipywidgets as ipw
from matplotlib.figure import Figure

from ..notebook import png

DPI = 100  # matplotlib's own: a pixel of the picture is one of the page


class Picture(ipw.HTML):
    """A Figure with its alt text below. It never shrinks, so that nothing below it jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("dst-explorer-picture")
        self._tallest = 0

    def show(self, figure: Figure, controls: Iterable[ipw.Widget] = ()) -> None:
        """`controls` are told to screen readers: a slider's own handle has no name in core ipywidgets."""
        self._tallest = max(self._tallest, round(DPI * figure.get_size_inches()[1]) + 60)  # two lines of text
        self.layout.min_height = f"{self._tallest}px"
        self.value = as_html(figure, ", ".join(map(_told, controls)))

    def attempt(self, draw: Callable[[], Figure], controls: Iterable[ipw.Widget] = ()) -> None:
        """Show what `draw` makes, or its error: in a widget's callback nobody would see it."""
        try:
            self.show(draw(), controls)
        except Exception as error:
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        self.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"


def _told(control: ipw.Widget) -> str:
    """Its name and its value, in the words on the page."""
    return f"{control.description} {getattr(control, 'label', control.value)}"


def as_html(figure: Figure, unseen: str = "") -> str:
    """An image that takes its room at once and appears whole, and its text, which screen readers say at a change.

    They say `unseen` before it.
    """
    alt = html.escape(figure.get_label(), quote=True)
    data = base64.b64encode(png(figure)).decode()
    width, height = (round(DPI * inches) for inches in figure.get_size_inches())
    return (
        f'<img alt="{alt}" width="{width}" height="{height}" decoding="sync" style="max-width: 100%; height: auto" '
        f'src="data:image/png;base64,{data}"><p aria-live="polite">'
        f'<span style="position: absolute; clip-path: inset(50%)">{html.escape(unseen)} </span>{alt}</p>'
    )


def explorer(draw: Callable[..., Figure], **controls: ipw.Widget) -> ipw.VBox:
    """`draw(**values)` below its controls, drawn anew at every move. An error is shown where the picture was."""
    picture = Picture()

    def drawn() -> Figure:
        return draw(**{name: control.value for name, control in controls.items()})

    picture.show(drawn(), controls.values())  # an error at the first values is the cell's error
    for control in controls.values():
        control.observe(lambda _: picture.attempt(drawn, controls.values()), names="value")
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
        layout={"width": f"{200 + 7 * (longest + len(description))}px"},  # room for the words on either side
    )
