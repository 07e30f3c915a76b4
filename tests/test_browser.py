"""JupyterLab in a real browser: open a notebook, run it, move a slider, see the picture change.

Needs Chromium or Chrome; skipped without one, unless DST_REQUIRE_BROWSER is set (CI sets it).
DST_SCREENSHOTS names a folder to keep screenshots in, for a person to look at.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
WIDTH, HEIGHT = 1280, 1600
TOKEN = "only-for-this-test"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        BROWSER is None and not os.environ.get("DST_REQUIRE_BROWSER"),
        reason="no Chromium or Chrome; on Debian: apt install chromium",
    ),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab server over a copy of the notebooks: (address, folder)."""
    root = tmp_path_factory.mktemp("lab")
    (root / "notebooks").mkdir()
    for path in NOTEBOOKS.glob("*.ipynb"):  # without outputs: what is seen is made now
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, root / "notebooks" / path.name)
    shutil.copytree(NOTEBOOKS.parent / "figures", root / "figures")
    plain = {
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells in the page, not only those in view
        "apputils-extension/notification": '{"fetchNews": "false"}',
    }
    for plugin, content in plain.items():
        file = root / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(root / kind.lower()) for kind in ("CONFIG", "RUNTIME", "DATA")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(root / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    log = (root / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
         f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}", "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly"],
        env={**os.environ, **own, "DST_TUTORIAL_MODE": "demo"}, stdout=log, stderr=log,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=1)
            break
        except OSError:
            assert server.poll() is None, (root / "log").read_text()
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright

    assert BROWSER, "DST_REQUIRE_BROWSER is set, and there is no Chromium or Chrome"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        browser.close()


def keep_screenshot(page, name, height=HEIGHT):
    folder = os.environ.get("DST_SCREENSHOTS")
    if folder:
        page.set_viewport_size({"width": WIDTH, "height": height})
        if height > HEIGHT:
            page.evaluate("document.querySelectorAll('.jp-WindowedPanel-outer').forEach(e => e.scrollTo(0, 0))")
            page.wait_for_timeout(1_000)
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def run_all(page, lab, name):
    page.goto(f"{lab}/lab/tree/notebooks/{name}?token={TOKEN}&reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const done = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
            return done.length && done.every((p, i) => p.textContent === `[${i + 1}]:`);
        }""",
        timeout=300_000,
    )


def picture(page):
    return page.locator(".dst-explorer-picture img")


@pytest.mark.parametrize(
    ("name", "sliders"),
    [
        ("01_sparsity_basics.ipynb", ["sparsity", "rows = columns"]),
        ("02_masked_layers.ipynb", ["sparsity"]),
        ("03_dst_loop.ipynb", ["sparsity", "prune interval (steps)"]),
        ("04_mask_evolution.ipynb", ["layer", "epoch", "colours"]),
        ("05_csr_benchmark.ipynb", ["width", "batch"]),
        ("06_truly_sparse_training.ipynb", ["sparsity", "batch"]),
    ],
)
def test_moving_each_slider_changes_the_picture(page, lab, name, sliders):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    run_all(page, lab, name)
    keep_screenshot(page, f"{name}-run", height=14_000)
    warnings = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts()
    assert not warnings

    page.locator(".widget-hslider").first.scroll_into_view_if_needed()
    picture(page).wait_for()
    for i, label in enumerate(sliders):
        slider = page.locator(".widget-hslider", has_text=label)
        handle = slider.locator(".noUi-handle")
        before, told = picture(page).get_attribute("src"), picture(page).get_attribute("alt")
        handle.focus()
        handle.press("ArrowRight")
        page.wait_for_function(
            "src => document.querySelector('.dst-explorer-picture img')?.src !== src", arg=before, timeout=60_000
        )
        assert picture(page).get_attribute("alt") != told  # the numbers, not only the pixels
        keep_screenshot(page, f"{name}-slider-{i}")
    assert page.locator(".dst-explorer-picture pre").count() == 0  # no error in its place
    assert not errors
