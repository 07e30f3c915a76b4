from collections import OrderedDict
from fractions import Fraction

import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import LeNet300100, MaskedConv2d, MaskedLinear, SlideCNN, mlp, sparsify
from dst_tutorial.layers.allocation import ALLOCATIONS
from dst_tutorial.layers.ledger import csr_bytes, dense_bytes, masked_bytes
from dst_tutorial.layers.sparsify import count_weights, prunable_layers, sparse_layers


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_networks_have_the_parameters_they_should():
    assert parameters(SlideCNN()) == 1_345_642
    assert parameters(LeNet300100()) == 266_610
    assert parameters(mlp(784, 10)) == 7_850
    names = ["conv1", "conv2", "flatten", "fc1", "fc2", "fc3", "fc4"]
    for model in (SlideCNN(), LeNet300100(), mlp(784, 30, 20, 10)):
        assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [n for n, _ in SlideCNN().named_children() if n[0] in "cf"] == names
    small = SlideCNN(channels=(4, 8), hidden=(20,), image_size=16, classes=3)
    assert small(torch.zeros(2, 1, 16, 16)).shape == (2, 3)


def test_an_mlp_needs_widths():
    with pytest.raises(ValueError, match="at least two positive widths"):
        mlp(784)


def test_the_slide_network_keeps_what_the_slides_keep():
    model = sparsify(SlideCNN(), 0.95, allocation="uniform")
    counts = {name: layer.active_weights for name, layer in sparse_layers(model).items()}
    assert counts == {"conv1": 8, "conv2": 231, "fc1": 10_036, "fc2": 6_400, "fc3": 50_000, "fc4": 500}
    assert count_weights(model) == (67_175, 1_343_456)


@settings(max_examples=60)
@given(
    sparsity=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 10**6),
)
def test_uniform_counts_are_exact(sparsity, shape, seed):
    n = shape[0] * shape[1]
    model = sparsify(nn.Linear(*shape), sparsity / 1000, allocation="uniform", seed=seed)
    assert model.active_weights == n - sparsity * n // 1000
    assert (model.weight != 0).sum() <= model.active_weights


shapes_of_networks = st.dictionaries(
    st.sampled_from("abcdef"),
    st.one_of(
        st.tuples(st.integers(1, 300), st.integers(1, 300)),
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5)),
    ).map(torch.Size),
    min_size=1,
)


def solved(shapes, sparsity, score):
    """ER and its kin by another way: the root in eps of what all layers hold together, min(1, eps score) of each."""

    def excess(eps):
        return sum(min(n.numel(), eps * scores[name] * n.numel()) for name, n in shapes.items()) - target

    scores = {name: score(n, depth) for depth, (name, n) in enumerate(shapes.items())}
    target = (1 - sparsity) * sum(n.numel() for n in shapes.values())
    eps = scipy.optimize.brentq(excess, 0, 2 / min(scores.values()), xtol=1e-15, rtol=1e-14)
    return {name: min(n.numel(), eps * scores[name] * n.numel()) for name, n in shapes.items()}


def er_score(shape, depth):
    return (shape[0] + shape[1]) / (shape[0] * shape[1])


def tapered_score(shape, depth):
    return er_score(shape, depth) / 2**depth


def erk_score(shape, depth):
    return sum(shape) / shape.numel()


@settings(max_examples=150)
@given(shapes=shapes_of_networks, sparsity=st.integers(1, 999).map(lambda s: s / 1000))
@pytest.mark.parametrize(("name", "score"), [("er", er_score), ("erk", erk_score), ("tapered", tapered_score)])
def test_er_and_its_kin_equal_an_independent_solver_and_keep_the_exact_budget(name, score, shapes, sparsity):
    total = sum(shape.numel() for shape in shapes.values())
    counts = ALLOCATIONS[name](shapes, sparsity)
    assert list(counts) == list(shapes)
    assert sum(counts.values()) == round((1 - Fraction(str(sparsity))) * total)
    expected = solved(shapes, sparsity, score)
    for layer, shape in shapes.items():
        assert 0 <= counts[layer] <= shape.numel()
        assert counts[layer] == pytest.approx(expected[layer], abs=1.5)  # a rounding each, of it and of the budget


