"""Truly sparse layers and the conversion to them, against dense torch."""

import copy
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import make_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dst_tutorial import (
    MaskedConv2d,
    MaskedLinear,
    SlideCNN,
    SparseConv2d,
    SparseLinear,
    fit,
    kernels,
    mlp,
    sparsify,
    to_masked,
)
from dst_tutorial import to_truly_sparse as convert
from dst_tutorial.kernels import reference
from dst_tutorial.layers.convert import to_dense
from dst_tutorial.layers.sequential import SparseSequential
from dst_tutorial.layers.sparsify import count_weights, sparse_layers

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
BACKENDS = [
    ("cpu", "reference"),
    ("cpu", "library"),
    ("cpu", "cpu"),
    pytest.param(("cuda", "reference"), marks=on_gpu),
    pytest.param(("cuda", "library"), marks=on_gpu),
]
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


@pytest.fixture(params=BACKENDS, ids=lambda param: f"{param[1]} on {param[0]}")
def device(request):
    """Runs a test once with every backend: gives the device."""
    device, backend = request.param
    kernels.use(backend)
    yield device
    kernels.use(None)


def filled(layer, seed):
    """Biases start at zero: give them values, so that a test can see them."""
    if layer.bias is not None:
        layer.bias.data.normal_(generator=torch.Generator(layer.bias.device).manual_seed(seed))
    return layer


# --- the layers -------------------------------------------------------------------------------------------------------


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
def test_a_density_gives_so_many_weights_at_distinct_positions(shape, density, seed):
    layer = SparseLinear(*shape, density=density, generator=torch.Generator().manual_seed(seed))
    again = SparseLinear(*shape, density=density, generator=torch.Generator().manual_seed(seed))
    positions = layer.active_positions()
    assert layer.active_weights == len(positions) == round(density * shape[0] * shape[1])
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
    ],
)
def test_bad_arguments_are_named(build, says):
    with pytest.raises(ValueError, match=says):
        build()


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


def test_what_an_earlier_call_left_in_memory_shows_in_no_later_one():
    cpu = pytest.importorskip("dst_tutorial.kernels.cpu")
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8, kind="sparse")
    for samples in (1, 3, 70):
        x, found = torch.randn(samples, 1, 8, 8), []
        for left in (0.0, float("nan"), 1e30):
            with torch.inference_mode():
                for room in cpu._kept.rooms.values():
                    room.fill_(left)
            for (memory,) in filter(None, cpu._kept.free.values()):
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
    assert all(len(free) == 1 for free in cpu._kept.free.values())


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def test_threads_do_not_share_their_memory():
    models = [sparsify(SlideCNN(), 0.9, kind="sparse", seed=seed) for seed in range(4)]
    x = torch.randn(300, 1, 28, 28)  # so long that the threads meet

    @torch.inference_mode()
    def often(model):
        return [model(x) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for model, found in zip(models, pool.map(often, models), strict=True):
            assert all(torch.equal(y, often(model)[0]) for y in found)


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


# --- layers side by side ----------------------------------------------------------------------------------------------


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

    monkeypatch.setattr("dst_tutorial.layers.sparse.backend_for", lambda values: counting)
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


@pytest.mark.parametrize("change", ["watched", "another padding", "a forward of its own", "another backend"])
def test_other_layers_stand_alone_too(change, monkeypatch):
    model, x = conv_net(padding_mode="circular") if change == "another padding" else conv_net(), torch.randn(3, 2, 8, 8)
    expected = nn.Sequential(*model)(x)
    if change == "watched":
        model[2].watch(True)
    elif change == "a forward of its own":
        model[2].__class__ = type("Mine", (SparseConv2d,), {"forward": lambda self, x: SparseConv2d.forward(self, x)})
    elif change == "another backend":
        model[2].backend = kernels.REFERENCE
    calls, y = calls_of(model, x, monkeypatch)
    assert calls == ([1, 1, 1, 1] if change == "another backend" else [1, 1, 2, 1])
    torch.testing.assert_close(y, expected)


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


def test_weights_that_are_replaced_between_the_passes_are_noticed():
    layer = SparseLinear(4, 3, density=0.5)
    y = layer(torch.ones(2, 4))
    layer.values.data = torch.zeros(6)
    with pytest.raises(RuntimeError, match="replaced since the forward pass"):
        y.sum().backward()


# --- the conversion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (SlideCNN, (3, 1, 28, 28)),
        (lambda: SlideCNN((3, 5), (7,), 10, 4), (2, 1, 10, 10)),
        (lambda: mlp(6, 5, 4), (3, 6)),
    ],
)
def test_conversion_keeps_the_function(network, shape, sparsity):
    torch.manual_seed(0)
    masked = sparsify(network(), sparsity, allocation="uniform", init="fan_in")
    sparse, x = convert(masked), torch.randn(shape)
    torch.testing.assert_close(sparse(x), masked(x), rtol=1e-4, atol=1e-5)
    assert count_weights(sparse) == count_weights(masked)
    assert list(sparse_layers(sparse)) == list(sparse_layers(masked))
    for name, layer in sparse_layers(masked).items():
        assert torch.equal(layer.active_positions(), sparse_layers(sparse)[name].active_positions())
    assert not any(isinstance(m, (MaskedLinear, MaskedConv2d)) for m in sparse.modules())
    assert sum(p.numel() for p in sparse.parameters()) == count_weights(masked)[0] + sum(
        p.numel() for n, p in masked.named_parameters() if n.endswith("bias")
    )


