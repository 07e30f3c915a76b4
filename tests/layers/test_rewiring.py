"""Truly sparse layers on the move: the protocol of `rules.py`, against masked layers."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import SparseConv2d, SparseLinear, kernels, mlp, sparsify, to_masked, to_truly_sparse
from dst_tutorial.kernels import threads
from dst_tutorial.layers.sparsify import sparse_layers
from dst_tutorial.topology import rules
from dst_tutorial.training.models import SlideCNN


def pair(make, sparsity, seed):
    """The same layer, masked and truly sparse."""
    torch.manual_seed(seed)
    masked = sparsify(make(), sparsity, seed=seed, init="fan_in").double()
    return masked, to_truly_sparse(masked)


LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (4, 7)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (4, 3, 5, 6)),
    "groups, stride, dilation": (lambda: nn.Conv2d(4, 6, (2, 3), 2, 1, 2, 2), (3, 4, 9, 9)),
    "same": (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="reflect"), (2, 2, 6, 6)),
}


@settings(max_examples=50)
@given(
    name=st.sampled_from(list(LAYERS)),
    sparsity=st.sampled_from([0.0, 0.3, 0.8]),
    uses=st.integers(1, 2),
    block=st.sampled_from([1, 10, 2**18]),
    seed=st.integers(0, 99),
)
def test_the_watched_gradient_is_the_masked_layers(name, sparsity, uses, block, seed):
    (make, shape), layers = LAYERS[name], []
    for layer in pair(make, sparsity, seed):
        layer.watch(True)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(uses):
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            layer(x).sin().sum().backward()
        layers.append(layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dst_tutorial.layers.sparse._BLOCK", block)
        blocks = list(layers[1].gradient_blocks())
    theirs = torch.cat([block for _, block in layers[0].gradient_blocks()])
    assert torch.equal(torch.cat([first + torch.arange(len(b)) for first, b in blocks]), torch.arange(len(theirs)))
    torch.testing.assert_close(torch.cat([b for _, b in blocks]), theirs)
    some = torch.randperm(len(theirs), generator=torch.Generator().manual_seed(seed))[:5]
    torch.testing.assert_close(layers[1].gradient_at(some), theirs[some])
    layers[1].watch(False)
    assert layers[1].gradient_blocks() is None


@settings(max_examples=50)
@given(
    name=st.sampled_from(list(LAYERS)),
    sparsity=st.sampled_from([0.3, 0.8, 0.95]),
    fraction=st.sampled_from([0.0, 0.3, 1.0]),
    reset=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_and_moments_follow_their_connection(name, sparsity, fraction, reset, seed):
    make, shape = LAYERS[name]
    masked, sparse = pair(make, sparsity, seed)
    before = sparse.to_dense(), sparse.active_positions()
    moment = torch.randn(sparse.active_weights, dtype=torch.float64)
    dense_moment = torch.zeros(masked.weight.numel(), dtype=torch.float64)
    dense_moment[before[1]] = moment
    dense_moment = dense_moment.view(masked.weight.shape)
    generator = torch.Generator().manual_seed(seed)
    drop = rules.by_magnitude(sparse, fraction)
    taken = before[1][~torch.isin(before[1], drop)]
    grow = rules.at_random(sparse, taken, len(drop), generator)
    new = torch.randn(len(grow), generator=generator)
    sparse.values.grad = torch.ones_like(sparse.values)
    for layer, moments in ((sparse, [moment]), (masked, [dense_moment])):
        layer.rewire(drop, grow, new, moments, reset)
    assert torch.equal(sparse.to_dense(), masked.weight)
    assert torch.equal(sparse.active_positions(), masked.active_positions())
    assert sparse.values.grad is None
    if reset:
        assert torch.equal(moment, dense_moment.take(sparse.active_positions()))
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(sparse(x), masked(x))


def test_in_very_wide_layers_gradient_growth_looks_at_candidates(monkeypatch):
    monkeypatch.setattr(rules, "WIDEST", 10)
    for layer in pair(lambda: nn.Linear(30, 20), 0.8, 0):
        layer.watch(True)
        layer(
            torch.randn(4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        ).sin().sum().backward()
        taken = layer.active_positions()
        grown = rules.by_gradient(layer, taken, 10, torch.Generator().manual_seed(1))
        score = torch.cat([b for _, b in layer.gradient_blocks()]).abs()
        candidates = rules.at_random(layer, taken, 100, torch.Generator().manual_seed(1))
        assert set(grown.tolist()) == set(candidates[score[candidates].argsort(descending=True)[:10]].tolist())


# --- conversion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [SlideCNN, lambda: mlp(784, 20, 10), lambda: nn.Sequential(nn.Conv2d(1, 2, 3))])
def test_masked_again_is_the_same_network(network):
    torch.manual_seed(0)
    masked = sparsify(network(), 0.9).eval()
    again, x = to_masked(to_truly_sparse(masked)), torch.randn(3, 1, 28, 28)
    assert [(n, type(m)) for n, m in again.named_modules()] == [(n, type(m)) for n, m in masked.named_modules()]
    for name, tensor in masked.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert torch.equal(again(x), masked(x))
    assert not again.training


def test_a_fused_layer_alone_gets_a_sequential():
    layer = SparseConv2d(1, 2, 3, density=0.5, relu=True, pool=2)
    masked, x = to_masked(layer), torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(masked(x), layer(x))
    with pytest.raises(ValueError, match="no truly sparse layer"):
        to_masked(masked)


def test_from_a_dense_layer():
    torch.manual_seed(0)
    dense, x = nn.Linear(6, 4), torch.randn(3, 6)
    dense.weight.data[dense.weight.abs() < 0.2] = 0
    sparse = SparseLinear.from_dense(dense)
    assert sparse.active_weights == (dense.weight != 0).sum() < 24
    torch.testing.assert_close(sparse(x), dense(x))
    torch.testing.assert_close(sparse.to_dense(), dense.weight.detach())
    conv = nn.Conv2d(1, 2, 3)
    torch.testing.assert_close(SparseConv2d.from_dense(conv).to_dense(), conv.weight.detach())


def test_a_network_that_cannot_exist_densely(tmp_path):
    """Its dense form would take 40 GB: it is shapes without numbers. Build, train, rewire, save and load it in 1 GB."""
    script = """