def test_erk_on_the_slide_network():
    """The design's own numbers; and the exact sum, whatever 1 - 0.95 is in floats."""
    shapes = {name: layer.weight.shape for name, layer in prunable_layers(SlideCNN()).items()}
    counts = ALLOCATIONS["erk"](shapes, 0.95)
    assert sum(counts.values()) == 67_173
    density = {name: round(counts[name] / shapes[name].numel(), 4) for name in shapes}
    assert density == {"conv1": 1, "conv2": 0.1369, "fc1": 0.0988, "fc2": 0.103, "fc3": 0.0234, "fc4": 1}


@settings(max_examples=60)
@given(sparsity=st.integers(500, 990).map(lambda s: s / 1000), first=st.sampled_from([0.1, 0.5, 1.0]),
       name=st.sampled_from(["er", "erk", "tapered"]))  # fmt: skip
def test_densities_of_ones_own_leave_the_rest_to_the_others(sparsity, first, name):
    model = sparsify(SlideCNN(), sparsity, allocation=name, densities={"first": first, "fc2": 0.01})
    counts = {name: layer.active_weights for name, layer in sparse_layers(model).items()}
    assert (counts["conv1"], counts["fc2"]) == (round(first * 144), 1280)
    assert sum(counts.values()) == round((1 - Fraction(str(sparsity))) * 1_343_456)


def test_first_and_last_layer_dense():
    model = sparsify(SlideCNN(), 0.95, allocation="uniform", densities={"first": 1, "last": 1})
    counts = {name: layer.active_weights for name, layer in sparse_layers(model).items()}
    assert (counts["conv1"], counts["fc4"]) == (144, 10_000)
    assert sum(counts.values()) == 67_173
    for name in ("conv2", "fc1", "fc2", "fc3"):
        density = counts[name] / model.get_submodule(name).weight.numel()
        assert density == pytest.approx((67_173 - 10_144) / (1_343_456 - 10_144), rel=0.005)


@pytest.mark.parametrize(
    ("densities", "message"),
    [
        ({"fc9": 1}, "densities of unknown layers fc9; there are conv1, conv2, fc1"),
        ({"fc1": 1.5}, r"must be in \[0, 1\], got 1\.5"),
        ({"fc3": 0.5}, "allows 67,173 active weights; the given densities hold 500,000"),
        (dict.fromkeys(["conv1", "conv2", "fc1", "fc2", "fc3"], 0.0), "the other layers have room for 10,000"),
        (dict.fromkeys(["conv1", "conv2", "fc1", "fc2", "fc3", "fc4"], 0.05), "have room for 0"),
    ],
)
def test_densities_that_cannot_be_say_so(densities, message):
    with pytest.raises(ValueError, match=message):
        sparsify(SlideCNN(), 0.95, densities=densities)


def test_a_layers_true_name_wins_over_first_and_last():
    model = nn.Sequential(OrderedDict(last=nn.Linear(10, 10), first=nn.Linear(10, 10)))
    assert sparsify(model, 0.4, densities={"first": 1.0}).first.active_weights == 100
    with pytest.raises(ValueError, match="name one layer twice: first, conv1"):
        sparsify(SlideCNN(), 0.5, densities={"first": 1.0, "conv1": 0.1})


@pytest.mark.parametrize("counts", [{}, {"fc1": 7.5}, {"fc1": 31}, {"fc1": -1}])
def test_an_allocation_of_ones_own_is_checked(counts):
    with pytest.raises(ValueError, match="must give fc1 a whole number of active weights from 0 to 30"):
        sparsify(mlp(6, 5), 0.5, allocation=lambda shapes, sparsity: counts)


def test_scaled_values_keep_the_variance_of_the_dense_layers_sums():
    torch.manual_seed(0)
    dense = nn.Linear(1000, 800, bias=False)
    sparse = sparsify(dense, 0.9, init="scaled", seed=1)
    assert torch.equal(sparse.weight[sparse.mask], (dense.weight * 10**0.5)[sparse.mask])
    x = torch.randn(200, 1000)
    assert sparse(x).std().item() == pytest.approx(dense(x).std().item(), rel=0.02)