def test_the_slides_network_folds_its_runs():
    sparse = sparsify(SlideCNN(), 0.95, kind="sparse")
    assert list(sparse._modules) == list(SlideCNN()._modules)
    kept = [name for name, m in sparse.named_children() if not isinstance(m, nn.Identity)]
    assert kept == ["conv1", "conv2", "flatten", "fc1", "fc2", "fc3", "fc4"]
    assert [(m.relu, m.pool) for m in sparse if isinstance(m, SparseConv2d)] == [(True, 2), (True, 2)]
    assert [m.relu for m in sparse if isinstance(m, SparseLinear)] == [True, True, True, False]


def linear():
    return MaskedLinear(4, 4, mask=torch.eye(4, dtype=torch.bool))


def conv():
    return MaskedConv2d(1, 2, 3)


def shared():
    layer = linear()
    return nn.Sequential(layer, nn.ReLU(), layer)


def listened_to(module):
    module.register_forward_hook(lambda *_: None)
    return module


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


UNFOLDED = {
    "conv, relu": lambda: nn.Sequential(conv(), nn.ReLU()),
    "conv, relu, pool 3": lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(3)),
    "conv, relu, pool 2 stride 1": lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2, stride=1)),
    "conv, relu, pool 2 ceil": lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
    "conv, pool, relu": lambda: nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU()),
    "conv, relu, average": lambda: nn.Sequential(conv(), nn.ReLU(), nn.AvgPool2d(2)),
    "linear, dropout, relu": lambda: nn.Sequential(linear(), nn.Dropout(0.0), nn.ReLU()),
    "linear, gelu": lambda: nn.Sequential(linear(), nn.GELU()),
    "linear, relu6": lambda: nn.Sequential(linear(), nn.ReLU6()),
    "a shared layer": shared,
    "a ReLU of one's own": lambda: nn.Sequential(linear(), type("MyReLU", (nn.ReLU,), {})()),
    "a ReLU that is listened to": lambda: nn.Sequential(linear(), listened_to(nn.ReLU())),
    "a forward of its own": lambda: Residual(linear(), nn.ReLU()),
    "no Sequential": lambda: nn.ModuleDict({"fc": linear(), "relu": nn.ReLU()}),
}


@pytest.mark.parametrize("case", UNFOLDED)
def test_nothing_else_is_folded(case):
    model = UNFOLDED[case]()
    sparse = convert(model)
    assert [n for n, _ in sparse.named_modules()] == [n for n, _ in model.named_modules()]
    assert not any(m.relu for m in sparse.modules() if isinstance(m, (SparseLinear, SparseConv2d)))
    if case != "no Sequential":
        x = torch.randn(2, 1, 9, 9) if "conv" in case else torch.randn(2, 4)
        torch.testing.assert_close(sparse(x), model(x))


