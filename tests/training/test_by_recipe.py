"""Recipes: what they build and how they train."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from dst_tutorial.layers.ledger import macs
from dst_tutorial.layers.sparsify import count_weights, sparse_layers, sparsify
from dst_tutorial.training import by_recipe
from dst_tutorial.training.by_recipe import build, parameters_left, train
from dst_tutorial.training.models import MLP1D, LeNet300100, SlideCNN, mlp
from dst_tutorial.training.recipes import RECIPES, find_recipe


def network():
    return mlp(784, 30, 10)


def test_the_same_seed_gives_the_same_run(dataset):
    a, b, c = (train("slides", dataset, network=network, epochs=2, seed=s, progress=False) for s in (1, 1, 2))
    assert a.history.curve("test_loss") == b.history.curve("test_loss") != c.history.curve("test_loss")


def test_a_run_touches_no_global_random_state(dataset):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train("slides", dataset, network=network, epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_slide_recipe_on_the_slide_network(dataset):
    """67,175 active weights at the start, in every snapshot, and in the end; the update comes after the last epoch."""
    run = train("slides", dataset.take(128, 64), epochs=2, seed=42, progress=False)
    assert [s.step for s in run.history.snapshots] == [0, 4]
    assert {sum(m.active for m in s.masks.values()) for s in run.history.snapshots} == {67_175}
    assert run.history.curve("active_weights") == [67_175, 67_175]
    summary = run.summary()
    assert summary["recipe"] == "slides"
    assert summary["backend"] == "masked"
    assert (summary["active_weights"], summary["total_weights"], summary["biases"]) == (67_175, 1_343_456, 2_186)
    assert (summary["data_set"], summary["train_size"]) == ("mnist", 128)
    assert len(summary["seconds_per_epoch"]) == summary["epochs"] == 2
    json.dumps(summary)


class Net(LeNet300100):
    """Small, and there is a smaller one."""

    def __init__(self, hidden=(30, 20)):
        super().__init__(hidden)


OF_CONVOLUTIONS = ("lean", "tuned-narrow-lean", "fused-narrow-lean")  # which name layers of SlideCNN


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OF_CONVOLUTIONS])
def test_every_recipe_trains_and_says_what_it_is(dataset, name):
    run = train(name, dataset, network=Net, epochs=40, sparsity=0.9, progress=False)
    recipe, summary, total = RECIPES[name], run.summary(), 784 * 30 + 600 + 200
    active = count_weights(run.model)[0]
    assert summary["dense_macs"] == total
    assert summary["macs"] == summary["active_weights"] == active
    if recipe.has_sparsity:
        assert summary["sparsity"] == 0.9
        assert active + summary["biases"] <= total / 10 + 60
        assert active >= total / 10 * (0.6 if recipe.small else 1)
    else:
        assert (summary["sparsity"], active) == (0, total)
    assert (len(run.history.snapshots) > 1) == (recipe.algorithm != "static")
    options = recipe.sparsify or {}  # these would need far longer:
    starved = recipe.small or options.get("init") == "dense" or options.get("allocation") == "uniform"
    narrowest = isinstance(recipe.small, str)  # two hidden units, then one
    cut = recipe.algorithm == "GMP" and options["allocation"] == "tapered"  # one cut: outputs lose all weights
    assert summary["test_accuracy"] > (0 if narrowest else 10 if starved else 40 if cut else 60)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OF_CONVOLUTIONS])
def test_a_rehearsal_does_all_that_a_run_does(dataset, name, monkeypatch):
    """It is cut off behind a topology update, and goes on from its checkpoint; no test image is looked at."""
    runs = []

    def noting(recipe, data, **options):
        assert len(data.test_labels) == 64
        runs.append(train(recipe, data, **options))
        return runs[-1]

    monkeypatch.setattr(by_recipe, "train", noting)
    by_recipe.rehearse(RECIPES[name], replace(dataset, test_images=dataset.test_images[:0]), Net, 0.9, "masked")
    assert [(len(run.history.epochs), run.history.interrupted) for run in runs] == [(2, True), (4, False)]
    assert (len(runs[0].history.snapshots) > 1) == (RECIPES[name].algorithm != "static")


REHEARSED = """
import sys, pathlib, tempfile, torch
from conftest import make_dataset
from dst_tutorial.training import LeNet300100, rehearse, train
from dst_tutorial.training.recipes import find_recipe

options = {"network": LeNet300100, "sparsity": 0.9, "backend": "sparse"}
rehearse(find_recipe("erk-rigl"), make_dataset(), **options)
before = set(sys.modules)
with tempfile.TemporaryDirectory() as folder:
    for _ in range(2):
        train("erk-rigl", make_dataset(), epochs=60, progress=False, checkpoint=pathlib.Path(folder) / "c",
              on_epoch=lambda epoch: epoch.epoch == 40, **options)
