"""Bytes and multiplications, against what scipy stores and what a dense network computes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from torch import nn

from dst_tutorial import SlideCNN, mlp, sparsify, to_truly_sparse
from dst_tutorial.layers.ledger import activation_bytes, format_bytes, macs, masked_bytes, state_bytes
from dst_tutorial.training.optim import Adam


@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    density=st.floats(0, 1),
    index=st.sampled_from([np.int32, np.int64]),
    seed=st.integers(0, 99),
)
def test_bytes_are_those_of_scipys_arrays(shape, density, index, seed):
    generator = np.random.default_rng(seed)
    dense = np.where(generator.random(shape) < density, 1.5, 0).astype(np.float32)
    coo = sparse.coo_array(dense)
    sizes = format_bytes(*shape, coo.nnz, np.dtype(index).itemsize)
    assert sizes["dense"] == dense.nbytes
    assert sizes["COO"] == coo.data.nbytes + sum(c.astype(index).nbytes for c in coo.coords)
    for name, form in (("CSR", sparse.csr_array(dense)), ("CSC", sparse.csc_array(dense))):
        assert sizes[name] == form.data.nbytes + form.indices.astype(index).nbytes + form.indptr.astype(index).nbytes


@given(rows=st.integers(1, 2000), columns=st.integers(1, 2000))
def test_the_break_even_lies_just_above_half(rows, columns):
    """8 n + 4 (rows + 1) < 4 rows columns."""
    most = max(-1, (rows * columns - rows) // 2 - 1)
    for n, smaller in ((most, True), (most + 1, False)):
        if n >= 0:
            sizes = format_bytes(rows, columns, n)
            assert (sizes["CSR"] < sizes["dense"]) == smaller


def test_multiplications_of_the_slides_network():
    image = torch.zeros(1, 28, 28)
    dense = macs(SlideCNN(), image)
    assert dense == {
        "conv1": 112_896,
        "conv2": 903_168,
        "fc1": 200_704,
        "fc2": 128_000,
        "fc3": 1_000_000,
        "fc4": 10_000,
    }
    uniform = macs(sparsify(SlideCNN(), 0.95, allocation="uniform"), image)
    assert uniform == {"conv1": 8 * 784, "conv2": 231 * 196, "fc1": 10_036, "fc2": 6_400, "fc3": 50_000, "fc4": 500}


def test_multiplications_with_strides_and_truly_sparse_layers():
    model = sparsify(nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, groups=2), nn.Flatten()), 0.5)
    assert macs(model, torch.zeros(2, 9, 9)) == {"0": 18 * 4 * 4}
    net = sparsify(mlp(6, 5, 4), 0.5, allocation="uniform")
    assert macs(to_truly_sparse(net), torch.zeros(6)) == macs(net, torch.zeros(6)) == {"fc1": 15, "fc2": 10}


def test_a_shared_layer_counts_every_time_and_modes_are_kept():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), layer, nn.ReLU(), layer)
    assert macs(model, torch.zeros(4)) == {"0": 16, "2": 32}
    assert model.training
    assert not model[1].num_batches_tracked


@pytest.mark.parametrize("size", [28, 27, 13])
def test_folded_layers_count_as_the_masked_ones(size):
    masked = sparsify(SlideCNN((3, 4), (6,), size), 0.5)
    image = torch.zeros(1, size, size)
    assert macs(to_truly_sparse(masked), image) == macs(masked, image)


def test_what_is_held_is_what_the_tensors_take():
    """Weights, gradients, both moments, and the buffers: counted by the ledger, and summed over the real tensors."""
    masked = sparsify(SlideCNN(), 0.95, allocation="uniform")
    models = {"dense": SlideCNN(), "Dense+Mask": masked, "truly sparse": to_truly_sparse(masked)}
    held = {}
    for form, model in models.items():
        optimizer = Adam(model.parameters())
        model(torch.randn(2, 1, 28, 28)).sum().backward()
        optimizer.step()
        moments = [t for state in optimizer.state.values() for t in state.values() if t.numel() > 1]
        tensors = [*model.parameters(), *(p.grad for p in model.parameters()), *moments, *model.buffers()]
        held[form] = sum(t.numel() * t.element_size() for t in tensors)
        assert state_bytes(model) == held[form]
    float_masks = held["Dense+Mask"] + 3 * masked_bytes(masked)["masks"]
    assert held["Dense+Mask"] > 16 * held["truly sparse"]
    assert float_masks > 19 * held["truly sparse"]


def test_activations_are_what_the_backward_pass_needs():
    images = torch.randn(100, 784)[:64]  # of a larger array: only what is used counts
    net = mlp(784, 300, 100, 10)
    masked = sparsify(net, 0.9)
    for model in (net, masked):  # the inputs of every layer
        assert activation_bytes(model, images) == 4 * 64 * (784 + 300 + 100)
    assert activation_bytes(to_truly_sparse(masked), images) == 4 * 64 * (784 + 300 + 100 + 10)  # and the outputs


def test_counting_leaves_no_hook_behind():
    model = mlp(4, 3)
    macs(model, torch.zeros(4))
    with pytest.raises(RuntimeError):
        macs(model, torch.zeros(5))
    assert not any(m._forward_hooks for m in model.modules())
