"""The book: links that lead somewhere, terms with meanings, no request to anybody, an explorer without a kernel."""

import html
import os
import re
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from test_browser import BROWSER, PHONE, QUIET, WIDTH

from dst_tutorial.studies import CHOICES, POINTS, Point
from dst_tutorial.teaching import draw_dst

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book"))
pytest.importorskip("sphinx", reason="the book needs sphinx")
import build_book as build  # noqa: E402
from explorer import chart, rows, told  # noqa: E402


def test_links_lead_to_pages_or_to_the_repository():
    pages = {"README.md", "notebooks/README.md", "notebooks/03_dst_loop.ipynb", "figures/README.md"}

    def of(link, folder="notebooks"):
        return build.relinked(f"[a]({link})", folder, pages)[3:]

    assert of("03_dst_loop.ipynb") == "(03_dst_loop.ipynb)"
    assert of("../README.md#the-notebooks") == "(../index.md#the-notebooks)"
    assert of("figures", "") == "(figures/README.md)"
    assert of("../figures/first_layer.svg") == "(../figures/first_layer.svg)"
    assert of("../dst_tutorial/__init__.py") == f"({build.CODE}/dst_tutorial/__init__.py)"
    assert of("https://arxiv.org/abs/1") == "(https://arxiv.org/abs/1)"
    assert of("#exercises") == "(#exercises)"
    assert (
        build.relinked("[![Open in Colab](https://x/badge.svg)](https://y)", "", pages) == "[Open in Colab](https://y)"
    )


def test_a_term_is_explained_where_it_first_stands():
    explain = build.explained(
        {"mask": 'A "bool" for each weight.', "small dense": "As many *parameters*.", "dense": "x"}
    )
    text = explain("# A mask\n\nThe `mask` and [mask](x.md): a mask, and **mask**, and small dense masks.")
    assert text.startswith("# A mask\n\nThe `mask` and [mask](x.md): a <a ")
    assert 'title="A &quot;bool&quot; for each weight.">mask</a>, and **mask**' in text
    assert 'title="As many parameters.">small dense</a> masks.' in text
    assert explain("Another mask.") == "Another mask."


def test_every_term_has_a_place_and_a_meaning():
    text = (ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8")
    page, meanings = build.glossary_page(text), build.glossary(text)
    assert len(meanings) == text.count("\n| ") - 1
    places = re.findall(r'id="([^"]+)"', page)
    assert len(places) == len(set(places)) == len(meanings)


@pytest.mark.parametrize("point", POINTS[::37], ids=lambda point: " ".join(map(str, point)))
def test_the_explorer_has_the_numbers_of_the_notebooks(point):
    chosen = dict(zip(CHOICES, map(told, point), strict=True))
    (row,) = (row for row in rows() if chosen.items() <= row.items())
    figure = draw_dst(**point._asdict())
    static, moving = figure.axes[0].lines[:2]
    assert (row["moving"], row["staying"]) == (list(moving.get_ydata()), list(static.get_ydata()))
    assert f"ends at {row['ends']}; with a mask that never moves at {row['control']}" in figure.get_label()


def test_every_stand_of_the_controls_has_one_answer():
    stands = [tuple(row[name] for name in CHOICES) for row in rows()]
    assert len(stands) == len(set(stands)) == 576
    names = {param["name"]: param["bind"]["options"] for param in chart().to_dict()["params"] if "bind" in param}
    assert names == {name: [told(value) for value in values] for name, values in CHOICES.items()}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The whole book, built: its folder. Sphinx stops at its first complaint."""
    built = tmp_path_factory.mktemp("book")
    assert build.main(built / "source", built / "html") == 0
    return built / "html"


@pytest.fixture(scope="module")
def address(book):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def pages(book):
    """Every page's HTML, by its path."""
    return {
        path.relative_to(book).as_posix(): path.read_text(encoding="utf-8")
        for path in book.rglob("*.html")
        if "_static" not in path.parts
    }


def test_every_notebook_and_module_is_a_page(pages):
    for path in (ROOT / "notebooks").glob("[01]*.ipynb"):
        assert f"notebooks/{path.stem}.html" in pages
    for folder in ("kernels", "layers", "show", "studies", "teaching", "timing", "topology", "training"):
        assert f"api/dst_tutorial.{folder}.html" in pages
    assert 'href="notebooks/01_sparsity_basics.html"' in pages["index.html"]
    assert 'class="term"' in pages["notebooks/03_dst_loop.html"]
    assert "<mfrac>" in pages["notebooks/04_algorithms.html"]
    assert "code-block" not in pages["api/dst_tutorial.topology.html"]  # no docstring is taken for code


def test_no_link_is_broken(pages, book):
    broken = []
    places = {page: set(re.findall(r'\bid="([^"]+)"', content)) for page, content in pages.items()}
    for page, content in pages.items():
        for link in map(html.unescape, re.findall(r'<a\b[^>]*\bhref="([^"]*)"', content)):
            parts = urlsplit(link)
            if parts.scheme or not link.strip("#"):
                continue
            target = (book / page).parent / unquote(parts.path) if parts.path else book / page
            name = target.resolve().relative_to(book.resolve()).as_posix()
            if not target.exists() or (parts.fragment and name in places and parts.fragment not in places[name]):
                broken.append((page, link))
    assert broken == []


def test_every_picture_has_alt_text(pages):
    for page, content in pages.items():
        for picture in re.findall(r"<img\b[^>]*>", content):
            alt = re.search(r'\balt="([^"]+)"', picture)
            assert alt, (page, picture[:200])
            assert not alt[1].endswith((".svg", ".png")), page


@pytest.fixture(scope="module", params=[WIDTH, PHONE], ids=lambda width: f"{width} pixels")
def page(request):
    if BROWSER is None:
        (pytest.fail if os.environ.get("DST_REQUIRE_BROWSER") else pytest.skip)("no Chromium or Chrome")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield browser.new_page(viewport={"width": request.param, "height": 900})
        browser.close()


@pytest.mark.browser
def test_every_page_asks_nobody_and_fits(page, pages, address):
    """With the network closed: no request fails, none leaves, no error, nothing wider than the page."""
    faults = []
    page.route(lambda url: not url.startswith((address, "data:")), lambda route: route.abort())

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # that is one of a page that was left
            faults.append(f"{request.failure}: {request.url}")

    page.on("requestfailed", failed)
    page.on(
        "response", lambda answer: answer.ok or answer.status == 304 or faults.append(f"{answer.status} {answer.url}")
    )
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    for name in pages:
        page.goto(f"{address}/{name}", wait_until="load")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 2:
            faults.append(f"{name} is {wide} pixels too wide")
    assert faults == []


@pytest.mark.browser
def test_the_explorer_answers_to_the_keyboard_without_a_kernel(page, address):
    page.goto(f"{address}/explorer.html")
    page.get_by_text("moving ends at").wait_for()
    expected = {tuple(row[name] for name in CHOICES): row for row in rows()}
    stand = dict(zip(CHOICES, map(told, Point()), strict=True))
    page.get_by_label("sparsity").focus()
    for name, values in CHOICES.items():
        page.keyboard.press("ArrowDown" if told(values[-1]) != stand[name] else "ArrowUp")
        at = [told(value) for value in values].index(stand[name])
        stand[name] = told(values[at + 1] if told(values[-1]) != stand[name] else values[at - 1])
        row = expected[tuple(stand.values())]
        page.get_by_text(f"moving ends at {row['ends']}").wait_for(timeout=5000)
        page.get_by_text(f"a mask that never moves at {row['control']}").wait_for(timeout=5000)
        page.keyboard.press("Tab")