print(*set(sys.modules) - before)
"""


def test_after_a_rehearsal_nothing_is_left_to_be_loaded():
    """Torch loads its compiler, 150 MB, with the first checkpoint: a peak of memory would be that of the first run."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", REHEARSED], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_lean_stays_within_a_tenth_of_the_multiplications_and_so_does_its_rival(dataset):
    lean, *rivals = (train(name, dataset, epochs=2, backend="sparse", progress=False) for name in OF_CONVOLUTIONS)
    for rival in rivals:
        assert 0.95 * lean.macs < rival.macs <= lean.macs <= lean.dense_macs / 10
    assert lean.summary()["active_weights"] == 67_173
    with pytest.raises(ValueError, match="densities of unknown layers conv1, conv2"):
        train("lean", dataset, network=Net, epochs=1, progress=False)


@pytest.mark.parametrize("network", [SlideCNN, LeNet300100])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.95, 0.99, 0.995])
def test_the_small_dense_network_has_as_many_parameters_and_not_more(network, sparsity):
    small, whole = (build(RECIPES[name], network, sparsity, 1) for name in ("small-dense", "dense"))
    budget = parameters_left(whole, sparsity)
    parameters = sum(p.numel() for p in small.parameters())
    sparse = build(RECIPES["static"], network, sparsity, 1)
    biases = sum(p.numel() for name, p in sparse.named_parameters() if name.endswith("bias"))
    assert count_weights(sparse)[0] + biases == budget
    assert 0.95 * budget < parameters <= budget


@pytest.mark.parametrize("network", [SlideCNN, LeNet300100, MLP1D])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.95, 0.99])
def test_the_narrow_dense_network_multiplies_as_much_and_not_more(network, sparsity):
    image = torch.zeros(network.image)

    def work(model):
        return sum(macs(model, image).values())

    narrow = build(RECIPES["tuned-narrow-dense"], network, sparsity, 1)
    budget = work(sparsify(network(), sparsity, **RECIPES["modern"].sparsify))
    assert work(narrow) <= budget
    assert work(narrow) == max(n for step in range(1, 257) if (n := work(network.scaled(step / 256))) <= budget)
    assert [type(layer) for layer in narrow] == [type(layer) for layer in network()]


def test_no_network_is_small_enough():
    with pytest.raises(ValueError, match="as few as 500 parameters: choose a lower sparsity"):
        LeNet300100.small(500)
    with pytest.raises(ValueError, match="as few as 266 multiplications: choose a lower sparsity"):
        build(RECIPES["tuned-narrow-dense"], LeNet300100, 0.999, 1)
    with pytest.raises(ValueError, match="no small network of the kind of network is known"):
        build(RECIPES["small-dense"], network, 0.9, 1)


@pytest.mark.parametrize("network", [SlideCNN, LeNet300100])
@pytest.mark.parametrize("sparsity", [0.5, 0.995])
@pytest.mark.parametrize("name", ["erk-rigl", "set", "gmp"])
def test_the_recipes_hold_from_50_to_99_5_percent(dataset, network, sparsity, name):
    recipe = replace(RECIPES[name], topology={"update_interval": 2, "unit": "steps"})
    run = train(recipe, dataset.take(64, 16), network=network, epochs=6, sparsity=sparsity, progress=False)
    shapes = [layer.weight_shape for layer in sparse_layers(run.model).values()]
    assert count_weights(run.model)[0] == round((1 - sparsity) * sum(s.numel() for s in shapes))
    assert len(run.history.snapshots) == 3


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(ValueError, match="unknown recipe 'nope'; choose from dense, slides"):
        find_recipe("nope")


@pytest.mark.parametrize(("ours", "theirs"), [("fused-small-dense", "tuned-small-dense"),
                                              ("fused-narrow-dense", "tuned-narrow-dense"),
                                              ("fused-narrow-lean", "tuned-narrow-lean")])  # fmt: skip
def test_a_small_network_in_our_layers_is_the_same_network(ours, theirs):
    fused, plain = (build(RECIPES[name], SlideCNN, 0.95, 1, "sparse") for name in (ours, theirs))
    assert count_weights(fused) == count_weights(plain)
    assert not any(type(layer) in (torch.nn.Conv2d, torch.nn.Linear) for layer in fused)
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fused(images), plain(images))
    assert {**vars(RECIPES[ours]), "name": 0, "about": 0, "sparsify": 0} == {
        **vars(RECIPES[theirs]), "name": 0, "about": 0, "sparsify": 0
    }  # fmt: skip
