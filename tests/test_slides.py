"""The deck: every claim of the slides stands in it, beside what was measured, and each slide fits on its page."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from dst_tutorial.show import CLAIMS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "slides"))
pytest.importorskip("typst", reason="the deck needs typst")
import build_slides as build  # noqa: E402

DECK = (ROOT / "slides" / "deck.typ").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    """A folder to compile in; its pictures are those of pages, which are there already."""
    root = tmp_path_factory.mktemp("deck")
    shutil.copytree(ROOT / "figures", root / "built" / "figures", ignore=shutil.ignore_patterns("results"))
    shutil.copy(ROOT / "slides" / "deck.typ", root)
    build.write_numbers(root / "built" / "figures")
    return root


def test_each_slide_is_one_page_with_something_on_it(deck):
    pages = [Image.open(io.BytesIO(page)).convert("L") for page in build.compiled(deck, "png", ppi=20)]
    assert len(pages) == len(re.findall(r"^#slide\b", DECK, re.M))
    assert 15 <= len(pages) <= 20
    for page in pages:
        assert sum(page.histogram()[:200]) > 500


def test_every_claim_stands_on_a_slide():
    assert [claim.what for claim in CLAIMS if f'"{claim.what}"' not in DECK] == []


def test_the_same_results_make_the_same_bytes(deck):
    assert build.compiled(deck) == build.compiled(deck)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda numbers: numbers["claims"].pop(0), "not in the ledger: a network trains"),
        (lambda numbers: numbers["headlines"].clear(), "nobody says: A masked layer is"),
        (lambda numbers: [row.update(carried=False) for row in numbers["headlines"]], "the results do not carry"),
    ],
)
def test_what_the_results_do_not_carry_stops_the_deck(deck, tmp_path, broken, words):
    shutil.copytree(deck, tmp_path / "deck")
    file = tmp_path / "deck" / "built" / "numbers.json"
    numbers = json.loads(file.read_text(encoding="utf-8"))
    broken(numbers)
    file.write_text(json.dumps(numbers), encoding="utf-8")
    with pytest.raises(Exception, match=words):
        build.compiled(tmp_path / "deck")
