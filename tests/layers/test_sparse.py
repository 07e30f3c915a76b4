"""Truly sparse layers, against dense torch."""

import contextlib
import copy
import io

import pytest
import torch
import torch.nn.functional as F
from conftest import filled
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dst_tutorial import (
    DynamicSparsity,
    RigL,
    SlideCNN,
    SparseConv2d,
    SparseLinear,
    kernels,
    sparsify,
)
from dst_tutorial.kernels import reference
from dst_tutorial.training import Adam

densities = st.sampled_from([0.0, 0.1, 0.5, 1.0])


class Allocations(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation inside makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if torch.is_tensor(tensor) and tensor.layout == torch.strided:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


def agree(sparse, x, oracle):
    """Same outputs and same gradients as `oracle(x, dense weight, bias)`."""
    weight, ours, theirs = sparse.to_dense().requires_grad_(), x.clone().requires_grad_(), x.clone().requires_grad_()
    bias = sparse.bias.detach().clone().requires_grad_() if sparse.bias is not None else None
    y, expected = sparse(ours), oracle(theirs, weight, bias)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected)
    delta = torch.randn_like(y)
    y.backward(delta)
    expected.backward(delta)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(sparse.values.grad, weight.grad.take(sparse.active_positions()))
    if bias is not None:
        torch.testing.assert_close(sparse.bias.grad, bias.grad)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    batch=st.sampled_from([(), (0,), (1,), (5,), (2, 3), (17,), (64,), (2, 75)]),
    density=densities,
    bias=st.booleans(),
    relu=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    block=st.sampled_from([1, 7, 2**22]),
    seed=st.integers(0, 99),
)
def test_linear_equals_the_dense_layer(device, sizes, batch, density, bias, relu, dtype, block, seed):
    torch.manual_seed(seed)
    layer = filled(SparseLinear(*sizes, bias, density=density, relu=relu, device=device, dtype=dtype), seed)
    x = torch.randn(*batch, sizes[0], dtype=dtype, device=device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BLOCK", block)
        agree(layer, x, lambda x, w, b: F.linear(x, w, b).relu() if relu else F.linear(x, w, b))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.one_of(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from(["same", "valid"])),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
    batch=st.sampled_from([0, 1, 3, 16, 23]),
    density=densities,
    bias=st.booleans(),
    relu=st.booleans(),
    pool=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_conv_equals_the_dense_layer(device, channels, groups, kernel, stride, padding, dilation, mode, batch, density,
                                     bias, relu, pool, seed):  # fmt: skip
    torch.manual_seed(seed)
    n_in, n_out = (groups * c for c in channels)
    geometry = {"stride": (1, 1) if padding == "same" else stride, "padding": padding, "dilation": dilation,
                "groups": groups, "padding_mode": mode}  # fmt: skip
    layer = SparseConv2d(n_in, n_out, kernel, **geometry, bias=bias, density=density, relu=relu, pool=pool,
                         device=device, dtype=torch.float64)  # fmt: skip
    like = nn.Conv2d(n_in, n_out, kernel, **geometry, bias=bias, dtype=torch.float64, device=device)

    def oracle(x, w, b):
        y = like._conv_forward(x, w, b)
        y = y.relu() if relu else y
        return F.max_pool2d(y, pool) if pool > 1 else y

    agree(filled(layer, seed), torch.randn(batch, n_in, 10, 11, dtype=torch.float64, device=device), oracle)


def test_gradcheck(device):
    torch.manual_seed(0)
    double = {"density": 0.4, "dtype": torch.float64, "device": device, "relu": True}
    for layer, shape in ((SparseLinear(5, 4, **double), (3, 5)),
                         (SparseConv2d(2, 3, 3, padding=1, pool=2, **double), (2, 2, 4, 5))):  # fmt: skip
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True, device=device)

        def output(x, values, bias, layer=layer):
            return torch.func.functional_call(layer, {"values": values, "bias": bias}, (x,))

        assert torch.autograd.gradcheck(output, (x, layer.values, layer.bias))


