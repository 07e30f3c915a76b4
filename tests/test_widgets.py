"""The functions behind the explorers over the whole range of their controls, and the explorers without a browser."""

import re

import ipywidgets as ipw
import numpy as np
import pytest
from conftest import make_dataset
from matplotlib.figure import Figure

from dst_tutorial import plots, widgets
from dst_tutorial.breakeven import DENSE, SPARSE
from dst_tutorial.experiments import load_masks
from dst_tutorial.figures import LAYERS
from dst_tutorial.notebook import by_mode, mode, png
from dst_tutorial.rules import SCHEDULES
from dst_tutorial.widgets import INTERVALS, SPARSITIES, draw_dst, draw_signals, explorer, train_live


@pytest.fixture(autouse=True, scope="module")
def small_data():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widgets, "_some_mnist", lambda: make_dataset(320, 64))
        widgets.train_live.cache_clear()
        yield
        widgets.train_live.cache_clear()


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_signals_at_every_sparsity(sparsity):
    figure = draw_signals(sparsity)
    dense, kept, drawn, fan_in = (line.get_ydata() for line in figure.axes[0].lines)
    assert len(dense) == len(kept) == len(drawn) == len(fan_in) == 6
    assert kept[-1] < dense[-1] < drawn[-1]
    assert fan_in[-1] > 10 * kept[-1]
    assert fan_in[-1] / drawn[-1] > 2 * kept[-1] / dense[-1]  # each against dense under its own rule


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("grow", widgets.RULES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_dst_at_every_point(sparsity, grow, schedule):
    explored = []
    for interval in INTERVALS:
        figure = draw_dst(sparsity, interval, grow, schedule)
        accuracy, static = (line.get_ydata() for line in figure.axes[0].lines)
        assert len(accuracy) == len(static) == widgets.LIVE_EPOCHS
        r_s, kept = (line.get_ydata() for line in figure.axes[1].lines)
        assert len(r_s) == 1 + 14 // interval  # 4 epochs of 5 steps, 75% of them
        assert r_s[0] == pytest.approx(100 * (1 - sparsity), rel=0.02)
        assert kept[0] == 100
        explored.append(r_s[-1])
    assert explored == sorted(explored, reverse=True)  # the shorter the interval, the more is explored
    assert train_live(sparsity, None, 42) is train_live(sparsity, None, 42)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_storage_at_every_point(sparsity):
    for size in widgets.SIZES:
        label = widgets.draw_storage(sparsity, size).get_label()
        shown = float(re.search(r"CSR, int32 ([\d.]+)%", label).group(1))
        n = round((1 - sparsity) * size * size)
        assert shown == pytest.approx(100 * (8 * n + 4 * (size + 1)) / (4 * size * size), abs=4 if size < 100 else 0.2)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_mask_at_every_point(layer):
    recorded = load_masks("slides")
    for epoch in range(11):
        for palette in plots.PALETTES:
            figure = widgets.draw_mask(layer, epoch, palette)
            image = figure.axes[0].images[0].get_array()
            now = recorded.masks_at(epoch)[layer]
            assert (np.isin(image, (1, 3)) == now.unpack().reshape(image.shape)).all()
            box = figure.axes[0].get_window_extent()
            for pixels in (box.width / image.shape[1], box.height / image.shape[0]):
                assert pixels == pytest.approx(round(pixels), abs=1e-6)
                assert pixels > 0.9


def test_break_even_at_every_point():
    for width in (16, 40):  # those of the explorer would take a minute
        for batch in widgets.BATCHES:
            figure = widgets.draw_break_even(width, batch, rounds=1)
            lines = {line.get_label(): line for line in figure.axes[0].lines}
            assert list(lines) == [*DENSE, *SPARSE]
            assert all((line.get_ydata() > 0).all() and len(line.get_ydata()) == 6 for line in lines.values())
            assert f"{width} x {width}, batch {batch}" in figure.axes[0].get_title()


def test_bytes_at_every_point():
    told = {}
    for sparsity in widgets.FROM_DENSE:
        for batch in widgets.IMAGES:
            label = widgets.draw_training_bytes(sparsity, batch).get_label()
            told[sparsity, batch] = dict(re.findall(r"([\w+ ]+): ([\d.]+) MB", label.replace("; ", ";")))
    megabytes = {point: {form: float(mb) for form, mb in forms.items()} for point, forms in told.items()}
    assert all(set(forms) == {"dense", "Dense+Mask", "truly sparse"} for forms in megabytes.values())
    assert len({forms["dense"] for forms in megabytes.values()}) == len(widgets.IMAGES)  # sparsity saves it nothing
    assert megabytes[0.0, 1]["truly sparse"] > megabytes[0.0, 1]["dense"]  # the indices
    assert megabytes[0.99, 1]["truly sparse"] < megabytes[0.99, 1]["dense"] / 20


def test_an_explorer_draws_at_once_and_at_every_move():
    drawn = []

    def draw(level):
        drawn.append(level)
        figure = Figure(figsize=(1, 1))
        figure.set_label(f"level <{level}>")
        return figure

    slider = ipw.IntSlider(value=3)
    box = explorer(draw, level=slider)
    picture = box.children[1]
    first = picture.value
    assert 'alt="level &lt;3&gt;"' in first
    slider.value = 5
    assert drawn == [3, 5]
    assert "level &lt;5&gt;" in picture.value != first


def test_an_error_at_the_first_value_is_raised_and_a_later_one_shown():
    def draw(level):
        if level > 3:
            raise RuntimeError("too <high>")
        return Figure(figsize=(1, 1))

    with pytest.raises(RuntimeError):
        explorer(draw, level=ipw.IntSlider(value=4))
    slider = ipw.IntSlider(value=1)
    box = explorer(draw, level=slider)
    slider.value = 5
    assert box.children[1].value == "<pre>RuntimeError: too &lt;high&gt;</pre>"
    slider.value = 2
    assert "<img" in box.children[1].value


def test_the_explorers_have_labelled_keyboard_controls():
    for make in (
        widgets.storage_explorer,
        widgets.signal_explorer,
        widgets.dst_explorer,
        widgets.mask_explorer,
        widgets.break_even_explorer,
        widgets.memory_explorer,
    ):
        controls = make().children[0].children
        assert controls
        for control in controls:
            assert isinstance(control, ipw.SelectionSlider)
            assert control.description
            assert not control.continuous_update


def test_the_clock(monkeypatch):
    for name, value in (("demo", 1), ("class", 2), ("full", 3)):
        monkeypatch.setenv("DST_TUTORIAL_MODE", name)
        assert by_mode(demo=1, classroom=2, full=3) == value
    monkeypatch.setenv("DST_TUTORIAL_MODE", "fast")
    with pytest.raises(ValueError, match="DST_TUTORIAL_MODE is 'fast'; choose from demo, class, full"):
        mode()


def test_figures_carry_their_alt_text():
    figure = plots.signal_strength({"dense": {"fc1": 1.0, "fc2": 0.5}})
    assert figure.get_label() == "How strong the signal is after each layer. After the last: dense 0.5."
    assert png(figure).startswith(b"\x89PNG")
