"""What is kept from call to call is no longer used once a weight is another, or elsewhere."""

import pytest
import torch

from dst_tutorial import SparseConv2d, SparseLinear
from dst_tutorial.kernels import REFERENCE, indices_of

pytest.importorskip("numba")
from dst_tutorial.kernels import bound as kept


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(kept, "_known", {})


@pytest.fixture(params=["linear", "convolution"])
def layer(request):
    torch.manual_seed(0)
    if request.param == "linear":
        return SparseLinear(6, 5, density=0.5)
    return SparseConv2d(2, 4, 3, density=0.5, relu=True, pool=2)


@pytest.fixture
def x(layer):
    return torch.randn(3, *((6,) if isinstance(layer, SparseLinear) else (2, 8, 8)))


def agrees(layer, x):
    found = layer(x)
    layer.backend = REFERENCE
    expected = layer(x)
    del layer.backend
    torch.testing.assert_close(found, expected)
    return found


def other_indices(layer):
    rows, width = layer.weight_shape[0], layer.weight_shape[1:].numel()
    return indices_of(torch.randperm(rows * width)[: layer.active_weights].sort().values, rows, width)


def test_it_is_made_once_for_each_shape(layer, x):
    for _ in range(3):
        agrees(layer, x)
        agrees(layer, x[:1])
    assert len(kept._known) == 1
    if isinstance(layer, SparseConv2d):
        agrees(layer, torch.randn(3, 2, 9, 8))
        assert len(kept._known) == 2


@pytest.mark.parametrize("how", ["another tensor", "in place"])
def test_other_connections_are_seen(layer, x, how):
    """A new tensor may lie where an old one lay, and be as old by its version."""
    for _ in range(20):
        before = agrees(layer, x)
        columns, pointers = other_indices(layer)
        if how == "in place":
            layer.columns.copy_(columns)
            layer.row_pointers.copy_(pointers)
        else:
            layer.columns = layer.row_pointers = None
            layer.columns, layer.row_pointers = columns, pointers
        assert not torch.equal(agrees(layer, x), before)


CHANGES = {
    "other values": lambda one: setattr(one.values, "data", one.values.data * 2),
    "other bias": lambda one: setattr(one.bias, "data", one.bias.data + 1),
    "values of another dtype": lambda one: one.double(),
    "no bias": lambda one: setattr(one, "bias", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_numbers_are_seen(layer, x, change):
    before = agrees(layer, x)
    CHANGES[change](layer)
    x = x.to(layer.values.dtype)
    assert agrees(layer, x).dtype is layer.values.dtype
    if "dtype" not in change and change != "no bias":
        assert not torch.equal(layer(x), before)


REFUSED = {
    "strided values": lambda one: setattr(
        one.values, "data", torch.as_strided(torch.ones(100), one.values.shape, (2,))
    ),
    "values read as halves": lambda one: setattr(
        one.values, "data", one.values.data.view(torch.half)[: len(one.columns)]
    ),
    "fewer values": lambda one: setattr(one.values, "data", one.values.data[:-1]),
    "columns out of range": lambda one: one.columns.add_(100),
    "a shorter bias": lambda one: setattr(one.bias, "data", one.bias.data[:-1]),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_a_loop_could_not_read_is_refused_though_it_was_good_before(layer, x, change):
    agrees(layer, x)
    REFUSED[change](layer)
    with pytest.raises(RuntimeError):
        layer(x)


def test_copies_of_other_connections_are_read_where_they_lie():
    """Saved by a hook, they outlive a change and another forward pass; so must what a convolution makes of them."""
    torch.manual_seed(0)
    layer, x = SparseConv2d(2, 4, 3, density=0.5), torch.randn(3, 2, 8, 8, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(x).square().sum(), x)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        loss = layer(x).square().sum()
    columns, pointers = other_indices(layer)
    layer.columns.copy_(columns)
    layer.row_pointers.copy_(pointers)
    layer(x)
    (found,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(found, expected)


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(kept, "_MOST", 3)
    for _ in range(8):
        layer = SparseLinear(6, 5, density=0.5)
        layer(torch.ones(2, 6))
        assert len(kept._known) <= 3
