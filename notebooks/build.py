"""Fill in what is generated in the notebooks and the README; run the notebooks; keep outputs.

    python notebooks/build.py             badges, bootstrap, navigation, README's table
    python notebooks/build.py --check     only say whether these are up to date (exit status 1)
    python notebooks/build.py --run       and run the notebooks: `make notebooks` (--mode class)
    python notebooks/build.py --measure   run them in demo mode, print seconds and peak memory
    python notebooks/build.py --run 05_csr_benchmark.ipynb    only this one (or these)

The public repository and the version are named once, in pyproject.toml; every link leads to
the tag of that version.
"""

import contextlib
import datetime
import os
import re
import threading
import time
import tomllib
from pathlib import Path
from typing import Annotated

import nbformat
import psutil
import typer
from nbclient import NotebookClient

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
TAG = f"v{PROJECT['version']}"  # not the main branch: a course keeps what it began with
SLUG = REPOSITORY.removeprefix("https://github.com/")

COLAB = f"https://colab.research.google.com/github/{SLUG}/blob/{TAG}/notebooks"
BADGES = f"""\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({COLAB}/{{name}})
[![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{SLUG}/{TAG}?urlpath=lab/tree/notebooks/{{name}})"""
OUTPUTS = "*Outputs below: {}*"
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
NOT_RUN = "none yet; `make notebooks` makes them."

BOOTSTRAP = f"""\
# Set-up. On Colab it installs the package, and leaves torch and numpy as they are.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("dst_tutorial") is None:
    source = "git+{REPOSITORY}@{TAG}"
    source = os.environ.get("DST_TUTORIAL_SOURCE", source)
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", source])

from dst_tutorial.teaching import start

start()"""


def notebooks() -> list[Path]:
    return sorted(HERE.glob("[0-9][0-9]_*.ipynb"))


def title_of(path: Path) -> str:
    return re.search(
        r"^# (.+)$", "".join(c.source + "\n" for c in nbformat.read(path, 4).cells), re.M
    ).group(1)


def navigation(path: Path) -> str:
    there = notebooks()
    i = there.index(path)
    links = []
    if i > 0:
        links.append(f"Previous: [{title_of(there[i - 1])}]({there[i - 1].name})")
    if i + 1 < len(there):
        name = there[i + 1].name  # on Colab a relative link leads nowhere
        links.append(f"Next: [{title_of(there[i + 1])}]({name}) ([on Colab]({COLAB}/{name}))")
    return "---\n" + " · ".join([*links, "[All notebooks](../README.md#the-notebooks)"])


def filled_in(path: Path, outputs: str | None = None) -> nbformat.NotebookNode:
    """The notebook, its shared cells made anew. `outputs`: where from (None: as before)."""
    notebook = nbformat.read(path, as_version=4)
    by_tag = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    was = re.search(r"\*Outputs below: (.*)\*$", by_tag["header"].source)
    outputs = outputs or (was.group(1) if was else NOT_RUN)
    by_tag["header"].source = f"{BADGES.format(name=path.name)}\n\n{OUTPUTS.format(outputs)}"
    by_tag["bootstrap"].source = BOOTSTRAP
    by_tag["navigation"].source = navigation(path)
    notebook.metadata = METADATA
    return notebook


def readme() -> str:
    """The README with its badges and its results table made anew."""
    text = README.read_text(encoding="utf-8")
    figures = HERE.parent / "figures"
    blocks = {
        "badges": BADGES.format(name=notebooks()[1].name) + "\n",  # 00 is for a room
        "beside dense": (figures / "beside_dense.md").read_text(encoding="utf-8"),
        "results": (figures / "slide6_results.md").read_text(encoding="utf-8"),
    }
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        text = text[: text.index(begin) + len(begin)] + block + text[text.index(end) :]
    return text


def run(path: Path, notebook: nbformat.NotebookNode, mode: str) -> tuple[float, int]:
    """Run it in place. Returns the seconds it took, and its kernel's peak memory in bytes."""
    os.environ |= {
        "DST_TUTORIAL_MODE": mode,
        "DST_TUTORIAL_UNATTENDED": "1",
        "TQDM_DISABLE": "1",
    }
    client = NotebookClient(
        notebook,
        timeout=7200,
        coalesce_streams=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
    )
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # it ended between the two looks at it
                peak[0] = max(
                    [peak[0], *map(peak_memory, psutil.Process().children(recursive=True))]
                )

    threading.Thread(target=watch, daemon=True).start()
    started = time.perf_counter()
    try:
        client.execute()
    finally:
        done.set()
    return time.perf_counter() - started, peak[0]


def peak_memory(process: psutil.Process) -> int:
    """Bytes: the high-water mark where the system keeps one (Linux), else what is held now."""
    status = Path(f"/proc/{process.pid}/status")
    mark = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(mark.group(1)) if mark else process.memory_info().rss


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Take out what a run leaves beside outputs: times, versions, widgets (pictures stay)."""
    notebook.metadata = METADATA
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            live = {"application/vnd.jupyter.widget-view+json", "application/javascript"}
            cell.outputs = [o for o in cell.outputs if live.isdisjoint(o.get("data", {}))]


@app.command()
def main(
    only: Annotated[
        list[str] | None, typer.Argument(help="Notebooks to run; all if none.")
    ] = None,
    check: Annotated[bool, typer.Option("--check")] = False,
    execute: Annotated[bool, typer.Option("--run")] = False,
    measure: Annotated[bool, typer.Option("--measure")] = False,
    mode: str = "class",
) -> None:
    stale = []

    def keep(path: Path, content: str) -> None:
        if content != path.read_text(encoding="utf-8"):
            stale.append(path.name)
            if not check:
                path.write_bytes(content.encode())

    for path in notebooks():
        if (execute or measure) and (not only or path.name in only):
            how = "demo" if measure else mode
            today = datetime.date.today().isoformat()
            note = f"`{how}` mode, made by `make notebooks` on {today}."
            notebook = filled_in(path, outputs=note)
            seconds, peak = run(path, notebook, how)
            print(
                f"{path.name}: {how} mode, {seconds:.0f} s, peak memory {peak / 1e6:,.0f} MB",
                flush=True,
            )
            if measure:
                continue
            tidy(notebook)
        else:
            notebook = filled_in(path)
        keep(path, nbformat.writes(notebook) + "\n")
    keep(README, readme())
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run `python notebooks/build.py`")
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
