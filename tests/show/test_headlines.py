"""Our own headlines: each sentence that compares or counts is carried by a result, or by an assertion."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from dst_tutorial.paths import figures_folder, results_folder
from dst_tutorial.show import HEADLINES, headline_ledger, not_carried, sentences, stated, takeaways

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PLACES = ["README", *(path.name[:2] for path in NOTEBOOKS)]


def test_every_headline_is_carried_and_the_file_is_up_to_date():
    rows = stated()
    assert not not_carried(rows)
    written = (figures_folder() / "headlines.md").read_text(encoding="utf-8")
    assert written == headline_ledger(rows), "run `python -m dst_tutorial claims`"
    said = (figures_folder() / "slide10_takeaways.md").read_text(encoding="utf-8")
    assert said == takeaways(rows)
    assert said.count("\n- ") == len(sentences("README"))


@pytest.mark.parametrize("where", PLACES)
def test_every_sentence_of_what_we_saw_is_a_headline(where):
    begins = [headline.begins for headline in HEADLINES if headline.where == where]
    said = sentences(where)
    assert said
    for sentence in said:
        assert sum(map(sentence.startswith, begins)) == 1, sentence
    assert len(said) == len(begins)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_cells_are_said_to_assert_they_assert(path):
    code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    for headline in HEADLINES:
        if headline.where == path.name[:2]:
            assert headline.checks or headline.cells, headline.begins
            for line in headline.cells:
                assert re.match(r"(assert|raise) ", line)
                assert line in code, line


@pytest.mark.parametrize("where", ["README", "00"])
def test_what_is_repeated_is_repeated_in_the_same_words(where):
    told = {sentence for path in NOTEBOOKS if path.name[:2] != where for sentence in sentences(path.name[:2])}
    assert set(sentences(where)) <= told


@pytest.fixture
def own_results(monkeypatch, tmp_path):
    """A folder of results of one's own: change(file, edit of a run)."""
    monkeypatch.setattr("dst_tutorial.studies.results.results_folder", lambda: tmp_path)
    for file in results_folder().iterdir():
        (tmp_path / file.name).symlink_to(file)

    def change(name, edit):
        document = json.loads((results_folder() / name).read_text())
        for run in document["runs"]:
            edit(run)
        (tmp_path / name).unlink()
        (tmp_path / name).write_text(json.dumps(document))

    return change


def with_accuracy(change, *recipes):
    def edit(run):
        if run["config"]["recipe"]["name"] in recipes:
            run["summary"]["test_accuracy"] += change

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "about"),
    [
        ("slides.json", with_accuracy(-2, "slides-static"), "A static mask from the same seeds"),
        ("slides.json", with_accuracy(2, "slides"), "The slides' table is reproduced"),
        ("slides.json", lambda run: run.update(exploration_rate=0.2), "Five updates of 10% explore"),
        ("forms.json", with_accuracy(1, "erk-rigl"), "In three seeds a small dense network"),
    ],
)
def test_another_result_is_a_complaint(own_results, file, edit, about):
    own_results(file, edit)
    assert any(about in complaint for complaint in not_carried(stated()))


def test_a_sentence_that_is_gone_is_a_complaint(monkeypatch):
    monkeypatch.setattr("dst_tutorial.show.headlines.sentences", lambda where: ["Something else."])
    assert len(not_carried(stated())) == len(HEADLINES)