def test_one_image_without_a_batch_and_strided_inputs(device):
    torch.manual_seed(0)
    conv, linear = SparseConv2d(2, 3, 3, density=0.5), SparseLinear(6, 4, density=0.5)
    images, x = torch.randn(4, 7, 8, 2).permute(0, 3, 1, 2), torch.randn(6, 5).t()
    torch.testing.assert_close(conv(images[0]), conv(images)[0])
    torch.testing.assert_close(conv(images), conv(images.contiguous()))
    torch.testing.assert_close(linear(x), linear(x.contiguous()))
    torch.testing.assert_close(linear(x[0]), linear(x)[0])


def test_nan_and_infinity_reach_the_connected_units_only(device):
    layer = SparseLinear(3, 2, positions=[0, 1, 5])  # unit 0 sees inputs 0 and 1, unit 1 sees input 2
    y = layer(torch.tensor([[float("nan"), 1, 1], [1, float("inf"), 1], [1, 1, float("nan")]]))
    assert y.isfinite().tolist() == [[False, True], [False, True], [True, False]]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("batch", [1, 20])
def test_they_come_through_a_pooling_as_in_torch(device, odd, batch):
    torch.manual_seed(0)
    conv, x = SparseConv2d(1, 3, 2, density=1.0, relu=True, pool=2, device=device), torch.randn(batch, 1, 7, 9)
    x[0, 0, 3, 4] = odd
    expected = F.max_pool2d(F.conv2d(x.to(device), conv.to_dense(), conv.bias).relu(), 2)
    with torch.no_grad():
        torch.testing.assert_close(conv(x.to(device)), expected, equal_nan=True)
    torch.testing.assert_close(conv(x.to(device)), expected, equal_nan=True)


@given(shape=st.tuples(st.integers(1, 12), st.integers(1, 12)), density=st.floats(0, 1), seed=st.integers(0, 99))
@example(shape=(5, 10), density=0.47, seed=0)  # of 50 that is 23.5; rounded in between, less
def test_a_density_gives_so_many_weights_at_distinct_positions(shape, density, seed):
    layer = SparseLinear(*shape, density=density, generator=torch.Generator().manual_seed(seed))
    again = SparseLinear(*shape, density=density, generator=torch.Generator().manual_seed(seed))
    positions = layer.active_positions()
    assert layer.active_weights == len(positions) == round(density * (shape[0] * shape[1]))
    assert (positions.diff() > 0).all()
    assert torch.equal(positions, again.active_positions())
    assert torch.equal(layer.values, again.values)


def test_values_are_drawn_for_the_actual_fan_in():
    layer = SparseLinear(
        400, 300, positions=[*range(200), *range(400, 408)], generator=torch.Generator().manual_seed(0)
    )
    many, few = layer.values[:200].std(), layer.values[200:].abs().mean()
    assert 0.08 < many < 0.12  # sqrt(2 / 200)
    assert few > 2 * many  # sqrt(2 / 8)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: SparseLinear(3, 2), "either the density or the positions"),
        (lambda: SparseLinear(3, 2, density=0.5, positions=[1]), "either the density or the positions"),
        (lambda: SparseLinear(3, 2, density=95), r"density .* \[0, 1\], got 95"),
        (lambda: SparseLinear(3, 2, positions=[1, 1]), "distinct"),
        (lambda: SparseLinear(3, 2, positions=[6]), r"\[0, 6\), for a weight of shape \[2, 3\]"),
        (lambda: SparseLinear(3, 2, positions=[-1]), "distinct and in"),
        (lambda: SparseLinear(3, 2, density=1.0)(torch.ones(2, 6)), r"expected inputs \[..., 3\], got \[2, 6\]"),
        (lambda: SparseConv2d(3, 2, 1, density=1.0)(torch.ones(2, 6, 4, 4)), r"expected images \[N, 3, H, W\]"),
        (
            lambda: SparseConv2d(1, 1, (3, 5), density=1.0)(torch.ones(1, 1, 9, 4)),
            r"9 x 4 pixels, padded, are too small for the kernel \(3, 5\)",
        ),
        (lambda: SparseConv2d(3, 2, 1, density=1.0, groups=2), "groups must divide"),
        (lambda: SparseConv2d(2, 2, 3, density=1.0, padding="same", stride=2), "stride of 1"),
        (lambda: SparseConv2d(2, 2, 3, density=1.0, padding="some"), "'some'"),
        (lambda: SparseLinear(2**32, 1, density=1e-9), "int32"),
        (lambda: SparseLinear(-3, 2, density=0.5), "in_features must be a whole number of at least 0, got -3"),
        (lambda: SparseLinear(3, 2.0, density=0.5), "out_features must be a whole number of at least 0, got 2.0"),
        (lambda: SparseLinear(3, 2, positions=[0.5]), "whole numbers"),
        (lambda: SparseLinear(3, 2, positions=torch.ones(2, 3) > 0), "whole numbers"),
        (lambda: SparseLinear(3, 2, density=1.0)(torch.tensor(1.0)), r"expected inputs \[..., 3\], got \[\]"),
    ],
)
def test_bad_arguments_are_named(build, says):
    with pytest.raises(ValueError, match=says):
        build()


