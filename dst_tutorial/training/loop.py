"""Train and evaluate any network, dense or sparse: `fit`, `evaluate` and the `History` that a run leaves."""

import dataclasses
import json
import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import instead_of_torch
from ..layers import SparseConv2d, SparseLinear, count_weights, modes_kept, sparse_layers
from ..progress import tqdm
from ..randomness import stream
from ..topology import DynamicSparsity, Mask, Masks, Static, masks_of
from . import checkpoint as checkpoints
from .data import Dataset

log = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    accuracy: float  # percent
    loss: float  # mean cross-entropy


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to. Accuracies in percent, losses mean cross-entropy."""

    epoch: int  # from 1
    train_accuracy: float  # running: each batch before its own step
    train_loss: float
    test_accuracy: float | None  # after the epoch, and after its topology update; None: not looked at
    test_loss: float | None
    active_weights: int
    seconds: float  # of training and topology updates, without the evaluation


@dataclass(frozen=True)
class Snapshot:
    """All masks after a topology update (or at the start: step 0, epoch 0)."""

    step: int
    epoch: int  # the epoch in which, or at whose end, it was taken
    masks: Masks


@dataclass
class History:
    """A run's record: one `Epoch` an epoch, one `Snapshot` at the start and after every topology update."""

    epochs: list[Epoch] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    interrupted: bool = False  # it was stopped; the model holds what was reached

    def curve(self, name: str) -> list[float]:
        """One column of the epochs: `history.curve("test_accuracy")`."""
        return [getattr(epoch, name) for epoch in self.epochs]

    @property
    def test_evaluations(self) -> int:
        """How often the test images were looked at."""
        return sum(epoch.test_accuracy is not None for epoch in self.epochs)

    def masks_at(self, epoch: int) -> Masks:
        """The masks as they were at the end of `epoch` (0: at the start)."""
        if not self.snapshots:
            raise ValueError("this history has no masks: the network was dense")
        return [snapshot for snapshot in self.snapshots if snapshot.epoch <= epoch][-1].masks

    def state_dict(self) -> dict:
        """What a checkpoint keeps."""
        return {
            "epochs": [dataclasses.asdict(epoch) for epoch in self.epochs],
            "snapshots": [
                {
                    "step": s.step,
                    "epoch": s.epoch,
                    "masks": {
                        name: {"positions": torch.from_numpy(mask.positions), "shape": mask.shape}
                        for name, mask in s.masks.items()
                    },
                }
                for s in self.snapshots
            ],
        }

    def load_state_dict(self, state: dict) -> None:
        """Take up the record of `state_dict()`."""
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.snapshots = [
            Snapshot(
                s["step"],
                s["epoch"],
                {name: Mask.at(m["positions"].numpy(), m["shape"]) for name, m in s["masks"].items()},
            )
            for s in state["snapshots"]
        ]


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> Evaluation:
    """Accuracy (percent) and mean cross-entropy of `model` on images [N, ...] with labels int64 [N]."""
    if not len(labels):
        raise ValueError("nothing to evaluate on: there are no images")
    device = _device(model)
    with modes_kept(model), instead_of_torch(only_ours(model)):  # Ctrl-C may come here too
        model.eval()
        logits = torch.cat([model(x.to(device)) for x in images.split(batch_size)])
    return _judged(logits, labels.to(device))


def only_ours(model: nn.Module) -> bool:
    """Are all weights in truly sparse layers on the CPU? Then torch has little to do, and one thread is enough."""
    parts = [module for module in model.modules() if any(p is not None for p in module._parameters.values())]
    return bool(parts) and all(
        isinstance(part, SparseLinear | SparseConv2d) and part.parameter.is_cpu for part in parts
    )


def _judged(logits: Tensor, labels: Tensor) -> Evaluation:
    right = (logits.argmax(1) == labels).sum().item()
    return Evaluation(100 * right / len(labels), F.cross_entropy(logits, labels).item())


