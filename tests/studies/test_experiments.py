"""Experiments and their result files."""

import json
import sys
from dataclasses import replace

import pytest
from conftest import make_dataset
from torch import nn

from dst_tutorial.paths import figures_folder, results_folder
from dst_tutorial.studies import runner
from dst_tutorial.studies.experiment import Experiment, key_of
from dst_tutorial.studies.experiments import EXPERIMENTS
from dst_tutorial.studies.regimes import REGIMES
from dst_tutorial.studies.results import load_masks, load_results
from dst_tutorial.studies.runner import run_missing
from dst_tutorial.training import loop as training
from dst_tutorial.training.by_recipe import train
from dst_tutorial.training.loop import evaluate
from dst_tutorial.training.models import mlp
from dst_tutorial.training.recipes import RECIPES, find_recipe

TINY = Experiment("tiny", "a test", ("dense", "slides"), (1, 2), epochs=2, sparsities=(0.9,), keep_masks=("slides", 2))


def network():
    return mlp(784, 30, 10)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Experiments on a small network and a made-up data set, in a folder of their own."""
    monkeypatch.setenv("DST_TUTORIAL_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(runner.DATASETS, "mnist", make_dataset)
    monkeypatch.setitem(runner.NETWORKS, "SlideCNN", network)
    return tmp_path / "results"


def test_a_result_file_says_where_its_numbers_come_from(small):
    file = run_missing(TINY, small, progress=False)
    assert file == small / "tiny.json"
    results = load_results("tiny", small)
    assert "256 training" in results["data_set"]
    assert [(r["config"]["recipe"]["name"], r["config"]["seed"]) for r in results["runs"]] == [
        ("dense", 1), ("slides", 1), ("dense", 2), ("slides", 2),
    ]  # fmt: skip
    for r in results["runs"]:
        assert {"date", "code", "python", "torch", "numpy", "system", "cpu", "cores", "threads"} <= set(r["provenance"])
        assert len(r["epochs"]) == 2
        assert r["summary"]["data_set"] == "mnist"
    recorded = load_masks("tiny", small)
    assert [(s.step, s.epoch) for s in recorded.snapshots] == [(0, 0), (8, 2)]
    first, last = recorded.masks_at(1)["fc1"], recorded.masks_at(2)["fc1"]
    assert first.shape == (30, 784)
    assert first.active == last.active == 784 * 30 // 10
    assert first.positions.tolist() != last.positions.tolist()
    assert not (small.parent / "data" / "checkpoints").exists() or not list(
        (small.parent / "data").rglob("*.safetensors")
    )


def test_an_experiment_may_look_at_the_test_images_once(small, monkeypatch, caplog):
    """After the last epoch, in every run; what is trained is the same, and the file says how often it looked."""
    looked = []

    def counting(model, images, labels, **options):
        looked.append(len(labels))
        return evaluate(model, images, labels, **options)

    monkeypatch.setattr(training, "evaluate", counting)
    monkeypatch.setitem(runner.DATASETS, "mnist", lambda: make_dataset(test=100))
    run_missing(replace(TINY, name="often"), small, progress=False)
    assert looked.count(100) == 2 * 4  # rehearsals look at 64 images that are held out
    looked.clear()
    with caplog.at_level("INFO"):
        run_missing(replace(TINY, test_once=True), small, progress=False)
    assert looked.count(100) == 4
    told = [m for m in caplog.messages if "looked at the test images" in m]
    assert [m.endswith("of mnist 1 time(s)") for m in told] == 4 * [True]
    often, once = load_results("often", small)["runs"], load_results("tiny", small)["runs"]
    for a, b in zip(often, once, strict=True):
        assert (a["summary"]["test_evaluations"], b["summary"]["test_evaluations"]) == (2, 1)
        assert b["epochs"][0]["test_accuracy"] is b["epochs"][0]["test_loss"] is None
        assert a["epochs"][1] | {"seconds": 0} == b["epochs"][1] | {"seconds": 0}
        assert b["config"]["test_once"]


def test_an_experiment_may_hold_variants_of_recipes(small):
    faster = replace(find_recipe("dense"), name="faster", learning_rate=0.01)
    run_missing(Experiment("tiny", "a test", ("dense", faster), (1,), epochs=1), small, progress=False)
    recorded = [r["config"]["recipe"] for r in load_results("tiny", small)["runs"]]
    assert [(r["name"], r["learning_rate"]) for r in recorded] == [("dense", 0.001), ("faster", 0.01)]


def test_what_keeps_moments_of_inactive_connections_is_not_run_truly_sparse():
    """It would be another algorithm: see `SparseLinear.rewire`."""
    kept = Experiment("tiny", "a test", ("slides", "slides-static", "set", "dense"), (1,), epochs=1, backend="sparse")
    assert [config.get("backend") for config in kept.configs()] == [None, "sparse", "sparse", "sparse"]


def test_finished_runs_are_not_repeated(small, monkeypatch):
    run_missing(TINY, small, progress=False)
    first = (small / "tiny.json").read_text()

    def never(*args, **kwargs):
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr(runner, "train", never)
    run_missing(TINY, small, progress=False)
    assert (small / "tiny.json").read_text() == first


def test_a_lost_mask_file_is_made_anew(small):
    run_missing(TINY, small, progress=False)
    with pytest.raises(FileNotFoundError, match="sweep slides"):
        load_masks("slides", small)
    content = (small / "tiny_masks.npz").read_bytes()
    (small / "tiny_masks.npz").unlink()
    run_missing(TINY, small, progress=False)
    assert (small / "tiny_masks.npz").read_bytes() == content


def test_a_killed_experiment_goes_on_where_it_was(small, monkeypatch):
    """Killed in the second epoch of the third run: two runs are kept, and the third starts from its first epoch."""
    whole = run_missing(TINY, small / "whole", progress=False).read_text()
    calls = []

    def killed(*args, **kwargs):
        calls.append(args[0])
        if len(calls) < 3:
            return train(*args, **kwargs)

        def kill(epoch):
            raise RuntimeError("killed")

        return train(*args, **kwargs | {"on_epoch": kill})

    monkeypatch.setattr(runner, "train", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run_missing(TINY, small, progress=False)
    assert len(load_results("tiny", small)["runs"]) == 2

    resumed = []

    def counting(*args, **kwargs):
        epochs, seen = [], kwargs.pop("on_epoch")
        done = train(*args, on_epoch=lambda epoch: epochs.append(epoch.epoch) or seen(epoch), **kwargs)
        resumed.append(epochs)
        return done

    monkeypatch.setattr(runner, "train", counting)
    run_missing(TINY, small, progress=False)
    assert resumed == [[2], [1, 2]]

    def accuracies(results):
        return [[e["test_loss"] for e in r["epochs"]] for r in results["runs"]]

    results = load_results("tiny", small)
    assert accuracies(results) == accuracies(json.loads(whole))
    if sys.platform.startswith("linux"):  # the peak of a part of the work is not the run's
        assert [r["peak_bytes"] is None for r in results["runs"]] == [False, False, True, False]


@pytest.mark.parametrize("change", [{"seeds": (1,)}, {"recipes": ("dense",)}, {"epochs": 3}])
def test_no_recorded_run_is_lost(change, small, monkeypatch):
    """Another config is another run: where the experiment lists it no more, somebody has to say what becomes of it."""
    before = run_missing(TINY, small, progress=False).read_bytes()

    def never(*args, **kwargs):
        raise AssertionError("a run was started")

    monkeypatch.setattr(runner, "train", never)
    lost = {"seeds": 2, "recipes": 2, "epochs": 4}[next(iter(change))]
    told = (
        rf"tiny\.json holds {lost} run\(s\) .*slides, sparsity 0\.9, seed 2\): list them again, or move the file away"
    )
    with pytest.raises(ValueError, match=told):
        run_missing(replace(TINY, keep_masks=None, **change), small, progress=False)
    assert (small / "tiny.json").read_bytes() == before


def test_a_damaged_result_file_is_not_written_over(small):
    file = run_missing(TINY, small, progress=False)
    file.write_bytes(file.read_bytes()[:-100])
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"tiny\.json is damaged"):
        run_missing(TINY, small, progress=False)
    assert file.read_bytes() == before


def test_two_sweeps_of_an_experiment_do_not_run_at_once(small, monkeypatch):
    told = []

    def beside_another(*args, **kwargs):
        with pytest.raises(ValueError, match="another sweep of 'tiny' is under way") as refused:
            run_missing(TINY, small, progress=False)
        told.append(str(refused.value))
        return train(*args, **kwargs)

    monkeypatch.setattr(runner, "train", beside_another)
    run_missing(TINY, small, progress=False)
    assert len(told) == 4
    assert sorted(file.name for file in small.iterdir()) == ["tiny.json", "tiny_masks.npz"]  # and no lock


def test_a_checkpoint_of_another_sparsity_or_recipe_is_refused(dataset, tmp_path):
    options = {"network": network, "epochs": 1, "progress": False, "checkpoint": tmp_path / "c"}
    train("slides", dataset, sparsity=0.9, **options)
    for other in ({"recipe": "slides", "sparsity": 0.5}, {"recipe": "slides-fan-in", "sparsity": 0.9}):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            train(data=dataset, **other, **options)


def test_no_result_file_from_the_sample(small, monkeypatch):
    monkeypatch.setitem(runner.DATASETS, "mnist", lambda: make_dataset(name="mnist-sample"))
    with pytest.raises(ValueError, match="a result file needs all of MNIST"):
        run_missing(TINY, small, progress=False)
    assert not small.exists()


def test_networks_with_batch_norm_and_without_images_that_fit(dataset):
    def normalised():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 10))

    run = train("static", dataset, network=normalised, epochs=20, sparsity=0.8, progress=False)
    assert run.model[2].num_batches_tracked == 20 * 4
    assert run.summary()["test_accuracy"] > 50
    with pytest.raises(ValueError, match=r"MLP1D does not read mnist, whose images are \[1, 28, 28\]"):
        train("static", dataset, network=runner.NETWORKS["MLP1D"], epochs=1, progress=False)


def test_a_missing_result_file_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m dst_tutorial sweep slides"):
        load_results("slides", tmp_path)


SHOWN = json.loads((figures_folder() / "manifest.json").read_text())["results"]
SHIPPED = [  # run by run; `test_atlas.py` looks at the one that ships condensed
    name for name, experiment in EXPERIMENTS.items()
    if not experiment.condensed and (results_folder() / f"{name}.json").exists()
]  # fmt: skip


def test_make_results_does_all_of_them():
    makefile = (figures_folder().parent / "Makefile").read_text()
    plain = makefile[makefile.index("SWEEPS := ") :].partition("$(foreach")[0].replace("\\\n", " ").split()[2:]
    assert {"forms", *plain} == {name for name, one in EXPERIMENTS.items() if isinstance(one, Experiment)}
    assert f"$(foreach family,{' '.join(REGIMES)}," in makefile


def test_every_recorded_sweep_is_told_with_its_runs_and_minutes():
    told = (figures_folder().parent / "notebooks" / "README.md").read_text(encoding="utf-8")
    for name in SHIPPED:
        if len(runs := load_results(name)["runs"]) == len(EXPERIMENTS[name].runs()):
            minutes = round(sum(sum(run["summary"]["seconds_per_epoch"]) for run in runs) / 60)
            assert f"| `{name}` | {EXPERIMENTS[name].about} | {len(runs)} | {minutes} |" in told


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_recorded_is_complete_and_of_the_recipes_that_are_here(name):
    """Every run of the experiment, of all its data, under the very options that the recipes have now; no other."""
    recorded, planned = load_results(name)["runs"], EXPERIMENTS[name].runs()
    keys = [key_of(r["config"]) for r in recorded]
    if f"results/{name}.json" in SHOWN or isinstance(EXPERIMENTS[name], Experiment):
        assert keys == list(planned)
    else:  # a long sweep on its way, that nothing is shown of yet
        assert keys == [key for key in planned if key in set(keys)]
    sizes = {"mnist": 60_000, "mnist-validation": 55_000, "mnist1d": 4_000}
    for r, run in zip(recorded, (planned[key] for key in keys), strict=True):
        assert r["provenance"]["threads"] == 1
        assert r["summary"]["data_set"] == r["config"]["data_set"]
        if not run.experiment.brief:
            assert r["summary"]["train_size"] == sizes[r["config"]["data_set"]]
            assert len(r["epochs"]) == r["config"]["epochs"]


def test_erk_rigl_is_within_its_bounds_and_its_controls_have_the_same_seeds():
    """The acceptance: at 95%, ten epochs, at least three seeds, 98.9% or more; static and small-dense beside it."""
    runs = load_results("algorithms")["runs"]
    by_recipe = {name: [r for r in runs if r["config"]["recipe"]["name"] == name] for name in RECIPES}
    seeds = [r["config"]["seed"] for r in by_recipe["erk-rigl"]]
    assert len(seeds) >= 3
    assert {r["config"]["sparsity"] for r in by_recipe["erk-rigl"]} == {0.95}
    assert sum(r["summary"]["test_accuracy"] for r in by_recipe["erk-rigl"]) / len(seeds) >= 98.9
    for control in ("static", "small-dense"):
        assert [r["config"]["seed"] for r in by_recipe[control]] == seeds
    for name in ("erk-rigl", "static", "set"):
        assert {e["active_weights"] for r in by_recipe[name] for e in r["epochs"]} == {67_173}


def test_the_recorded_slide_experiment_is_within_its_bounds():
    """The acceptance of the slide protocol, on the recorded runs: full MNIST, at least three seeds, ten epochs."""
    recorded = load_results("slides")
    accuracy = {}
    for r in recorded["runs"]:
        assert (r["summary"]["data_set"], r["summary"]["train_size"]) == ("mnist", 60_000)
        assert len(r["epochs"]) == 10
        accuracy.setdefault(r["config"]["recipe"]["name"], []).append(r["summary"]["test_accuracy"])
        if r["config"]["recipe"]["name"] != "dense":
            assert {e["active_weights"] for e in r["epochs"]} == {67_175}
    assert all(len(seeds) >= 3 for seeds in accuracy.values())
    assert 96.2 <= sum(accuracy["slides"]) / len(accuracy["slides"]) <= 97.5
    assert sum(accuracy["dense"]) / len(accuracy["dense"]) >= 98.8