ODD = [0, -1, 1, 2, (2,), (1, 2), (0, 1), (1, -1), (1, 2, 3), [1, 1], 2.0, "x", None, True]
GEOMETRIES = {
    "kernel_size": ODD,
    "stride": ODD,
    "dilation": ODD,
    "padding": [*ODD, "same", "valid"],
    "groups": [0, -1, 1, 2, 3, 4, 2.0, None, True],
    "padding_mode": ["zeros", "reflect", "replicate", "circular", "mirror", None, 0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GEOMETRIES.items() for value in values])
def test_every_geometry_is_as_in_torch_or_refused_at_construction(device, name, value):
    """Also what torch refuses only when it is used: a negative padding made a kernel write where it must not."""
    geometry = {"kernel_size": 3, "padding": 1} | {name: value}
    images = torch.randn(2, 4, 9, 9, device=device)
    try:
        dense = nn.Conv2d(4, 4, **geometry, device=device)
        expected = dense(images)
    except (TypeError, ValueError, RuntimeError):
        with pytest.raises(ValueError, match="must be|is one number|padding|divide"):  # noqa: RUF043
            SparseConv2d(4, 4, **geometry, density=0.5, device=device)
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            dense = nn.Conv2d(4, 4, **geometry, device=device)
            with pytest.raises(ValueError):  # noqa: PT011 - said above
                SparseConv2d.from_dense(dense)
    else:
        if value is True:
            return  # torch takes it for one, here and there
        torch.testing.assert_close(SparseConv2d.from_dense(dense)(images), expected)


def test_no_inputs_give_the_bias_and_inputs_have_torchs_name(device):
    linear = filled(SparseLinear(0, 4, density=0.5, device=device), 0)
    assert torch.equal(linear(input=torch.ones(3, 0, device=device)), linear.bias.expand(3, 4))
    conv = filled(SparseConv2d(0, 4, 3, density=0.5, device=device), 0)
    y = conv(input=torch.ones(2, 0, 5, 5, device=device))
    assert torch.equal(y, conv.bias[:, None, None].expand(2, 4, 3, 3))
    for layer, shape in ((linear, (3, 0)), (conv, (2, 0, 5, 5))):
        layer(torch.ones(shape, device=device)).sum().backward()
        assert layer.bias.grad.min() > 0


@pytest.mark.parametrize("make", [lambda: SparseLinear(8, 6, density=0.3), lambda: SparseConv2d(2, 3, 3, density=0.3)])
def test_values_are_drawn_anew_by_reset_parameters(make):
    torch.manual_seed(0)
    fresh = make()
    other = filled(make(), 1)
    other.load_state_dict(fresh.state_dict() | {"bias": other.bias})
    torch.manual_seed(3)
    other.reset_parameters()
    assert torch.equal(other.active_positions(), fresh.active_positions())
    assert not torch.equal(other.values, fresh.values)
    assert not other.bias.any()
    assert other.values.std() > 0.1