def fit(
    model: nn.Module,
    data: Dataset | tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    epochs: int,
    batch_size: int = 64,
    topology: DynamicSparsity | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    seed: int = 0,
    progress: bool = True,
    test_once: bool = False,
    checkpoint: Path | str | None = None,
    config: dict | None = None,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
) -> History:
    """Train `model` on `data` for `epochs`, in place, and return the History.

    data        a Dataset, or a pair (images, labels) to train on; then nothing is tested
    optimizer   the engine's if not given, and without an engine Adam with learning rate 1e-3
    topology    the DST engine, none of which leaves the topology as it is; `fit` calls its `step()` and `end_epoch()`,
                the latter before the epoch's evaluation, and tells it how long the training is
    scheduler   of the learning rate; it moves after every step
    seed        of the order of the images; it touches no global random state
    test_once   test after the last epoch only: what was never looked at cannot have been chosen by
    checkpoint  a file, written after every epoch; if it is there already, training goes on from it and ends as an
                uninterrupted run would. One of another run (other images, sparsity, optimiser, ...) is refused
    config      what else determines this run, plain values
    on_epoch    called with each finished epoch (a live plot, say); where it returns True the training stops

    Ctrl-C stops it and keeps what was reached: the model as it is, and the History of all finished epochs.
    Modules that are in eval mode while the model is not (a frozen BatchNorm) stay so.
    """
    data = _as_dataset(data)
    if checkpoint and Path(checkpoint).is_dir():
        raise ValueError(f"the checkpoint must be a file, and {checkpoint} is a folder")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    optimizer = optimizer or (topology.optimizer if topology else torch.optim.Adam(model.parameters(), lr=1e-3))
    device = _device(model)
    images, labels = data.train_images.to(device), data.train_labels.to(device)
    order = stream(seed, "order")
    history = History()
    steps = -(-len(labels) // batch_size)
    topology = topology or Static(model, optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(map(id, model.parameters())):
        raise ValueError("the optimiser holds no parameter of this model: make it from the model's parameters()")
    if topology.optimizer is not optimizer:
        raise ValueError("the engine steps another optimizer than the one given to fit: give the same to both")
    topology.expect(epochs, steps)
    run = {"seed": seed, "batch_size": batch_size, "data": data.name, "train_size": len(labels)}
    if clash := [name for name, value in run.items() if (config or {}).get(name, value) != value]:
        raise ValueError(f"config says {clash[0]} {config[clash[0]]!r}, and fit has {run[clash[0]]!r}: say it once")
    run |= config or {}
    run |= {"optimizer": type(optimizer).__name__, "scheduler": scheduler and type(scheduler).__name__}
    run |= {"topology": {"algorithm": type(topology).__name__, **topology.settings()}, "test_once": test_once}
    if scheduler or topology.needs_duration or test_once:  # then a longer training is another one from its first step
        run["epochs"] = epochs
    if checkpoint:
        run = checkpoints.plain(run | _details(model, data, optimizer, topology, scheduler), "config")
    state = (run, model, optimizer, topology, scheduler, order, history)
    if checkpoint and Path(checkpoint).exists():
        _resume(checkpoint, epochs, *state)
    elif sparse_layers(model):
        history.snapshots.append(Snapshot(0, 0, masks_of(model)))
    if checkpoint:
        checkpoints.check(checkpoint, _state(*state))

    done = len(history.epochs)
    shown = {} if progress else {"disable": True}  # so that TQDM_DISABLE=1 is heard
    bar = tqdm(total=epochs * steps, initial=done * steps, leave=False, mininterval=0.5, unit="step", **shown)
    try:
        with modes_kept(model), instead_of_torch(only_ours(model)), bar:
            if not model.training:
                model.train()
            for epoch in range(done + 1, epochs + 1):
                bar.set_description(f"epoch {epoch}/{epochs}")
                started = time.perf_counter()
                shuffled = torch.randperm(len(labels), generator=order, device="cpu").to(device)
                outputs = []  # to be looked at when the epoch is over, which is quicker than at every step
                for i, batch in enumerate(shuffled.split(batch_size)):
                    x, y = images[batch], labels[batch]
                    logits = model(x)
                    loss = F.cross_entropy(logits, y)
                    optimizer.zero_grad()
                    loss.backward()
                    if topology.step():
                        history.snapshots.append(Snapshot((epoch - 1) * steps + i + 1, epoch, masks_of(model)))
                    if scheduler:
                        scheduler.step()
                    outputs.append(logits.detach())
                    bar.update()
                if topology.end_epoch():
                    history.snapshots.append(Snapshot(epoch * steps, epoch, masks_of(model)))
                trained = _judged(torch.cat(outputs), labels[shuffled])
                seconds = time.perf_counter() - started
                looked_at = len(data.test_labels) and (epoch == epochs or not test_once)
                test = evaluate(model, data.test_images, data.test_labels) if looked_at else Evaluation(None, None)
                record = Epoch(
                    epoch=epoch,
                    train_accuracy=trained.accuracy,
                    train_loss=trained.loss,
                    test_accuracy=test.accuracy,
                    test_loss=test.loss,
                    active_weights=count_weights(model)[0],
                    seconds=seconds,
                )
                history.epochs.append(record)
                if looked_at:
                    bar.set_postfix(test=f"{test.accuracy:.2f}%")
                if checkpoint:
                    checkpoints.save(checkpoint, _state(*state))
                if on_epoch and on_epoch(record) and epoch < epochs:
                    history.interrupted = True
                    break
    except KeyboardInterrupt:
        history.interrupted = True
        log.warning("stopped in epoch %d of %d: the model and its history hold what was reached", epoch, epochs)
    return history


def _as_dataset(data) -> Dataset:
    if isinstance(data, Dataset):
        return data
    try:
        images, labels = map(torch.as_tensor, data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"fit trains on a Dataset(name, train_images, train_labels, test_images, test_labels) or a pair of tensors "
            f"(images, labels), and got a {type(data).__name__}. A DataLoader needs a loop of its own: see USING.md"
        ) from error
    if labels.is_floating_point():
        raise TypeError(f"labels are the numbers of the classes, whole; got {labels.dtype}")
    if len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images and {len(labels)} labels")
    return Dataset("own", images, labels.long(), images[:0], labels[:0].long())


def _details(model, data, optimizer, topology, scheduler) -> dict:
    """What else makes a run another one. What moves in training is left out: it may be the live one that goes on."""
    moved = {"params"} | ({"lr", "betas", "momentum"} if scheduler else set())
    details = {
        "optimizer_settings": [{k: v for k, v in group.items() if k not in moved} for group in optimizer.param_groups],
        "scheduler_settings": scheduler and _at_rest(scheduler.state_dict()),
        "engine": topology.start,
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        "images": _checksum(data.train_images, data.train_labels, data.test_images, data.test_labels),
    }
    if topology.regrows:  # it keeps the number of weights
        details["active_weights"] = {name: layer.active_weights for name, layer in sparse_layers(model).items()}
        details["network"] = zlib.crc32(repr(model).encode())
    return details


_MOVES = ("last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial")


def _at_rest(node):
    if isinstance(node, dict):
        return {key: _at_rest(value) for key, value in node.items() if key not in _MOVES}
    return [_at_rest(value) for value in node] if isinstance(node, list | tuple) else node


def _checksum(*parts: Tensor) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), checksum)
    return checksum


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _state(run, model, optimizer, topology, scheduler, order, history) -> dict:
    return {
        "run": run,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "topology": topology.state_dict(),
        "scheduler": scheduler and scheduler.state_dict(),
        "order": order.get_state(),
        "torch": torch.get_rng_state(),  # for the reader's own model with dropout
        "history": history.state_dict(),
    }


