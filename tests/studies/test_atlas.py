"""The atlas: one entry a point, made by the code that trains live, and honest about its age."""

import json
import statistics
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import make_dataset

from dst_tutorial.paths import results_folder
from dst_tutorial.studies import atlas
from dst_tutorial.studies.atlas import (
    CHOICES,
    EPOCHS,
    POINTS,
    SEEDS,
    Point,
    condense,
    load_atlas,
    recipe_of,
    train_point,
)
from dst_tutorial.studies.experiment import options_of
from dst_tutorial.studies.experiments import EXPERIMENTS


@pytest.fixture(scope="module")
def shipped():
    return load_atlas()


def test_every_choice_has_an_entry(shipped):
    assert set(shipped.points) == set(POINTS)
    assert len(POINTS) == 6 * 4 * (3 * 3 * 2 + 1)
    for point, entry in shipped.points.items():
        assert len(entry.mean) == len(entry.sd) == EPOCHS
        assert len(entry.final) == len(SEEDS)
        assert entry.mean[-1] == pytest.approx(statistics.mean(entry.final), abs=2e-3)
        assert entry.sd[-1] == pytest.approx(statistics.stdev(entry.final), abs=2e-3)
        moves = point.update_interval is not None
        assert (entry.updates > 0) == moves
        assert (entry.kept < 1) == moves
        assert entry.explored >= 0.999 * (1 - point.sparsity)


def test_it_is_small():
    assert (results_folder() / "atlas.json").stat().st_size < 2_000_000


def test_where_the_mask_never_moves_there_is_one_point():
    one, other = (Point(update_interval=None, drop_fraction=d, grow=g) for d, g in ((0.1, "random"), (0.5, "gradient")))
    assert one.named() == other.named() == Point().static
    assert Point(drop_fraction=0.5).named() != Point().named()


def test_its_experiment_trains_each_point_as_the_explorer_does():
    experiment = EXPERIMENTS["atlas"]
    configs = {(c["recipe"]["name"], c["sparsity"], c["seed"]): c for c in experiment.configs()}
    assert len(configs) == len(POINTS) * len(SEEDS)
    for point in POINTS:
        config = configs[recipe_of(point).name, point.sparsity, SEEDS[0]]
        assert config["recipe"] == options_of(recipe_of(point))
        assert atlas._point_of(config) == point
        assert (config["backend"], config["epochs"]) == ("sparse", EPOCHS)


def test_a_summary_says_what_the_runs_say(tmp_path):
    """Every run of the experiment, with made-up numbers that tell it from all others."""
    runs, expected = [], {}
    for i, config in enumerate(EXPERIMENTS["atlas"].configs()):
        number = config["seed"] - SEEDS[0]
        curve = [10 + i % 50 + number + epoch for epoch in range(EPOCHS)]
        expected.setdefault(atlas._point_of(config), []).append(curve)
        runs.append({
            "config": config, "epochs": [{"test_accuracy": a} for a in curve], "updates": 3,
            "exploration_rate": 0.25, "overlap_with_start": 0.5,
            "provenance": {"code": "1", "date": "today", "cpu": "c", "torch": "2"},
        })  # fmt: skip
    made = load_atlas(condense(runs, tmp_path / "a.json"))
    for point, curves in expected.items():
        entry = made.points[point]
        assert entry.mean == pytest.approx(np.mean(curves, 0), abs=1e-3)
        assert entry.sd == pytest.approx(np.std(curves, 0, ddof=1), abs=1e-3)
        assert entry.final == tuple(c[-1] for c in curves)
        assert (entry.explored, entry.kept, entry.updates) == (0.25, 0.5, 3)
    assert not made.is_stale


SOME = (Point(), Point(0.99, 5, 0.5, "random", "uniform", "dense"), Point(0.9).static)


@pytest.mark.parametrize("point", SOME)
@pytest.mark.parametrize("seed", [SEEDS[1], 2000])
def test_a_recorded_point_trained_again_lies_in_its_band(mnist, shipped, point, seed):
    """From one of its seeds, and from one that it has never seen."""
    curve = train_point(point, seed).history.curve("test_accuracy")
    for found, low, high in zip(curve, *shipped.points[point].band, strict=True):
        assert low <= found <= high


def test_a_band_has_a_further_run_in_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(2000):
        *seen, further = rng.normal(80, 2, 6)
        entry = atlas.Entry((statistics.mean(seen),), (statistics.stdev(seen),), tuple(seen), 0, 0, 0)
        (low,), (high,) = entry.band
        inside.append(low <= further <= high)
    assert np.mean(inside) == pytest.approx(atlas.BAND, abs=0.015)


def test_a_band_stays_within_what_an_accuracy_can_be():
    (low, _), (high, _) = atlas.Entry((50, 99), (90, 1), (1, 2, 3), 0, 0, 0).band
    assert (low, high) == (0, 100)


def test_a_training_can_be_stopped():
    seen = []

    def after_two(epoch):
        seen.append(epoch.epoch)
        return epoch.epoch == 2

    run = train_point(Point(), 1, make_dataset(), after_two)
    assert seen == [1, 2]
    assert run.history.interrupted
    assert not train_point(Point(), 1, make_dataset(), lambda epoch: None).history.interrupted


def test_it_says_when_it_is_stale(shipped, monkeypatch):
    assert not replace(shipped, about=shipped.about | {"behind": atlas.fingerprint()}).is_stale
    monkeypatch.setattr(atlas, "fingerprint", lambda: "another")
    assert shipped.is_stale


def test_the_file_names_its_code(shipped):
    assert {"code", "date", "cpu", "torch", "seeds", "epochs", "behind"} <= set(shipped.about)
    assert "dirty" not in shipped.about["code"]


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="sweep atlas"):
        load_atlas(tmp_path / "none.json")


def test_every_choice_matters_to_the_recipe():
    for name, values in CHOICES.items():
        recipes = {json.dumps(asdict(recipe_of(Point(**{name: v})))) for v in values}
        assert len(recipes) == (1 if name == "sparsity" else len(values))
