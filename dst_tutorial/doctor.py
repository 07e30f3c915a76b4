"""Is this machine ready for the tutorial? Each check says what it found, and how to mend it if that is not enough."""

import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from packaging.requirements import Requirement

from .kernels import keeps_compiled, numba_fault
from .paths import data_folder, figures_folder
from .training import is_cached


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    found: str
    mend: str = ""  # what to do, where it is not ok


def jupyter_path(*below: str) -> list[str]:
    """Where Jupyter looks for its files; nowhere, if there is no Jupyter."""
    try:
        from jupyter_core import paths
    except ModuleNotFoundError:
        return []
    return paths.jupyter_path(*below)


def examine() -> list[Finding]:
    """All findings, in the order of a set-up. On Colab, whose Jupyter is its own, that is not looked at."""
    jupyter = () if _on_colab() else (_kernel, _widgets)
    return [
        finding
        for check in (_python, _packages, _numba, *jupyter, _data, _gpu, _writing, _published)
        for finding in check()
    ]


def _on_colab() -> bool:
    return "COLAB_RELEASE_TAG" in os.environ


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer; `make setup` again")


def _packages() -> Iterator[Finding]:
    try:
        needed = importlib.metadata.requires("dst-tutorial") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("package dst-tutorial", False, "not installed", "`pip install -e .` in the checkout")
        return
    for requirement in map(Requirement, needed):
        if requirement.name == "dst-tutorial" or not _is_wanted(requirement):
            continue
        name = requirement.name
        try:
            found = importlib.metadata.version(name)
            ok = requirement.specifier.contains(found, prereleases=True)
        except importlib.metadata.PackageNotFoundError:
            found, ok = "missing", False
        yield Finding(f"package {name}", ok, found, f'`pip install "{name}{requirement.specifier}"`, or `make setup`')


def _is_wanted(requirement: Requirement) -> bool:
    extra = "" if _on_colab() else "notebooks"
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _numba() -> Iterator[Finding]:
    if fault := numba_fault():
        what, _, mend = fault.rpartition(": ")
        yield Finding("fast kernels", False, what, f"{mend}; until then truly sparse layers are slow")
        return
    yield Finding("fast kernels", True, "numba compiles them")
    kept = "at hand for the next process" if keeps_compiled() else "compiled anew by every process, half a minute"
    yield Finding("compiled code", keeps_compiled(), kept, "set NUMBA_CACHE_DIR to a folder that can be written")


def _kernel() -> Iterator[Finding]:
    specs = [Path(folder) / "python3" / "kernel.json" for folder in jupyter_path("kernels")]
    spec = next((spec for spec in specs if spec.exists()), None)
    mend = "`python -m ipykernel install --sys-prefix`, with the Python that has this package"
    if spec is None:
        yield Finding("kernel python3", False, "missing", mend)
        return
    python = json.loads(spec.read_text())["argv"][0]
    # Not resolved: a virtual environment's python is a link to the base one, which lacks the packages.
    mine = python in ("python", "python3") or os.path.abspath(python) == os.path.abspath(sys.executable)
    yield Finding("kernel python3", mine, f"{spec.parent} runs {python}", mend)


def _widgets() -> Iterator[Finding]:
    name = "@jupyter-widgets/jupyterlab-manager"
    there = any((Path(folder) / "labextensions" / name).exists() for folder in jupyter_path())
    there = there or any((Path(folder) / name).exists() for folder in jupyter_path("labextensions"))
    yield Finding("widgets", there, "the JupyterLab extension" if there else "missing", "`pip install ipywidgets`")


def _data() -> Iterator[Finding]:
    full = is_cached()
    found = f"MNIST in {data_folder()}" if full else "only the shipped sample"
    yield Finding("data", full, found, "`python -m dst_tutorial data` with a network; until then the sample serves")


def _gpu() -> Iterator[Finding]:
    there = torch.cuda.is_available()
    yield Finding("gpu", True, torch.cuda.get_device_name() if there else "none (none is needed)")


def _writing() -> Iterator[Finding]:
    places: list[tuple[str, Callable[[], Path], str]] = [
        ("data folder", data_folder, "set DST_TUTORIAL_DATA to a folder that can be written"),
        ("figures", figures_folder, "run it in a folder that can be written"),
    ]
    for name, place, mend in places:
        folder = place()
        while not folder.exists():  # what would be made is made there
            folder = folder.parent
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
            yield Finding(f"write to {name}", True, str(folder))
        except OSError as error:
            yield Finding(f"write to {name}", False, f"{folder}: {error.strerror}", mend)


def _published() -> Iterator[Finding]:
    urls = importlib.metadata.metadata("dst-tutorial").get_all("Project-URL") or []
    found = next((url.partition(", ")[2] for url in urls if url.startswith("Repository")), "not named")
    if "/OWNER/" in found:
        found += ": a placeholder, so badges lead nowhere; name the repository in pyproject.toml"
    yield Finding("repository", True, found)
