"""The benchmark's honesty: unlike work is refused, no side leaves out a copy, everybody has the same turns."""

import copy
import json
import sys
from dataclasses import replace

import pytest
import torch
from conftest import make_dataset
from torch import nn

from dst_tutorial import SlideCNN, mlp, sparsify
from dst_tutorial.timing import benchmark
from dst_tutorial.timing.benchmark import (
    CASES,
    Case,
    UnlikeWork,
    answer,
    bench,
    compare,
    compare_training,
    race,
    race_training,
    tasks,
    training_step,
)
from dst_tutorial.timing.clock import Row, row_of, rows_of, take_turns
from dst_tutorial.timing.rivals import METHODS, Rival, fused_adam, rivals

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
# what every test machine has: neither a compiler, nor a library that is not installed with the project
ELSEWHERE = ("compiled", "CUDA graph", "Triton", "SparseProp", "SparseLab")
HERE = [name for name in METHODS if not any(word in name for word in ELSEWHERE)]
TRAIN_HERE = [name for name in HERE if METHODS[name].trains]


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return CASES["slides"].masked()


@pytest.fixture(scope="module")
def present(network, images):
    found, absent = rivals(network, images, methods=HERE)
    assert not absent
    return found


@torch.inference_mode()
def test_all_rivals_compute_the_same_network(present, images):
    assert [rival.method for rival in present] == HERE
    differences = compare(present, images)
    assert max(differences.values()) < 1e-5
    logits = {rival.method: rival.run(images) for rival in present}
    assert all(out.shape == (8, 10) for out in logits.values())
    assert logits["Dense+Mask"].std(dim=0).min() > 0.01


@pytest.mark.parametrize(
    ("network", "shape"),
    [(lambda: SlideCNN((3, 5), (7, 6), 12, 4), (4, 1, 12, 12)), (lambda: mlp(6, 5, 4), (4, 6)),
     (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()), (4, 4, 5, 5))],
)  # fmt: skip
def test_they_do_for_other_networks_too(network, shape):
    torch.manual_seed(0)
    compare(rivals(sparsify(network(), 0.5), torch.randn(shape), methods=HERE)[0], torch.randn(shape))


@pytest.mark.parametrize("removed", ["relu1", "relu2", "relu3", "relu4", "relu5", "fc3", "conv1", "a bias"])
@pytest.mark.parametrize("method", HERE)
def test_a_layer_missing_on_one_side_is_found(network, present, images, method, removed):
    less = copy.deepcopy(network)
    if removed == "a bias":
        less.conv2.bias.data.zero_()
    elif removed == "conv1":
        less.conv1.weight.data.zero_()
    else:
        setattr(less, removed, nn.Identity())
    cheat = Rival(method, "cpu", METHODS[method].make(less, images, 1))
    with pytest.raises(UnlikeWork, match="do not compute the same network"):
        compare([*(r for r in present if r.method != method), cheat], images)


def test_a_remembered_answer_is_found(present, images):
    answer = present[0].run(images)
    with pytest.raises(UnlikeWork, match="lazy and Dense"):
        compare([*present, Rival("lazy", "cpu", lambda x: answer)], images)


def test_other_shapes_types_and_devices_are_found(present, images):
    honest = present[0]
    for run, says in (
        (lambda x: honest.run(x)[:, :9], r"\[8, 9\]"),
        (lambda x: honest.run(x).double(), "float64"),
        (lambda x: honest.run(x).to("meta"), "leaves its outputs on meta"),
    ):
        with pytest.raises(UnlikeWork, match=says):
            compare([honest, Rival("odd", "cpu", run)], images)


def test_logits_that_cannot_tell_are_refused(images):
    network = CASES["slides"].masked()
    network.fc4.weight.data.zero_()
    with pytest.raises(UnlikeWork, match="hardly differ"):
        race(rivals(network, images, methods=["Dense+Mask", "dense"])[0], images)


class Spy:
    """Stands for images: writes down where it is sent."""

    def __init__(self, told):
        self.told = told

    def to(self, device):
        self.told.append(f"to {device}")
        return self

    def cpu(self):
        self.told.append("to host")
        return self


@pytest.mark.parametrize(
    ("copies", "before", "timed"), [(True, [], ["to gpu", "run", "to host"]), (False, ["to gpu"], ["run"])]
)
def test_every_copy_is_on_the_clock_or_none(copies, before, timed):
    told = []
    task = answer(Rival("spy", "gpu", lambda x: (told.append("run"), x)[1]), Spy(told), copies)
    assert told == before
    for _ in range(2):
        told.clear()
        task()
        assert told == timed


