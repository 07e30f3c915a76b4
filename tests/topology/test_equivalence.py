"""The project's central test: simulated and truly sparse training are one and the same, update by update."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import make_dataset

from dst_tutorial import LeNet300100, SlideCNN, fit, kernels, sparsify
from dst_tutorial.topology.algorithms import GMP, SET, RigL
from dst_tutorial.topology.measures import jaccard, masks_of
from dst_tutorial.training.optim import Adam


def trained(
    net,
    kind,
    algorithm,
    *,
    steps,
    interval=None,
    batch=16,
    sparsity=0.95,
    optimizer=torch.optim.Adam,
    data=None,
    **options,
):
    """Losses, and the masks after every update."""
    data = (data or make_dataset(steps * batch, 1)).take(steps * batch)
    model = sparsify(net, sparsity, kind=kind, seed=3)
    optimizer = optimizer(model.parameters(), **options)
    timing = {"unit": "steps", "update_interval": interval or steps // 8}
    engine = algorithm(model, optimizer, duration=steps, seed=5, **timing)
    losses, masks = [], [masks_of(model)]
    dtype = next(model.parameters()).dtype
    for x, y in zip(data.train_images.to(dtype).split(batch), data.train_labels.split(batch), strict=True):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if engine.step():
            masks.append(masks_of(model))
        losses.append(loss.item())
    return losses, masks


@pytest.fixture(params=["reference", "cpu"])
def backend(request):
    kernels.use(request.param)
    yield request.param
    kernels.use(None)


@pytest.fixture(params=["digits", "random"])
def uneven(request):
    """No two pixels alike. On a plain background all four of a max-pooling are equal, and in dense convolutions it is
    rounding that decides which of them gets the gradient."""
    if request.param == "random":
        return make_dataset(200 * 16, 1)
    digits = request.getfixturevalue("mnist").take(200 * 16)
    noise = torch.randn(digits.train_images.shape, generator=torch.Generator().manual_seed(0))
    return replace(digits, train_images=digits.train_images + 0.1 * noise)


@pytest.mark.parametrize("algorithm", [SET, RigL])
@pytest.mark.parametrize("network", [LeNet300100, SlideCNN])
def test_the_same_topologies_and_losses_in_float64(network, uneven, algorithm):
    torch.manual_seed(0)
    net = network().double()
    (masked, theirs), (sparse, ours) = (
        trained(net, kind, algorithm, steps=200, interval=20, data=uneven) for kind in ("masked", "sparse")
    )
    assert len(theirs) == len(ours) >= 6  # five rewires at least
    assert all(jaccard(a, b) == 1 for a, b in zip(theirs, ours, strict=True))
    assert max(abs(a - b) for a, b in zip(masked, sparse, strict=True)) < 1e-9


@pytest.mark.parametrize("algorithm", [SET, RigL, GMP])
@pytest.mark.parametrize(
    "optimizer",
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}),
        (torch.optim.AdamW, {"lr": 1e-2}),
        (torch.optim.RMSprop, {"lr": 1e-3, "momentum": 0.5}),
        (Adam, {"lr": 1e-2, "weight_decay": 1e-3}),
    ],
    ids=lambda o: o[0].__module__ + "." + o[0].__name__,
)
def test_whatever_the_optimiser_and_the_backend(algorithm, optimizer, backend):
    torch.manual_seed(0)
    net, (kind_of, options) = SlideCNN((3, 4), (12, 9)).double(), optimizer
    (masked, theirs), (sparse, ours) = (
        trained(net, kind, algorithm, steps=48, sparsity=0.7, optimizer=kind_of, **options)
        for kind in ("masked", "sparse")
    )
    assert len(theirs) > 4
    assert all(jaccard(a, b) == 1 for a, b in zip(theirs, ours, strict=True))
    assert max(abs(a - b) for a, b in zip(masked, sparse, strict=True)) < 1e-9


@pytest.mark.parametrize("algorithm", [SET, RigL])
def test_in_float32_rounding_is_all_that_differs(algorithm, mnist):
    """Without a max-pooling: of pixels that are equal but for rounding, either may win one."""
    torch.manual_seed(0)
    net = LeNet300100()
    (masked, theirs), (sparse, ours) = (
        trained(net, kind, algorithm, steps=200, interval=20, data=mnist) for kind in ("masked", "sparse")
    )
    assert min(jaccard(a, b) for a, b in zip(theirs, ours, strict=True)) > 0.998  # an overlap of 99.9%
    assert max(abs(a - b) for a, b in zip(masked, sparse, strict=True)) < 1e-3


def test_fit_needs_no_special_case_and_resumes(tmp_path, backend):
    """`fit` on either form: the same numbers; and from a checkpoint, of another number of connections, too."""
    data = make_dataset(96, 20)
    data = replace(data, train_images=data.train_images.double(), test_images=data.test_images.double())
    runs = {}
    for kind in ("masked", "sparse", "interrupted"):
        for stop in (1, None) if kind == "interrupted" else (None,):
            torch.manual_seed(0)
            model = sparsify(SlideCNN((3, 4), (12,)).double(), 0.0, kind="masked" if kind == "masked" else "sparse")
            optimizer = torch.optim.Adam(model.parameters())
            engine = GMP(model, optimizer, update_interval=2, sparsity=0.8)

            def interrupt(epoch, stop=stop):
                if epoch.epoch == stop:
                    raise KeyboardInterrupt

            runs[kind] = fit(model, data, optimizer, epochs=3, batch_size=16, topology=engine, progress=False,
                             checkpoint=tmp_path / kind, on_epoch=interrupt)  # fmt: skip
    for run in (runs["sparse"], runs["interrupted"]):
        assert run.curve("train_loss") == pytest.approx(runs["masked"].curve("train_loss"), rel=1e-9)
        assert run.curve("active_weights") == runs["masked"].curve("active_weights")
        for ours, theirs in zip(run.snapshots, runs["masked"].snapshots, strict=True):
            assert jaccard(ours.masks, theirs.masks) == 1
