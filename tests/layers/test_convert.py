"""From one form to the other: the same function, whatever the network."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import PEAK, make_dataset
from torch import nn

from dst_tutorial import (
    MaskedConv2d,
    MaskedLinear,
    SlideCNN,
    SparseConv2d,
    SparseLinear,
    fit,
    mlp,
    sparsify,
    to_masked,
    to_truly_sparse,
)
from dst_tutorial.layers.convert import to_dense
from dst_tutorial.layers.sparsify import count_weights, sparse_layers


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
    sparse, x = to_truly_sparse(masked), torch.randn(shape)
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
    sparse = to_truly_sparse(model)
    assert [n for n, _ in sparse.named_modules()] == [n for n, _ in model.named_modules()]
    assert not any(m.relu for m in sparse.modules() if isinstance(m, (SparseLinear, SparseConv2d)))
    if case != "no Sequential":
        x = torch.randn(2, 1, 9, 9) if "conv" in case else torch.randn(2, 4)
        torch.testing.assert_close(sparse(x), model(x))


def test_a_shared_layer_stays_shared():
    sparse = to_truly_sparse(shared())
    assert sparse[0] is sparse[-1]


def test_runs_fold_wherever_they_stand():
    torch.manual_seed(0)
    inner = nn.Sequential(linear(), nn.ReLU(inplace=True), linear())
    model = nn.Sequential(Residual(inner), nn.Linear(4, 4), nn.ReLU(), inner[2]).double()
    sparse, x = to_truly_sparse(model), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(sparse(x), model(x))
    assert [type(m).__name__ for m in sparse[0][0]] == ["SparseLinear", "Identity", "SparseLinear"]
    assert not any(m.relu for m in to_truly_sparse(model, fold=False).modules() if isinstance(m, SparseLinear))
    torch.testing.assert_close(to_truly_sparse(model, fold=False)(x), model(x))
    assert isinstance(sparse[1], nn.Linear)
    assert isinstance(sparse[2], nn.ReLU)  # behind a dense layer
    assert sparse[3] is sparse[0][0][-1]


def test_the_argument_is_left_alone_and_settings_are_kept():
    masked = sparsify(mlp(6, 5, 4), 0.5).eval()
    masked.fc1.weight.requires_grad_(False)
    before, state = copy.deepcopy(masked.state_dict()), torch.get_rng_state()
    sparse = to_truly_sparse(masked)
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
    torch.testing.assert_close(to_truly_sparse(masked)(x), masked(x))


def test_hooks_are_not_lost_in_silence():
    model = sparsify(mlp(3, 2), 0.5)
    listened_to(model.fc1)
    with pytest.raises(ValueError, match="hooks"):
        to_truly_sparse(model)


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
        to_dense(to_truly_sparse(masked))


def test_a_layer_alone_and_nothing_to_to_truly_sparse():
    layer = linear()
    assert isinstance(to_truly_sparse(layer), SparseLinear)
    with pytest.raises(ValueError, match="call sparsify first"):
        to_truly_sparse(mlp(3, 2))
    with pytest.raises(ValueError, match="call sparsify first"):
        to_truly_sparse(to_truly_sparse(layer))


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


@pytest.mark.parametrize("network", [SlideCNN, lambda: mlp(784, 20, 10), lambda: nn.Sequential(nn.Conv2d(1, 2, 3))])
def test_masked_again_is_the_same_network(network):
    torch.manual_seed(0)
    masked = sparsify(network(), 0.9).eval()
    again, x = to_masked(to_truly_sparse(masked)), torch.randn(3, 1, 28, 28)
    assert [(n, type(m)) for n, m in again.named_modules()] == [(n, type(m)) for n, m in masked.named_modules()]
    for name, tensor in masked.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert torch.equal(again(x), masked(x))
    assert not again.training


def test_a_fused_layer_alone_gets_a_sequential():
    layer = SparseConv2d(1, 2, 3, density=0.5, relu=True, pool=2)
    masked, x = to_masked(layer), torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(masked(x), layer(x))
    with pytest.raises(ValueError, match="no truly sparse layer"):
        to_masked(masked)


def test_from_a_dense_layer():
    torch.manual_seed(0)
    dense, x = nn.Linear(6, 4), torch.randn(3, 6)
    dense.weight.data[dense.weight.abs() < 0.2] = 0
    sparse = SparseLinear.from_dense(dense)
    assert sparse.active_weights == (dense.weight != 0).sum() < 24
    torch.testing.assert_close(sparse(x), dense(x))
    torch.testing.assert_close(sparse.to_dense(), dense.weight.detach())
    conv = nn.Conv2d(1, 2, 3)
    torch.testing.assert_close(SparseConv2d.from_dense(conv).to_dense(), conv.weight.detach())


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
def test_a_network_that_cannot_exist_densely(tmp_path):
    """Its dense form would take 40 GB: it is shapes without numbers. Build, train, rewire, save and load it in 1 GB."""
    script = (
        PEAK
        + """
import sys, torch, torch.nn.functional as F
from dst_tutorial.training import checkpoint
from dst_tutorial import mlp, sparsify
from dst_tutorial.topology.algorithms import SET, RigL
from dst_tutorial.training.optim import Adam
torch.set_num_threads(1)
before = peak()
with torch.device("meta"):
    net = mlp(20, 100_000, 100_000, 10)
wide = {"kind": "sparse", "densities": {"fc2": 0.0001}}
model = sparsify(net, 0.99985, **wide)
assert model.fc2.active_weights == 1_000_000
optimizer = Adam(model.parameters())
for algorithm in (SET, RigL):
    engine = algorithm(model, optimizer, unit="steps", update_interval=2, duration=9)
    positions = model.fc2.active_positions()
    for _ in range(3):
        x, y = torch.randn(4, 20), torch.randint(10, (4,))
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        engine.step()
    assert loss.isfinite() and not torch.equal(positions, model.fc2.active_positions())
checkpoint.save(sys.argv[1], {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
state = checkpoint.load(sys.argv[1])
again = sparsify(net, 0.99985, seed=1, **wide)
again.load_state_dict(state["model"])
assert torch.equal(again(x), model(x))
used = peak() - before
print(used)
assert used < 1
"""
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "wide")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
