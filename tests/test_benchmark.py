"""The benchmark's honesty: unlike work is refused, no side leaves out a copy, everybody has the same turns."""

import copy
import json
import sys

import pytest
import torch
from torch import nn

from dst_tutorial import SlideCNN, benchmark, mlp, sparsify
from dst_tutorial.benchmark import METHODS, Rival, Row, UnlikeWork, bench, compare, race, rivals, rows_of, work
from dst_tutorial.experiments import load_benchmarks, record_benchmark

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return benchmark.slides_network()


@pytest.fixture(scope="module")
def present(network, images):
    found, absent = rivals(network, images)
    assert not absent
    return found


@torch.inference_mode()
def test_all_rivals_compute_the_same_network(present, images):
    assert [rival.method for rival in present] == list(METHODS)
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
    compare(rivals(sparsify(network(), 0.5, init="fan_in"), torch.randn(shape))[0], torch.randn(shape))


@pytest.mark.parametrize("removed", ["relu1", "relu2", "relu3", "relu4", "relu5", "fc3", "conv1", "a bias"])
@pytest.mark.parametrize("method", METHODS)
def test_a_layer_missing_on_one_side_is_found(network, present, images, method, removed):
    less = copy.deepcopy(network)
    if removed == "a bias":
        less.conv2.bias.data.zero_()
    elif removed == "conv1":
        less.conv1.weight.data.zero_()
    else:
        setattr(less, removed, nn.Identity())
    cheat = Rival(method, "cpu", METHODS[method](less, images, 1))
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
        (lambda x: honest.run(x).to("meta"), "leaves its logits on meta"),
    ):
        with pytest.raises(UnlikeWork, match=says):
            compare([honest, Rival("odd", "cpu", run)], images)


def test_logits_that_cannot_tell_are_refused(images):
    network = copy.deepcopy(benchmark.slides_network())
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
    task = work(Rival("spy", "gpu", lambda x: (told.append("run"), x)[1]), Spy(told), copies)
    assert told == before
    for _ in range(2):
        told.clear()
        task()
        assert told == timed


def test_every_row_is_timed_through_the_same_two_lines(monkeypatch, present, images):
    asked = []
    monkeypatch.setattr(benchmark, "work", lambda *args, **kw: (asked.append((args, kw)), work(*args, **kw))[1])
    rows = race(present, images, rounds=2, copies=(False, True))
    assert [(row.method, row.copies) for row in rows] == [(r.method, c) for r in present for c in (False, True)]
    timed = [(args[0], args[2]) for args, _ in asked if len(args) == 3]
    assert timed == [(rival, c) for rival in present for c in (False, True)]
    assert all(len(row.times_ms) == 2 and min(row.times_ms) > 0 for row in rows)


def test_they_take_turns_behind_a_warm_up():
    told = []

    def rival(name):
        return Rival(name, "cpu", lambda x: (told.append(name), 3 * x)[1])

    x = torch.randn(4, 2)
    race([rival("a"), rival("b")], x, rounds=3)
    assert "".join(told[-18:]) == "aaabbb" * 3  # two warm-up calls and the one that is read


def test_what_is_not_installed_is_named(monkeypatch, network, images):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found, absent = rivals(network, images)
    assert "ONNX Runtime, dense" not in [r.method for r in found]
    assert "pip install onnx onnxruntime" in absent["ONNX Runtime, dense"]


def test_bad_arguments(network, images):
    with pytest.raises(ValueError, match=r"unknown method 'CSC'; choose from Dense\+Mask"):
        rivals(network, images, methods=["CSC"])
    with pytest.raises(ValueError, match=r"the devices here are cpu.*got tpu"):
        bench(network, images, devices=["tpu"])


def test_the_result_is_plain_and_complete(network, images):
    result = bench(network, images, rounds=3, threads=1, devices=["cpu"])
    assert json.loads(json.dumps(result)) == result
    assert (result["batch"], result["active_weights"], result["threads"]) == (8, 67_175, 1)
    rows = rows_of(result)
    assert [row.method for row in rows] == list(METHODS)
    assert benchmark.row_of(rows, "dense").median == sorted(result["rows"][1]["times_ms"])[1]
    assert benchmark.row_of(rows, "dense", "cuda") is None
    assert result["provenance"]["cpu"]


def test_quartiles():
    row = Row("m", "cpu", False, 0.0, 9.0, [4.0, 1.0, 2.0, 3.0, 5.0])
    assert row.quartiles == (2.0, 3.0, 4.0)


def test_recording_replaces_the_same_work_on_the_same_machine(network, images, tmp_path):
    result = bench(network, images, rounds=1, threads=1, methods=["Dense+Mask"])
    with pytest.raises(FileNotFoundError, match="bench --record"):
        load_benchmarks(tmp_path)
    record_benchmark(result, tmp_path)
    record_benchmark(result | {"rounds": 7}, tmp_path)
    record_benchmark(result | {"threads": 64}, tmp_path)
    assert [(run["rounds"], run["threads"]) for run in load_benchmarks(tmp_path)] == [(7, 1), (1, 64)]


@gpu
def test_on_a_gpu_every_row_agrees_and_has_its_copies(network, images):
    result = bench(network, images, rounds=3)
    on_gpu = [row for row in rows_of(result) if row.device == "cuda"]
    assert [(row.method, row.copies) for row in on_gpu] == [
        (method, copies) for method in benchmark.ON_GPU for copies in (False, True)
    ]
    assert all(row.largest_difference > 0 for row in on_gpu)  # from the CPU's logits


@gpu
def test_the_gpus_rivals_equal_the_cpus(network, images, present):
    on_gpu, _ = rivals(network, images, device="cuda")
    compare([*present, *on_gpu], images)
