"""The project's own promises: imports run one way, the lists of packages agree, no name is written twice."""

import ast
import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
import yaml
from conftest import make_dataset
from packaging.requirements import Requirement

from dst_tutorial.training.models import LeNet300100

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


PACKAGE = ROOT / "dst_tutorial"
INIT = (PACKAGE / "__init__.py").read_text()


def the_map():
    """The package's own first lines, the lowest first: a list of (names, what they are)."""
    import dst_tutorial

    lines = re.findall(r"^    (\w+(?:, \w+)*)\s{2,}(\S.*)", dst_tutorial.__doc__, re.M)
    return [(names.split(", "), told) for names, told in lines]


def module_of(path):
    """Its dotted name below the package, as a tuple: ("layers", "sparse"); a folder's own is that of its face."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def import_lines(path, *, late=True):
    """(what stands behind `from`, a name) of every import from the package itself; not those inside functions, if not
    `late`. Absolute, as tuples below the package."""
    tree = ast.parse(path.read_text())
    here = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else ()))
            yield from ((base, alias.name) for alias in node.names)


def imports_of(path, **options):
    """The package's own modules that a file imports: set of tuples."""
    found = set()
    for base, name in import_lines(path, **options):
        module = PACKAGE.joinpath(*base, name)
        found.add((*base, name) if module.with_suffix(".py").exists() or module.is_dir() else base)
    return found - {()}  # the version


FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
LATE = {("kernels", "cpu")}  # numba takes a second to import, and need not be there: not through the face


def test_the_map_is_the_tree():
    """Ten lines, and everything in the package stands on one of them."""
    assert len(the_map()) == 10
    listed = [name for names, _ in the_map() for name in names]
    entries = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert sorted(listed) == sorted(entries)


def test_folders_import_only_those_above_them():
    floor = {name: i for i, (names, _) in enumerate(the_map()) for name in names}
    for path in FILES:
        mine = module_of(path)[0]
        for imported in imports_of(path):
            assert floor[imported[0]] <= floor[mine], f"{path} imports {'.'.join(imported)}, which stands below it"


def test_folders_know_each_other_by_their_faces():
    """What another folder has is imported from its `__init__.py`, which says what it hands on."""
    for path in FILES:
        for base, name in import_lines(path):
            if base and base[0] != module_of(path)[0] and base not in LATE:
                assert len(base) == 1, f"{path} reaches into {'.'.join(base)} for {name}"
                face = PACKAGE / base[0] / "__init__.py"
                if face.exists():
                    assert name in {given for _, given in import_lines(face)}, f"{base[0]} does not hand on {name}"