def test_the_missing_dense_weight_is_explained():
    layer = SparseLinear(8, 6, density=0.3)
    with pytest.raises(AttributeError, match=r"no dense `weight`.*to_dense\(\).*exclude="):
        _ = layer.weight
    assert not hasattr(layer, "weight")


def test_the_default_device_and_dtype_are_heeded():
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        made = SparseLinear(8, 6, density=0.3)
        model = sparsify(nn.Linear(8, 6, device="cpu"), 0.7, kind="sparse")
        masked = sparsify(nn.Linear(8, 6, device="cpu"), 0.7)
        optimizer = Adam(model.parameters())
        model(torch.ones(20, 8, device="cpu")).sum().backward()
        engine = DynamicSparsity(model, optimizer, unit="steps", update_interval=2)
        assert [engine.step(), engine.step()] == [False, True]
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert (made.values.device.type, made.values.dtype, made.columns.device.type) == ("meta", torch.float64, "meta")
    assert masked(torch.ones(2, 8).double()).shape == (2, 6)


def test_deterministic_algorithms_are_kept_to(device):
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.5, kind="sparse").to(device)
    engine = RigL(model, Adam(model.parameters()), update_interval=2, duration=9)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(4):
            model(torch.ones(20, 1, 8, 8, device=device)).square().sum().backward()
            engine.step()
    finally:
        torch.use_deterministic_algorithms(False)
    assert engine.updates == 2


def test_a_parametrised_bias_is_used(device):
    layer, x = filled(SparseLinear(8, 6, density=0.3, device=device), 0), torch.randn(4, 8, device=device)
    expected = F.linear(x, layer.to_dense(), layer.bias.exp())

    class Exp(nn.Module):
        def forward(self, bias):
            return bias.exp()

    torch.nn.utils.parametrize.register_parametrization(layer, "bias", Exp())
    torch.testing.assert_close(layer(x), expected)


def test_nothing_of_the_dense_size_is_ever_made(device):
    """Nor of the size of the inputs times the units."""
    with Allocations() as made:
        linear = SparseLinear(100_000, 100_000, density=1e-6)
        linear(torch.randn(16, 100_000)).sum().backward()
    assert linear.active_weights == 10_000
    assert 1_600_000 <= made.largest <= 3_200_000
    with Allocations() as made:
        conv = SparseConv2d(200, 200, 3, density=0.01)  # a dense weight would have 360,000
        conv(torch.randn(1, 200, 5, 5)).sum().backward()
    assert 3_600 <= made.largest < 180_000  # the reference: taps, 9 times the inputs; cpu: whole vectors of samples


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def test_state_copies_and_modes():
    torch.manual_seed(0)
    layer, x = SparseLinear(8, 5, density=0.3), torch.randn(4, 8)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = SparseLinear(8, 5, density=0.3)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert set(layer.state_dict()) == {"values", "bias", "columns", "row_pointers"}
    assert layer.columns.dtype == layer.row_pointers.dtype == torch.int32
    layer.backend = kernels.REFERENCE  # another backend goes along, too
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    with torch.no_grad():
        assert not layer(x).requires_grad
    layer.values.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.values.grad is None


@pytest.mark.parametrize(
    "break_it",
    [
        lambda state: state["columns"].add_(100),
        lambda state: state["columns"].sub_(100),
        lambda state: state["row_pointers"].flip(0),
        lambda state: state["row_pointers"][1:].add_(3),
    ],
)
def test_a_state_whose_indices_point_outside_is_refused(break_it):
    """A backend would read there."""
    layer = SparseLinear(8, 5, density=0.3)
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    changed = break_it(state)
    if changed.shape == state["row_pointers"].shape:
        state["row_pointers"] = changed
    with pytest.raises(RuntimeError, match=r"are not those of a weight \[5, 8\]"):
        layer.load_state_dict(state)
    narrow = SparseLinear(3, 3, positions=[0, 4, 8])
    with pytest.raises(RuntimeError, match="are not those"):
        narrow.load_state_dict(SparseLinear(2_000_000_000, 3, positions=[5, 2_000_000_005, 5_999_999_999]).state_dict())
