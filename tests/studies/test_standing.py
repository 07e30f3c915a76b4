"""Who stands where, from made-up results: the rule looks at held-out examples alone, and gaps are paired."""

import json
import shutil
import statistics

import pytest
from conftest import record_made_up_regimes
from matplotlib.figure import Figure

from dst_tutorial import paths
from dst_tutorial.show.figures import where
from dst_tutorial.studies import regimes, results, standing
from dst_tutorial.studies.regimes import FINAL, REGIMES, winner
from dst_tutorial.studies.standing import COLUMNS, DST, champions, in_regime, standings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All families, as if recorded."""
    return record_made_up_regimes(tmp_path_factory.mktemp("results"))


@pytest.fixture(autouse=True)
def recorded(folder, monkeypatch):
    for module in (results, standing):
        monkeypatch.setattr(module, "results_folder", lambda: folder)


def test_a_column_is_of_the_best_on_held_out_examples_and_never_on_test_images():
    found = champions("noise", REGIMES["noise"][3])
    assert {column: side.name for column, side in found.items()} == {
        "dense": "dense",
        "small dense": "small dense",
        "static mask": "static mask",
        DST: "RigL, L1",
        "remedy": "random forest",
    }
    assert set(champions("classes", REGIMES["classes"][0])) == set(COLUMNS) - {"remedy"}


@pytest.mark.parametrize("family", REGIMES)
def test_everybody_has_a_run_a_seed_at_each_sparsity(family):
    for regime in REGIMES[family]:
        for sparsity in (None,) if regime.state else regime.sparsities:
            everybody = in_regime(family, regime, sparsity)
            assert tuple(everybody) == regime.contenders
            for side in everybody.values():
                assert sorted(side.by_seed) == list(FINAL)
                assert len(side.runs) == len(FINAL)
                assert (side.seconds, side.bytes) == (3.0, 4000)


def test_within_bytes_a_run_counts_in_the_regime_that_chose_it():
    for regime in REGIMES["memory"]:
        tuned = regimes.tuned(results.load_results("memory-tuning"))
        for name, side in in_regime("memory", regime).items():
            assert {run["config"]["sparsity"] for run in side.runs} == {winner(tuned, name, regime).sparsity}


def test_gaps_are_paired_by_seed():
    row = next(row for row in standings() if row.family == "noise")
    gap = row.gap("dense")
    assert gap.mean == pytest.approx(65 - 70, abs=0.01)
    assert gap.low == pytest.approx(gap.high, abs=0.02)  # nearly the same jitter on both sides
    assert gap.verdict == "less"
    assert set(row.gaps) == {"dense", "small dense", "static mask", "remedy"}


def test_what_was_measured_before_is_quoted_as_it_stands():
    rows = {row.told: row for row in standings() if row.family == "elsewhere"}
    assert len(rows) == 6
    weights = rows["MNIST, the slides' network, 95%"]
    runs = [r for r in results.load_results("frontier")["runs"]
            if (r["config"]["recipe"]["name"], r["config"]["sparsity"]) == ("modern", 0.95)]  # fmt: skip
    assert weights.sides[DST].accuracy == statistics.mean(r["summary"]["test_accuracy"] for r in runs)
    seconds = rows["the same in as many seconds, 95%"]
    assert seconds.sides["small dense"].seconds <= seconds.sides[DST].seconds


def test_the_map_has_at_least_eight_regimes_and_a_row_each():
    rows = standings()
    assert len(rows) == sum(map(len, REGIMES.values())) + 6
    assert len({row.told for row in rows}) == len(rows)
    assert sum(row.on_map for row in rows) >= 8
    table = where.map_rows(rows)
    assert [line["regime"] for line in table] == [row.told for row in rows]
    for line in table:
        for column in set(COLUMNS) - {DST, "remedy"}:
            assert line[column] == "–" or ("[" in line[column] and " w, " in line[column])


def test_all_families_of_the_map_are_recorded(monkeypatch):
    for module in (results, standing):
        monkeypatch.setattr(module, "results_folder", paths.results_folder)
    assert standing.families_recorded() == list(REGIMES)


def test_on_all_of_mnist_the_margin_is_that_of_the_other_tables():
    margins = {row.told: row.margin for row in standings()}
    assert {m for told, m in margins.items() if "60,000 images" in told} == {0.15}
    assert {m for told, m in margins.items() if told.startswith("MNIST,") and "MB" in told} == {0.15}
    assert {m for told, m in margins.items() if "MNIST-1D" in told or "noise" in told} == {1.0}


def test_its_pictures_draw_and_tell():
    drawn = where.where_sparse_wins()
    assert isinstance(drawn, Figure)
    assert drawn.get_size_inches()[1] <= 7.5
    assert "minus random forest" in drawn.get_label()
    assert "RigL" in where.accuracy_by_noise(0.95).get_label()
    assert "60,000 images: RigL" in where.accuracy_by_length().get_label()
    assert "% at 16; " in where.accuracy_by_memory().get_label()
    assert "LeNet-300-100: RigL, uniform 60.0% at 81.25%" in where.accuracy_by_structure().get_label()
    assert "RigL: 50% read pixels, 10% at the start" in where.pixels_read().get_label()
    for family in REGIMES:
        rows = where.contender_rows(family)
        assert len({tuple(row.items()) for row in rows}) == len(rows)
    wide = {row["contender"]: row["beside"] for row in where.contender_rows("memory") if "MNIST, 1 MB" in row["regime"]}
    assert wide["small dense"] == "as many bytes"
    assert "x as wide" in wide["RigL"]


def test_what_is_not_recorded_is_not_on_the_map(folder, monkeypatch, tmp_path):
    for file in folder.glob("*.json"):
        if not file.name.startswith(("noise", "memory.")):
            shutil.copy(file, tmp_path)
    half = json.loads((folder / "length.json").read_text())
    (tmp_path / "length.json").write_text(json.dumps(half | {"runs": half["runs"][:-1]}))  # it is being recorded
    for module in (results, standing):
        monkeypatch.setattr(module, "results_folder", lambda: tmp_path)
    assert {row.family for row in standings()} == {"fashion", "few", "classes", "structure", "elsewhere"}
    with pytest.raises(FileNotFoundError, match="sweep noise"):
        in_regime("noise", REGIMES["noise"][0])
