"""The ledger: complete, up to date, and quick to complain."""

import json
import re
import shutil

import nbformat
import pytest
from typer.testing import CliRunner

from dst_tutorial import benchmark, claims, experiments, figures
from dst_tutorial.__main__ import app
from dst_tutorial.claims import ARTEFACT, CLAIMS, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, ledger
from dst_tutorial.paths import figures_folder, results_folder

ROOT = figures_folder().parent


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """A copy of the result files that the ledger reads; `change(file, edit)` edits one."""
    folder = tmp_path / "results"
    shutil.copytree(results_folder(), folder)
    for module in (experiments, figures):
        monkeypatch.setattr(module, "results_folder", lambda: folder)

    def change(name, edit):
        document = json.loads((folder / name).read_text())
        for run in document["runs"]:
            edit(run)
        (folder / name).write_text(json.dumps(document))

    return change


def test_every_claim_has_the_verdict_that_the_prose_relies_on_and_the_file_is_up_to_date():
    text, complaints = ledger()
    assert not complaints
    assert (figures_folder() / "claims.md").read_text(encoding="utf-8") == text, "run `make figures`"


def test_every_number_on_the_slides_has_a_row():
    claimed = " ".join(claim.claimed for claim in CLAIMS)
    for number in ("95%", "1.3M", "65K", "5%", "60K", "10K", "16, 32", "2 epochs", "98.98%", "96.71%", "0.0449",
                   "0.0992", "-2.27", "0.68 ms", "25.03 ms", "1351.50 ms", "1.04 ms", "1.53 times"):  # fmt: skip
        assert number in claimed
    assert {slide for claim in CLAIMS for slide in re.findall(r"\d+", claim.slide)} == {str(n) for n in range(1, 11)}
    assert {claim.expected for claim in CLAIMS} == {REPRODUCED, NOT_REPRODUCED, ARTEFACT, NOT_MEASURED}
    energy = next(claim for claim in CLAIMS if claim.what == "energy")
    assert energy.find().verdict == NOT_MEASURED


def test_what_the_ledger_points_at_is_there():
    """Notebook and section of every row exist."""
    for claim in CLAIMS:
        number, section = claim.where.split(", ", 1)
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        prose = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")
        assert re.search(rf"^## {re.escape(section)}$", prose, re.M), claim.where


def lower_accuracy(run):
    run["summary"]["test_accuracy"] -= 1


def fewer_images(run):
    run["summary"]["train_size"] = 6_000


def fewer_epochs(run):
    run["summary"]["epochs"] = 9


def other_loss(run):
    run["summary"]["test_loss"] *= 2


def slow_start(run):
    run["epochs"][0]["test_accuracy"] = 70


def slow_csr(run):
    for row in run["rows"]:
        if row["method"] == "torch CSR":
            row["times_ms"] = [60 * t for t in row["times_ms"]]


@pytest.mark.parametrize(
    ("file", "edit", "about"),
    [
        ("slides.json", lower_accuracy, "test accuracy, dense"),
        ("slides.json", fewer_images, "training and test images"),
        ("slides.json", fewer_epochs, "epochs, sparsity"),
        ("slides.json", other_loss, "test loss, Dense"),
        ("slides.json", slow_start, "after epochs 1 to 5"),
        ("benchmark.json", slow_csr, "CSR against Dense"),
    ],
)
def test_another_result_is_a_complaint(own_results, file, edit, about):
    own_results(file, edit)
    assert any(about in complaint for complaint in ledger()[1])


def test_the_command_fails_on_any_change_of_a_result_file_and_leaves_the_ledger(own_results, tmp_path):
    out = tmp_path / "claims.md"
    done = CliRunner().invoke(app, ["claims", "--out", str(out)])
    assert (done.exit_code, out.exists()) == (0, True)
    before = out.read_bytes()

    def a_little(run):
        run["summary"]["test_accuracy"] += 0.001

    own_results("slides.json", a_little)
    done = CliRunner().invoke(app, ["claims", "--out", str(out), "--json"])
    assert done.exit_code == 1
    assert "results/slides.json changed since the figures were drawn" in json.loads(done.stdout)["complaints"][0]
    assert out.read_bytes() == before

    own_results("slides.json", lower_accuracy)
    done = CliRunner().invoke(app, ["claims", "--out", str(out)])
    assert done.exit_code == 1
    assert "where the notebooks say reproduced" in done.stdout
    assert out.read_bytes() == before


def test_a_recorded_gpu_asks_for_its_findings(own_results):
    """The GPU's rows say "not measured": with a GPU's times at hand they would be wrong."""
    own_results("benchmark.json", lambda run: run["rows"].append({**run["rows"][0], "device": "cuda"}))
    with pytest.raises(NotImplementedError, match="write the finding"):
        claims.no_gpu()
    assert benchmark.ON_GPU
