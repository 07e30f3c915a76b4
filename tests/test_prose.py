"""The prose: commands that work, terms that are explained, sources that are listed, and not too many words."""

import re
import subprocess
from pathlib import Path

import nbformat
import pytest
import typer

from dst_tutorial.__main__ import app
from dst_tutorial.studies import EXPERIMENTS
from dst_tutorial.training import RECIPES

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.md"), *(ROOT / "dst_tutorial").rglob("*.md")]

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def own_cells(path):
    """Those that are not the same in every notebook."""
    return [cell for cell in nbformat.read(path, 4).cells if not cell.metadata.get("tags")]


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in own_cells(path) if cell.cell_type == "markdown")


def plain(text):
    return " ".join(re.sub(r"!\[.*?\]\(.*?\)|[*_`]", "", text, flags=re.S).split())


ALL = {path.name: prose(path) for path in (*PAGES, *NOTEBOOKS)}
QUOTED = sorted(
    {q for text in ALL.values() for q in re.findall(r"(?:python -m dst_tutorial|make)(?: [^\s`]+)*(?=`)", text)}
)


@pytest.mark.parametrize("command", [c for c in QUOTED if c.startswith("python") and "NAME" not in c])
def test_a_command_that_is_quoted_is_understood(command):
    """Its words are parsed, and what they name is there; what the commands do is tested in test_cli.py."""
    words = command.removeprefix("python -m dst_tutorial").split()
    group = typer.main.get_command(app)
    if not words:
        return
    context = group.commands[words[0]].make_context(words[0], words[1:])
    for name, table in (("experiment", EXPERIMENTS), ("recipe", RECIPES)):
        assert context.params.get(name) is None or context.params[name] in table


@pytest.mark.parametrize("command", [c for c in QUOTED if c.startswith("make ")])
def test_a_target_that_is_quoted_is_there(command):
    done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def glossary():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d\d) \|$", ALL["glossary.md"], re.M)
    return {term: (meaning, notebook) for term, meaning, notebook in rows}


def test_the_glossary_has_each_term_once_in_order():
    terms = list(glossary())
    assert len(terms) == ALL["glossary.md"].count("\n| ") - 2 + 1  # a head and a rule, and none that is not read
    assert terms == sorted(terms, key=str.casefold)


@pytest.mark.parametrize("term", glossary())
def test_a_term_is_taught_where_the_glossary_says(term):
    meaning, number = glossary()[term]
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    text = plain(prose(path)).casefold()
    assert meaning.strip().endswith(".")
    for name in re.split(r", | or ", term):
        assert name.casefold() in text, name


NEEDED = ("tapered", "modern", "lean", "narrow dense", "barring", "optimiser reset", "ER", "RigL", "SET", "static",
          "small dense", "Dense+Mask", "fan-in", "CSR", "truly sparse", "exploration rate", "topology")  # fmt: skip


def test_no_term_that_the_notebooks_lean_on_is_missing():
    terms = {name for term in glossary() for name in re.split(r", | or ", term)}
    assert set(NEEDED) <= terms


@every_notebook
def test_a_source_that_is_cited_is_listed(path):
    """(Evci et al., 2020), or Evci et al. (2020): by name and year, as in references.md."""
    cited = r"([A-Z][a-z]+)(?: et al\.| and [A-Z][a-z]+)?,? \(?((?:19|20)\d\d)\b"
    for name, year in re.findall(cited, plain(prose(path))):
        assert re.search(rf"\*\*{name}\b[^*]*{year}\*\*", ALL["references.md"]), f"{name}, {year}"


def test_papers_are_cited_by_name_and_year_alone():
    for path in NOTEBOOKS:
        assert "arXiv" not in prose(path), path.name


@every_notebook
def test_there_are_not_too_many_words(path):
    """Ten words of prose to a line of code, at most; 00 has a speaker's notes, too."""
    cells = own_cells(path)
    words = sum(len(plain(cell.source).split()) for cell in cells if cell.cell_type == "markdown")
    lines = sum(bool(line.strip()) for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines())
    assert words <= (16 if path.name.startswith("00") else 10) * lines


@every_notebook
def test_it_says_how_long_a_learner_needs(path):
    (minutes,) = re.findall(r"Reading and exercises: (\d+) minutes", plain(prose(path)))
    assert 30 <= int(minutes) <= 60


HARD = (
    "can only say its bias",
    "heard by nobody",
    "the loop turns",
    "a network that nobody has",
    "what it takes to call",
    "worth what its slower side",
    "as the slides' loop there",
    "two of the three back",
    "are of the same runs",
    "somebody else's rate",
    "95% less weighs",
    "in another dress",
)


@pytest.mark.parametrize("words", HARD)
def test_no_riddles(words):
    """Sentences that readers stumbled over do not come back."""
    assert not [name for name, text in ALL.items() if words in plain(text)]


def test_each_test_that_a_page_names_is_there():
    rows = re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|$", ALL["PLACES.md"], re.M)[2:]
    assert len(rows) > 12
    for row in rows:
        file = None
        for word in re.findall(r"tests/[\w/]+\.py|test_\w+", row):
            if word.endswith(".py"):
                file = (ROOT / word).read_text(encoding="utf-8")
            else:
                assert f"def {word}(" in file, word
