"""Predict, run, reveal: who commits a guess before the picture appears remembers what it shows."""

from collections.abc import Callable

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...show import plots
from ..notebook import unattended
from .explorer import Picture, row


def predict(question: str, draw: Callable[[], plots.Answer], *, low: float, high: float, start: float, unit: str = "%",
            axis: str = "y", place: Callable[[float], float] = float) -> ipw.VBox | Figure:  # fmt: skip
    """A question, a number to commit, and then the picture with the guess in it, and the answer in words.

    draw        makes the picture and the answer; it is not called before
    low, high   the guesses that are taken, in `unit`s
    axis        of the picture's first axes on which the guess lies, "x" or "y"; `place` makes a coordinate there of it

    Where nobody is there to guess (`notebook.unattended`) it is the picture itself.
    """
    if unattended():
        return draw().figure
    guess = ipw.BoundedFloatText(value=start, min=low, max=high, description=f"my guess ({unit})",
                                 style={"description_width": "initial"})  # fmt: skip
    commit = ipw.Button(description="Commit and reveal", tooltip="Commit the guess; the picture appears")
    picture = Picture()

    def revealed() -> Figure:
        answer = draw()
        it_is = "there is none" if answer.value is None else f"it is {answer.value:.3g}{unit}"
        return plots.with_guess(answer, guess.value, f"You said {guess.value:g}{unit}; {it_is}.", axis, place)

    def reveal(_) -> None:
        guess.disabled = commit.disabled = True
        picture.attempt(revealed)

    commit.on_click(reveal)
    box = ipw.VBox([ipw.HTML(f"<b>{question}</b>"), row([guess, commit]), picture])
    box.add_class("dst-predict")
    return box
