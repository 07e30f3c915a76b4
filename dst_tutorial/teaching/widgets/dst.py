"""Notebook 03: the DST explorer. It answers from the atlas, and trains a point anew while the reader looks on."""

import threading
from collections.abc import Sequence
from functools import cache

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...show import plots
from ...studies import CHOICES, EPOCHS, Atlas, Point, load_atlas, train_point
from ...topology import exploration_rate, overlap
from ...training import Epoch
from .explorer import Picture, row, slider

NAMES = {
    "sparsity": "sparsity",
    "update_interval": "prune interval (steps)",
    "drop_fraction": "drop fraction",
    "grow": "grow by",
    "allocation": "allocation",
    "init": "initialisation",
}
NEVER = "never"  # a slider's value must not be None
WORDS = {None: NEVER, "dense": "as dense", "fan_in": "for its fan-in", "erk": "ERK"}


@cache
def _atlas() -> Atlas:
    return load_atlas()


def draw_dst(live: Sequence[float] = (), live_topology: tuple[float, float] | None = None, **chosen) -> Figure:
    """A point of the atlas beside its control, and what the prune interval moves.

    chosen          values of `CHOICES` where they are not those of a `Point()`
    live            test accuracy (%) by epoch of a fresh run, drawn on top
    live_topology   what it explored and what it kept of its first connections, as shares
    """
    atlas, point = _atlas(), Point(**chosen).named()
    by_interval = {
        interval: atlas.points[point._replace(update_interval=interval).named()]
        for interval in CHOICES["update_interval"]
    }
    return plots.point_of_atlas(
        atlas.points[point],
        atlas.points[point.static],
        by_interval,
        point.update_interval,
        live,
        live_topology,
        f"{100 * point.sparsity:g}% sparse",
    )


class DstExplorer(ipw.VBox):
    """Move any slider: the answer is recorded. Press "Train it now": that very point, trained before your eyes."""

    def __init__(self) -> None:
        first = Point()
        self.controls = {
            name: slider([(WORDS.get(v, str(v)), v or NEVER) for v in values], getattr(first, name), NAMES[name])
            for name, values in CHOICES.items()
        }
        self.train = ipw.Button(description="Train it now", tooltip="Train this point from a fresh seed, truly sparse")
        self.stop = ipw.Button(description="Stop", tooltip="Stop the training", disabled=True)
        self.status = ipw.HTML(value=self._about())
        self.picture = Picture()
        self.seed = 1000  # of the next fresh run; none of the recorded ones
        self._asked_to_stop, self._thread = threading.Event(), None
        self._drawing = threading.Lock()  # so that of two pictures the later is the one that stays
        self._live: dict[Point, tuple[list[float], tuple[float, float] | None]] = {}
        self.picture.show(self._drawn(), self.controls.values())  # an error here is the cell's
        for control in self.controls.values():
            control.observe(self._show, names="value")
        self.train.on_click(self._start)
        self.stop.on_click(lambda _: self._asked_to_stop.set())
        super().__init__([row(self.controls.values()), row([self.train, self.stop, self.status]), self.picture])

    @property
    def point(self) -> Point:
        """Where the sliders stand."""
        chosen = {name: control.value for name, control in self.controls.items()}
        return Point(**{name: None if value == NEVER else value for name, value in chosen.items()}).named()

    def _about(self) -> str:
        about, stale = _atlas().about, _atlas().is_stale
        told = "{0} seeds, {epochs} epochs of 6,000 digits; code {code}, {date}".format(len(about["seeds"]), **about)
        warning = "; <b>stale</b>: the code has changed since, `python -m dst_tutorial sweep atlas` makes it anew"
        return f"Recorded: {told}{warning if stale else ''}."

    def _drawn(self) -> Figure:
        live, topology = self._live.get(self.point, ((), None))
        return draw_dst(live, topology, **self.point._asdict())

    def _show(self, *_) -> None:
        with self._drawing:
            self.picture.attempt(self._drawn, self.controls.values())

    def _start(self, _) -> None:
        if self._thread and self._thread.is_alive():
            return
        self._asked_to_stop.clear()
        self.train.disabled, self.stop.disabled = True, False
        self._thread = threading.Thread(target=self.run, args=(self.point, self.seed), daemon=True)
        self.seed += 1
        self._thread.start()

    def run(self, point: Point, seed: int) -> None:
        """Train a point and show it epoch by epoch. In a thread of its own, the sliders answer meanwhile."""
        curve: list[float] = []

        def on_epoch(epoch: Epoch) -> bool:
            curve.append(epoch.test_accuracy)
            self._live[point] = list(curve), None
            self.status.value = f"Training, seed {seed}: epoch {epoch.epoch} of {EPOCHS}, {epoch.test_accuracy:.1f}%"
            if self.point == point:
                self._show()
            return self._asked_to_stop.is_set()

        self.status.value = f"Training, seed {seed} ..."
        try:
            run = train_point(point, seed, on_epoch=on_epoch)
            masks = [snapshot.masks for snapshot in run.history.snapshots]
            self._live[point] = list(curve), (exploration_rate(masks), overlap(masks[0], masks[-1]))
            seconds = sum(run.history.curve("seconds"))
            done = "Stopped" if run.history.interrupted else "Done"
            told = f"{done}: seed {seed}, {len(curve)} epochs, {curve[-1]:.1f}%, {seconds:.1f} s of training."
            if run.config["data_set"].startswith("mnist-sample"):
                told += " MNIST is not at hand: trained on the shipped sample, so do not compare with the band."
            self.status.value = told
            if self.point == point:
                self._show()
        except Exception as error:
            self.picture.show_error(error)
        finally:
            self.train.disabled, self.stop.disabled = False, True


dst_explorer = DstExplorer
