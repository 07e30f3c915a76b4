"""What a notebook's first cell sets up: the versions, the clock, pictures with alt text."""

import base64
import html
import io
import os
from collections.abc import Callable
from typing import TypeVar

import torch
from IPython import get_ipython
from IPython.display import Javascript, display
from matplotlib.figure import Figure
from PIL import Image

from .. import __version__
from ..show import plots, threads_of
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


# A slider's handle has no name of its own in core ipywidgets: it gets that of its label, and what its readout says.
# And arrow keys in a dropdown choose from it: JupyterLab would go to another cell.
CONTROLS_FOR_ALL = """
(() => {
  const set = (element, name, value) => element.getAttribute(name) === value || element.setAttribute(name, value);
  const tell = () => document.querySelectorAll(".widget-hslider").forEach(slider => {
    const [label, readout] = [".widget-label", ".widget-readout"].map(part => slider.querySelector(part));
    if (!label || !readout) return;
    set(readout, "aria-label", label.textContent);
    slider.querySelectorAll(".noUi-handle").forEach(handle => {
      set(handle, "aria-label", label.textContent);
      set(handle, "aria-valuetext", readout.textContent);
    });
  });
  window.addEventListener("keydown", event => {
    if (event.target.matches?.(".widget-dropdown select")) event.stopPropagation();
  }, true);
  new MutationObserver(tell).observe(document.body, {childList: true, subtree: true, characterData: true});
  tell();
})();
"""


def start() -> None:
    """Show figures with their alt text, and controls that all can use, from here on; say what this notebook runs on."""
    if ipython := get_ipython():
        ipython.display_formatter.formatters["text/html"].for_type(Figure, as_html)
        display(Javascript(CONTROLS_FOR_ALL))
    data = "MNIST" if is_cached() else "MNIST not fetched yet"
    print(f"dst_tutorial {__version__}, torch {torch.__version__}")
    print(f"{threads_of(torch.get_num_threads())}; {data}; {mode()} mode")


DPI = 100  # pixels of a page to an inch, matplotlib's own


def png(figure: Figure, dots: int = 1) -> bytes:
    """The figure as a PNG file's bytes, with so many dots to a pixel of the page; as fine as it wants to be itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=max(figure.dpi, dots * DPI))
    return buffer.getvalue()


def in_256_colours(png: bytes) -> bytes:
    """The same picture in a third of the bytes, and one sees no difference: notebooks are downloaded by phones, too."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT).save(buffer, "PNG")
    return buffer.getvalue()


def image(figure: Figure, dots: int = 1, pack: Callable[[bytes], bytes] = bytes) -> str:
    """An `<img>` that takes its room at once and shrinks with a page, its alt text the figure's finding."""
    finding, _ = plots.in_words(figure)
    packed = base64.b64encode(pack(png(figure, dots))).decode()
    width, height = (round(DPI * inches) for inches in figure.get_size_inches())
    return (
        f'<img alt="{html.escape(finding, quote=True)}" width="{width}" height="{height}" decoding="sync" '
        f'style="max-width: 100%; height: auto" '
        f'src="data:image/png;base64,{packed}">'
    )


def numbers(figure: Figure) -> str:
    """All that is drawn, in words, folded away; "" if the finding says it."""
    _, told = plots.in_words(figure)
    return f"<details><summary>in numbers</summary>{html.escape(told)}</details>" if told else ""


def as_html(figure: Figure) -> str:
    """What a notebook shows of a figure. Of a PNG's own alt text JupyterLab and nbconvert show nothing."""
    return image(figure, 2, in_256_colours) + numbers(figure)