def test_the_argument_is_left_alone():
    model = SlideCNN()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    sparse = sparsify(model, 0.9, init="dense")
    for k, v in model.state_dict().items():
        assert torch.equal(v, before[k])
    assert type(model.fc1) is nn.Linear
    assert sparse.fc1.weight.data_ptr() != model.fc1.weight.data_ptr()
    active = sparse.fc1.mask
    assert torch.equal(sparse.fc1.weight[active], model.fc1.weight[active])


def test_the_seed_decides_and_nothing_global_moves():
    torch.manual_seed(5)
    model, state = SlideCNN(), torch.get_rng_state()
    a, b, c = (sparsify(model, 0.9, seed=s, init="fan_in") for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a.fc1.weight, b.fc1.weight)
    assert not torch.equal(a.fc1.mask, c.fc1.mask)


def test_every_initialisation_gets_the_same_masks():
    a, b = (sparsify(SlideCNN(), 0.9, init=init, seed=1) for init in ("dense", "fan_in"))
    for one, other in zip(sparse_layers(a).values(), sparse_layers(b).values(), strict=True):
        assert torch.equal(one.mask, other.mask)


def test_any_model_with_linear_and_conv_layers():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(4, 4)
            self.blocks = nn.ModuleList([nn.Sequential(self.shared, nn.ReLU()), nn.Sequential(self.shared)])
            self.conv = nn.Conv2d(2, 4, (3, 1), stride=2, padding=1, groups=2, bias=False)
            self.attention = nn.MultiheadAttention(4, 2)

    sparse = sparsify(Odd().double().eval(), 0.5)
    assert isinstance(sparse.shared, MaskedLinear)
    assert sparse.shared is sparse.blocks[0][0] is sparse.blocks[1][0]
    assert isinstance(sparse.conv, MaskedConv2d)
    assert sparse.conv.groups == 2
    assert sparse.conv.bias is None
    assert sparse.conv.weight.dtype == torch.float64
    assert not sparse.conv.training
    assert not isinstance(sparse.attention.out_proj, MaskedLinear)  # attention uses its weight without its forward
    assert isinstance(sparsify(nn.Linear(3, 3), 0.5), MaskedLinear)


def test_tied_weights_are_refused():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"0.weight and 1.weight are one parameter"):
        sparsify(model, 0.5)


def test_fan_in_gives_every_unit_the_variance_of_its_own_connections():
    torch.manual_seed(0)
    layer = sparsify(nn.Linear(400, 300), 0.9, init="fan_in", seed=3)
    fan_in = layer.mask.sum(1)
    normalised = (layer.weight * (fan_in.unsqueeze(1) / 2).sqrt())[layer.mask]
    assert normalised.std().item() == pytest.approx(1, abs=0.03)
    assert normalised.mean().item() == pytest.approx(0, abs=0.03)
    few = layer.weight[fan_in < 35][layer.mask[fan_in < 35]].std()
    many = layer.weight[fan_in > 45][layer.mask[fan_in > 45]].std()
    assert few > many


def test_own_allocation_and_initialisation():
    model = sparsify(
        SlideCNN(),
        0.95,
        allocation=lambda shapes, sparsity: dict.fromkeys(shapes, 7),
        init=lambda layer, positions, generator: torch.ones(len(positions)),
    )
    assert count_weights(model)[0] == 42
    assert model.fc3.weight.sum() == 7


@pytest.mark.parametrize("sparsity", [1, 1.5, -0.1, 95, float("nan")])
def test_a_sparsity_outside_is_refused(sparsity):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        sparsify(SlideCNN(), sparsity)


def test_a_percentage_gets_a_hint():
    with pytest.raises(ValueError, match=r"did you mean 0\.95\?"):
        sparsify(SlideCNN(), 95)


def test_nothing_to_sparsify_says_so():
    with pytest.raises(ValueError, match=r"this ReLU has no nn\.Linear or nn\.Conv2d"):
        sparsify(nn.ReLU(), 0.5)
    with pytest.raises(ValueError, match="its 6 sparse layers are left as they are"):
        sparsify(sparsify(SlideCNN(), 0.5), 0.5)


