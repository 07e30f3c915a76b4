"""The DST explorer without a kernel: the recorded sweep, drawn by Vega-Lite in the reader's browser."""

import json
from collections.abc import Iterator
from itertools import product

import altair as alt
import vl_convert

from dst_tutorial.show import plots
from dst_tutorial.studies import CHOICES, EPOCHS, Point, load_atlas
from dst_tutorial.teaching import DST_NAMES, DST_WORDS

TICKS = (20, 50, 70, 80, 90, 95)  # percent
LOWEST, HIGHEST = 10, 98
MOVING, STAYING = (plots.LOOKS[recipe][0] for recipe in ("erk-rigl", "static"))  # colours


def told(value) -> str:
    """A choice in the words of the notebook's explorer."""
    return DST_WORDS.get(value, str(value))


def rows() -> Iterator[dict]:
    """Every stand of the controls: test accuracies (%) by epoch, of the point and of its static control."""
    atlas = load_atlas().points
    for chosen in product(*CHOICES.values()):
        point = Point(*chosen)
        entry, static = atlas[point.named()], atlas[point.static]
        low, high = entry.band
        yield dict(zip(CHOICES, map(told, chosen), strict=True)) | {
            "moving": list(entry.mean),
            "low": [round(v, 3) for v in low],
            "high": [round(v, 3) for v in high],
            "staying": list(static.mean),
            "ends": f"{entry.mean[-1]:.1f} ± {entry.sd[-1]:.1f}%",
            "control": f"{static.mean[-1]:.1f}%",
        }


def chart() -> alt.LayerChart:
    """Accuracy by epoch at the chosen point: six dropdowns, on an axis by error that stays."""
    first = Point()
    controls = [
        alt.param(
            name=name,
            value=told(getattr(first, name)),
            bind=alt.binding_select(options=[told(value) for value in values], name=f"{DST_NAMES[name]} "),
        )
        for name, values in CHOICES.items()
    ]
    here = " && ".join(f"datum.{name} == {name}" for name in CHOICES)
    error = alt.Scale(type="log", domain=[100 - LOWEST, 100 - HIGHEST], clamp=True)
    axis = alt.Axis(values=[100 - tick for tick in TICKS], labelExpr="100 - datum.value", title="test accuracy (%)")
    data = alt.NamedData("points")
    base = (
        alt.Chart(data)
        .transform_filter(here)
        .transform_flatten(["moving", "low", "high", "staying"])
        .transform_window(epoch="row_number()")
        .transform_calculate(
            **{f"{name}_error": f"100 - datum.{name}" for name in ("moving", "low", "high", "staying")}
        )
        .encode(x=alt.X("epoch:Q", axis=alt.Axis(values=list(range(1, EPOCHS + 1)), title="epoch")))
    )

    def line(name: str, colour: str, dash: list[int], label: str) -> alt.Chart:
        drawn = {"color": colour, "strokeDash": dash, "point": {"color": colour}}
        return base.transform_calculate(line=f"'{label}'").mark_line(**drawn).encode(
            y=alt.Y(f"{name}_error:Q", scale=error, axis=axis),
            tooltip=[alt.Tooltip("line:N", title=" "), alt.Tooltip("epoch:Q"),
                     alt.Tooltip(f"{name}:Q", format=".1f", title="test accuracy (%)")],
        )  # fmt: skip

    band = base.mark_area(color=MOVING, opacity=0.2).encode(
        y=alt.Y("low_error:Q", scale=error, axis=axis), y2="high_error:Q"
    )
    words = (
        alt.Chart(data)
        .transform_filter(here)
        .mark_text(align="left", baseline="top", lineBreak="\n", fontSize=13)
        .encode(x=alt.value(8), y=alt.value(8), text=alt.Text("told:N"))
        .transform_calculate(told="'moving ends at ' + datum.ends + ',\\na mask that never moves at ' + datum.control")
    )
    layers = alt.layer(
        band,
        line("staying", STAYING, [6, 4], "a mask that never moves"),
        line("moving", MOVING, [], "moving connections"),
        words,
    )
    return layers.add_params(*controls).properties(
        width="container",
        height=340,
        background="white",
        datasets={"points": list(rows())},
        description="Test accuracy by epoch of a sparse network whose connections move, and of one whose mask stays.",
    )


def vega() -> str:
    """Vega-Lite and what it needs, as one script that a page can load without a network."""
    return f"(() => {{\n{vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;')}\n}})();\n"  # names of its own


def explorer_page() -> str:
    """The page: what it shows, where it comes from, and the chart with all that it needs."""
    about = load_atlas().about
    spec = json.dumps(chart().to_dict(), ensure_ascii=False)
    return f"""# The DST explorer, without a kernel

Choose; the answer is recorded. A solid line with its band (where a further run lands, in 95 of 100 cases) is a sparse
network whose connections move; a dashed one is its **control**, the same start with a mask that never moves. Where
does moving cost accuracy, and where does it gain ten points?

```{{raw}} html
<div id="controls"></div>
<div id="explorer" style="width: 100%"></div>
<script src="_static/vega.js"></script>
<script>
vegaEmbed("#explorer", {spec}, {{actions: false, renderer: "svg", bind: "#controls"}});
</script>
```

Recorded: {len(about["seeds"])} seeds, {about["epochs"]} epochs of 6,000 digits, LeNet-300-100; code {about["code"]},
{about["date"]}, {about["cpu"]}.
[Notebook 3](notebooks/03_dst_loop.ipynb) has the same explorer with a kernel: it can train any point anew, in seconds.
"""
