"""The Triton kernels, interpreted on the CPU where there is no GPU, against dense torch."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_tutorial import SlideCNN, kernels, mlp, sparsify
from dst_tutorial.kernels import CSR, indices_of
from dst_tutorial.positions import draw_distinct

kernel = pytest.importorskip("dst_tutorial.kernels.triton", reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def a_matrix(rows, width, density, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    positions = draw_distinct(rows * width, round(density * rows * width), generator)
    values = torch.randn(len(positions), generator=generator, dtype=dtype).to(DEVICE).requires_grad_()
    return positions.to(DEVICE), CSR(values, *indices_of(positions.to(DEVICE), rows, width), width)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    width=st.integers(1, 40),
    n=st.sampled_from([1, 2, 7, 8, 9, 17]),  # tiles of 8 samples and 4 entries, full and not
    density=st.sampled_from([0.05, 0.3, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 999),
)
def test_product_and_gradients_are_those_of_the_dense_matrix(rows, width, n, density, dtype, seed):
    positions, weight = a_matrix(rows, width, density, dtype, seed)
    dense = torch.zeros(rows, width, dtype=dtype, device=DEVICE)
    dense.put_(positions, weight.values.detach()).requires_grad_()
    x = torch.randn(width, n, dtype=dtype, device=DEVICE, requires_grad=True)
    same, dy = x.detach().clone().requires_grad_(), torch.randn(rows, n, dtype=dtype, device=DEVICE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernel, "_ALL", 32)
        patched.setattr(kernel, "_SAMPLES", 8)
        y = kernel.matmul(weight, x)
        y.backward(dy)
    (dense @ same).backward(dy)
    near = dict.fromkeys(("rtol", "atol"), 1e-5 if dtype is torch.float32 else 1e-12)
    torch.testing.assert_close(y, dense @ same, **near)
    torch.testing.assert_close(x.grad, same.grad, **near)
    torch.testing.assert_close(weight.values.grad, dense.grad.take(positions), **near)


def test_a_network_is_that_of_the_reference(kept_backend):
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8, kind="sparse").to(DEVICE)
    x, labels, found = torch.randn(5, 1, 8, 8, device=DEVICE), torch.arange(5, device=DEVICE), []
    for backend in ("reference", "triton"):
        kernels.use(backend)
        loss = F.cross_entropy(model(x), labels)
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.fixture
def kept_backend():
    yield
    kernels.use(None)


def test_the_index_is_made_once_for_a_topology(monkeypatch, kept_backend):
    made, of = [], kernel._Index
    monkeypatch.setattr(kernel, "_Index", lambda *parts: made.append(1) or of(*parts))
    model = sparsify(mlp(12, 8, 4), 0.5, kind="sparse").to(DEVICE)
    kernels.use("triton")
    for _ in range(3):
        model(torch.randn(5, 12, device=DEVICE)).sum().backward()
    assert len(made) == 2  # one a layer


def test_another_matrix_has_another_index():
    _, weight = a_matrix(6, 10, 0.4, torch.float32, 0)
    first = kernel._index(weight)
    assert kernel._index(weight._replace(values=weight.values.detach())) is first
    pointers = weight.row_pointers.clone()
    pointers[1:-1] = pointers[-1]  # all in the first row
    assert torch.equal(kernel._index(weight._replace(row_pointers=pointers)).rows, torch.zeros_like(first.rows))
    _, other = a_matrix(6, 10, 0.4, torch.float32, 1)
    weight.columns.copy_(other.columns)  # a checkpoint is loaded
    weight.row_pointers.copy_(other.row_pointers)
    assert torch.equal(kernel._index(weight).pointers, kernel._index(other).pointers)


WITHOUT = """
import torch
from dst_tutorial import SparseLinear, kernels
kernels.use("triton")
SparseLinear(4, 3, density=0.5)(torch.ones(2, 4))
"""


def test_on_a_cpu_it_says_what_it_needs():
    told = subprocess.run([sys.executable, "-c", WITHOUT], env={"PATH": ""}, capture_output=True, text=True).stderr
    assert "RuntimeError: the triton backend runs on a GPU; on a CPU only with TRITON_INTERPRET=1" in told
