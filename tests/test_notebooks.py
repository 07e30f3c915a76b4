"""The notebooks' hygiene; that they run is nbval's to test, and their facts are asserted in their cells."""

import ast
import html
import json
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from dst_tutorial.teaching.exercises.judging import Verdict

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY, TAG = PROJECT["urls"]["Repository"], f"v{PROJECT['version']}"

WALKTHROUGH, *LESSONS = NOTEBOOKS  # 00, of a room's ninety minutes, and those with exercises

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)


def cells(path, kind=None):
    return [c for c in nbformat.read(path, as_version=4).cells if kind is None or c.cell_type == kind]


def text(path):
    return "\n\n".join(c.source for c in cells(path, "markdown"))


@every_notebook
def test_it_is_a_valid_notebook_for_python3_without_widget_state(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@every_notebook
def test_it_has_the_skeleton(path):
    prose = text(path)
    titles = re.findall(r"^# .+$", prose, re.M)
    assert len(titles) == 1
    assert titles[0].startswith(f"# {int(path.name[:2])}. ")
    order = ["**You will be able to**", "**Time**: demo", "**What you will see**", "## What we saw"]
    order += ["## Exercises"] * (path in LESSONS)
    places = [prose.index(mark) for mark in order]
    assert places == sorted(places)
    verbs = re.findall(r"^- \*\w+\*", prose[places[0] : places[1]], re.M)
    assert 3 <= len(verbs) <= 5
    tags = [tag for c in cells(path) for tag in c.metadata.get("tags", [])]
    assert tags == ["header", "bootstrap", "navigation"]
    assert cells(path)[0].metadata.tags == ["header"]
    assert cells(path)[-1].metadata.tags == ["navigation"]
    exercises = re.findall(r"^\*\*Exercise \d\*\* \(\d+ minutes, (?:easy|medium|hard)\)", prose, re.M)
    assert len(exercises) == (2 if path in LESSONS else 0)


def test_the_walkthrough_takes_ninety_minutes():
    """Its sections follow each other, from 0:00 to 1:30."""
    sections = re.findall(r"^## .+ · (\d):(\d\d), (\d+) minutes$", text(WALKTHROUGH), re.M)
    assert len(sections) >= 7
    now = 0
    for hours, minutes, length in sections:
        assert 60 * int(hours) + int(minutes) == now
        now += int(length)
    assert now == 90
    for note in ("*Late?*", "*People ask*"):
        assert (
            len(re.findall(rf"(?:^|[.] ){re.escape(note)}", text(WALKTHROUGH), re.M)) == len(sections) - 1
        )  # no questions
    assert len(cells(WALKTHROUGH, "code")) <= 30


@every_notebook
def test_its_badges_name_its_own_path(path):
    header = cells(path)[0].source
    slug = REPOSITORY.removeprefix("https://github.com/")
    assert f"colab.research.google.com/github/{slug}/blob/{TAG}/notebooks/{path.name})" in header
    assert f"mybinder.org/v2/gh/{slug}/{TAG}?urlpath=lab/tree/notebooks/{path.name})" in header


def test_with_another_name_and_version_every_link_leads_there(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "figures", tmp_path / "figures", ignore=shutil.ignore_patterns("results", "*.png", "*.svg"))
    shutil.copy(ROOT / "README.md", tmp_path)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = project.replace(REPOSITORY, "https://github.com/some-one/some-course")
    project = project.replace(f'version = "{PROJECT["version"]}"', 'version = "7.8.9"')
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    subprocess.run([sys.executable, tmp_path / "notebooks" / "build.py"], check=True, capture_output=True)
    slug = REPOSITORY.removeprefix("https://github.com/")
    for path in (tmp_path / "README.md", *(tmp_path / "notebooks").glob("*.ipynb")):
        content = path.read_text(encoding="utf-8")
        links = re.findall(r"https?://[^\s\"\\)]*some-one/some-course[^\s\"\\)]*", content)
        assert len(links) >= 2
        assert not [link for link in links if "v7.8.9" not in link]
        assert slug not in content


def test_the_shared_cells_are_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "notebooks/build.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@every_notebook
def test_its_cells_are_short(path):
    lengths = [len(c.source.strip().splitlines()) for c in cells(path, "code")]
    assert statistics.median(lengths) <= 6
    assert max(lengths) <= 25


@every_notebook
def test_every_code_cell_follows_a_sentence(path):
    """Two code cells never stand side by side, but for the first two (bootstrap and imports)."""
    kinds = [c.cell_type for c in cells(path)]
    side_by_side = [i for i in range(1, len(kinds)) if kinds[i] == kinds[i - 1] == "code"]
    assert not side_by_side


@every_notebook
def test_no_magics(path):
    for cell in cells(path, "code"):
        ast.parse(cell.source)  # a magic or a "!" is no Python
        assert "get_ipython" not in cell.source


@every_notebook
def test_links_and_pictures_lead_somewhere(path):
    prose = text(path)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if not target.startswith("http"):
            assert (path.parent / target.split("#")[0]).exists(), target
    for alt in re.findall(r"!\[([^\]]*)\]\(", prose):
        assert len(alt) > 10 or alt.startswith("Open in")


@every_notebook
def test_its_outputs_are_those_of_the_one_command(path):
    """Committed with outputs, no error, no warning, alt text on every picture, no lone widget."""
    header = cells(path)[0].source
    assert re.search(r"\*Outputs below: `(class|full)` mode, made by `make notebooks` on \d{4}-\d\d-\d\d\.\*", header)
    code = cells(path, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    pictures = 0
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            assert "image/png" not in output.get("data", {}), "a picture without alt text: begin with start()"
            for alt in re.findall(r'<img alt="([^"]*)"', "".join(output.get("data", {}).get("text/html", ""))):
                pictures += 1
                assert 40 < len(alt) < 500  # a sentence or two; numbers fold away below
    assert pictures >= 3


@every_notebook
def test_every_picture_of_the_exported_page_says_its_finding(path):
    """As a reader of the page gets it: Markdown's pictures and those of outputs, by nbconvert."""
    page, _ = HTMLExporter().from_filename(str(path))
    pictures = re.findall(r"<img\b[^>]*>", page)
    alts = [html.unescape(re.search(r'\balt="([^"]*)"', picture).group(1)) for picture in pictures]
    badges = [alt for alt in alts if alt.startswith("Open in")]
    findings = [alt for alt in alts if alt not in badges]
    assert len(badges) == 2
    assert len(findings) >= 3
    for alt in findings:
        assert 40 < len(alt) < 500  # a sentence or two
        assert alt.endswith(".")


@every_lesson
def test_the_stubs_are_the_head_of_their_solutions(path):
    module = import_module(f"dst_tutorial.teaching.exercises.{path.stem[3:]}")
    stubs = [c.source for c in cells(path, "code") if "= ...  # your code" in c.source]
    assert len(stubs) == 2
    for stub in stubs:
        name, arguments = re.search(r"def (\w+)\(([^)]*)\)", stub).groups()
        solution = getattr(module, name)
        assert solution.__code__.co_varnames[: solution.__code__.co_argcount] == tuple(arguments.split(", "))
        assert isinstance(getattr(module, f"check_{name}")(lambda *_: None), Verdict)
        assert f"check_{name}({name})" in stub


@every_notebook
def test_no_machine_is_named(path):
    raw = json.dumps(nbformat.read(path, as_version=4))
    assert str(ROOT) not in raw
    assert not re.search(r"/(?:root|home|Users|tmp)/", raw)
