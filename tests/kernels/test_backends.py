"""Which backend runs, what it refuses, and whose memory it uses."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from dst_tutorial import (
    SlideCNN,
    SparseLinear,
    kernels,
    sparsify,
)
from dst_tutorial.layers.sparsify import sparse_layers


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def test_the_backend_is_chosen_and_can_be_settled(monkeypatch):
    layer = SparseLinear(4, 3, density=0.5)
    fast = kernels.backend_for(layer.values)
    assert fast.__module__ == "dst_tutorial.kernels.cpu"
    assert kernels.backend_for(layer.values.bfloat16()) is kernels.REFERENCE  # which says what there is
    assert kernels.backend_for(layer.values.to("meta")) is kernels.REFERENCE
    kernels.use("reference")
    try:
        assert kernels.backend_for(layer.values) is kernels.REFERENCE
    finally:
        kernels.use(None)
    assert kernels.backend_for(layer.values) is fast
    with pytest.raises(ValueError, match="unknown backend 'gpu'; choose from reference, library, cpu"):
        kernels.use("gpu")
    monkeypatch.setattr(kernels.backends, "has_numba", lambda: False)
    assert kernels.backend_for(layer.values) is kernels.REFERENCE


def test_other_dtypes_than_the_weights_are_refused_as_in_dense_layers():
    with pytest.raises(RuntimeError, match=r"must be torch.float32 .* got torch.float64"):
        SparseLinear(4, 3, density=0.5)(torch.ones(2, 4).double())
    with pytest.raises(RuntimeError, match=r"on cpu, .* got torch.float32 on meta"):  # an address that means nothing
        SparseLinear(4, 3, density=0.5)(torch.ones(2, 4, device="meta"))
    layer = SparseLinear(4, 3, density=0.5)
    layer.columns = layer.columns.long()
    with pytest.raises(RuntimeError, match=r"must be int32, got torch.int64"):
        layer(torch.ones(2, 4))
    assert list(sparse_layers(nn.Sequential(SparseLinear(4, 3, density=0.5)))) == ["0"]


def test_what_an_earlier_call_left_in_memory_shows_in_no_later_one():
    cpu = pytest.importorskip("dst_tutorial.kernels.cpu")
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8, kind="sparse")
    for samples in (1, 3, 70):
        x, found = torch.randn(samples, 1, 8, 8), []
        for left in (0.0, float("nan"), 1e30):
            with torch.inference_mode():
                for room in cpu._kept.rooms.values():
                    room.fill_(left)
            for memory, _ in cpu._kept.lent.values():
                memory.fill(left if memory.dtype.kind == "f" else 77)
            with torch.inference_mode():
                y = model(x)
            found.append(torch.cat([y.flatten(), *(g.flatten() for g in gradients(model, x))]))
        assert all(torch.equal(found[0], other) for other in found[1:])


def test_memory_is_lent_to_one_graph_at_a_time():
    cpu = pytest.importorskip("dst_tutorial.kernels.cpu")
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8, kind="sparse")
    inputs = [torch.randn(20, 1, 8, 8) for _ in range(3)]
    alone = [gradients(model, x) for x in inputs]
    losses = [model(x).square().sum() for x in inputs]  # three graphs at once
    for loss, expected in zip(losses, alone, strict=True):
        for found in (torch.autograd.grad(loss, list(model.parameters()), retain_graph=True) for _ in range(2)):
            assert all(map(torch.equal, found, expected))
    del losses, loss, found
    lent = {dtype: cpu._kept.lent[dtype] for dtype in (torch.float32, torch.uint8)}
    assert all(borrower() is None for _, borrower in lent.values())
    gradients(model, inputs[0])
    assert all(cpu._kept.lent[dtype][0] is memory for dtype, (memory, _) in lent.items())  # and is lent again


def test_threads_do_not_share_their_memory():
    models = [sparsify(SlideCNN(), 0.9, kind="sparse", seed=seed) for seed in range(4)]
    x = torch.randn(300, 1, 28, 28)  # so long that the threads meet

    @torch.inference_mode()
    def often(model):
        return [model(x) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for model, found in zip(models, pool.map(often, models), strict=True):
            assert all(torch.equal(y, often(model)[0]) for y in found)


def test_weights_that_are_replaced_between_the_passes_are_noticed():
    layer = SparseLinear(4, 3, density=0.5)
    y = layer(torch.ones(2, 4))
    layer.values.data = torch.zeros(6)
    with pytest.raises(RuntimeError, match="replaced since the forward pass"):
        y.sum().backward()


# --- whose machine ----------------------------------------------------------------------------------------------------

TRAIN = """
import logging; logging.basicConfig()
import torch
from dst_tutorial import SparseLinear, kernels
from dst_tutorial.training import Adam
layer = SparseLinear(8, 5, density=0.5); optimizer = Adam(layer.parameters())
for _ in range(2):
    layer(torch.ones(3, 8)).sum().backward(); optimizer.step()
print(layer.values.isfinite().all().item(), kernels.backend_for(layer.values).__module__)
"""


def run_python(*arguments, **environment):
    shown = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run([sys.executable, *arguments], env=shown | environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    return done.stdout.strip(), done.stderr


BROKEN = "raise ImportError('numba needs an older NumPy')"


@pytest.mark.parametrize("trouble", ["switched off", "broken"])
def test_without_numba_layers_are_slow_and_say_so_once(tmp_path, trouble):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(BROKEN)
    environment = {"NUMBA_DISABLE_JIT": "1"} if trouble == "switched off" else {"PYTHONPATH": str(tmp_path)}
    out, err = run_python("-c", TRAIN, **environment)
    assert out == "True dst_tutorial.kernels.reference"
    assert err.count("Truly sparse layers are slow without it") == 1
    assert ("numba is switched off" if trouble == "switched off" else "needs an older NumPy") in err
    out, _ = run_python("-m", "dst_tutorial", "doctor", **environment)
    assert "FAIL  fast kernels" in out
    assert ("unset NUMBA_DISABLE_JIT" if trouble == "switched off" else "pip install --upgrade numba") in out


def test_nowhere_to_keep_compiled_code_is_said_once():
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
    out, err = run_python("-c", TRAIN, **nowhere)
    assert out == "True dst_tutorial.kernels.cpu"
    assert err.count("set NUMBA_CACHE_DIR") == 1
    assert "FAIL  compiled code" in run_python("-m", "dst_tutorial", "doctor", **nowhere)[0]


def test_compiled_code_is_of_these_very_sources(monkeypatch):
    """A layout may change in a file that numba does not look at: code of another one would read elsewhere."""
    compiled = pytest.importorskip("dst_tutorial.kernels.compiled")

    def index():
        def run(x):
            pass

        return compiled.as_c(run, 1, True)._cache._cache_file._index_path

    before = index()
    assert index() == before
    monkeypatch.setattr(compiled, "_SOURCES", "of another version")
    assert index() != before


def test_compiling_is_said_where_something_compiles_and_only_there(tmp_path):
    said = []
    for _ in range(2):
        out, err = run_python("-c", TRAIN, NUMBA_CACHE_DIR=str(tmp_path))
        assert out == "True dst_tutorial.kernels.cpu"
        said.append("compiling forward for this machine" in err)
    assert said == [True, False]