def test_every_row_is_timed_through_the_same_two_lines(monkeypatch, present, images):
    asked = []
    monkeypatch.setattr(benchmark, "answer", lambda *args, **more: (asked.append(args), answer(*args, **more))[1])
    rows = race(present, images, rounds=2, copies=(False, True))
    assert [(row.method, row.copies) for row in rows] == [(r.method, c) for r in present for c in (False, True)]
    timed = [(args[0], args[2]) for args in asked if len(args) == 3]
    assert timed == [(rival, c) for rival in present for c in (False, True)]
    assert all(len(row.times_ms) == 2 and min(row.times_ms) > 0 for row in rows)


def test_they_take_turns_behind_a_warm_up():
    told = []

    def rival(name):
        return Rival(name, "cpu", lambda x: (told.append(name), 3 * x)[1])

    x = torch.randn(4, 2)
    race([rival("a"), rival("b")], x, rounds=3)
    assert "".join(told[-18:]) == "aaabbb" * 3  # two warm-up calls and the one that is read


@pytest.mark.parametrize(
    ("method", "module", "says"),
    [("ONNX Runtime, dense", "onnxruntime", "pip install onnx onnxruntime"),
     ("SparseProp", "sparseprop.modules", "pip install pybind11 sparseprop"),
     ("SparseLab, convolutions dense", "sparselab", "pip install sparselab")],
)  # fmt: skip
def test_what_is_not_installed_is_named(monkeypatch, network, images, method, module, says):
    monkeypatch.setitem(sys.modules, module, None)
    found, absent = rivals(network, images, methods=["dense", method])
    assert [rival.method for rival in found] == ["dense"]
    assert says in absent[method]


def test_a_compiler_that_fails_is_told(monkeypatch, network, images):
    def fails(model):
        raise RuntimeError("no g++ here\nand more")

    monkeypatch.setattr(torch, "compile", fails)
    assert rivals(network, images, methods=["dense, compiled"]) == (
        [],
        {"dense, compiled": "torch.compile fails here: RuntimeError, no g++ here"},
    )


def test_bad_arguments(network, images):
    with pytest.raises(ValueError, match=r"unknown method 'CSC'; choose from Dense\+Mask"):
        rivals(network, images, methods=["CSC"])
    with pytest.raises(ValueError, match=r"the devices here are cpu.*got tpu"):
        bench("linear", devices=["tpu"])
    with pytest.raises(ValueError, match="unknown case 'huge'; choose from slides"):
        bench("huge")
    with pytest.raises(ValueError, match="unknown work 'rest'; choose from inference"):
        bench("linear", "rest")
    with pytest.raises(ValueError, match="linear has no recipe"):
        bench("linear", "epoch")
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        bench("linear", batch=0)


def test_the_result_is_plain_and_complete():
    threads = torch.get_num_threads()
    result = bench("linear", batch=3, rounds=3, threads=1, devices=["cpu"], methods=HERE)
    assert torch.get_num_threads() == threads
    assert json.loads(json.dumps(result)) == result
    assert (result["batch"], result["active_weights"], result["macs"]) == (3, 50_000, 50_000)
    assert (result["threads"], result["provenance"]["threads"]) == (1, 1)
    rows = rows_of(result)
    assert [row.method for row in rows] == HERE
    assert row_of(rows, "dense").median == sorted(result["rows"][1]["times_ms"])[1]
    assert row_of(rows, "dense", "cuda") is None
    assert result["provenance"]["cpu"]


@pytest.mark.parametrize("name", CASES)
def test_a_case_reads_its_inputs(name, monkeypatch):
    monkeypatch.setattr(benchmark, "load_mnist", lambda: make_dataset(test=5))
    with torch.device("meta"):
        CASES[name].network()  # it can be made without numbers
    if "wide" not in name:
        case = CASES[name]
        assert case.inputs(7).shape == (7, *case.shape)
        assert case.masked(0.9)(case.inputs(2)).shape[0] == 2


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8)
    random = torch.Generator().manual_seed(0)
    return model, torch.randn(64, 1, 8, 8, generator=random), torch.randint(10, (64,), generator=random)


def test_all_forms_train_the_same_network(training):
    rows, absent = race_training(*training, rounds=2, methods=TRAIN_HERE)
    assert [row.method for row in rows] == TRAIN_HERE
    assert not absent
    for row in rows:
        assert len(row.times_ms) == 2
        assert row.largest_difference < 1e-4


def test_a_dense_reference_that_trains_its_zeros_goes_another_way():
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.98)
    images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows, _ = race_training(model, images, torch.arange(64) % 10, rounds=1, methods=["dense", "truly sparse"])
    assert rows[1].largest_difference < 1e-5  # of the first losses


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


def masked_form(training):
    model = copy.deepcopy(training[0])
    return model, fused_adam(model.parameters())


