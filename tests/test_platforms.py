"""Where readers run the notebooks with nothing installed: Colab, simulated, and Binder, parsed but not built.

The Colab here is a Python 3.12 with the packages that the real one brings, in an empty folder with no checkout. Skipped
where uv finds no Python 3.12, unless DST_REQUIRE_COLAB is set (CI sets it). One notebook is run whole; all of them with
DST_COLAB_NOTEBOOKS=all.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SHORTEST = ROOT / "notebooks" / "02_masked_layers.ipynb"
CHOSEN = NOTEBOOKS if os.environ.get("DST_COLAB_NOTEBOOKS") == "all" else [SHORTEST]

# As Colab's public list (googlecolab/backend-info) had them in June 2026: often older than ours, Jupyter's by years.
COLAB = {
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "ipywidgets": "7.7.1",
    "joblib": "1.5.3",
    "matplotlib": "3.10.0",
    "numba": "0.60.0",
    "numpy": "2.0.2",
    "packaging": "26.2",
    "pip": "24.1.2",
    "platformdirs": "4.10.0",
    "psutil": "5.9.5",
    "py-cpuinfo": "9.0.0",
    "safetensors": "0.7.0",
    "scipy": "1.16.3",
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "tqdm": "4.67.3",
    "typer": "0.25.1",
}
LARGE = ("torch", "torchvision")  # gigabytes: in the pinned versions, whose CUDA packages uv has at hand


def run(*command, timeout, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, **options)
    done.said = done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what git tracks, or would: neither a build nor a reader's leftovers may touch the checkout, or help."""
    listed = run("git", "ls-files", "-zco", "--exclude-standard", timeout=60, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("source")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # not deleted since
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


# --- Colab ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def colab(tmp_path_factory, source):
    """A fresh Colab machine: its python, its site-packages, its empty folder, and its environment variables."""
    root, content = tmp_path_factory.mktemp("colab"), tmp_path_factory.mktemp("content")
    # Without PYENV_VERSION a python3.12 that is pyenv's shim only says that it was not chosen.
    uv = {"timeout": 600, "env": {**os.environ, "PYENV_VERSION": "3.12"}}
    made = run(sys.executable, "-m", "uv", "venv", "--no-python-downloads", "--python", "3.12", root / "venv", **uv)
    if made.returncode and not os.environ.get("DST_REQUIRE_COLAB"):
        pytest.skip(f"no Python 3.12 for Colab: {made.stderr.strip()}")
    assert made.returncode == 0, made.said

    python = root / "venv" / "bin" / "python"
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.split("==")[0] in LARGE]
    pins += [f"{name}=={version}" for name, version in COLAB.items() if name not in LARGE]
    filled = run(sys.executable, "-m", "uv", "pip", "install", "--python", python, *pins, **uv)
    assert filled.returncode == 0, filled.said

    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"DST_TUTORIAL_SOURCE": str(source), "DST_TUTORIAL_MODE": "demo", "OMP_NUM_THREADS": "1"}
    [site] = root.glob("venv/lib/python3*/site-packages")
    yield SimpleNamespace(python=python, site=site, content=content, env=env)
    shutil.rmtree(root)  # gigabytes, where uv could not link them


def installed(site):
    """What is installed, and when: the name of every record of an installation (with its version) -> its time."""
    return {path.parent.name: path.stat().st_mtime_ns for path in site.glob("*.dist-info/RECORD")}


@pytest.fixture(scope="module")
def bootstrapped(colab):
    """The notebooks' first code cell, run on the fresh machine, and what was installed before. No two cells differ."""
    [cell] = [c for c in nbformat.read(SHORTEST, 4).cells if "bootstrap" in c.metadata.get("tags", [])]
    facts = "\nimport dst_tutorial.paths as p\nprint(p.__file__)\nprint(p.results_folder())"
    before = installed(colab.site)
    done = run(colab.python, "-c", cell.source + facts, timeout=300, cwd=colab.content, env=colab.env)
    assert done.returncode == 0, done.said
    return done, before


def test_the_bootstrap_installs_the_package_with_its_results(colab, bootstrapped, source):
    done, _ = bootstrapped
    told, *_, module, results = done.stdout.splitlines()
    assert re.match(r"dst_tutorial \d\S*, torch \d", told)
    assert Path(module).parent == colab.site / "dst_tutorial"
    assert Path(results) == colab.site / "dst_tutorial" / "results"
    assert set(os.listdir(results)) == set(os.listdir(source / "figures" / "results"))
    assert not list(colab.content.iterdir())


def test_the_bootstrap_leaves_torch_numpy_and_all_else_alone(colab, bootstrapped):
    _, before = bootstrapped
    assert {name.split("-")[0] for name in before} >= {"torch", "torchvision", "numpy"}
    after = installed(colab.site)
    assert {name: after.get(name) for name in before} == before


def test_what_colab_has_is_new_enough():
    """Also torch, of which the simulated Colab has a newer one than the real one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert not {name: str(needed[name]) for name in needed if name in COLAB and COLAB[name] not in needed[name]}


@pytest.mark.parametrize("path", CHOSEN, ids=lambda p: p.stem)
def test_a_notebook_runs_with_no_checkout(colab, bootstrapped, tmp_path, path):
    """Its cells assert its facts, those from the recorded results, too; here only that pictures are seen."""
    spec = {"argv": [str(colab.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Colab"}
    (tmp_path / "colab").mkdir()
    (tmp_path / "colab" / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    kernels = KernelSpecManager(kernel_dirs=[str(tmp_path)])
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    kernel = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=kernels)
    NotebookClient(notebook, km=kernel, timeout=300).execute(cwd=str(colab.content), env=colab.env)

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    assert sum(page.count('<img alt="') for page in pages) >= 3
    assert not list(colab.content.iterdir())


# --- Binder -----------------------------------------------------------------------------------------------------------


def test_binder_takes_the_conda_environment_and_runs_post_build(source):
    """repo2docker would fall back to requirements.txt, or to another Python, where it cannot read environment.yml."""
    done = run(sys.executable, "-m", "repo2docker", "--no-build", "--debug", ".", timeout=120, cwd=source)
    assert done.returncode == 0, done.said
    conda = yaml.safe_load((source / "environment.yml").read_text())
    [python] = [spec for spec in conda["dependencies"] if str(spec).startswith("python=")]
    assert f"Building conda environment for {python}" in done.said
    dockerfile = done.stdout
    assert re.search(r'MAMBA_EXE\} env update .*--file "environment\.yml"', dockerfile)
    assert "requirements.txt" not in dockerfile
    assert "RUN ./postBuild" in dockerfile.splitlines()
    assert os.access(ROOT / "postBuild", os.X_OK)
