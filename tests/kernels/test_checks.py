"""What becomes an address is looked at before: wrong memory is refused, and lazy tensors are what they stand for."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse as scipy_sparse
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call

import dst_tutorial
from dst_tutorial import SlideCNN, SparseConv2d, SparseLinear, kernels, sparsify
from dst_tutorial.kernels import index_fault
from dst_tutorial.training import Adam


def layer(**options):
    torch.manual_seed(0)
    return SparseLinear(6, 5, density=0.5, **options)


ADDRESSES = {  # every function that reads an address, and what for
    ("kernels/checks.py", "place"),
    ("kernels/checks.py", "check_indices"),  # to know them again
    ("kernels/cpu.py", "_room"),  # memory of our own
    ("kernels/cpu.py", "forward"),  # to see whether they have moved
    ("kernels/cpu.py", "backward"),  # the same, or of tensors made there
    ("kernels/cpu.py", "_forward"),  # of tensors made there
    ("kernels/bound.py", "addressed"),  # after `check_indices`
    ("kernels/bound.py", "_state"),  # to know them again
    ("layers/ledger.py", "activation_bytes"),  # to tell one array from another
    ("layers/ledger.py", "note"),
}


def test_every_address_that_is_taken_is_on_the_list():
    package, found = Path(dst_tutorial.__file__).parent, set()
    for file in package.rglob("*.py"):
        functions = []

        def visit(node, file=file, functions=functions):
            inside = isinstance(node, ast.FunctionDef | ast.Lambda)
            functions += [getattr(node, "name", "<lambda>")] * inside
            if isinstance(node, ast.Attribute) and node.attr == "data_ptr":
                found.add((file.relative_to(package).as_posix(), functions[-1]))
            for child in ast.iter_child_nodes(node):
                visit(child)
            if inside:
                functions.pop()

        visit(ast.parse(file.read_text(encoding="utf-8")))
    assert found == ADDRESSES


# --- indices ----------------------------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 4),
    width=st.integers(1, 4),
    columns=st.lists(st.integers(-1, 5), max_size=6),
    pointers=st.lists(st.integers(-1, 7), min_size=2, max_size=5),
)
def test_indices_are_faultless_where_scipy_finds_no_fault(rows, width, columns, pointers):
    columns, pointers = (torch.tensor(numbers, dtype=torch.int32) for numbers in (columns, pointers))
    ours = index_fault(columns, pointers, rows, width)
    try:
        matrix = scipy_sparse.csr_matrix(
            (torch.ones(len(columns)).numpy(), columns.numpy(), pointers.numpy()), shape=(rows, width)
        )
        matrix.check_format(full_check=True)
        sound = matrix.has_canonical_format and int(pointers[-1]) == len(columns)
    except ValueError:
        sound = False
    assert (ours is None) == sound


BROKEN = {
    "columns": {
        "outside": lambda c: c + 100,
        "just outside": lambda c: torch.where(c == c.max(), 6, c),
        "negative": lambda c: c - 100,
        "unsorted": lambda c: c.flip(0),
        "twice": lambda c: torch.cat([c[:1], c[:1], c[2:]]),
        "int64": lambda c: c.long(),
        "shorter": lambda c: c[:-1],
        "matrix": lambda c: c[None],
    },
    "row_pointers": {
        "shorter": lambda p: p[:-1],
        "longer": lambda p: torch.cat([p, p[-1:]]),
        "falling": lambda p: p.flip(0),
        "beyond": lambda p: p + 3,
        "int64": lambda p: p.long(),
    },
    "bias": {
        "shorter": lambda b: b[:-1],
        "one": lambda b: b[:1],
        "matrix": lambda b: b[:, None],
        "double": lambda b: b.double(),
        "meta": lambda b: b.to("meta"),
    },
    "values": {
        "shorter": lambda v: v[:-1],
        "matrix": lambda v: v[None],
        "double": lambda v: v.double(),
        "half": lambda v: v.half(),
    },
}
CASES = [(name, case) for name, cases in BROKEN.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("keep", [True, False])
def test_functional_call_with_wrong_parts_is_refused(device, name, case, keep):
    one = layer(device=device)
    wrong = BROKEN[name][case](one.state_dict()[name].clone())
    with (
        torch.set_grad_enabled(keep),
        pytest.raises(RuntimeError, match=r"must be|are not those of|float32 or float64"),
    ):
        functional_call(one, {name: wrong}, (torch.ones(3, 6, device=device),))


@pytest.mark.parametrize(("name", "case"), [c for c in CASES if c[0] in ("columns", "row_pointers")])
def test_what_is_written_into_the_indices_later_is_noticed(name, case):
    one, x = layer(), torch.ones(3, 6)
    before = one(x)
    wrong = BROKEN[name][case](getattr(one, name).clone())
    if wrong.shape != getattr(one, name).shape or wrong.dtype != torch.int32:
        setattr(one, name, wrong)
    else:
        getattr(one, name).copy_(wrong)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            before.sum().backward()
    with pytest.raises(RuntimeError, match=r"are not those of|must be one a column"):
        one(x)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s | {"columns": s["columns"].flip(0)}, "rise within a row"),
        (lambda s: s | {"columns": torch.zeros_like(s["columns"])}, "rise within a row"),
        (lambda s: {k: v for k, v in s.items() if k != "values"}, "belong together"),
        (lambda s: {k: v for k, v in s.items() if k != "columns"}, "belong together"),
        (lambda s: {k: v for k, v in s.items() if k != "row_pointers"}, "belong together"),
        (lambda s: s | {"values": s["values"][:-1]}, "14 values for 15 columns"),
        (lambda s: s | {"columns": s["columns"].double() + 0.5}, "whole numbers"),
        (lambda s: s | {"columns": s["columns"].long() + 2**32}, "int32"),
        (lambda s: s | {"row_pointers": s["row_pointers"][:-1]}, r"shapes \[active\] and \[6\]"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_a_state_that_is_no_weight_is_refused_and_changes_nothing(change, says, strict, assign):
    one, other = layer(), layer()
    state = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    before = one.to_dense()
    with pytest.raises(RuntimeError, match=says):
        one.load_state_dict(change(state), strict=strict, assign=assign)
    assert torch.equal(one.to_dense(), before)
    state["columns"], state["row_pointers"] = state["columns"].long(), state["row_pointers"].long()
    one.load_state_dict(state, assign=assign)  # another integer is none the worse
    assert torch.equal(one(torch.ones(2, 6)), other(torch.ones(2, 6)))


# --- lazy and odd tensors ---------------------------------------------------------------------------------------------


def negated(x):
    """The same numbers, negated when they are read."""
    return torch._neg_view(-x)


def test_a_lazily_negated_tensor_is_what_it_stands_for(device):
    one, x = layer(device=device), torch.randn(3, 6, device=device)
    spectrum = torch.fft.fft(x).conj().imag
    assert spectrum.is_neg()
    torch.testing.assert_close(one(spectrum), F.linear(spectrum, one.to_dense(), one.bias))
    assert torch.equal(one(negated(x)), one(x))
    with torch.no_grad():
        torch.testing.assert_close(one(negated(x)[:1]), one(x)[:1])
    conv, images = SparseConv2d(2, 3, 3, density=0.5, device=device), torch.randn(2, 2, 6, 6, device=device)
    assert torch.equal(conv(negated(images)), conv(images))
    delta = torch.randn(3, 5, device=device)
    gradients = [torch.autograd.grad(one(x), one.values, d)[0] for d in (delta, negated(delta))]
    assert torch.equal(*gradients)


def test_lazily_negated_weights_are_right_or_refused(device):
    one, x = layer(device=device), torch.randn(3, 6, device=device)
    for name in ("values", "bias"):
        parts = {name: negated(one.state_dict()[name])}
        try:
            found = functional_call(one, parts, (x,))
        except RuntimeError as error:
            assert "memory" in str(error)  # noqa: PT017 - refusing is right, too
        else:
            torch.testing.assert_close(found, one(x))


def test_zeros_without_memory(device):
    one = layer(device=device)
    zeros = torch._efficientzerotensor((3, 6), device=device)
    torch.testing.assert_close(one(zeros), one.bias.expand(3, 5))
    y = one(torch.ones(3, 6, device=device, requires_grad=True))
    (found,) = torch.autograd.grad(y, one.values, torch._efficientzerotensor((3, 5), device=device))
    assert not found.any()


@pytest.mark.parametrize("form", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, torch.Tensor.to_mkldnn])
def test_other_layouts_are_refused(device, form):
    if device == "cuda" and form is torch.Tensor.to_mkldnn:
        pytest.skip("there is none")
    with pytest.raises(RuntimeError, match="dense"):
        layer(device=device)(form(torch.ones(3, 6, device=device)))


def test_saved_tensors_may_be_copies(device):
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.5, kind="sparse").to(device)
    x = torch.randn(5, 1, 8, 8, device=device)

    def gradients():
        return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))

    expected = gradients()
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda kept: kept.clone()):
        assert all(map(torch.equal, gradients(), expected))
    with torch.autograd.graph.save_on_cpu():
        assert all(map(torch.equal, gradients(), expected))
    if device == "cpu":
        with (
            torch.autograd.graph.saved_tensors_hooks(lambda t: t[:1], lambda t: t),
            pytest.raises((RuntimeError, IndexError)),
        ):
            gradients()


def test_copies_that_were_saved_are_what_counts():
    """With such a hook torch lets the weights change before the backward pass, and answers for those of before."""
    one, x = layer(), torch.randn(3, 6, requires_grad=True)
    (expected,) = torch.autograd.grad(one(x).sum(), x)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda kept: kept):
        y = one(x)
    with torch.no_grad():
        one.values.add_(1)
    (found,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(found, expected)


MOVES = {
    "other columns": lambda one: setattr(one.columns, "data", one.columns.clone()),
    "other pointers": lambda one: setattr(one.row_pointers, "data", one.row_pointers.clone()),
    "shared columns": lambda one: one.columns.share_memory_(),
    "shared values": lambda one: one.values.data.share_memory_(),
    "emptied columns": lambda one: one.columns.untyped_storage().resize_(0),
}


@pytest.mark.parametrize("move", MOVES)
def test_what_has_moved_in_memory_since_the_forward_pass_is_not_read_where_it_was(move):
    torch.manual_seed(0)
    one = SparseLinear(500, 400, density=0.6)
    y = one(torch.randn(3, 500))
    MOVES[move](one)
    with pytest.raises(RuntimeError, match="replaced since the forward pass"):
        y.sum().backward()


CHANGED = {
    "padding": (-3, -3),
    "stride": (0, 1),
    "dilation": (-1, 1),
    "pool": 0,
    "kernel_size": (5, 5),
    "groups": 2,
    "in_channels": 3,
    "out_channels": 40,
    "_width": 7,
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_geometry_that_is_changed_later_is_looked_at_again(device, name):
    conv = SparseConv2d(2, 4, 3, density=0.5, device=device)
    setattr(conv, name, CHANGED[name])
    channels = 3 if name == "in_channels" else 2
    with pytest.raises((ValueError, RuntimeError)):
        conv(torch.randn(1, channels, 9, 9, device=device))


@pytest.mark.parametrize("keep", [True, False])
def test_forward_mode_gradients_are_refused(device, keep):
    one, x = layer(device=device), torch.randn(3, 6, device=device)
    with torch.set_grad_enabled(keep), forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match="jvp"):
            one(dual)


# --- gradients of gradients -------------------------------------------------------------------------------------------


def penalty(model, x):
    """What a WGAN or a contractive network trains on: how steep the model is."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("fold", [True, False])
