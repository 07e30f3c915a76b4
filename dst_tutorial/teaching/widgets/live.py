"""An explorer that answers from recorded runs at once, and trains a point anew while the reader looks on."""

import asyncio
import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...timing import on_threads
from ...training import Epoch, Run
from .explorer import Picture, row

_running: weakref.WeakSet[threading.Event] = weakref.WeakSet()


def stop_at_interrupts(asked_to_stop: threading.Event) -> None:
    """An interrupt of the kernel sets the event, too: while no cell runs, Jupyter's kernels ignore interrupts.

    It takes effect after the present callback, behind which the kernel puts its own handler back.
    """
    _running.add(asked_to_stop)
    with contextlib.suppress(RuntimeError):  # no loop: no kernel, as in tests and scripts
        asyncio.get_running_loop().call_soon(signal.signal, signal.SIGINT, _stop)


def _stop(*_) -> None:
    for asked_to_stop in _running:
        asked_to_stop.set()


class LiveExplorer(ipw.VBox):
    """Move any slider: the answer is recorded. Press "Train it now": that very point, trained before your eyes.

    A subclass has `point` (where its controls stand), `train_point`, and `draw`, which may use `live`: what fresh runs
    have come to, by point.
    """

    epochs: int  # of a training

    def __init__(self, controls: Mapping[str, ipw.Widget], about: str) -> None:
        self.controls = dict(controls)
        self.train = ipw.Button(description="Train it now", tooltip="Train this point from a fresh seed, truly sparse")
        self.stop = ipw.Button(description="Stop", tooltip="Stop the training", disabled=True)
        self.about, self.told = about, {}  # of recorded runs; of fresh ones, by point
        self.status = ipw.HTML(value=about, layout={"height": "4em", "overflow": "auto"})  # nothing below it jumps
        self.picture = Picture()
        self.seed = 1000  # of the next fresh run; none of the recorded ones
        self.live: dict[Hashable, tuple[list[float], Run | None]] = {}  # test accuracy by epoch, and what it ended as
        self._asked_to_stop, self._thread = threading.Event(), None
        self._drawing = threading.Lock()  # so that of two pictures the later is the one that stays
        self.picture.show(self.draw())  # an error here is the cell's
        for control in self.controls.values():
            control.observe(self._show, names="value")
        self.train.on_click(self._start)
        self.stop.on_click(lambda _: self._asked_to_stop.set())
        super().__init__([row(self.controls.values()), row([self.train, self.stop, self.status]), self.picture])

    @property
    def point(self) -> Hashable:
        raise NotImplementedError

    def draw(self) -> Figure:
        """The picture of the point where the controls stand."""
        raise NotImplementedError

    def train_point(self, point: Hashable, seed: int, on_epoch: Callable[[Epoch], bool]) -> Run:
        raise NotImplementedError

    def _show(self, *_) -> None:
        self.status.value = self.told.get(self.point, self.about)
        with self._drawing:
            self.picture.attempt(self.draw)

    def _tell(self, point: Hashable, text: str) -> None:
        """What has become of a fresh run, wherever the controls stand now: it shows when they stand there."""
        self.told[point] = text
        self.status.value = self.told.get(self.point, self.about)

    def _start(self, _) -> None:
        if self._thread and self._thread.is_alive():
            return
        self._asked_to_stop.clear()
        stop_at_interrupts(self._asked_to_stop)
        self.train.disabled, self.stop.disabled = True, False
        self._thread = threading.Thread(target=self.run, args=(self.point, self.seed), daemon=True)
        self.seed += 1
        self._thread.start()

    def run(self, point: Hashable, seed: int) -> None:
        """Train a point and show it epoch by epoch. In a thread of its own, the sliders answer meanwhile."""
        curve: list[float] = []

        def show(run: Run | None = None) -> None:
            self.live[point] = list(curve), run
            if self.point == point:
                self._show()

        def on_epoch(epoch: Epoch) -> bool:
            curve.append(epoch.test_accuracy)
            told = f"epoch {epoch.epoch} of {self.epochs}, {epoch.test_accuracy:.1f}%"
            self._tell(point, f"Training, seed {seed}: {told}")
            show()
            return self._asked_to_stop.is_set()

        self._tell(point, f"Training, seed {seed} ...")
        try:
            with on_threads(1):  # so short a step gains nothing by more, and beside a busy core it loses
                run = self.train_point(point, seed, on_epoch)
            seconds = sum(run.history.curve("seconds"))
            done = "Stopped" if run.history.interrupted else "Done"
            epochs = f"{len(curve)} epoch{'s' * (len(curve) > 1)}"
            told = f"{done}: seed {seed}, {epochs}, {curve[-1]:.1f}%, {seconds:.1f} s of training."
            if run.config["data_set"].startswith("mnist-sample"):
                told += " MNIST is not at hand: trained on the shipped sample, so do not compare with what is recorded."
            self._tell(point, told)
            show(run)
        except Exception as error:
            self.picture.show_error(error)
        finally:
            self.train.disabled, self.stop.disabled = False, True
