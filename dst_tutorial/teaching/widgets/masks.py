"""Notebook 05: the mask time machine."""

import base64
import html

import ipywidgets as ipw
from matplotlib.figure import Figure

from ...show import animated, plots
from ...training import History
from .explorer import Picture, choice, row

FRAME_MS = 400  # of the player and of the GIF


def draw_moment(history: History, layer: str, update: int, palette: str = "okabe-ito") -> Figure:
    """A layer's mask after an update (0: at the start), against the mask before it.

    Layers too large to draw weight by weight are aggregated: each cell tells the exact share of its weights.
    """
    snapshots = history.snapshots
    before, after = (snapshots[i].masks[layer] for i in (max(update - 1, 0), update))
    title = f"{layer}, update {update} of {len(snapshots) - 1} (step {snapshots[update].step:,})"
    return plots.mask_moment(before, after, palette, title)


def gif(history: History, layer: str, palette: str = "okabe-ito", most: int = 60) -> bytes:
    """All moments of a layer as an animation for slides; of very long histories `most` of them, evenly spaced."""
    count = len(history.snapshots)
    chosen = sorted({round(i * (count - 1) / max(min(most, count) - 1, 1)) for i in range(min(most, count))})
    return animated((draw_moment(history, layer, i, palette) for i in chosen), FRAME_MS)


class TimeMachine(ipw.VBox):
    """Scrub, play and pause through a history's topology updates, layer by layer.

    `history` is a recorded one (`load_masks`), or what `fit` has just returned. ValueError for one without masks.
    """

    def __init__(self, history: History) -> None:
        if not history.snapshots:
            raise ValueError("this history has no masks: the network was dense")
        self.history = history
        layers, last = list(history.snapshots[0].masks), len(history.snapshots) - 1
        self.layer = choice(layers, layers[min(1, len(layers) - 1)], "layer")
        self.palette = choice(tuple(plots.PALETTES), "okabe-ito", "colours")
        self.update = ipw.IntSlider(min=0, max=last, value=min(1, last), description="update",
                                    continuous_update=False, style={"description_width": "initial"})  # fmt: skip
        self.play = ipw.Play(min=0, max=last, value=self.update.value, interval=FRAME_MS)
        ipw.link((self.play, "value"), (self.update, "value"))
        self.save = ipw.Button(description="Make a GIF", tooltip="Every update of this layer, for your slides")
        self.status = ipw.HTML()
        self.picture = Picture()
        self._show()
        for control in (self.layer, self.palette, self.update):
            control.observe(self._show, names="value")
        self.save.on_click(self._save)
        super().__init__([
            row([self.play, self.update, self.palette, self.layer]), row([self.save, self.status]), self.picture
        ])  # fmt: skip

    def _show(self, *_) -> None:
        self.picture.attempt(lambda: draw_moment(self.history, self.layer.value, self.update.value, self.palette.value))

    def _save(self, _) -> None:
        """A link in the page: the reader's browser has a folder to write to, this notebook may have none."""
        self.status.value = "Drawing ..."
        name = f"mask_{self.layer.value}.gif"
        try:
            data = base64.b64encode(gif(self.history, self.layer.value, self.palette.value)).decode()
            self.status.value = f'<a download="{name}" href="data:image/gif;base64,{data}">Download {name}</a>'
        except Exception as error:
            self.status.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"


time_machine = TimeMachine
