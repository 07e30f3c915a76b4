"""The race of training steps: whoever does not train the same network is refused."""

import json
import sys

import pytest
import torch
from conftest import make_dataset
from torch import nn

from dst_tutorial import SlideCNN, mlp, sparsify, speed
from dst_tutorial.benchmark import UnlikeWork
from dst_tutorial.experiments import load_scaling, load_speeds, record_scaling, record_speed
from dst_tutorial.speed import CASES, FORMS, Case, compare, measure, race, step
from dst_tutorial.tables import speed_rows

HERE = [method for method in FORMS if method != "SparseProp"]


@pytest.fixture(scope="module")
def work():
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8, init="fan_in")
    random = torch.Generator().manual_seed(0)
    return model, torch.randn(64, 1, 8, 8, generator=random), torch.randint(10, (64,), generator=random)


def test_all_forms_train_the_same_network(work):
    rows, absent = race(*work, rounds=2, methods=HERE)
    assert [row.method for row in rows] == HERE
    assert not absent
    for row in rows:
        assert len(row.times_ms) == 2
        assert row.largest_difference < 1e-4


def without_a_step(model, optimizer):
    optimizer.step = lambda: None
    return model, optimizer


def another_rate(model, optimizer):
    optimizer.param_groups[0]["lr"] *= 2
    return model, optimizer


def one_frozen(model, optimizer):
    next(model.parameters()).requires_grad_(False)
    return model, optimizer


def no_relu(model, optimizer):
    model.relu1 = nn.Identity()
    return model, optimizer


@pytest.mark.parametrize("cheat", [without_a_step, another_rate, one_frozen, no_relu])
def test_who_does_less_is_found(work, cheat):
    model, images, labels = work
    tasks = {
        "Dense+Mask": step(*speed.masked(model, images), images, labels),
        "cheat": step(*cheat(*speed.masked(model, images)), images, labels),
    }
    with pytest.raises(UnlikeWork, match="cheat does not train the same network"):
        compare(tasks)


def test_a_loss_that_does_not_move_shows_nothing(work):
    model, images, labels = work
    tasks = {"still": step(*without_a_step(*speed.masked(model, images)), images, labels)}
    with pytest.raises(UnlikeWork, match="hardly moves"):
        compare(tasks)


def test_what_is_not_installed_is_named(work, monkeypatch):
    monkeypatch.setitem(sys.modules, "sparseprop", None)
    monkeypatch.setitem(sys.modules, "sparseprop.modules", None)
    rows, absent = race(*work, rounds=1, methods=["Dense+Mask", "SparseProp"])
    assert [row.method for row in rows] == ["Dense+Mask"]
    assert "pip install" in absent["SparseProp"]


def test_a_case_is_measured_recorded_and_told(monkeypatch, tmp_path):
    dataset = make_dataset()
    monkeypatch.setattr(speed, "load_mnist", lambda: dataset)
    monkeypatch.setitem(FORMS, "SparseProp", FORMS["Dense+Mask"])
    monkeypatch.setitem(CASES, "tiny", Case(lambda: mlp(12, 30, 20, 10), (12,), 0.5, answers=(3,), recipe="erk-rigl"))
    threads = torch.get_num_threads()
    result = measure("tiny", rounds=2, threads=1)
    assert torch.get_num_threads() == threads
    json.dumps(result)
    assert (result["active_weights"], result["total_weights"]) == (580, 1160)
    assert result["macs"] == 580
    record_speed(result, tmp_path)
    record_speed(result, tmp_path)
    recorded = load_speeds(tmp_path)
    assert len(recorded) == 1
    table = speed_rows(recorded)
    assert {row["work"] for row in table} == {
        "training step, batch 64", "inference, batch 3", "epoch of MNIST in `fit`"}  # fmt: skip
    (times,) = (column for column in table[0] if column.endswith("times ours"))
    assert all(row[times] == "1.0" for row in table if row["form"] == "truly sparse")
    elsewhere = json.loads(json.dumps(result))
    elsewhere["provenance"]["cpu"] = "Another(R) Processor @ 1 GHz"
    both = speed_rows([*recorded, elsewhere])  # two more columns, and no more rows
    assert [row | {"Another: times ours": row[times]} for row in both] == both
    assert [{name: row[name] for name in table[0]} for row in both] == table
    with pytest.raises(ValueError, match="unknown case 'huge'; choose from slides"):
        measure("huge")


def test_layers_of_several_sizes_are_measured_and_recorded(tmp_path):
    threads = torch.get_num_threads()
    result = speed.scaling([300, 3_000], rounds=2, threads=1)
    assert torch.get_num_threads() == threads
    assert {count: len(ms) for count, ms in result["times_ms"].items()} == {"300": 2, "3000": 2}
    record_scaling(result, tmp_path)
    assert load_scaling(tmp_path) == [json.loads(json.dumps(result))]


@pytest.mark.parametrize("connections", [300, 5_000])
def test_such_a_layer_has_as_many_connections_and_moves(connections):
    made = []
    layer_of = speed.SparseLinear

    def keep(*arguments, **options):
        made.append(layer_of(*arguments, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SparseLinear", keep)
        task = speed._layer_step(connections, 0.05, torch.Generator().manual_seed(0))
    (layer,) = made
    before = layer.values.clone()
    task()
    assert layer.active_weights == connections
    assert (layer.values != before).float().mean() > 0.9