@pytest.mark.parametrize("option", ["allocation", "init", "kind"])
def test_an_unknown_option_names_those_there_are(option):
    with pytest.raises(ValueError, match=f"unknown {option} 'nope'"):
        sparsify(SlideCNN(), 0.5, **{option: "nope"})


def test_the_ledger_counts_what_is_there():
    """Against the arrays that torch really holds after a step of Adam."""
    model = sparsify(SlideCNN(), 0.95, allocation="uniform")
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 1, 28, 28)).sum().backward()
    optimizer.step()
    held = {
        "weights": sum(p.nbytes for p in model.parameters()),
        "gradients": sum(p.grad.nbytes for p in model.parameters()),
        "Adam's moments": sum(t.nbytes for s in optimizer.state.values() for t in s.values() if t.dim()),
        "masks": sum(b.nbytes for b in model.buffers()),
    }
    copies = {}  # what autograd keeps of each layer between the passes, beside parameters and masks

    def keep(tensor):
        if tensor.dtype == torch.float32 and tensor.dim() >= 2:
            copies[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    shapes = {tuple(sorted(layer.weight.shape)) for layer in sparse_layers(model).values()}  # saved transposed, too
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = model(torch.zeros(1, 1, 28, 28)).sum()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = [t for p, t in copies.items() if p not in own and tuple(sorted(t.shape)) in shapes]
    del loss
    ledger = masked_bytes(model)
    assert ledger["transient"] == sum(t.nbytes for t in kept) + model.fc3.weight.nbytes
    assert {kind: ledger[kind] for kind in held} == held
    assert sum(dense_bytes(model).values()) == 16 * 1_345_642
    # per layer 4 (3 values + 1 index) bytes an active weight and a moment more; 4 a row pointer; 16 a bias
    assert sum(csr_bytes(model).values()) == 20 * 67_175 + 16 * 2_186 + 4 * (2_186 + 6)


# --- what stays dense, and what says nothing --------------------------------------------------------------------------


class Many(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.attention = nn.Embedding(50, 16), nn.LSTM(16, 32), nn.MultiheadAttention(32, 4)
        self.conv, self.lazy, self.norm = nn.Conv1d(3, 4, 5), nn.LazyLinear(5), nn.LayerNorm(32)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(32, 32))
        self.head = nn.Linear(32, 40)


def test_what_stays_dense_is_said_with_its_share_and_the_sparsity_of_the_whole(caplog):
    model = Many()
    made = sparsify(model, 0.9)
    record, *_ = caplog.records
    assert "\n" not in record.getMessage()
    for name in ("embedding (Embedding)", "rnn (LSTM)", "attention (MultiheadAttention)", "attention.out_proj", "conv",
                 "lazy (LazyLinear, of no size before its first batch)", "normed.parametrizations.weight"):  # fmt: skip
        assert name in record.getMessage()
    sizes = [p.numel() for n, p in model.named_parameters() if "lazy" not in n and p.dim() > 1]
    dense, total = sum(sizes) - 1280, sum(sizes)
    assert f"{100 * dense / total:.0f}% of all weights" in record.getMessage()
    assert f"The sparsity of the whole is {100 * (1 - (dense + 128) / total):.1f}%" in record.getMessage()
    assert count_weights(made)[0] == 128
    caplog.clear()
    sparsify(model, 0.9, exclude=[nn.Embedding, nn.LSTM, nn.MultiheadAttention, "conv", "lazy", "normed"])
    assert "dense" not in caplog.text  # it was asked for


def test_plain_networks_say_nothing(caplog):
    sparsify(SlideCNN(), 0.95)
    sparsify(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 4)), 0.5)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_excluded_layers_stay_dense_and_do_not_count(kind):
    model = mlp(20, 30, 40, 10)
    for exclude in ("fc2", ["fc2"], ("fc2",)):
        made = sparsify(model, 0.9, exclude=exclude, kind=kind, allocation="uniform")
        assert type(made.fc2) is nn.Linear
        assert list(sparse_layers(made)) == ["fc1", "fc3"]
        assert made.fc1.active_weights + made.fc3.active_weights == 100
    block = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Conv2d(1, 1, 3))
    assert list(sparse_layers(sparsify(block, 0.5, exclude="0"))) == ["1"]
    assert list(sparse_layers(sparsify(block, 0.5, exclude=nn.Conv2d))) == ["0.0", "0.2"]
    with pytest.raises(ValueError, match=r"unknown module 'FC2' \(did you mean 'fc2'\?\)"):
        sparsify(model, 0.9, exclude="FC2")
    with pytest.raises(ValueError, match="has no Conv2d"):
        sparsify(model, 0.9, exclude=nn.Conv2d)
    with pytest.raises(ValueError, match="that is not excluded"):
        sparsify(model, 0.9, exclude=nn.Linear)


