"""What a notebook's first cell sets up: the versions, the clock, pictures with alt text."""

import io
import os
from typing import TypeVar

import torch
from IPython import get_ipython
from matplotlib.figure import Figure

from .. import __version__
from ..training import is_cached

MODES = ("demo", "class", "full")
T = TypeVar("T")


def mode() -> str:
    """The tutorial's clock, `$DST_TUTORIAL_MODE`: demo (a minute a notebook), class (five), full (the paper's run)."""
    chosen = os.environ.get("DST_TUTORIAL_MODE", "demo")
    if chosen not in MODES:
        raise ValueError(f"DST_TUTORIAL_MODE is {chosen!r}; choose from {', '.join(MODES)}")
    return chosen


def unattended() -> bool:
    """Does the notebook run with nobody there (`$DST_TUTORIAL_UNATTENDED`)? Then nothing waits for a guess."""
    return os.environ.get("DST_TUTORIAL_UNATTENDED", "0") not in ("", "0")


def by_mode(*, demo: T, classroom: T, full: T) -> T:
    """The one of the three values that fits the clock."""
    return {"demo": demo, "class": classroom, "full": full}[mode()]


def start() -> None:
    """Show figures with their alt text from here on, and say what this notebook runs on."""
    if ipython := get_ipython():
        ipython.display_formatter.formatters["image/png"].for_type(Figure, _png_with_alt)
    data = "MNIST" if is_cached() else "MNIST not fetched yet"
    print(f"dst_tutorial {__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {data}")
    print(f"mode {mode()!r} (set DST_TUTORIAL_MODE to one of {', '.join(MODES)} for another)")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes, at its own resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _png_with_alt(figure: Figure) -> tuple[bytes, dict[str, str]]:
    return png(figure), {"alt": figure.get_label()}