import resource, sys, torch, torch.nn.functional as F
from dst_tutorial.training import checkpoint
from dst_tutorial import mlp, sparsify
from dst_tutorial.topology.algorithms import SET, RigL
from dst_tutorial.training.optim import Adam
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.device("meta"):
    net = mlp(20, 100_000, 100_000, 10)
wide = {"kind": "sparse", "densities": {"fc2": 0.0001}}
model = sparsify(net, 0.99985, **wide)
assert model.fc2.active_weights == 1_000_000
optimizer = Adam(model.parameters())
for algorithm in (SET, RigL):
    engine = algorithm(model, optimizer, unit="steps", update_interval=2, duration=9)
    positions = model.fc2.active_positions()
    for _ in range(3):
        x, y = torch.randn(4, 20), torch.randint(10, (4,))
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        engine.step()
    assert loss.isfinite() and not torch.equal(positions, model.fc2.active_positions())
checkpoint.save(sys.argv[1], {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
state = checkpoint.load(sys.argv[1])
again = sparsify(net, 0.99985, seed=1, **wide)
again.load_state_dict(state["model"])
assert torch.equal(again(x), model(x))
used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
print(used)
assert used < 1_000
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "wide")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- backends ---------------------------------------------------------------------------------------------------------


def test_the_backend_is_chosen_and_can_be_settled(monkeypatch):
    layer = SparseLinear(4, 3, density=0.5)
    fast = kernels.backend_for(layer.values)
    assert fast.__module__ == "dst_tutorial.kernels.cpu"
    assert kernels.backend_for(layer.values.bfloat16()) is kernels.REFERENCE
    assert kernels.backend_for(layer.values.to("meta")) is kernels.REFERENCE
    kernels.use("reference")
    try:
        assert kernels.backend_for(layer.values) is kernels.REFERENCE
    finally:
        kernels.use(None)
    assert kernels.backend_for(layer.values) is fast
    with pytest.raises(ValueError, match="unknown backend 'gpu'; choose from reference, library, cpu"):
        kernels.use("gpu")
    monkeypatch.setattr(kernels, "has_numba", lambda: False)
    assert kernels.backend_for(layer.values) is kernels.REFERENCE


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
from test_rewiring import network
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


def test_other_dtypes_than_the_weights_are_refused_as_in_dense_layers():
    with pytest.raises(RuntimeError, match=r"must be torch.float32 .* got torch.float64"):
        SparseLinear(4, 3, density=0.5)(torch.ones(2, 4).double())
    with pytest.raises(RuntimeError, match=r"on the CPU.* got torch.float32 on meta"):  # an address that means nothing
        SparseLinear(4, 3, density=0.5)(torch.ones(2, 4, device="meta"))
    layer = SparseLinear(4, 3, density=0.5)
    layer.columns = layer.columns.long()
    with pytest.raises(RuntimeError, match=r"int32 here.* got torch.int64"):
        layer(torch.ones(2, 4))
    assert list(sparse_layers(nn.Sequential(SparseLinear(4, 3, density=0.5)))) == ["0"]