def test_a_gradient_of_a_gradient_is_right_or_refused(device, fold):
    torch.manual_seed(0)
    masked = sparsify(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), 0.5).double()
    sparse, x = dst_tutorial.to_truly_sparse(masked, fold=fold).to(device), torch.randn(2, 1, 6, 6).double()
    try:
        found = torch.autograd.grad(penalty(sparse, x.to(device)), [sparse[0].values, sparse[3].values])
    except RuntimeError as error:
        assert kernels.backend_for(sparse[0].values) is not kernels.REFERENCE
        assert "create_graph=True" in str(error)  # noqa: PT017
        return
    expected = torch.autograd.grad(penalty(masked, x), [masked[0].weight, masked[3].weight])
    for ours, theirs, one in zip(found, expected, (sparse[0], sparse[3]), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs.take(one.active_positions().cpu()))


def test_the_reference_differentiates_twice():
    one = SparseLinear(4, 3, density=0.5, dtype=torch.float64)
    one.backend = kernels.REFERENCE
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def output(x, values, bias):
        return functional_call(one, {"values": values, "bias": bias}, (x,)).tanh()

    assert torch.autograd.gradgradcheck(output, (x, one.values, one.bias))


def test_a_backward_pass_through_weights_that_adam_has_moved_is_refused():
    one, x = layer(), torch.randn(3, 6)
    for kind in (Adam, torch.optim.Adam):
        optimizer = kind(one.parameters())
        loss = one(one(x)[:, [0, 1, 2, 3, 4, 0]]).square().sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


# --- autocast ---------------------------------------------------------------------------------------------------------


def test_under_autocast_what_is_sparse_keeps_its_precision(device):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), SparseLinear(8, 5, density=0.5), nn.Linear(5, 3)).to(device)
    x = torch.randn(4, 6, device=device)
    with torch.autocast(device, torch.bfloat16):
        y = model(x)
    torch.testing.assert_close(y.float(), model(x), rtol=0.1, atol=0.1)
    y.float().sum().backward()
    assert model[1].values.grad.dtype == torch.float32


def test_autocast_casts_halves_alone(device):
    with torch.autocast(device, torch.bfloat16), pytest.raises(RuntimeError, match=r"must be torch.float32"):
        layer(device=device)(torch.ones(3, 6, device=device).double())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64, torch.int64])
def test_other_dtypes_of_weights_say_what_there_is(device, dtype):
    one = layer(device=device)
    one.values.requires_grad_(False)
    one.values.data = one.values.data.to(dtype)
    with pytest.raises(RuntimeError, match="float32 or float64"):
        one(torch.ones(3, 6, device=device).to(dtype))
