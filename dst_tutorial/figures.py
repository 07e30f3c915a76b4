"""The figures and tables of the slides: name -> the one function that makes it, from recorded results alone."""

import hashlib
import io
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from . import plots
from .experiments import EXPERIMENTS, load_masks, load_results
from .ledger import csr_bytes, dense_bytes, masked_bytes
from .models import SlideCNN
from .paths import results_folder
from .sparsify import sparsify

SLIDES = {"dense": {"accuracy": 98.98, "loss": 0.0449}, "slides": {"accuracy": 96.71, "loss": 0.0992}}  # slide 6


# --- tables -----------------------------------------------------------------------------------------------------------


def results_rows(results: dict) -> list[dict[str, str]]:
    """The slides' results table with seeds, spread and the controls, a row a recipe."""
    rows = []
    for recipe in dict.fromkeys(run["config"]["recipe"]["name"] for run in results["runs"]):
        runs = [run["summary"] for run in results["runs"] if run["config"]["recipe"]["name"] == recipe]
        active, biases = runs[0]["active_weights"], runs[0]["biases"]
        slides = SLIDES.get(recipe)
        rows.append(
            {
                "": plots.NAMES[recipe],
                "slides: accuracy": f"{slides['accuracy']:.2f}%" if slides else "not run",
                "ours: accuracy": f"{_mean_sd([r['test_accuracy'] for r in runs], 2)}%",
                "slides: loss": f"{slides['loss']:.4f}" if slides else "not run",
                "ours: loss": _mean_sd([r["test_loss"] for r in runs], 4),
                "weights + biases": f"{active:,} + {biases:,}",
                "seeds": str(len(runs)),
            }
        )
    return rows


def markdown(rows: list[Mapping[str, str]]) -> str:
    """A Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *(row.values() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: list[Mapping[str, str]]) -> str:
    """A LaTeX table (booktabs)."""

    def line(cells) -> str:
        return " & ".join(str(c).replace("%", r"\%").replace("±", r"$\pm$") for c in cells) + r" \\"

    body = "\n".join(line(row.values()) for row in rows)
    return (
        f"\\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}\n\\toprule\n{line(rows[0])}\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def _mean_sd(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def provenance_line(results: dict) -> str:
    """One sentence: where the numbers of a result file come from."""
    runs = results["runs"]
    seeds = sorted({run["config"]["seed"] for run in runs})
    machines = sorted({"torch {torch} on {threads} thread(s) of {cpu}".format(**run["provenance"]) for run in runs})
    dates = sorted({run["provenance"]["date"] for run in runs})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return (
        f"Mean ± sample standard deviation over seeds {', '.join(map(str, seeds))}; {results['data_set']}; "
        f"{runs[0]['config']['epochs']} epochs; last-epoch test accuracy. Run {when} "
        f"with {'; '.join(machines)}."
    )


def _results_table(form: Callable[[list], str], comment: str) -> str:
    results = load_results("slides")
    return form(results_rows(results)) + comment.format(provenance_line(results))


# --- figures ----------------------------------------------------------------------------------------------------------


def curves_of(results: dict) -> dict[str, list[list[float]]]:
    """Test accuracy by epoch: recipe -> a list a seed."""
    curves: dict[str, list[list[float]]] = {}
    for run in results["runs"]:
        curves.setdefault(run["config"]["recipe"]["name"], []).append([e["test_accuracy"] for e in run["epochs"]])
    return curves


def training_curves() -> Figure:
    """Slide 6, as curves over seeds."""
    return plots.training_curves(
        curves_of(load_results("slides")),
        {recipe: row["accuracy"] for recipe, row in SLIDES.items()},
        title="The slides' protocol on MNIST: mean and range over seeds",
    )


def mask_evolution(palette: str) -> Figure:
    """Slide 7: the mask of fc4, one panel an epoch."""
    recorded = load_masks("slides")
    epochs = range(EXPERIMENTS["slides"].epochs + 1)
    return plots.mask_evolution([recorded.masks_at(epoch)["fc4"] for epoch in epochs], "fc4", palette)


def training_memory() -> Figure:
    """Slides 2 and 3: what is held while training, counted from the shapes."""
    model = sparsify(SlideCNN(), 0.95, allocation="uniform")
    ledgers = {
        "dense": dense_bytes(model),
        "Dense+Mask, 95%": masked_bytes(model),
        "truly sparse (CSR), 95%": csr_bytes(model),
    }
    return plots.bytes_held(ledgers)


_FROM_SLIDES = "results/slides.json"
# file name without ending -> (what it is made from, the function that makes it)
FIGURES: dict[str, tuple[str, Callable[[], Figure]]] = {
    "training_curves": (_FROM_SLIDES, training_curves),
    "mask_evolution_fc4": ("results/slides_masks.npz", lambda: mask_evolution("okabe-ito")),
    "mask_evolution_fc4_slides_palette": ("results/slides_masks.npz", lambda: mask_evolution("slides")),
    "training_memory": ("arithmetic on the shapes of SlideCNN", training_memory),
}
TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "results_table.md": (_FROM_SLIDES, lambda: _results_table(markdown, "\n{}\n")),
    "results_table.tex": (_FROM_SLIDES, lambda: _results_table(latex, "% {}\n")),
}


def write_all(folder: Path) -> dict:
    """Write every figure (SVG and PNG) and table into `folder`, with a manifest of what came from what; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}

    def write(name: str, content: bytes, source: str, alt: str = "") -> None:
        (folder / name).write_bytes(content)
        entry = {"from": source, "sha256": hashlib.sha256(content).hexdigest()}
        files[name] = entry | ({"alt": alt} if alt else {})

    def sha256_of_results() -> dict[str, str]:
        sources = {source for source, _ in (*FIGURES.values(), *TABLES.values()) if source.startswith("results/")}
        files = {source: results_folder() / Path(source).name for source in sorted(sources)}
        return {source: hashlib.sha256(file.read_bytes()).hexdigest() for source, file in files.items()}

    for name, (source, make) in FIGURES.items():
        figure = make()
        for ending in ("svg", "png"):
            write(f"{name}.{ending}", rendered(figure, ending), source, figure.get_label())
    for name, (source, make_table) in TABLES.items():
        write(name, make_table().encode(), source)
    manifest = {"made by": "python -m dst_tutorial figures", "results": sha256_of_results(), "files": files}
    (folder / "manifest.json").write_bytes((json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    return manifest


def rendered(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure file: the same for the same figure, so without the date."""
    metadata = {"Description": figure.get_label()} | ({"Date": None} if ending == "svg" else {})
    buffer = io.BytesIO()
    with plots.style():
        figure.savefig(buffer, format=ending, dpi=200, metadata=metadata)
    return buffer.getvalue()
