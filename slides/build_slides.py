"""Build the deck: `make slides` writes slides/dst.pdf from the recorded results. No network is needed.

deck.typ names figures and claims; this draws the figures as large as a slide, takes the claims from their ledgers,
and compiles it with typst.
"""

import json
from pathlib import Path

import matplotlib
import typst

from dst_tutorial.show import for_slides, judged, stated, write_all

HERE = Path(__file__).parent
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu, as in the figures


def write_numbers(figures: Path) -> None:
    """What the deck quotes: the ledgers' rows, and the figures' alt text from their manifest."""
    files = json.loads((figures / "manifest.json").read_text(encoding="utf-8"))["files"]
    alt = {name: entry["alt"] for name, entry in files.items() if "alt" in entry}
    numbers = {"claims": judged(), "headlines": stated(), "alt": alt}
    (figures.parent / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")


def compiled(root: Path, ending: str = "pdf", **options) -> bytes | list[bytes]:
    """The deck of a folder that has deck.typ, built/numbers.json and built/figures/: a PDF, or a PNG a page."""
    return typst.compile(root / "deck.typ", root=root, font_paths=[FONTS], format=ending, **options)


def main() -> None:
    built = HERE / "built"
    with for_slides():
        write_all(built / "figures")
    write_numbers(built / "figures")
    (HERE / "dst.pdf").write_bytes(compiled(HERE))
    print(HERE / "dst.pdf")


if __name__ == "__main__":
    main()