def test_notebooks_and_documents_import_from_faces():
    """Never from the depth of a folder; modules of the ground have none."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("*/*.ipynb"), *ROOT.glob("notebooks/*.md"), *ROOT.glob("*/*.py")]
    imported = {
        (path.name, name)
        for path in documents
        if path.parts[-2] not in ("tests", "dst_tutorial")
        for name in re.findall(r"(?:from|import) (dst_tutorial[\w.]*)", path.read_text())
    }
    assert len(imported) > 20
    for document, name in imported:
        assert name.count(".") <= 1, f"{document} reaches into {name}"


def test_files_that_are_named_are_there():
    """In docstrings and documents, which a move would leave behind."""
    there = {path.name for folder in (PACKAGE, ROOT / "tests") for path in folder.rglob("*.py")}
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("notebooks/*.ipynb")]:
        for name in re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", path.read_text()):
            assert name in there or (ROOT / name).exists(), f"{path} names {name}"
        for name in re.findall(r"`((?:dst_tutorial|tests)/[\w/]+\.py)`", path.read_text()):
            assert (ROOT / name).exists(), f"{path} names {name}"
    kernels = {path.name for path in PACKAGE.glob("kernels/*.py")} - {"__init__.py"}
    assert kernels == set(re.findall(r"`(\w+\.py)`", (PACKAGE / "kernels" / "README.md").read_text()))


def test_no_modules_import_each_other():
    graph = {module_of(path): imports_of(path, late=False) - {module_of(path)} for path in FILES}
    assert list(TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_the_engine_imports_no_layer():
    """Nor does anything that it imports."""
    reached, todo = set(), {("topology", "engine")}
    while todo:
        module = todo.pop()
        reached.add(module)
        todo |= imports_of(PACKAGE.joinpath(*module).with_suffix(".py")) - reached
    assert {module[0] for module in reached} == {"topology", "choices", "positions", "randomness"}
    assert {module[-1] for module in reached} == {"engine", "rules", "interrupts", "choices", "positions", "randomness"}


def test_a_growth_rule_added_by_the_documentations_example_trains():
    """CONTRIBUTING's block as it stands there, in under 15 lines; then a recipe's run by its name."""
    from dst_tutorial.topology import algorithms, rules
    from dst_tutorial.training.by_recipe import train
    from dst_tutorial.training.recipes import RECIPES

    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert len(block.strip().splitlines()) < 15
    tables = rules.GROW, algorithms.ALGORITHMS
    before = [dict(table) for table in tables]
    try:
        exec(block, {})
        (_,), (name,) = (table.keys() - old.keys() for table, old in zip(tables, before, strict=True))
        recipe = replace(RECIPES["erk-rigl"], algorithm=name, topology={"update_interval": 2})
        run = train(recipe, make_dataset(), network=LeNet300100, epochs=50, progress=False)
    finally:
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)
    assert len(run.history.snapshots) > 5
    assert run.history.epochs[-1].test_accuracy > 80
    assert len({sum(m.active for m in s.masks.values()) for s in run.history.snapshots}) == 1


def test_conda_and_pip_ask_for_the_same():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["channels"] == ["conda-forge"]
    *specs, from_pypi = conda["dependencies"]
    listed = {re.split(r"[=>]", spec)[0]: spec for spec in specs + from_pypi["pip"]}
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    for requirement in map(Requirement, project["dependencies"] + extras["notebooks"] + extras["bench"]):
        name = {"torch": "pytorch-cpu"}.get(requirement.name, requirement.name)
        assert listed[name] == f"{name}{requirement.specifier}"


def test_the_compiled_requirements_satisfy_the_project():
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert re.match(r"[\w.-]+==", line), f"not a plain pin: {line}"
        pins.setdefault(Requirement(line).name, []).append(Requirement(line))
    project = PYPROJECT["project"]
    for requirement in map(Requirement, project["dependencies"] + project["optional-dependencies"]["test"]):
        if requirement.name != project["name"]:
            versions = [next(iter(pin.specifier)).version for pin in pins[requirement.name]]
            assert all(requirement.specifier.contains(v) for v in versions)


def test_versions_agree():
    import dst_tutorial

    assert dst_tutorial.__version__ == PYPROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]


def tracked_text():
    try:
        names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in names:
        if (ROOT / name).exists() and not name.endswith((".png", ".gif", ".gz", ".npz", ".safetensors")):
            yield name, (ROOT / name).read_text()


def test_the_repository_is_named_in_one_place():
    """Beside pyproject.toml only what is generated from it (notebooks, and the README's badges) may name it."""
    slug = PYPROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    named = {name for name, content in tracked_text() if slug in content}
    assert named <= {"pyproject.toml", "README.md"} | {n for n in named if n.endswith(".ipynb")}


@pytest.mark.parametrize(
    ("imported", "package"),
    [
        *itertools.product(
            ["dst_tutorial", "dst_tutorial.teaching", "dst_tutorial.__main__"],
            ["numpy", "platformdirs", "safetensors", "torch", "tqdm"],
        ),
        ("dst_tutorial.teaching", "IPython"),
        ("dst_tutorial.teaching", "ipywidgets"),
    ],
)
def test_a_missing_package_is_named_with_its_mend(package, imported):
    code = f"import sys; sys.modules[{package!r}] = None; import {imported}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"dst_tutorial needs the package {package!r}" in done.stderr.splitlines()[-1]
    assert "make setup" in done.stderr


def test_what_is_needed_is_all_that_the_stable_names_import():
    """So no other package can be missing when they are used."""
    code = (
        "import sys, dst_tutorial; before = set(sys.modules); from dst_tutorial import *; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    imported = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    needed = {Requirement(line).name for line in PYPROJECT["project"]["dependencies"]}
    told = set(re.findall(r'"(\w+)"', re.search(r"^require\((.*?)\)", INIT, re.M).group(1)))
    assert imported & needed == told


def test_the_stable_names_are_all_there():
    import dst_tutorial

    assert set(dst_tutorial.__all__) <= set(dir(dst_tutorial))
    for name in dst_tutorial.__all__:
        assert getattr(dst_tutorial, name).__name__ == name
    assert not hasattr(dst_tutorial, "another")


def test_the_readme_shows_the_generated_table_and_badges():
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- results -->\n(.*?)<!-- end results -->", readme, re.S).group(1)
    assert shown == (ROOT / "figures" / "slide6_results.md").read_text()
    slug = PYPROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    assert f"colab.research.google.com/github/{slug}/blob/v{PYPROJECT['project']['version']}/notebooks/" in readme
    assert f"mybinder.org/v2/gh/{slug}/v{PYPROJECT['project']['version']}?urlpath" in readme
    for target in re.findall(r"\]\((?!http)([^)#]+)", readme):
        assert (ROOT / target).exists(), target
    listed = re.findall(r"notebooks/(\d\d_\w+\.ipynb)\) \|", readme)
    assert listed == sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))


