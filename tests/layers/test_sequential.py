"""Truly sparse layers side by side: one call, the same function."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from conftest import filled
from test_sparse import agree
from torch import nn

from dst_tutorial import (
    MaskedConv2d,
    MaskedLinear,
    SlideCNN,
    SparseConv2d,
    SparseLinear,
    kernels,
    sparsify,
    to_masked,
)
from dst_tutorial import to_truly_sparse as convert
from dst_tutorial.layers.sequential import SparseSequential


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def linear():
    return MaskedLinear(4, 4, mask=torch.eye(4, dtype=torch.bool))


def conv():
    return MaskedConv2d(1, 2, 3)


def conv_net(**options):
    """Every kind of neighbour there is: two convolutions, a Flatten, two linear layers, and what stands alone."""
    torch.manual_seed(0)
    layers = [SparseConv2d(2, 5, 3, padding=1, density=0.3, relu=True, pool=2), nn.Identity(),
              SparseConv2d(5, 6, (2, 3), stride=(1, 2), density=0.3, **options), nn.Flatten(),
              SparseLinear(6 * 3, 9, density=0.3, relu=True), SparseLinear(9, 8, density=0.3), nn.Tanh(),
              SparseLinear(8, 4, density=0.5)]  # fmt: skip
    return SparseSequential(*(filled(m, i) if hasattr(m, "bias") else m for i, m in enumerate(layers)))


def calls_of(model, x, monkeypatch):
    """How many operations each call of the backend is given, and the outputs."""
    calls, backend = [], kernels.backend_for(model[0].values)

    def counting(x, operations):
        calls.append(len(operations))
        return backend(x, operations)

    monkeypatch.setattr("dst_tutorial.layers.sparse.backend_for", lambda values, own: own or counting)
    return calls, model(x)


@pytest.mark.parametrize("batch", [0, 1, 5, 16, 70, 130])
def test_neighbours_are_one_call_and_the_same_function(device, batch, monkeypatch):
    model = conv_net().double().to(device)
    apart, x = nn.Sequential(*copy.deepcopy(model)), torch.randn(batch, 2, 8, 8, dtype=torch.float64, device=device)
    calls, y = calls_of(model, x.requires_grad_(), monkeypatch)
    assert calls == [4, 1]
    assert not apart.load_state_dict(model.state_dict()).missing_keys
    other = x.detach().clone().requires_grad_()
    expected = apart(other)
    torch.testing.assert_close(y, expected)
    delta = torch.randn_like(y)
    y.backward(delta)
    expected.backward(delta)
    torch.testing.assert_close(x.grad, other.grad)
    for ours, theirs in zip(model.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected.detach())


def test_a_convolution_of_a_single_pixel_leaves_its_indices_alone(device):
    conv = filled(SparseConv2d(2, 4, 3, dilation=2, density=0.5, device=device), 0)
    before, x = conv.columns.clone(), torch.randn(17, 2, 5, 5, device=device)
    agree(conv, x, lambda x, w, b: F.conv2d(x, w, b, dilation=2))
    assert torch.equal(conv.columns, before)


def test_a_pooling_that_no_loop_has_is_done_in_between(device):
    torch.manual_seed(0)
    model = SparseSequential(SparseConv2d(1, 3, 3, density=0.5, relu=True, pool=3), SparseConv2d(3, 2, 1, density=0.5),
                             nn.Flatten(), SparseLinear(18, 4, density=0.5)).to(device)  # fmt: skip
    short = SparseSequential(model[0], nn.Flatten(), SparseLinear(27, 4, density=0.5).to(device))
    x = torch.randn(5, 1, 11, 11, device=device)
    for network in (model, short):
        torch.testing.assert_close(network(x), nn.Sequential(*network)(x))


def test_only_what_wants_gradients_gets_them(device):
    model, x = conv_net().to(device), torch.randn(3, 2, 8, 8, device=device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in ("4.values", "2.bias"))
    model(x).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"4.values", "2.bias"}
    assert not x.requires_grad


def listening(model):
    seen = []
    model[2].register_forward_hook(lambda *_: seen.append("hook"))
    return seen


def test_layers_that_somebody_listens_to_stand_alone(monkeypatch):
    model, x = conv_net(), torch.randn(3, 2, 8, 8)
    expected, seen = model(x), listening(model)
    calls, y = calls_of(model, x, monkeypatch)
    assert (calls, seen) == ([1, 1, 2, 1], ["hook"])
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("change", ["watched", "another padding", "a forward of its own",
                                    "a patched forward", "another backend"])  # fmt: skip
def test_other_layers_stand_alone_too(change, monkeypatch):
    model, x = conv_net(padding_mode="circular") if change == "another padding" else conv_net(), torch.randn(3, 2, 8, 8)
    expected = nn.Sequential(*model)(x)
    if change == "watched":
        model[2].watch(True)
    elif change == "a forward of its own":
        model[2].__class__ = type("Mine", (SparseConv2d,), {"forward": lambda self, x: SparseConv2d.forward(self, x)})
    elif change == "a patched forward":
        model[2].forward = lambda x: SparseConv2d.forward(model[2], x)
    elif change == "another backend":
        model[2].backend = kernels.REFERENCE
    calls, y = calls_of(model, x, monkeypatch)
    assert calls == ([1, 1, 1, 1] if change == "another backend" else [1, 1, 2, 1])
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("which", [1, 3])
def test_a_patched_flatten_or_identity_is_called(which):
    model, x, seen = conv_net(), torch.randn(3, 2, 8, 8), []
    usual = model[which].forward
    model[which].forward = lambda x: seen.append(which) or usual(x)
    model(x)
    assert seen == [which]


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_global_hooks_hear_every_layer(kind):
    model, x, seen = conv_net(), torch.randn(3, 2, 8, 8), []
    register = getattr(nn.modules.module, f"register_module_{kind}_hook")
    handle = register(lambda module, *_: seen.append(module))
    try:
        model(x)
    finally:
        handle.remove()
    assert set(model) <= set(seen)


def test_one_image_without_a_batch_has_nothing_to_flatten():
    model, image = conv_net()[:3], torch.randn(2, 8, 8)
    torch.testing.assert_close(model(image), model(image[None])[0])


def test_sizes_that_do_not_fit_are_named_whatever_the_backend(device):
    model = SparseSequential(SparseLinear(6, 5, density=0.5), SparseLinear(4, 3, density=0.5)).to(device)
    with pytest.raises(ValueError, match=r"expected inputs \[..., 4\], got \[..., 5\]"):
        model(torch.ones(2, 6, device=device))
    model = SparseSequential(SparseConv2d(1, 2, 3, density=0.5), SparseConv2d(2, 2, 3, density=0.5)).to(device)
    with pytest.raises(ValueError, match="too small for the kernel"):
        model(torch.ones(2, 1, 4, 4, device=device))


def test_a_converted_network_keeps_its_class_and_can_be_copied_saved_and_turned_back():
    torch.manual_seed(0)
    model, x = sparsify(SlideCNN((3, 4), (12,)), 0.8, kind="sparse"), torch.randn(3, 1, 28, 28)
    assert isinstance(model, SlideCNN)
    assert isinstance(model, SparseSequential)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert type(other) is type(model)
        assert torch.equal(other(x), model(x))
    assert type(to_masked(model)) is SlideCNN
    torch.testing.assert_close(to_masked(model)(x), model(x))
    assert type(convert(nn.Sequential(linear(), nn.ReLU()))) is SparseSequential
