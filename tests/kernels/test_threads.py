"""Threads share the samples of a call, and are safe."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from dst_tutorial import sparsify
from dst_tutorial.kernels import threads
from dst_tutorial.training.models import SlideCNN


@pytest.fixture(params=["torch's threads", "a pool"])
def shared(request, monkeypatch):
    """Two threads, however small the work."""
    if request.param == "a pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif not threads._openmp():
        pytest.skip("torch has no OpenMP here whose threads could be had")
    monkeypatch.setattr(threads, "ENOUGH", 1)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def step(model, x):
    model.zero_grad()
    y = model(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters())]


def network():
    torch.manual_seed(0)
    return sparsify(SlideCNN((3, 4), (12,)), 0.7, kind="sparse").double(), torch.randn(50, 1, 28, 28).double()


def test_threads_share_the_samples(shared):
    model, x = network()
    two = step(model, x)
    torch.set_num_threads(1)
    for ours, theirs in zip(two, step(model, x), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert [stop - start for start, stop in threads.parts(50, 50, 16)] == [50]
    torch.set_num_threads(2)
    assert threads.parts(50, 50, 16) == [(0, 32), (32, 50)]


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


@pytest.mark.parametrize("enough", [10**4, 10**5, 3 * 10**5, 10**6])
def test_whatever_is_worth_a_thread(shared, monkeypatch, enough):
    """The forward pass alone may be worth one thread where both passes are worth two."""
    model, x = network()
    expected = step(model, x)
    monkeypatch.setattr(threads, "ENOUGH", enough)
    for ours, theirs in zip(step(model, x), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


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


def test_each_job_is_done_once_and_its_error_is_heard(shared):
    done = []
    threads.each(done.append, [(i,) for i in range(5)])
    assert sorted(done) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        threads.each(lambda i: 1 // i, [(1,), (2,), (0,)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_safe_after_a_fork():
    script = """
import os, torch, warnings
from dst_tutorial.kernels import threads
from test_threads import network
warnings.simplefilter("ignore")
threads.ENOUGH = 1
torch.set_num_threads(2)
model, x = network()
expected = model(x).detach()
child = os.fork()
if not child:
    os._exit(0 if torch.allclose(model(x), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