def test_tied_weights_have_a_way_out():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9))
    model[2].weight = model[0].weight
    with pytest.raises(ValueError, match=r"0.weight and 2.weight are one parameter.* exclude=\['0', '2'\]"):
        sparsify(model, 0.5)
    made = sparsify(model, 0.5, exclude=["0", "2"])
    assert made[2].weight is made[0].weight
    assert made[1].active_weights == 8


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_shared_biases_and_what_a_layer_has_of_its_own_are_refused(kind):
    """Their sparse forms would be untied, or less than they were."""
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].bias = tied[0].bias
    with pytest.raises(ValueError, match=r"0.bias and 1.bias are one parameter.* exclude="):
        sparsify(tied, 0.5, kind=kind)
    patched = nn.Sequential(nn.Linear(4, 4))
    patched[0].forward = lambda x: 2 * nn.Linear.forward(patched[0], x)
    with pytest.raises(ValueError, match="0 has a forward, parameters, buffers or modules of its own"):
        sparsify(patched, 0.5, kind=kind)
    normed = nn.Sequential(nn.Linear(4, 4))
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(normed[0])  # the old way, which leaves the class as it is
    with pytest.raises(ValueError, match="of its own|has forward or backward hooks"):  # noqa: RUF043
        sparsify(normed, 0.5, kind=kind)


def test_hooks_and_buffers_stay_with_a_masked_layer_and_are_refused_of_a_sparse_one():
    model, seen = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), []
    model[0].register_buffer("scale", torch.ones(4))
    model[1].register_forward_hook(lambda *_: seen.append("hook"))
    masked = sparsify(model, 0.5)
    masked(torch.ones(1, 4))
    assert seen == ["hook"]
    assert torch.equal(masked[0].scale, torch.ones(4))
    with pytest.raises(ValueError, match="0 has a forward, parameters, buffers or modules of its own"):
        sparsify(model, 0.5, kind="sparse", exclude="1")
    with pytest.raises(ValueError, match="1 has forward or backward hooks"):
        sparsify(model, 0.5, kind="sparse", exclude="0")


def test_a_layer_without_weights_and_constant_outputs_are_said(caplog):
    sparsify(mlp(100, 100, 10), 0.95, densities={"fc1": 0.0})
    assert "fc1 keeps none of its weights" in caplog.text
    caplog.clear()
    made = sparsify(mlp(100, 100, 10), 0.5, densities={"fc2": 0.003})
    constant = 10 - len(made.fc2.mask.any(1).nonzero())
    assert f"{constant} of the 10 units of the last layer, fc2, keep no weight: they are constant" in caplog.text
    with pytest.raises(ValueError, match="with weights"):
        sparsify(nn.Linear(0, 0), 0.5)


@pytest.mark.parametrize("kind", ["masked", "sparse"])
@pytest.mark.parametrize("padded", [True, False])
def test_a_transformer_works_in_eval_mode(kind, padded):
    """Its fast path there reads the `weight` of its linear layers."""
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0), 2)
    made, x = sparsify(model, 0.8, kind=kind), torch.randn(3, 7, 16)
    if kind == "masked":  # as a stale momentum leaves it
        made.layers[0].linear1.weight.data += ~made.layers[0].linear1.mask
    padding = torch.arange(7) >= torch.tensor([[7], [5], [4]]) if padded else None
    expected = made.train()(x, src_key_padding_mask=padding).detach()
    with torch.no_grad():
        y = made.eval()(x, src_key_padding_mask=padding)
    torch.testing.assert_close(y[:, :4], expected[:, :4])
