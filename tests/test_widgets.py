"""The functions behind the explorers over the whole range of their controls, and the explorers without a browser."""

import ipywidgets as ipw
import pytest
from conftest import make_dataset
from matplotlib.figure import Figure

from dst_tutorial import plots, widgets
from dst_tutorial.notebook import by_mode, mode, png
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
def test_dst_at_every_point(sparsity):
    explored = []
    for interval in INTERVALS:
        figure = draw_dst(sparsity, interval)
        accuracy, static = (line.get_ydata() for line in figure.axes[0].lines)
        assert len(accuracy) == len(static) == widgets.LIVE_EPOCHS
        r_s, kept = (line.get_ydata() for line in figure.axes[1].lines)
        assert len(r_s) == 1 + 4 * 5 // interval
        assert r_s[0] == pytest.approx(100 * (1 - sparsity), rel=0.02)
        assert kept[0] == 100
        explored.append(r_s[-1])
    assert explored == sorted(explored, reverse=True)  # the shorter the interval, the more is explored
    assert train_live(sparsity, None, 42) is train_live(sparsity, None, 42)


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
    for make in (widgets.signal_explorer, widgets.dst_explorer):
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
