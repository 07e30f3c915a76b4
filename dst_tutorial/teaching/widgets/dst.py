"""Notebook 03: the DST explorer. It answers from the atlas, and trains a point anew while the reader looks on."""

from collections.abc import Callable, Sequence
from functools import cache

from matplotlib.figure import Figure

from ...show import plots
from ...studies import CHOICES, EPOCHS, Atlas, Point, load_atlas, train_point
from ...topology import exploration_rate, overlap
from ...training import Epoch, Run
from .explorer import choice, slider
from .live import LiveExplorer

DST_NAMES = {
    "sparsity": "sparsity",
    "update_interval": "prune interval (steps)",
    "drop_fraction": "drop fraction",
    "grow": "grow by",
    "allocation": "allocation",
    "init": "initialisation",
}
NEVER = "never"  # a slider's value must not be None
DST_WORDS = {None: NEVER, "dense": "as dense", "fan_in": "for its fan-in", "erk": "ERK"}


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


class DstExplorer(LiveExplorer):
    """Notebook 03's: everything that the atlas varies."""

    epochs = EPOCHS

    def __init__(self) -> None:
        first = Point()
        controls = {
            name: (choice if isinstance(values[-1], str) else slider)(
                [(DST_WORDS.get(v, str(v)), v or NEVER) for v in values], getattr(first, name), DST_NAMES[name]
            )
            for name, values in CHOICES.items()
        }
        super().__init__(controls, _about())

    @property
    def point(self) -> Point:
        """Where the sliders stand."""
        chosen = {name: control.value for name, control in self.controls.items()}
        return Point(**{name: None if value == NEVER else value for name, value in chosen.items()}).named()

    def train_point(self, point: Point, seed: int, on_epoch: Callable[[Epoch], bool]) -> Run:
        return train_point(point, seed, on_epoch=on_epoch)

    def draw(self) -> Figure:
        curve, run = self.live.get(self.point, ((), None))
        masks = [snapshot.masks for snapshot in run.history.snapshots] if run else []
        topology = (exploration_rate(masks), overlap(masks[0], masks[-1])) if masks else None
        return draw_dst(curve, topology, **self.point._asdict())


def _about() -> str:
    about, stale = _atlas().about, _atlas().is_stale
    told = "{0} seeds, {epochs} epochs of 6,000 digits; code {code}, {date}".format(len(about["seeds"]), **about)
    warning = "; <b>stale</b>: the code has changed since, `python -m dst_tutorial sweep atlas` makes it anew"
    return f"Recorded: {told}{warning if stale else ''}."


dst_explorer = DstExplorer
