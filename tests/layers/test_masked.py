import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import DynamicSparsity, MaskedConv2d, MaskedLinear, fit, mlp, sparsify

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


def random_mask(*shape, seed=0, density=0.4):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density


@given(
    n_in=st.integers(1, 9),
    n_out=st.integers(1, 9),
    batch=st.integers(0, 5),
    bias=st.booleans(),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_linear_equals_the_dense_layer_of_the_product(n_in, n_out, batch, bias, density, seed):
    torch.manual_seed(seed)
    mask = random_mask(n_out, n_in, seed=seed, density=density)
    layer = MaskedLinear(n_in, n_out, bias=bias, mask=mask, dtype=torch.float64)
    x = torch.randn(batch, n_in, dtype=torch.float64, requires_grad=True)
    oracle_x, oracle_w = x.detach().clone().requires_grad_(), (layer.weight * mask).detach().requires_grad_()

    ours = layer(x)
    oracle = F.linear(oracle_x, oracle_w, layer.bias.detach() if bias else None)
    assert torch.equal(ours, oracle)
    delta = torch.randn_like(ours)
    ours.backward(delta)
    oracle.backward(delta)
    assert torch.equal(layer.weight.grad, oracle_w.grad * mask)
    assert torch.equal(x.grad, oracle_x.grad)


@settings(max_examples=40)
@given(
    groups=st.sampled_from([1, 2]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "valid"]),
    dilation=st.integers(1, 2),
    mode=st.sampled_from(["zeros", "circular"]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_conv_equals_the_dense_layer_of_the_product(groups, kernel, stride, padding, dilation, mode, bias, seed):
    torch.manual_seed(seed)
    dense = nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups, bias, mode, dtype=torch.float64)
    mask = random_mask(*dense.weight.shape, seed=seed)
    ours = MaskedConv2d.from_dense(copy.deepcopy(dense), mask)
    dense.weight.data *= mask
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    assert torch.equal(ours(x), dense(x))
    ours(x).square().sum().backward()
    dense(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, dense.weight.grad * mask)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("reset_moments", [False, True])
def test_stored_inactive_weights_stay_exactly_zero(optimiser, reset_moments):
    """Under any decay and momentum, static and through topology updates that leave momentum behind."""
    torch.manual_seed(0)
    model = sparsify(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)), 0.7, seed=1)
    opt = OPTIMISERS[optimiser](model.parameters())
    engine = DynamicSparsity(
        model, opt, update_interval=3, unit="steps", drop_fraction=0.5, reset_moments=reset_moments
    )
    for _ in range(20):
        opt.zero_grad()
        model(torch.randn(8, 1, 6, 6)).square().mean().backward()
        engine.step()
        for layer in engine.layers.values():
            assert (layer.weight[~layer.mask] == 0).all()
    assert engine.updates == 6


def test_fit_holds_inactive_weights_at_zero_under_an_optimiser_that_moves_them(dataset):
    """With no engine at hand: left-over momentum, and noise on every weight."""

    class Noisy(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.add_(torch.randn_like(p))

    model = sparsify(mlp(784, 10), 0.7, seed=1)
    fit(model, dataset, Noisy(model.parameters(), lr=0.1), epochs=1, progress=False)
    assert (model.fc1.weight[~model.fc1.mask] == 0).all()
    assert (model.fc1.weight[model.fc1.mask] != 0).all()


def test_state_dict_round_trip():
    torch.manual_seed(0)
    model = sparsify(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), 0.5, seed=1)
    other = sparsify(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), 0.5, seed=2)
    assert not torch.equal(model[0].mask, other[0].mask)
    other.load_state_dict(model.state_dict())
    x = torch.randn(3, 6)
    assert torch.equal(model(x), other(x))
    assert model.state_dict()["0.mask"].dtype == torch.bool


def test_loading_a_dense_layers_weights_stores_no_inactive_one():
    layer = MaskedLinear(4, 3, mask=random_mask(3, 4))
    mask, dense = layer.mask.clone(), nn.Linear(4, 3)
    layer.load_state_dict(dense.state_dict(), strict=False)
    assert torch.equal(layer.mask, mask)
    assert torch.equal(layer.weight, dense.weight * mask)


def test_a_mask_is_a_copy():
    mask = random_mask(3, 4)
    layer = MaskedLinear(4, 3, mask=mask)
    before = mask.clone()
    layer.mask.fill_(True)
    assert torch.equal(mask, before)


def test_without_a_mask_all_weights_are_active():
    layer = MaskedConv2d(2, 3, 3, padding=1)
    assert layer.active_weights == 54
    assert "active=54 of 54" in repr(layer)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the mask has shape \(4, 3\), the weight \(3, 4\)"):
        MaskedLinear(4, 3, mask=torch.ones(4, 3))


def test_rewire_works_in_any_memory_layout():
    mask = torch.zeros(4, 3, 2, 2, dtype=torch.bool)
    mask.view(-1)[:10] = True
    layer = MaskedConv2d(3, 4, 2, mask=mask).to(memory_format=torch.channels_last)
    values = layer.active_values()
    layer.rewire(torch.tensor([0, 3]), torch.tensor([20, 30]), torch.tensor([7.0, 8.0]), [], reset=True)
    assert layer.active_positions().tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 20, 30]
    assert torch.equal(layer.active_values()[:8], values[[1, 2, 4, 5, 6, 7, 8, 9]])
    assert layer.active_values()[8:].tolist() == [7.0, 8.0]


@pytest.mark.parametrize("make", [lambda m: MaskedLinear(4, 3, mask=m), lambda m: MaskedConv2d(1, 3, (2, 2), mask=m)])
def test_reset_parameters_leaves_inactive_weights_at_zero(make):
    torch.manual_seed(0)
    mask = torch.rand(3, 4) > 0.5
    layer = make(mask if make(None).weight.dim() == 2 else mask.view(3, 1, 2, 2))
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight != 0, layer.mask)
