"""JupyterLab and Voila in a real browser: run a notebook, use every control of its explorers, see the picture change.

Needs Chromium or Chrome; skipped without one, unless DST_REQUIRE_BROWSER is set (CI sets it).
DST_SCREENSHOTS names a folder to keep screenshots in, for a person to look at.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
WIDTH, PHONE, HEIGHT = 1280, 390, 1600
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


@contextmanager
def served(root, *command, **environment):
    """A server of ours, with nothing of this user's settings: its address without a path."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(root / kind.lower()) for kind in ("CONFIG", "RUNTIME", "DATA")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(root / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    log = (root / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command)],
        cwd=root, env={**os.environ, **own, "DST_TUTORIAL_MODE": "demo", **environment}, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        for _ in range(240):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (root / "log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab server over a copy of the notebooks: its address."""
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
    with served(
        root, "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly",
    ) as address:  # fmt: skip
        yield address


@pytest.fixture(scope="module")
def voila(tmp_path_factory):
    """The explorers alone, as `make demo` serves them."""
    root = tmp_path_factory.mktemp("voila")
    shutil.copytree(NOTEBOOKS.parent / "demo", root, dirs_exist_ok=True)
    with served(root, "voila", "explorers.ipynb", "--port={port}", JUPYTER_PATH=str(root)) as address:
        yield address


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright

    assert BROWSER, "DST_REQUIRE_BROWSER is set, and there is no Chromium or Chrome"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_navigation_timeout(180_000)  # a page of Voila is whole when its kernel has run: beside others
        yield page  # that compile, once in many runs, later than in the usual 30 seconds
        browser.close()


def keep_screenshot(page, name, height=HEIGHT):
    folder = os.environ.get("DST_SCREENSHOTS")
    if folder:
        width = page.viewport_size["width"]
        page.set_viewport_size({"width": width, "height": height})
        if height > HEIGHT:
            page.evaluate("document.querySelectorAll('.jp-WindowedPanel-outer').forEach(e => e.scrollTo(0, 0))")
            page.wait_for_timeout(1_000)
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.set_viewport_size({"width": width, "height": HEIGHT})


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


@pytest.fixture
def errors(page):
    """What the page complains of, here and in its console."""
    found = []

    def on_error(error):
        found.append(str(error))

    def on_console(message):
        where = message.location.get("url", "")
        goodbye = (
            "/voila/api/shutdown/" in where
        )  # of a page that is left; Voila's server refuses it, and culls instead
        elsewhere = message.text.startswith("Failed to load resource") and "127.0.0.1" not in where  # badges
        if message.type == "error" and not goodbye and not elsewhere:
            found.append(f"{message.text} {where}")

    page.on("pageerror", on_error)
    page.on("console", on_console)
    yield found
    page.remove_listener("pageerror", on_error)
    page.remove_listener("console", on_console)


class Explorer:
    """One explorer on the page: the outputs of its cell."""

    def __init__(self, page, number):
        picture = page.locator(".dst-explorer-picture")
        self.page, self.area = page, page.locator(".jp-OutputArea-output").filter(has=picture).nth(number)
        self.area.scroll_into_view_if_needed()

    @property
    def image(self):
        return self.area.locator(".dst-explorer-picture img")

    def shown(self):
        """The picture, and the numbers it tells."""
        return self.image.get_attribute("src"), self.image.get_attribute("alt")

    def wait_for_another(self, before):
        for _ in range(600):
            now = self.shown() if self.image.count() else (None, None)
            if None not in now and now[0] != before[0]:
                return
            assert not self.area.locator(".dst-explorer-picture pre").count(), self.area.inner_text()
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the picture is still {before[1]}")

    def controls(self):
        labels = self.area.locator(".widget-hslider .widget-label, .widget-dropdown .widget-label")
        return [label.inner_text() for label in labels.all()]

    def move(self, label):
        """By its accessible name and with the keyboard, forwards, or backwards where it stands at its end."""
        control = self.area.get_by_role("slider", name=label).or_(self.area.get_by_role("combobox", name=label)).first
        chosen = "e => e.getAttribute('aria-valuetext') || e.value"
        before, value = self.shown(), control.evaluate(chosen)
        control.focus()
        slides = control.get_attribute("role") == "slider"
        for key in ("ArrowRight", "ArrowLeft") if slides else ("ArrowDown", "ArrowUp"):
            control.press(key)
            self.page.wait_for_timeout(300)
            if control.evaluate(chosen) != value:
                break
        self.wait_for_another(before)

    def press(self, name):
        self.area.get_by_role("button", name=name).click()

    def wait_for_status(self, text, seconds=60):
        self.area.get_by_text(re.compile(text)).wait_for(timeout=1000 * seconds)

    # --- what each kind can do ---

    def is_moved_by_every_control(self, expected):
        assert self.controls() == expected
        for label in expected:
            self.move(label)

    def trains_and_stops(self):
        before = self.shown()
        self.press("Train it now")
        self.wait_for_status("^Training, seed")
        self.wait_for_another(before)
        self.wait_for_status("^Done: seed")
        assert "fresh run" in self.shown()[1]
        self.press("Train it now")
        self.wait_for_status("epoch 1 of|epoch 2 of")
        self.press("Stop")
        self.wait_for_status("^(Stopped|Done): seed")  # a second is short

    def plays_pauses_and_saves(self):
        before = self.shown()
        self.area.locator(".widget-play button").first.click()
        self.wait_for_another(before)
        self.area.locator(".widget-play button").first.click()
        self.press("Make a GIF")
        link = self.area.get_by_role("link", name="Download mask_")
        link.wait_for()
        with self.page.expect_download() as download:
            link.click()
        assert download.value.path().read_bytes().startswith(b"GIF89a")

    def takes_a_guess(self):
        assert not self.image.count()
        self.area.locator("input[type=number]").fill("77")
        self.area.locator("input[type=number]").press("Enter")
        self.press("Commit and reveal")
        self.image.wait_for(timeout=60_000)
        assert self.shown()[1].startswith("You said 77%; ")


DST = ["sparsity", "prune interval (steps)", "drop fraction", "grow by", "allocation", "initialisation"]
TIME_MACHINE, OBSERVATORY = ["update", "colours", "layer"], ["look at", "layer"]
STORAGE, MEMORY, BREAK_EVEN = ["sparsity", "rows = columns"], ["sparsity", "batch"], ["width", "batch"]
MACHINE = ["machine", "width", "batch", "sparsity"]
NOISE = ["noise for each pixel", "sparsity", "to be trained"]
GUESS = None


@pytest.mark.parametrize(
    ("name", "explorers"),
    [
        ("00_in_ninety_minutes.ipynb", [GUESS, DST, GUESS]),
        ("01_sparsity_basics.ipynb", [GUESS, STORAGE]),
        ("02_masked_layers.ipynb", [["sparsity"]]),
        ("03_dst_loop.ipynb", [DST]),
        ("05_mask_evolution.ipynb", [TIME_MACHINE, OBSERVATORY]),
        ("06_csr_benchmark.ipynb", [GUESS, BREAK_EVEN]),
        ("07_truly_sparse_training.ipynb", [MEMORY]),
        ("08_closing_the_gap.ipynb", [GUESS]),
        ("09_where_sparse_wins.ipynb", [GUESS, NOISE]),
        ("10_hardware_and_software.ipynb", [MACHINE]),
    ],
)
def test_every_control_of_every_explorer_in_jupyterlab(page, lab, errors, name, explorers):
    run_all(page, lab, name)
    keep_screenshot(page, f"{name}-run", height=14_000)
    warnings = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts()
    assert not warnings
    assert page.locator(".dst-explorer-picture").count() == len(explorers)
    use_all(page, explorers, name)
    assert not errors


def test_a_notebook_that_is_opened_again_shows_no_error(page, lab):
    """Its progress bars are closed: of a notebook's own kind errors would be left."""
    run_all(page, lab, "04_algorithms.ipynb")
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2_000)
    page.goto(f"{lab}/lab/tree/notebooks/04_algorithms.ipynb?token={TOKEN}")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)  # the same kernel, still alive
    page.locator(".jp-OutputArea-output img").first.wait_for(timeout=60_000)
    assert page.locator(".jp-OutputArea-output").count() > 10
    assert not page.get_by_text("Error displaying widget").count()
    assert not page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count()


