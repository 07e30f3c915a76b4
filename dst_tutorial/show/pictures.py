"""Pictures: figures as files, the same bytes for the same figure."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from .plots import in_words, style


@dataclass(frozen=True)
class Picture:
    """A figure: what it is made from, by what, and the slide that it belongs to, if any."""

    name: str
    source: str
    make: Callable[[], Figure]
    slide: int | None = None
    endings: tuple[str, ...] = ("svg", "png")
    moving: Callable[[], Iterable[Figure]] | None = None  # and as a GIF, of these


def pictures(source: str, *makes: Callable[[], Figure], slide: int | None = None) -> tuple[Picture, ...]:
    """Pictures from one source, named as the functions that make them: "slide2_" and the name, of a slide's."""
    prefix = f"slide{slide}_" if slide else ""
    return tuple(Picture(prefix + make.__name__, source, make, slide) for make in makes)


def rendered(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure file: the same for the same figure, so without the date. At least 200 dots an inch."""
    metadata = {"Description": " ".join(in_words(figure))} | ({"Date": None} if ending == "svg" else {})
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=ending, dpi=max(200, figure.dpi), metadata=metadata)
    return buffer.getvalue()


def animated(figures: Iterable[Figure], milliseconds: int, dpi: int = 100) -> bytes:
    """Figures of one size as the bytes of a GIF that goes on for ever, each for so long."""
    frames = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=max(dpi, figure.dpi))
        frames.append(Image.open(buffer).convert("RGB"))
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    return buffer.getvalue()
