"""The ledger: complete, up to date, and quick to complain."""

import json
import re
import shutil

import nbformat
import pytest
from typer.testing import CliRunner

from dst_tutorial.__main__ import app
from dst_tutorial.paths import figures_folder, results_folder
from dst_tutorial.show import checks, figures, gallery, markdown
from dst_tutorial.show.checks import ARTEFACT, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED
from dst_tutorial.show.claims import CLAIMS, complaints, judged, ledger
from dst_tutorial.studies import recorded, results
from dst_tutorial.studies.recorded import machine, record_timing, slide8

ROOT = figures_folder().parent


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """A copy of the result files that the ledger reads; `change(file, edit)` edits one."""
    folder = tmp_path / "results"
    shutil.copytree(results_folder(), folder)
    for module in (results, gallery, recorded):
        monkeypatch.setattr(module, "results_folder", lambda: folder)

    def change(name, edit):
        document = json.loads((folder / name).read_text())
        for run in document["runs"]:
            edit(run)
        (folder / name).write_text(json.dumps(document))

    return change


def test_every_claim_has_the_verdict_that_the_prose_relies_on_and_the_file_is_up_to_date():
    rows = judged()
    assert not complaints(rows)
    assert (figures_folder() / "claims.md").read_text(encoding="utf-8") == ledger(rows), "run `make figures`"


def test_every_number_on_the_slides_has_a_row():
    claimed = {word.strip("(),") for claim in CLAIMS for word in (claim.claimed, *claim.claimed.split())}
    for number in ("95%", "1.3M", "65K", "5%", "60K", "10K", "16", "32", "every 2 epochs", "98.98%", "96.71%", "0.0449",
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


def slower_csr(run, factor=3):
    for row in run["rows"]:
        if row["method"] == "torch CSR":
            row["times_ms"] = [factor * t for t in row["times_ms"]]


def faster_csr(run):
    slower_csr(run, 1 / 3)


@pytest.mark.parametrize(
    ("file", "edit", "about"),
    [
        ("slides.json", lower_accuracy, "test accuracy, dense"),
        ("slides.json", fewer_images, "training and test images"),
        ("slides.json", fewer_epochs, "epochs, sparsity"),
        ("slides.json", other_loss, "test loss, Dense"),
        ("slides.json", slow_start, "after epochs 1 to 5"),
        ("benchmark.json", slower_csr, "CSR against Dense"),
        ("benchmark.json", faster_csr, "CSR against Dense"),
    ],
)
def test_another_result_is_a_complaint(own_results, file, edit, about):
    own_results(file, edit)
    assert any(about in complaint for complaint in complaints(judged()))


def test_the_command_fails_on_any_change_of_a_result_file_and_leaves_the_ledger(own_results, tmp_path):
    out = tmp_path / "claims.md"
    done = CliRunner().invoke(app, ["claims", "--out", str(out)])
    assert (done.exit_code, out.exists()) == (0, True)
    before = out.read_bytes()
    rows = json.loads(CliRunner().invoke(app, ["claims", "--out", str(out), "--json"]).stdout)["claims"]
    assert [(row["claim"], row["claimed"], row["where"]) for row in rows] == [
        (claim.what, claim.claimed, claim.where) for claim in CLAIMS
    ]
    assert all(row["verdict"] == row["expected"] and row["measured"] for row in rows)

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


def with_gpu(run, slower=1.5):
    """Add a GPU's rows: Dense+Mask in 0.6 ms, CSR so much slower."""
    for row in list(run["rows"]):
        if row["method"] in ("Dense+Mask", "torch CSR"):
            time = 0.6 if row["method"] == "Dense+Mask" else 0.6 * slower
            run["rows"].append({**row, "device": "cuda", "times_ms": [time] * 5})
    run["provenance"]["gpu"] = "a GPU"


def test_a_recorded_gpu_is_found_and_the_prose_is_asked_to_say_so(own_results):
    own_results("benchmark.json", with_gpu)
    found = checks.gpu_ratio()
    assert (found.measured, found.verdict, found.hardware) == ("1.50 times", REPRODUCED, "a GPU")
    assert checks.gpu_time("Dense+Mask")().measured.startswith("0.60 [")
    assert len([c for c in complaints(judged()) if "where the notebooks say not measured" in c]) == 3
    assert "GPU: a GPU;" in figures.timing_line(slide8())
    (row,) = (row for row in figures.slide8_rows(slide8()) if row[""] == "torch CSR (GPU)")
    assert row["slides: ms"] == "1.04"
    assert "0.90 [0.90, 0.90]" in row.values()


def test_other_work_does_not_mix_and_another_machine_has_columns_of_its_own(own_results):
    kept, run = figures.slide8_rows(slide8()), slide8()[0]
    for other in ({"sparsity": 0.99}, {"case": "lenet-300-100"}, {"batch": 1}, {"work": "training step"}):
        record_timing("benchmark", {**run, **other})
    assert figures.slide8_rows(slide8()) == kept
    another = run["provenance"] | {"cpu": "Another Processor", "date": "1999-01-01"}
    record_timing("benchmark", {**run, "provenance": another})
    rows = figures.slide8_rows(slide8())
    mine = f"{machine(run)}, "  # told apart now
    assert [
        {name.removeprefix(mine): told for name, told in row.items() if not name.startswith("Another, ")}
        for row in rows
    ] == kept
    assert any(name.startswith("Another, ") for name in rows[0])


def test_a_benchmark_without_onnx_runtime_has_no_such_row(own_results):
    own_results("benchmark.json", lambda run: run.update(rows=[r for r in run["rows"] if "ONNX" not in r["method"]]))
    assert "ONNX" not in markdown(figures.slide8_rows(slide8()))