@pytest.mark.parametrize("width", [WIDTH, PHONE])
def test_every_control_of_every_explorer_in_voila(page, voila, errors, width):
    """As `make demo` serves them; no page is wider than its screen, and no request leaves this machine."""
    page.set_viewport_size({"width": width, "height": HEIGHT})
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    started = time.perf_counter()
    page.goto(voila, wait_until="commit")
    page.locator(".dst-explorer-picture img").first.wait_for(timeout=180_000)
    Explorer(page, 0).move("sparsity")
    print(f"{width} pixels wide: first explorer used after {time.perf_counter() - started:.1f} s")
    explorers = [DST, NOISE, TIME_MACHINE, OBSERVATORY, STORAGE, MEMORY, BREAK_EVEN, MACHINE, ["sparsity"]]
    page.locator(".dst-explorer-picture img").nth(len(explorers) - 1).wait_for(timeout=180_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    use_all(page, explorers, f"voila-{width}")
    keep_screenshot(page, f"voila-{width}", height=9_000)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    assert not [url for url in requests if not url.startswith((voila, "data:", "blob:"))]
    assert not errors


def test_a_kernel_ends_two_minutes_after_its_page(page, voila):
    page.goto(voila, wait_until="commit")
    page.locator(".dst-explorer-picture img").first.wait_for(timeout=180_000)
    page.goto("about:blank")
    server = next(p for p in psutil.Process().children() if "voila" in p.cmdline())
    deadline = time.time() + 120
    while any("ipykernel_launcher" in kernel.cmdline() for kernel in server.children()):
        assert time.time() < deadline
        time.sleep(1)


def use_all(page, explorers, name):
    for number, controls in enumerate(explorers):
        explorer = Explorer(page, number)
        if controls is GUESS:
            explorer.takes_a_guess()
        else:
            explorer.is_moved_by_every_control(controls)
        if controls in (DST, NOISE):
            explorer.trains_and_stops()
        if controls is TIME_MACHINE:
            explorer.plays_pauses_and_saves()
        keep_screenshot(page, f"{name}-explorer-{number}")