def test_a_shared_layer_stays_shared():
    sparse = convert(shared())
    assert sparse[0] is sparse[-1]


def test_runs_fold_wherever_they_stand():
    torch.manual_seed(0)
    inner = nn.Sequential(linear(), nn.ReLU(inplace=True), linear())
    model = nn.Sequential(Residual(inner), nn.Linear(4, 4), nn.ReLU(), inner[2]).double()
    sparse, x = convert(model), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(sparse(x), model(x))
    assert [type(m).__name__ for m in sparse[0][0]] == ["SparseLinear", "Identity", "SparseLinear"]
    assert not any(m.relu for m in convert(model, fold=False).modules() if isinstance(m, SparseLinear))
    torch.testing.assert_close(convert(model, fold=False)(x), model(x))
    assert isinstance(sparse[1], nn.Linear)
    assert isinstance(sparse[2], nn.ReLU)  # behind a dense layer
    assert sparse[3] is sparse[0][0][-1]


def test_the_argument_is_left_alone_and_settings_are_kept():
    masked = sparsify(mlp(6, 5, 4), 0.5).eval()
    masked.fc1.weight.requires_grad_(False)
    before, state = copy.deepcopy(masked.state_dict()), torch.get_rng_state()
    sparse = convert(masked)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in masked.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not sparse.training
    assert not sparse.fc1.training
    assert not sparse.fc1.values.requires_grad
    assert sparse.fc2.values.requires_grad
    sparse.fc2.values.data.fill_(9)
    assert not (masked.fc2.weight == 9).any()


class WithView(nn.Module):
    """The commonest of CNNs."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.last = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(4 * 9, 5)

    def forward(self, x):
        x = F.relu(self.last(self.features(x)))
        return self.classifier(x.view(x.size(0), -1))


def test_views_of_outputs_work_as_before():
    torch.manual_seed(0)
    masked, x = sparsify(WithView(), 0.5, init="fan_in"), torch.randn(3, 1, 12, 12)
    torch.testing.assert_close(convert(masked)(x), masked(x))


def test_hooks_are_not_lost_in_silence():
    model = sparsify(mlp(3, 2), 0.5)
    listened_to(model.fc1)
    with pytest.raises(ValueError, match="hooks"):
        convert(model)


def test_dense_again_is_the_same_function_whatever_the_optimiser_did():
    torch.manual_seed(0)
    masked, x = sparsify(mlp(6, 5, 4), 0.5), torch.randn(3, 6)
    masked.fc1.weight.data.add_(1)  # inactive ones, too
    dense = to_dense(masked)
    assert type(dense.fc1) is nn.Linear
    assert not hasattr(dense.fc1, "mask")
    torch.testing.assert_close(dense(x), masked(x))
    assert (masked.fc1.weight[~masked.fc1.mask] == 1).all()  # left alone
    with pytest.raises(ValueError, match="truly sparse"):
        to_dense(convert(masked))


def test_a_layer_alone_and_nothing_to_convert():
    layer = linear()
    assert isinstance(convert(layer), SparseLinear)
    with pytest.raises(ValueError, match="call sparsify first"):
        convert(mlp(3, 2))
    with pytest.raises(ValueError, match="call sparsify first"):
        convert(convert(layer))


def test_a_static_truly_sparse_network_trains_as_the_masked_one():
    data, runs = make_dataset(), []
    data = replace(data, train_images=data.train_images.double(), test_images=data.test_images.double())
    for kind in ("masked", "sparse"):
        torch.manual_seed(0)
        model = sparsify(SlideCNN((3, 4), (12,)), 0.8, kind=kind, init="fan_in", seed=1).double()
        runs.append(fit(model, data, epochs=2, progress=False))
    masked, sparse = runs
    assert masked.curve("train_loss") == pytest.approx(sparse.curve("train_loss"), rel=1e-6)
    assert masked.curve("active_weights") == sparse.curve("active_weights")