def test_the_readmes_ten_lines_run(monkeypatch):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    assert len(code.splitlines()) <= 10
    monkeypatch.setattr("dst_tutorial.load_mnist", make_dataset)
    exec(compile(code, "README.md", "exec"), {})


def test_the_readmes_own_loop_runs(monkeypatch):
    first, loop = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(loop.splitlines()) <= 10
    monkeypatch.setattr("dst_tutorial.load_mnist", make_dataset)
    data = make_dataset()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data.train_images, data.train_labels), batch_size=8
    )
    names = {"epochs": 3, "loader": loader}
    exec(compile(first, "README.md", "exec"), names)
    exec(compile(loop, "README.md", "exec"), names)
    assert names["engine"].updates == 3  # 96 steps: at 20, 40, 60
    assert names["loss"] < 0.5


def test_the_blocks_of_using_run_and_average_by_position():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "USING.md").read_text(), re.S)
    names = {}
    for block in blocks:
        exec(compile(block, "USING.md", "exec"), names)
    assert names["engine"].updates == 4
    values = {id(layer.values) for layer in names["sparse_layers"](names["model"]).values()}
    assert values <= {id(p) for p in names["optimizer"].param_groups[0]["params"]}
    x = torch.randn(3, 64)
    for other in (names["traced"], names["for_onnx"], names["averaged"]):  # which has averaged once
        torch.testing.assert_close(other(x), names["model"](x))

    model, means, seen = names["model"], {}, {}
    engine = names["RigL"](model, names["optimizer"], update_interval=2, duration=40)
    for _ in range(20):
        names["optimizer"].zero_grad()
        model(torch.randn(16, 64)).square().mean().backward()
        engine.step()
        names["average"](means, model)
        now = dict(zip(model[0].active_positions().tolist(), model[0].active_values().tolist(), strict=True))
        seen = {at: 0.99 * seen[at] + 0.01 * value if at in seen else value for at, value in now.items()}
    positions, mean = means["0"]
    assert positions.tolist() == list(seen)
    torch.testing.assert_close(mean, torch.tensor(list(seen.values())))


def test_make_lab_serves_a_folder_whose_path_has_a_space(tmp_path):
    place = tmp_path / "my own" / "dst tutorial"
    place.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, place)
    shown = subprocess.run(["make", "--dry-run", "lab"], cwd=place, capture_output=True, text=True)
    (command,) = [line for line in shown.stdout.splitlines() if "jupyter lab" in line]
    assert f"--ServerApp.root_dir={place}" in shlex.split(command)


def test_make_lab_serves_the_whole_checkout():
    """The notebooks' pictures and links lead to ../figures and ../README.md."""
    shown = subprocess.run(["make", "--dry-run", "lab"], cwd=ROOT, capture_output=True, text=True).stdout
    (command,) = [line for line in shown.splitlines() if "jupyter lab" in line]
    assert f"--ServerApp.root_dir={ROOT}" in shlex.split(command)
    assert command.endswith(" notebooks/01_sparsity_basics.ipynb")


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_calls_what_there_is(workflow):
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("make ")]
    assert commands
    for command in commands:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_workflow_runs_the_readmes_command_on_every_python():
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert "make test" in (ROOT / "README.md").read_text()
    assert "make test TORCH=cpu" in [step.get("run") for step in job["steps"]]