@pytest.mark.parametrize("cheat", [without_a_step, another_rate, one_frozen, no_relu])
def test_who_does_less_is_found(training, cheat):
    _, images, labels = training
    steps = {
        "Dense+Mask": training_step(*masked_form(training), images, labels),
        "truly sparse": training_step(*cheat(*masked_form(training)), images, labels),
    }
    with pytest.raises(UnlikeWork, match="truly sparse does not train the same network"):
        compare_training(steps)


def test_a_loss_that_does_not_move_shows_nothing(training):
    steps = {"Dense+Mask": training_step(*without_a_step(*masked_form(training)), *training[1:])}
    with pytest.raises(UnlikeWork, match="hardly moves"):
        compare_training(steps)


@pytest.mark.parametrize("work", ["inference", "training step"])
def test_another_package_that_is_wrong_is_named_and_the_others_race(monkeypatch, work):
    def wrong(model, inputs, threads):
        model.fc1 = nn.Identity()
        return model

    tiny = Case("tiny", lambda: mlp(30, 30, 10), (30,), 0.5)
    sides = ["Dense+Mask", "SparseProp", "truly sparse"]
    monkeypatch.setitem(METHODS, "SparseProp", replace(METHODS["SparseProp"], make=wrong))
    result = bench(tiny, work, 20, rounds=2, threads=1, devices=["cpu"], methods=sides)
    assert [row["method"] for row in result["rows"]] == ["Dense+Mask", "truly sparse"]
    assert "same network" in result["absent"]["SparseProp"]
    monkeypatch.setitem(METHODS, "truly sparse", replace(METHODS["truly sparse"], make=wrong))
    with pytest.raises(UnlikeWork, match=r"^truly sparse"):  # ours has no excuse
        bench(tiny, work, 20, rounds=2, threads=1, devices=["cpu"], methods=sides)


def test_training_and_epochs_are_benchmarked(monkeypatch):
    monkeypatch.setattr(benchmark, "load_mnist", make_dataset)
    tiny = Case("tiny", lambda: SlideCNN((3, 4), (20,)), (1, 28, 28), 0.5, recipe="erk-rigl")
    result = bench(tiny, "training step", 20, rounds=2, threads=1, devices=["cpu"], methods=TRAIN_HERE)
    assert (result["work"], [row["method"] for row in result["rows"]]) == ("training step", TRAIN_HERE)
    result = bench(tiny, "epoch", 64, rounds=2, threads=1)
    assert [(row["method"], len(row["times_ms"])) for row in result["rows"]] == [
        ("Dense+Mask", 2), ("dense", 2), ("truly sparse", 2)]  # fmt: skip


def test_what_is_not_named_is_all_that_belongs_to_the_tutorial():
    every = list(tasks())
    assert {task["case"] for task in every} == {"slides"}
    assert {(task["work"], task["batch"]) for task in every} == {
        *((work, batch) for work in ("inference", "training step") for batch in (1, 64, 100, 1024)), ("epoch", 64)
    }  # fmt: skip
    assert {task["case"] for task in tasks(["all"])} == set(CASES)
    assert list(tasks(["linear"], batches=[3], threads=[1])) == [
        {"case": "linear", "work": work, "batch": 3, "threads": 1} for work in ("inference", "training step")
    ]
    with pytest.raises(ValueError, match="unknown case"):
        list(tasks(["huge"]))


def test_quartiles():
    row = Row("m", "cpu", False, 0.0, 9.0, [4.0, 1.0, 2.0, 3.0, 5.0])
    assert row.quartiles == (2.0, 3.0, 4.0)


def test_a_busy_spell_leaves_the_ratio_alone():
    quick = Row("q", "cpu", False, 0.0, 9.0, [1.0, 1.0, 3.0, 3.0, 3.0])
    slow = Row("s", "cpu", False, 0.0, 9.0, [2.0, 2.0, 6.0, 6.0, 100.0])
    assert slow.times(quick) == 2


def test_what_is_over_in_a_wink_is_read_more_often():
    few, many = take_turns([int], 3, 1), take_turns([int, int], 3, 1, seconds=0.05)
    assert len(few[0]) == 3
    assert len(many[0]) == len(many[1]) > 10


@gpu
def test_on_a_gpu_every_row_agrees_and_has_its_copies(network, images):
    result = bench("slides", batch=8, rounds=3)
    on_gpu = [row for row in rows_of(result) if row.device == "cuda"]
    assert [(row.method, row.copies) for row in on_gpu] == [
        (name, copies) for name, method in METHODS.items() if "cuda" in method.devices for copies in (False, True)
    ]
    assert all(row.largest_difference > 0 for row in on_gpu)  # from the CPU's logits


@gpu
def test_the_gpus_rivals_equal_the_cpus(network, images, present):
    on_gpu, _ = rivals(network, images, device="cuda")
    compare([*present, *on_gpu], images)
