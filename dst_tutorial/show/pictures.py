"""Pictures: figures as files, the same bytes for the same figure."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from .plots import style


@dataclass(frozen=True)
class Picture:
    """A figure: what it is made from, by what, and the slide that it belongs to, if any."""

    name: str
    source: str
    make: Callable[[], Figure]
    slide: int | None = None
    endings: tuple[str, ...] = ("svg", "png")


def pictures(source: str, *makes: Callable[[], Figure], slide: int | None = None) -> tuple[Picture, ...]:
    """Pictures from one source, named as the functions that make them: "slide2_" and the name, of a slide's."""
    prefix = f"slide{slide}_" if slide else ""
    return tuple(Picture(prefix + make.__name__, source, make, slide) for make in makes)


def rendered(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure file: the same for the same figure, so without the date. At least 200 dots an inch."""
    metadata = {"Description": figure.get_label()} | ({"Date": None} if ending == "svg" else {})
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=ending, dpi=max(200, figure.dpi), metadata=metadata)
    return buffer.getvalue()
