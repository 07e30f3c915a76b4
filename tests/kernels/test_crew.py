"""Threads share the phases of a pass: the same numbers, to the bit for a number of threads; nobody waits in vain."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dst_tutorial import LeNet300100, SlideCNN, sparsify
from dst_tutorial.kernels import crew, phases
from dst_tutorial.kernels.operations import Conv2d, Linear
from dst_tutorial.kernels.plan import plan
from dst_tutorial.kernels.steps import ADD, LANES, ROWS, SLICES, TILE, WHOLE

TWO = pytest.mark.parametrize("who", ["torch's threads", "a pool"])


@pytest.fixture
def shared(who, monkeypatch, small_parts):
    """Two threads, however small the work."""
    if who == "a pool":
        monkeypatch.setattr(crew, "_openmp", lambda: None)
    elif not crew._openmp():
        pytest.skip("torch has no OpenMP here whose threads could be had")
    torch.set_num_threads(2)


@pytest.fixture
def small_parts(monkeypatch):
    for name, number in (("ENOUGH", 1), ("SHARE", 1), ("COLLECT", 0)):
        monkeypatch.setattr(phases, name, number)
    forget()
    monkeypatch.setattr(crew, "_left_alone", 0)
    monkeypatch.setattr(crew, "_penalty", 1)
    yield
    forget()
    torch.set_num_threads(1)


def forget():
    phases.forward.cache_clear()
    phases.backward.cache_clear()


def step(model, x):
    model.zero_grad()
    x.grad = None
    y = model(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters()), *([x.grad] if x.requires_grad else [])]


def network(samples=50, wide=(12,)):
    torch.manual_seed(0)
    return sparsify(SlideCNN((3, 4), wide), 0.7, kind="sparse").double(), torch.randn(samples, 1, 28, 28).double()


@TWO
@pytest.mark.parametrize("collect", [0, 1])  # 1: layers are divided into unlike numbers of parts, or not at all
@pytest.mark.parametrize(("samples", "threads"), [(1, 2), (15, 3), (50, 2), (64, 3), (100, 5), (130, 3), (300, 2)])
def test_any_number_of_threads_finds_the_same(shared, monkeypatch, samples, threads, collect):
    monkeypatch.setattr(phases, "COLLECT", collect)
    for model, x in (network(samples), network(samples, wide=(12, 7)), network(samples, wide=())):
        torch.set_num_threads(1)
        expected = step(model, x)
        torch.set_num_threads(threads)
        found, again = step(model, x), step(model, x)
        for ours, theirs, once_more in zip(found, expected, again, strict=True):
            torch.testing.assert_close(ours, theirs)
            assert torch.equal(ours, once_more)
        with torch.no_grad():
            torch.testing.assert_close(model(x), expected[0])


@TWO
@pytest.mark.parametrize("wants", ["inputs", "first layer", "last layer"])
def test_whatever_gradients_are_wanted(shared, wants):
    for make in (lambda: network(40, (12, 7))[0], lambda: sparsify(LeNet300100(), 0.9, kind="sparse").double()):
        model, x = make(), torch.randn(40, 1, 28, 28).double()
        x.requires_grad_(wants == "inputs")
        first, *_, last = model.parameters()
        if wants != "inputs":
            model.requires_grad_(False)
            (first if wants == "first layer" else last).requires_grad_(True)
        of = [x] if wants == "inputs" else [first if wants == "first layer" else last]
        both = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            both.append(torch.autograd.grad(model(x).square().sum(), of)[0])
        torch.testing.assert_close(*both)


@TWO
@pytest.mark.parametrize(("forward", "backward"), [(1, 2), (2, 1)])
def test_the_number_of_threads_may_change_before_the_backward_pass(shared, forward, backward):
    model, x = network()
    expected = step(model, x)[1:]
    model.zero_grad()
    torch.set_num_threads(forward)
    loss = model(x).square().sum()
    torch.set_num_threads(backward)
    loss.backward()
    for p, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)


@TWO
@pytest.mark.parametrize("late", [False, True])
def test_a_late_thread_changes_no_number(shared, monkeypatch, late):
    """What one alone does after a thread was late is done in the same parts."""
    monkeypatch.setattr(crew, "LATE", 2**62)
    model, x = network()
    expected = step(model, x)
    monkeypatch.setattr(crew, "LATE", 0 if late else 2**62)
    for _ in range(3):
        for ours, theirs in zip(step(model, x), expected, strict=True):
            assert torch.equal(ours, theirs)
    assert (crew._left_alone > 0) is late


@TWO
def test_who_is_late_again_and_again_is_left_alone_for_longer(shared, monkeypatch):
    model, x = network()
    monkeypatch.setattr(crew, "LATE", 0)

    def left(calls):
        found = []
        for _ in range(calls):
            model(x)
            found.append(crew._left_alone)
        return found

    assert left(10) == [1, 0, 2, 1, 0, 4, 3, 2, 1, 0]  # nobody is asked where it is above zero
    torch.set_num_threads(1)
    assert left(1) == [0]
    torch.set_num_threads(2)
    monkeypatch.setattr(crew, "LATE", 2**62)
    assert left(5) == [0] * 5
    monkeypatch.setattr(crew, "LATE", 0)
    assert left(4) == [3, 2, 1, 0]  # eight calls, less one for each in time
    torch.set_num_threads(1)
    monkeypatch.setattr(crew, "_left_alone", 3)
    assert left(2) == [3, 3]  # calls of one thread are no penance


@TWO
@pytest.mark.parametrize("late", [True, False])
def test_who_has_more_to_do_is_not_late(shared, monkeypatch, late):
    """Of 100 samples one thread has 64: the other waits, and the longer the more work there is."""
    monkeypatch.setattr(crew, "LATE", 0)
    monkeypatch.setattr(crew, "A_PAUSE", 2**62 if late else 1e-6)
    model, x = network(100)
    step(model, x)
    assert (crew._penalty > 1) is late


@TWO
def test_safe_in_threads(shared):
    model, x = network()
    expected, seen = model(x).detach(), []
    workers = [threading.Thread(target=lambda: seen.append(model(x).detach())) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == 8
    for y in seen:
        torch.testing.assert_close(y, expected)


@given(
    convolutions=st.integers(0, 2),
    linear=st.integers(0, 3),
    work=st.integers(1, 10**6),
    reads=st.integers(0, 10**5),
    samples=st.integers(1, 300),
    threads=st.integers(1, 9),
    wants_x=st.booleans(),
    data=st.data(),
)
def test_a_pass_is_divided_once_and_whole(convolutions, linear, work, reads, samples, threads, wants_x, data):
    layers = convolutions + linear
    if not layers:
        return
    stop = 0 if wants_x else data.draw(st.integers(0, layers - 1))
    ahead = phases.forward(convolutions, (work,) * layers, samples, threads)
    back = phases.backward(convolutions, (work,) * layers, (reads,) * layers, samples, threads, stop, wants_x)
    assert (
        1 <= min(ahead["parts"].min(), back["parts"].min()) <= max(ahead["parts"].max(), back["parts"].max()) <= threads
    )
    if threads == 1 or samples > TILE * (threads - 1):
        assert ahead["kind"].tolist() == [WHOLE]
        assert back["parts"][0] == ahead["parts"][0] <= -(-samples // LANES)
        assert back["kind"].tolist() == ([WHOLE, ADD] if back["parts"][0] > 1 else [WHOLE])
        return
    for begin in range(0, samples, TILE):
        there, back_there = (table[table["begin"] == begin] for table in (ahead, back))
        assert there["layer"][there["kind"] == ROWS].tolist() == list(range(convolutions, layers))
        units = back_there[back_there["kind"] == ROWS]
        assert units["layer"].tolist() == list(range(max(stop, convolutions), layers))[::-1]
        slices = -(-min(TILE, samples - begin) // LANES)
        for table, wanted in ((there, convolutions), (back_there, max(0, convolutions - stop))):
            found = table[table["kind"] == SLICES]
            assert len(found) == (wanted > 0)
            assert all(found["parts"] <= slices)
        assert units["rooms"].tolist() == [1, *units["parts"]][: len(units)]  # what the layer above has made


@pytest.mark.parametrize(
    ("samples", "threads", "apart"), [(100, 2, 28), (128, 2, 0), (1024, 2, 0), (64, 2, 0), (130, 3, 14), (50, 1, 0)]
)
def test_how_unlike_the_parts_of_a_pass_are(samples, threads, apart):
    """100 samples are 64 and 36, as slices are not cut."""
    assert phases.uneven(samples, threads) == apart


def test_units_are_shared_where_their_gradient_is_worth_adding_up():
    def parts(weights, wants_x):
        return phases.backward(0, (weights,), (1_000,), 64, 8, 0, wants_x)["parts"][1]

    assert parts(4_000, wants_x=True) == 1  # four weights that read a feature: adding up would take longer
    assert parts(30_000, wants_x=True) == 6
    assert parts(100_000, wants_x=True) == parts(100_000, wants_x=False) == 8
    assert parts(4_000, wants_x=False) == 5


@pytest.mark.parametrize(("wants_x", "divided"), [(True, [8, 1]), (False, [8, 5])])
def test_each_layer_is_divided_by_its_own_inputs(wants_x, divided):
    """The first layer's 4,000 weights read 1,000 features, the last one's 40,000 read 10."""
    table = phases.backward(0, (4_000, 40_000), (1_000, 10), 160, 8, 0, wants_x)
    of_tile = table[(table["begin"] == 0) & (table["kind"] == ROWS)]
    assert of_tile["layer"].tolist() == [1, 0]
    assert of_tile["parts"].tolist() == divided
    assert of_tile["rooms"].tolist() == [1, divided[0]]


def test_a_plan_says_how_many_features_each_layer_reads():
    convolution = Conv2d(3, 4, (3, 3), margins=(1, 1, 1, 1))
    assert plan((3, 8, 8), convolution, Linear(256, 7), Linear(7, 5)).reads == (3 * 10 * 10, 256, 7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_safe_after_a_fork():
    assert_runs("""
child = os.fork()
if not child:
    os._exit(0 if torch.allclose(model(x), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
""")


@pytest.mark.parametrize("limit", ["OMP_THREAD_LIMIT", "OMP_NUM_THREADS"])
def test_threads_that_do_not_come_are_not_waited_for(limit):
    assert_runs("for _ in range(5): assert torch.allclose(model(x), expected)", **{limit: "1"})


def assert_runs(code, **environment):
    """In a process of its own, with two threads, `model`, `x` and `expected`."""
    script = f"""
import os, torch, warnings
from dst_tutorial.kernels import phases
from test_crew import network
warnings.simplefilter("ignore")
phases.ENOUGH = phases.SHARE = 1
torch.set_num_threads(2)
model, x = network()
expected = model(x).detach()
{code}
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