# what checkpoints of format 1 do not tell
_NEW = (
    "test_once",
    "optimizer_settings",
    "scheduler_settings",
    "engine",
    "frozen",
    "images",
    "active_weights",
    "network",
)


def _text(node) -> str:
    return json.dumps(node, sort_keys=True)


def _resume(path, epochs, run, model, optimizer, topology, scheduler, order, history) -> None:
    state = checkpoints.load(path)
    was = state["run"]
    known = {key for key in {**was, **run} if key in was or key not in _NEW}
    differ = sorted(key for key in known if _text(was.get(key)) != _text(run.get(key)))
    if differ:
        then, now = ({key: one.get(key) for key in differ} for one in (was, run))
        raise ValueError(f"{path} is the checkpoint of another run: it has {then}, this has {now}. Name another file.")
    if (done := len(state["history"]["epochs"])) > epochs:
        raise ValueError(
            f"{path} holds {done} epochs and {epochs} are asked for: ask for at least as many, or name another file"
        )
    kept, mine = (
        {name: list(getattr(t, "shape", ())) for name, t in one.items()} for one in (state["model"], model.state_dict())
    )
    if topology.regrows and kept != mine:  # before anything is overwritten
        raise ValueError(f"{path} is the checkpoint of another network; name another file")
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except RuntimeError as error:
        raise ValueError(f"{path} is the checkpoint of another network; name another file ({error})") from error
    topology.load_state_dict(state["topology"])
    if scheduler:
        scheduler.load_state_dict(state["scheduler"])
    order.set_state(state["order"])
    torch.set_rng_state(state["torch"])
    history.load_state_dict(state["history"])
