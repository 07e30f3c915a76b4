import json
import re
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dst_tutorial import DynamicSparsity, LeNet300100, evaluate, fit, kernels, mlp, sparsify
from dst_tutorial.layers import macs
from dst_tutorial.topology.algorithms import SET, RigL
from dst_tutorial.topology.measures import exploration_rate, masks_of, overlap
from dst_tutorial.training import checkpoint as checkpoints
from dst_tutorial.training.data import Dataset
from dst_tutorial.training.loop import only_ours
from dst_tutorial.training.optim import Adam


def setup_run(seed=0, dropout=False):
    torch.manual_seed(seed)
    model = sparsify(mlp(784, 40, 10), 0.8, seed=seed)
    if dropout:
        model = nn.Sequential(nn.Dropout(0.3), model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return model, optimizer, DynamicSparsity(model, optimizer, update_interval=3, unit="steps", seed=seed)


def test_evaluate_equals_the_formula_and_restores_the_mode(dataset):
    model = mlp(784, 20, 10).train()
    got = evaluate(model, dataset.test_images, dataset.test_labels, batch_size=7)
    logits = model(dataset.test_images)
    assert got.loss == pytest.approx(F.cross_entropy(logits, dataset.test_labels).item(), rel=1e-5)
    assert got.accuracy == pytest.approx(100 * (logits.argmax(1) == dataset.test_labels).float().mean().item())
    assert model.training


def test_evaluate_on_nothing_says_so(dataset):
    with pytest.raises(ValueError, match="there are no images"):
        evaluate(mlp(784, 10), dataset.test_images[:0], dataset.test_labels[:0])


def test_fit_learns_and_records(dataset):
    model, optimizer, engine = setup_run()
    history = fit(model, dataset, optimizer, epochs=12, topology=engine, progress=False)
    assert [e.epoch for e in history.epochs] == list(range(1, 13))
    assert history.epochs[-1].train_accuracy > 80
    assert history.epochs[-1].test_accuracy > 80
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert history.epochs[-1].test_accuracy == evaluate(model, dataset.test_images, dataset.test_labels).accuracy
    assert not history.interrupted
    assert all(s > 0 for s in history.curve("seconds"))


def test_fit_without_an_optimiser_uses_adam(dataset):
    model = mlp(784, 10)
    assert fit(model, dataset, epochs=3, progress=False).epochs[-1].train_accuracy > 50


def test_snapshots_are_taken_at_every_update_and_are_copies(dataset):
    model, optimizer, engine = setup_run()
    first = masks_of(model)
    history = fit(model, dataset, optimizer, epochs=2, topology=engine, progress=False)
    assert [(s.step, s.epoch) for s in history.snapshots] == [(0, 0), (3, 1), (6, 2)]
    assert (history.snapshots[0].masks["fc1"].unpack() == first["fc1"].unpack()).all()
    active = [sum(m.active for m in s.masks.values()) for s in history.snapshots]
    assert set(active) == {engine.layers["fc1"].active_weights + engine.layers["fc2"].active_weights}
    for epoch in range(3):
        assert history.masks_at(epoch) is history.snapshots[epoch].masks
    assert (history.masks_at(2)["fc1"].unpack() == model.fc1.mask.numpy()).all()
    kept = history.snapshots[-1].masks["fc1"].unpack()
    model.fc1.mask.fill_(False)
    assert (history.snapshots[-1].masks["fc1"].unpack() == kept).all()


def test_a_static_network_has_one_snapshot_and_a_dense_one_none(dataset):
    model, _, _ = setup_run()
    history = fit(model, dataset, epochs=1, progress=False)
    assert len(history.snapshots) == 1
    assert history.masks_at(1) is history.masks_at(0)
    with pytest.raises(ValueError, match="the network was dense"):
        fit(mlp(784, 10), dataset, epochs=1, progress=False).masks_at(0)


def test_measures_against_sets(dataset):
    model, optimizer, engine = setup_run()
    history = fit(model, dataset, optimizer, epochs=3, topology=engine, progress=False)
    sets = [{(n, i) for n, m in s.masks.items() for i in m.unpack().ravel().nonzero()[0]} for s in history.snapshots]
    total = 784 * 40 + 400
    assert exploration_rate(s.masks for s in history.snapshots) == pytest.approx(len(set.union(*sets)) / total)
    assert overlap(history.snapshots[0].masks, history.snapshots[-1].masks) == pytest.approx(
        len(sets[0] & sets[-1]) / len(sets[0])
    )


@pytest.mark.parametrize("dropout", [False, True])
def test_resuming_ends_as_an_uninterrupted_run(dataset, tmp_path, dropout):
    def weights_and_losses(parts, path):
        torch.manual_seed(1)
        for epochs in parts:
            model, optimizer, engine = setup_run(dropout=dropout)
            if len(parts) == 1 or epochs == parts[0]:
                torch.manual_seed(7)
            history = fit(model, dataset, optimizer, epochs=epochs, topology=engine, progress=False, checkpoint=path)
        return model.state_dict(), history

    whole, history = weights_and_losses([5], tmp_path / "a")
    parts, resumed = weights_and_losses([2, 5], tmp_path / "b")
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    assert history.curve("test_loss") == resumed.curve("test_loss")
    assert [s.step for s in history.snapshots] == [s.step for s in resumed.snapshots]
    assert exploration_rate(s.masks for s in history.snapshots) == exploration_rate(s.masks for s in resumed.snapshots)


def test_ctrl_c_keeps_what_was_reached(dataset, tmp_path, caplog):
    def stop_after_two(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    model, optimizer, engine = setup_run()
    path = tmp_path / "run.safetensors"
    history = fit(model, dataset, optimizer, epochs=9, topology=engine, progress=False, checkpoint=path,
                  on_epoch=stop_after_two)  # fmt: skip
    assert history.interrupted
    assert len(history.epochs) == 2
    assert "stopped in epoch 2 of 9" in caplog.text
    model, optimizer, engine = setup_run()
    resumed = fit(model, dataset, optimizer, epochs=3, topology=engine, progress=False, checkpoint=path)
    assert len(resumed.epochs) == 3
    assert resumed.epochs[:2] == history.epochs


def test_a_checkpoint_of_another_run_is_refused(dataset, tmp_path):
    path = tmp_path / "c"
    model, optimizer, engine = setup_run()
    fit(model, dataset, optimizer, epochs=1, topology=engine, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match=r"another run: it has \{'seed': 0\}, this has \{'seed': 1\}"):
        fit(model, dataset, optimizer, epochs=1, topology=engine, progress=False, checkpoint=path, seed=1)
    with pytest.raises(ValueError, match="holds no parameter of this model"):
        fit(mlp(784, 10), dataset, epochs=1, topology=engine, progress=False, checkpoint=path)
    static = tmp_path / "static"
    fit(mlp(784, 8, 10), dataset, epochs=1, progress=False, checkpoint=static)
    other = mlp(784, 8, 8, 10)
    before = [p.clone() for p in other.parameters()]
    with pytest.raises(ValueError, match=r"another run: it has .'network'"):
        fit(other, dataset, epochs=1, progress=False, checkpoint=static)
    assert all(map(torch.equal, before, other.parameters()))  # a refused checkpoint has overwritten nothing
    with pytest.raises(
        ValueError,
        match=r"it has \{'topology': .*DynamicSparsity.* this has \{'topology': \{'algorithm': 'Static'\}",
    ):
        fit(model, dataset, optimizer, epochs=1, progress=False, checkpoint=path)


def test_a_longer_training_is_another_run_only_where_something_depends_on_its_length(dataset, tmp_path):
    """The slides' protocol may go on for longer; a cosine, of drop fraction or learning rate, has its end."""
    model, optimizer, _ = setup_run()
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    rigl = RigL(model, optimizer, update_interval=2)
    for i, options in enumerate(({"topology": rigl}, {"scheduler": cosine})):
        options |= {"progress": False, "checkpoint": tmp_path / str(i)}
        fit(model, dataset, optimizer, epochs=1, **options)
        with pytest.raises(ValueError, match=r"it has \{'epochs': 1\}, this has \{'epochs': 2\}"):
            fit(model, dataset, optimizer, epochs=2, **options)


def test_rigl_with_a_cosine_resumes_as_an_uninterrupted_run(dataset, tmp_path):
    def run(stop_after):
        model, optimizer, _ = setup_run()
        options = {"topology": RigL(model, optimizer, update_interval=2, seed=1),
                   "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 16)}  # fmt: skip

        def stop(epoch):
            if epoch.epoch == stop_after:
                raise KeyboardInterrupt

        history = fit(model, dataset, optimizer, epochs=4, progress=False, checkpoint=tmp_path / str(len(stops)),
                      on_epoch=stop, **options)  # fmt: skip
        return model, optimizer, history

    stops = []
    whole, optimizer, history = run(None)
    stops.append(2)
    run(2)
    resumed, again, later = run(None)
    assert [s.step for s in history.snapshots] == [s.step for s in later.snapshots] == [0, 2, 4, 6, 8, 10]
    assert history.curve("test_loss") == later.curve("test_loss")
    assert optimizer.param_groups[0]["lr"] == again.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_a_second_fit_goes_on_with_the_engine(dataset):
    """It does not fall asleep because the first training is over; a warm-up without it is no double step."""
    model, optimizer, _ = setup_run()
    engine = RigL(model, optimizer, update_interval=2)
    fit(model, dataset, optimizer, epochs=1, progress=False)
    fit(model, dataset, epochs=2, topology=engine, progress=False)
    assert (engine.updates, engine.duration) == (2, 8)
    fit(model, dataset, epochs=4, topology=engine, progress=False)
    assert (engine.updates, engine.duration) == (2 + 4, 8 + 16)  # at 10, 12, 14, 16, and not from 18 on: 0.75 * 24
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="the engine steps another optimizer"):
        fit(model, dataset, other, epochs=1, topology=engine, progress=False)


def test_resuming_without_naming_the_optimiser_again(dataset, tmp_path):
    def run(epochs, path):
        model, _, engine = setup_run()
        return fit(model, dataset, epochs=epochs, topology=engine, progress=False, checkpoint=path)

    whole = run(4, tmp_path / "a")
    run(2, tmp_path / "b")
    assert run(4, tmp_path / "b").curve("test_loss") == whole.curve("test_loss")


@pytest.mark.parametrize("options", [{"drop_fraction": 0.9}, {"drop": "sign"}, {"update_interval": 4}])
def test_a_checkpoint_of_another_engine_is_refused(dataset, tmp_path, options):
    path = tmp_path / "c"
    model, optimizer, engine = setup_run()
    fit(model, dataset, optimizer, epochs=1, topology=engine, progress=False, checkpoint=path)
    model, optimizer, _ = setup_run()
    other = DynamicSparsity(model, optimizer, **{"update_interval": 3, "unit": "steps", **options})
    with pytest.raises(ValueError, match=r"checkpoint of another run: it has .'topology'"):
        fit(model, dataset, optimizer, epochs=2, topology=other, progress=False, checkpoint=path)


def test_an_engine_that_will_not_move_says_so(dataset, caplog):
    model, optimizer, _ = setup_run()
    fit(model, dataset, topology=RigL(model, optimizer), epochs=2, progress=False)
    assert "no topology update will come: one is due every 100 steps, and the last before 6" in caplog.text
    with pytest.raises(ValueError, match="leaves no step to the optimiser"):
        fit(model, dataset, topology=RigL(model, optimizer, update_interval=1), epochs=2, progress=False)


def test_fit_tells_the_engine_how_long_the_training_is(dataset):
    model, optimizer, _ = setup_run()
    for algorithm, expected in ((RigL, 3 * 4), (SET, 3)):
        engine = algorithm(model, optimizer)
        fit(model, dataset, optimizer, epochs=3, topology=engine, progress=False)
        assert engine.duration == expected
    told = RigL(model, optimizer, duration=50)
    fit(model, dataset, optimizer, epochs=1, topology=told, progress=False)
    assert told.duration == 50


def test_a_checkpoint_of_an_earlier_layout_of_the_package_goes_on_as_an_uninterrupted_run(tmp_path):
    """Written by commit cab27d7, whose modules lay side by side, after two of four epochs."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (160,), generator=generator)
    images = torch.randn(160, 1, 4, 4, generator=generator) * 0.5
    for i, label in enumerate(labels):
        images[i, 0, int(label)] += 1
    rows = Dataset("rows", images[:128], labels[:128], images[128:], labels[128:])

    def run(checkpoint):
        torch.manual_seed(0)
        model = sparsify(mlp(16, 12, 4), 0.5, kind="sparse")
        optimizer = Adam(model.parameters(), lr=1e-2)
        engine = RigL(model, optimizer, update_interval=3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4 * 8)
        return fit(model, rows, optimizer, epochs=4, batch_size=16, topology=engine, scheduler=scheduler,
                   checkpoint=checkpoint, progress=False)  # fmt: skip

    file = tmp_path / "checkpoint"
    file.write_bytes(Path(__file__).with_name("checkpoint_of_cab27d7.safetensors").read_bytes())
    kept = checkpoints.load(file)["history"]["epochs"]
    resumed, whole = run(file), run(None)
    assert [asdict(epoch) for epoch in resumed.epochs[:2]] == kept  # with their seconds: not run again
    assert resumed.curve("train_loss") == pytest.approx(whole.curve("train_loss"), rel=1e-4)
    assert [s.step for s in resumed.snapshots] == [s.step for s in whole.snapshots]
    assert overlap(resumed.snapshots[-1].masks, whole.snapshots[-1].masks) == 1


def test_checkpoints_hold_no_pickle_and_any_tree(tmp_path):
    path = tmp_path / "tree"
    tree = {"a": [1, 2.5, None, True, "text"], 3: {"t": torch.arange(4), "m": torch.tensor([True])}, "tensor": {}}
    checkpoints.save(path, tree)
    raw = path.read_bytes()
    json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])  # a safetensors header, then numbers
    back = checkpoints.load(path)
    assert back["a"] == tree["a"]
    assert torch.equal(back[3]["t"], tree[3]["t"])
    assert back[3]["m"].dtype == torch.bool
    assert back["tensor"] == {}
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / "c"
    checkpoints.save(path, {"t": torch.arange(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"damaged .* delete it to start anew"):
        checkpoints.load(path)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "c"
    checkpoints.save(path, {"t": torch.arange(6.0), "m": torch.tensor([True, False]), "n": [1, 2.5, {"a": None}]})
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            checkpoints.load(path)
    path.write_bytes(good)
    assert checkpoints.load(path)["n"] == [1, 2.5, {"a": None}]


def test_settings_are_normalised_or_refused_before_the_first_epoch(dataset, tmp_path):
    path = tmp_path / "c"
    settings = {"a": np.float32(0.5), "b": Fraction(1, 2), "c": (1, np.int64(2)), "d": mlp,
                "e": Path("x"), "f": np.bool_(True), "g": torch.tensor(3), "h": {1: None}}  # fmt: skip
    for epochs in (1, 2):  # the second goes on with the first
        model, optimizer, engine = setup_run()
        history = fit(model, dataset, optimizer, epochs=epochs, topology=engine, progress=False, checkpoint=path,
                      config=settings)  # fmt: skip
    assert len(history.epochs) == 2
    kept = checkpoints.load(path)["run"]
    assert [kept[name] for name in "abcdefgh"] == [0.5, 0.5, [1, 2], "mlp", "x", True, 3, {"1": None}]
    model, optimizer, engine = setup_run()
    with pytest.raises(TypeError, match=r"config\['set'\]\[1\], a set: give numbers or text"):
        fit(model, dataset, optimizer, epochs=1, progress=False, checkpoint=tmp_path / "d", config={"set": [1, {2}]})
    optimizer.param_groups[0]["schedule"] = lambda step: step
    with pytest.raises(TypeError, match=r"cannot hold .*the function"):
        fit(model, dataset, optimizer, epochs=1, progress=False, checkpoint=tmp_path / "d")
    assert not (tmp_path / "d").exists()
    assert engine.steps == 0


def test_a_checkpoint_that_cannot_be_written_is_named_before_the_first_epoch(dataset, tmp_path):
    (tmp_path / "file").touch()
    model, optimizer, _ = setup_run()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(OSError, match=r"the checkpoint .*file/c could not be written \(.*"):
        fit(model, dataset, optimizer, epochs=1, progress=False, checkpoint=tmp_path / "file" / "c")
    assert all(map(torch.equal, before, model.parameters()))


def test_a_full_disk_is_named_and_leaves_no_part_behind(tmp_path):
    path = tmp_path / "c"
    checkpoints.save(path, {"t": torch.arange(10)})
    code = f"""
import resource, signal, torch
from dst_tutorial.training import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
checkpoint.save({str(path)!r}, {{"t": torch.arange(100_000)}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(r"OSError: the checkpoint .*c could not be written \(.*\)$", done.stderr.strip())
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(checkpoints.load(path)["t"], torch.arange(10))


def test_fewer_epochs_than_there_are_is_refused(dataset, tmp_path):
    path = tmp_path / "c"
    for epochs in (2, 2):
        model, optimizer, engine = setup_run()
        history = fit(model, dataset, optimizer, epochs=epochs, topology=engine, progress=False, checkpoint=path)
    assert len(history.epochs) == 2
    model, optimizer, engine = setup_run()
    with pytest.raises(ValueError, match="holds 2 epochs and 1 are asked for"):
        fit(model, dataset, optimizer, epochs=1, topology=engine, progress=False, checkpoint=path)


def test_test_once_looks_once_whatever_is_resumed(dataset, tmp_path):
    path = tmp_path / "c"

    def run(epochs, **options):
        model, optimizer, engine = setup_run()
        return fit(
            model, dataset, optimizer, epochs=epochs, topology=engine, progress=False, checkpoint=path, **options
        )

    for _ in range(2):
        assert run(1, test_once=True).test_evaluations == 1
    with pytest.raises(ValueError, match=r"another run: it has \{'epochs': 1\}"):  # it has been looked at
        run(2, test_once=True)
    with pytest.raises(ValueError, match="'test_once': True"):
        run(2)


@pytest.mark.parametrize("what", ["sparsity", "lr", "betas", "images", "labels", "sgd"])
@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_a_checkpoint_is_no_other_networks_or_images_or_optimisers(dataset, tmp_path, kind, what):
    def run(sparsity=0.9, data=dataset, optimizer=torch.optim.Adam, **options):
        model = sparsify(mlp(784, 16, 10), sparsity, kind=kind)
        optimizer = optimizer(model.parameters(), **({"lr": 1e-3} | options))
        return fit(model, data, optimizer, epochs=1, progress=False, checkpoint=tmp_path / "c")

    run()
    other = {
        "sparsity": {"sparsity": 0.8},
        "lr": {"lr": 2e-3},
        "betas": {"betas": (0.8, 0.9)},
        "images": {"data": replace(dataset, train_images=dataset.train_images.flip(0))},
        "labels": {"data": replace(dataset, train_labels=dataset.train_labels.flip(0))},
        "sgd": {"optimizer": torch.optim.SGD},
    }[what]
    with pytest.raises(ValueError, match="another run"):
        run(**other)
    run()


@pytest.mark.parametrize(
    "what",
    ["group", "decay", "scheduler", "duration", "seed", "frozen", "activation", "test images"],
)
def test_nor_one_that_differs_in_what_is_easily_overlooked(dataset, tmp_path, what):
    def run(group=1e-3, decay=0.0, step=3, duration=24, seed=0, frozen=False, act=nn.ReLU, data=dataset):
        torch.manual_seed(0)
        model = sparsify(nn.Sequential(nn.Flatten(), nn.Linear(784, 16), act(), nn.Linear(16, 10)), 0.9)
        model[1].weight.requires_grad_(not frozen)
        optimizer = torch.optim.Adam([{"params": list(model.parameters()), "lr": group, "weight_decay": decay}])
        engine = RigL(model, optimizer, update_interval=2, duration=duration, seed=seed)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step)
        return fit(model, data, optimizer, epochs=1, topology=engine, scheduler=scheduler, progress=False,
                   checkpoint=tmp_path / "c")  # fmt: skip

    run()
    other = {
        "group": {"group": 1e-2},
        "decay": {"decay": 0.5},
        "scheduler": {"step": 1},
        "duration": {"duration": 2400},
        "seed": {"seed": 9},
        "frozen": {"frozen": True},
        "activation": {"act": nn.Tanh},
        "test images": {"data": replace(dataset, test_images=dataset.test_images.flip(0))},
    }[what]
    with pytest.raises(ValueError, match="another run"):
        run(**other)
    run()


def test_a_config_is_compared_as_it_is_meant(dataset, tmp_path):
    def run(config, **options):
        model, optimizer, engine = setup_run()
        return fit(model, dataset, optimizer, epochs=1, topology=engine, progress=False, checkpoint=tmp_path / "c",
                   config=config, **options)  # fmt: skip

    run({1: 2, "a": {"x": 1, "y": 2}})
    run({"a": {"y": 2, "x": 1}, 1: 2})  # in another order
    with pytest.raises(ValueError, match=r"it has \{'1': 2\}, this has \{'1': 3\}"):
        run({1: 3, "a": {"x": 1, "y": 2}})
    with pytest.raises(ValueError, match="config says seed 7, and fit has 0: say it once"):
        run({"seed": 7})


def test_a_scheduler_that_has_moved_the_rate_is_no_other_optimiser(dataset, tmp_path):
    """Who runs a cell again after Ctrl-C comes with the live optimiser."""

    def stop(epoch):
        return epoch.epoch == 1

    model, optimizer, engine = setup_run()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    options = {"epochs": 3, "topology": engine, "scheduler": scheduler, "progress": False, "checkpoint": tmp_path / "c"}
    fit(model, dataset, optimizer, on_epoch=stop, **options)
    assert len(fit(model, dataset, optimizer, **options).epochs) == 3


# --- what fit trains on, and in which mode ----------------------------------------------------------------------------


def test_fit_trains_on_a_pair_and_then_tests_nothing(dataset, tmp_path):
    found = []
    for data in (
        dataset,
        (dataset.train_images, dataset.train_labels),
        [dataset.train_images.numpy(), dataset.train_labels.int()],
    ):
        model, optimizer, engine = setup_run()
        path = tmp_path / str(len(found))
        found.append(fit(model, data, optimizer, epochs=2, topology=engine, progress=False, checkpoint=path))
    assert found[0].curve("train_loss") == found[1].curve("train_loss") == found[2].curve("train_loss")
    assert found[1].curve("test_accuracy") == [None, None]
    assert found[1].test_evaluations == 0


def test_fit_says_what_it_takes(dataset):
    model, optimizer, _ = setup_run()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(dataset.train_images, dataset.train_labels))
    for data in (loader, dataset.train_images, None, "mnist"):
        with pytest.raises(TypeError, match=r"a pair of tensors \(images, labels\), and got a .*see USING.md"):
            fit(model, data, optimizer, epochs=1, progress=False)
    with pytest.raises(TypeError, match="labels are the numbers of the classes"):
        fit(model, (dataset.train_images, dataset.train_labels + 0.5), optimizer, epochs=1, progress=False)
    with pytest.raises(ValueError, match="256 images and 255 labels"):
        fit(model, (dataset.train_images, dataset.train_labels[1:]), optimizer, epochs=1, progress=False)


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_an_optimiser_of_another_model_is_refused_without_an_engine_too(dataset, kind):
    dense = mlp(784, 10)
    optimizer = torch.optim.Adam(dense.parameters())
    with pytest.raises(ValueError, match="the optimiser does not hold fc1"):
        fit(sparsify(dense, 0.9, kind=kind), dataset, optimizer, epochs=1, progress=False)
    with pytest.raises(ValueError, match="holds no parameter of this model"):
        fit(mlp(784, 10), dataset, optimizer, epochs=1, progress=False)


@pytest.mark.parametrize("training", [True, False])
def test_every_module_keeps_its_mode(dataset, training):
    seen = []

    class Norm(torch.nn.BatchNorm1d):
        def forward(self, x):
            seen.append(self.training)
            return super().forward(x)

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 8), Norm(8), Norm(8), torch.nn.Linear(8, 10))
    model.train(training)
    model[3].eval()  # frozen
    modes = [module.training for module in model.modules()]
    macs(model, dataset.test_images[0])
    evaluate(model, dataset.test_images, dataset.test_labels)
    assert not any(seen)
    seen.clear()
    fit(model, dataset, epochs=1, progress=False)
    assert seen[:2] == (
        [True, False] if training else [True, True]
    )  # who trains a model that is in eval mode, means it
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("options", [{"epochs": 0}, {"epochs": 1, "batch_size": 0}])
def test_fit_refuses_what_makes_no_sense(dataset, options):
    with pytest.raises(ValueError, match="must be at least 1"):
        fit(mlp(784, 10), dataset, progress=False, **options)


@pytest.mark.parametrize("form", ["sparse", "masked", "dense"])
def test_torch_takes_one_thread_where_all_weights_are_ours_and_the_loops_keep_theirs(dataset, form):
    torch.set_num_threads(2)
    try:
        model = LeNet300100() if form == "dense" else sparsify(LeNet300100(), 0.9, kind=form)
        seen = []
        fit(model, dataset, epochs=1, progress=False,
            on_epoch=lambda _: seen.append((torch.get_num_threads(), kernels.num_threads())))  # fmt: skip
        assert seen == [(1, 2) if form == "sparse" else (2, 2)]
        with pytest.raises((RuntimeError, ValueError)):
            evaluate(model, torch.zeros(3, 1, 5, 5), torch.zeros(3).long())
        assert (torch.get_num_threads(), kernels.num_threads()) == (2, 2)
    finally:
        torch.set_num_threads(1)


def test_a_network_is_ours_only_if_all_of_it_is():
    ours = sparsify(LeNet300100(), 0.9, kind="sparse")
    assert only_ours(ours)
    assert not only_ours(nn.Sequential(ours, nn.BatchNorm1d(10)))
    assert not only_ours(nn.ReLU())


def test_the_loops_have_as_many_threads_as_torch_or_a_number_of_their_own():
    assert kernels.num_threads() == torch.get_num_threads()
    kernels.set_num_threads(3)
    with kernels.instead_of_torch(), kernels.instead_of_torch():
        assert (torch.get_num_threads(), kernels.num_threads()) == (1, 3)
    assert kernels.num_threads() == 3
    kernels.set_num_threads(None)
    assert kernels.num_threads() == torch.get_num_threads()
    with pytest.raises(ValueError, match="at least one thread, got 0"):
        kernels.set_num_threads(0)
