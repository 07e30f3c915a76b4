"""python -m dst_tutorial doctor | data | train | bench | sweep | figures | claims

With `--json`, one JSON document goes to standard output; logs and progress bars always go to standard error. What a
command needs it imports itself: help, and what is wrong in the words of a command, are answered without torch.
"""

import contextlib
import itertools
import json
import logging
import math
import os
import signal
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .choices import choose, slug
from .paths import data_folder, figures_folder, write

log = logging.getLogger(__name__)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Dynamic sparse training, taken apart and measured.",
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Record = Annotated[bool, typer.Option("--record", help="Add it to the recorded results.")]
Threads = Annotated[int | None, typer.Option(min=1, help="As many as torch takes by default.")]


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check Python, packages, kernel, widgets, data, GPU and write access; print the mend for each failure."""
    from .doctor import examine

    findings = examine()
    well = all(f.ok for f in findings)
    told = (
        f"{'ok  ' if f.ok else 'FAIL'}  {f.check:24} {f.found}" + ("" if f.ok else f"\n      mend: {f.mend}")
        for f in findings
    )
    _answer(as_json, {"ok": well, "findings": [asdict(f) for f in findings]}, *told)
    if not well:
        raise typer.Exit(1)


@app.command()
def data(
    folder: Annotated[Path | None, typer.Option(help="Where to; $DST_TUTORIAL_DATA or the cache by default.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch MNIST once (it is checked by MD5); say what is at hand."""
    from .training import load_mnist

    mnist, place = load_mnist(folder), str(folder or data_folder())
    sizes = {"train_size": len(mnist.train_labels), "test_size": len(mnist.test_labels)}
    _answer(as_json, {"data_set": mnist.name, **sizes, "folder": place}, f"{mnist} ({place})")


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name, such as dense, slides or erk-rigl.")] = None,
    named: Annotated[str | None, typer.Option("--recipe", help="The same.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    sparsity: Annotated[float, typer.Option(help="Fraction of zeros, in [0, 1).")] = 0.95,
    update_interval: Annotated[
        int | None, typer.Option(min=1, help="From one topology update to the next, in the recipe's steps or epochs.")
    ] = None,
    drop_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the active weights that an update drops at first.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 42,
    network: Annotated[str | None, typer.Option(help="SlideCNN, LeNet300100 or MLP1D.")] = None,
    data_set: Annotated[str, typer.Option(help="mnist, mnist-validation or mnist1d.")] = "mnist",
    backend: Annotated[str, typer.Option(help="Of sparse layers: masked (simulated) or sparse (truly).")] = "masked",
    train_size: Annotated[int | None, typer.Option(help="The first so many training images; all by default.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Written every epoch; goes on from it if there.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network by a recipe (the slides' network on MNIST, MLP1D on MNIST-1D) and report the last epoch."""
    if bool(recipe) == bool(named):
        raise typer.BadParameter("name one recipe, such as `train erk-rigl`", param_hint="'RECIPE'")

    from .layers import check_sparsity
    from .training import DATASETS, NETWORKS, find_recipe, with_options
    from .training import train as run_recipe

    options = {"update_interval": update_interval, "drop_fraction": drop_fraction}
    options = {name: value for name, value in options.items() if value is not None}
    found = with_options(find_recipe(recipe or named), **options)  # all before the data are fetched
    check_sparsity(sparsity)
    load = choose(data_set, DATASETS, "data set")
    make = choose(network or ("MLP1D" if data_set == "mnist1d" else "SlideCNN"), NETWORKS, "network")
    images = load().take(train_size)
    run = run_recipe(
        found,
        images,
        network=make,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        backend=backend,
        checkpoint=checkpoint,
    )
    summary, lines = run.summary() | options, []
    if run.history.epochs:
        lines.append("epoch  train accuracy  test accuracy  test loss  seconds")
        lines += [
            f"{e.epoch:5}  {e.train_accuracy:13.2f}%  {e.test_accuracy:12.2f}%  {e.test_loss:9.4f}  {e.seconds:7.1f}"
            for e in run.history.epochs
        ]
        lines.append(
            f"{found.name} ({summary['backend']}, {summary['network']}) on {images}: "
            f"{summary['active_weights']:,} of {summary['total_weights']:,} weights active, "
            f"{summary['macs'] / summary['dense_macs']:.0%} of the dense multiplications"
        )
    _answer(as_json, summary, *lines)
    if run.history.interrupted:
        raise typer.Exit(130)


@app.command()
def bench(
    cases: Annotated[list[str] | None, typer.Argument(help="Networks, such as slides or wide-mlp, or all.")] = None,
    work: Annotated[list[str] | None, typer.Option(help="inference, training-step or epoch; all by default.")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="So many at once; 1, 64, 100, 1024 by default.")
    ] = None,
    sparsity: Annotated[float | None, typer.Option(help="Fraction of zeros, in [0, 1); the case's by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Readings of every method, in turns, at least.")] = 20,
    seconds: Annotated[float, typer.Option(min=0, help="More readings, until so many seconds are over.")] = 5.0,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="One and all by default.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="cpu, cuda or both; all there are by default.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Such as dense or torch-csr; all by default.")] = None,
    record: Record = False,
    as_json: Json = False,
) -> None:
    """Time networks in every form, inference and training: outputs compared first, then median and quartiles."""
    from .show import figures, markdown, threads_of
    from .studies import expected_seconds, record_timing
    from .timing import METHODS, WORKS, benchmark

    methods, works = _spelt(method, METHODS, "method"), _spelt(work, WORKS, "work")
    tasks = list(benchmark.tasks(cases, works, batch, threads))
    options = {"rounds": rounds, "seconds": seconds, "methods": methods}
    expected = sum(expected_seconds(**task, **options) for task in tasks)
    log.info("%d benchmark(s), about %.1f minutes in all", len(tasks), expected / 60)
    results = []
    for task in tasks:
        log.info("{case}: {work}, batch {batch}, ".format(**task) + threads_of(task["threads"]))
        results.append(benchmark.bench(**task, sparsity=sparsity, devices=device, **options))
        if record:
            record_timing("benchmark", results[-1])
    absent = {name: why for run in results for name, why in run["absent"].items()}
    _answer(
        as_json,
        {"runs": results},
        markdown(figures.timing_rows(results)),
        figures.timing_line(results),
        *(f"absent: {name}: {why}" for name, why in absent.items()),
    )


@app.command()
def break_even(
    width: Annotated[list[int] | None, typer.Option(min=1, help="Of the layer; 256 to 8192 by default.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="So many at once; 1 to 256 by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Readings of every method, in turns.")] = 7,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    record: Record = False,
    as_json: Json = False,
) -> None:
    """Time one layer over sparsity, width and batch: from which sparsity on does which method pay?"""
    from tqdm import tqdm

    from .show import figures, markdown
    from .studies import record_timing, recorded_timings
    from .timing import breakeven

    if record:
        recorded_timings("breakeven")  # a damaged file is told of before the work
    sizes = width or breakeven.WIDTHS, batch or breakeven.BATCHES
    result = breakeven.measure(*sizes, rounds=rounds, threads=threads, device=device, progress=tqdm)
    if record:
        log.info("%s", record_timing("breakeven", result))
    told = ["{gflops:.0f} GFLOP/s, {gigabytes_per_second:.0f} GB/s".format(**result["roofline"])]
    for method, against in itertools.product(breakeven.SPARSE, breakeven.DENSE):
        told.append(f"\n{method} takes no longer than {against} from this sparsity on:\n")
        told.append(markdown(figures.pays_rows(result, method, against)))
    _answer(as_json, result, *told)


@app.command()
def scaling(
    rounds: Annotated[int, typer.Option(min=1, help="Readings of every layer, in turns.")] = 5,
    threads: Threads = None,
    record: Record = False,
    as_json: Json = False,
) -> None:
    """Time a training step of truly sparse layers, by their number of connections."""
    from .studies import record_timing, recorded_timings
    from .timing import breakeven

    if record:
        recorded_timings("scaling")
    result = breakeven.scaling(rounds=rounds, threads=threads)
    if record:
        log.info("%s", record_timing("scaling", result))
    medians = {int(count): statistics.median(ms) for count, ms in result["times_ms"].items()}
    told = (f"{n:11,} connections {ms:10.2f} ms {1e6 * ms / n:7.1f} ns a connection" for n, ms in medians.items())
    _answer(as_json, result, *told)


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help="The experiment, such as slides.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine, of one thread each.")] = 1,
    as_json: Json = False,
) -> None:
    """Do an experiment's runs that are still missing, and write its result file."""
    from .studies import EXPERIMENTS, condense, load_results, run_missing

    experiment = choose(name, EXPERIMENTS, "experiment")
    folder = data_folder() / "runs" if experiment.condensed else None
    file = run_missing(experiment, folder, workers=workers)
    done = load_results(name, folder)["runs"]
    if experiment.condensed:
        file = condense(done)
    _answer(as_json, {"file": str(file), "runs": len(done)}, f"{file}: {len(done)} runs")


@app.command()
def figures(
    out: Annotated[Path | None, typer.Option(help="The folder; figures/ by default.")] = None,
    slides: Annotated[
        bool, typer.Option("--slides", help="As wide as a slide, in letters that a room can read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw every figure and table from the result files: the same bytes from the same results."""
    from .show import for_slides, write_all

    if slides and not out:
        raise typer.BadParameter("those of figures/ are for pages; name a folder with --out", param_hint="--slides")
    with for_slides() if slides else contextlib.nullcontext():
        manifest = write_all(out or figures_folder())
    _answer(as_json, manifest, *(f"{file}  from {entry['from']}" for file, entry in manifest["files"].items()))


@app.command()
def claims(
    out: Annotated[Path | None, typer.Option(help="The file; figures/claims.md by default.")] = None,
    as_json: Json = False,
) -> None:
    """Write the ledgers of the slides' claims and of our own headlines; fail if the results do not carry the prose.

    It fails, too, where a result file is not the one that the figures were drawn from. `--json` has the ledgers' rows.
    """
    from .show import changed_results, complaints, headline_ledger, judged, ledger, not_carried, stated, takeaways

    rows, said = judged(), stated()
    changed = changed_results(figures_folder())
    wrong = (
        complaints(rows)
        + not_carried(said)
        + [f"{file} changed since the figures were drawn: `make figures`" for file in changed]
    )
    file = out or figures_folder() / "claims.md"
    if not wrong:
        write(file, ledger(rows).encode())
        write(file.with_name("headlines.md"), headline_ledger(said).encode())
        write(file.with_name("slide10_takeaways.md"), takeaways(said).encode())
    well = f"{file}: every claim has the verdict that the notebooks rely on, and every headline is carried"
    document = {"ok": not wrong, "file": str(file), "complaints": wrong, "claims": rows, "headlines": said}
    _answer(as_json, document, *(wrong or [well]))
    if wrong:
        print(f"error: {len(wrong)} complaint(s); {file} is left as it was", file=sys.stderr)
        raise typer.Exit(1)


def _spelt(words: Iterable[str] | None, names: Iterable[str], what: str) -> list[str] | None:
    """The names that are meant: on a command line "dense-compiled" stands for "dense, compiled"."""
    table = {slug(name): name for name in names}
    return [choose(slug(word), table, what) for word in words or ()] or None


def _answer(as_json: bool, document: dict, *lines: str) -> None:
    """The document as JSON, or else the lines."""
    if as_json:
        print(json.dumps(_without_nan(document), indent=1, allow_nan=False))
    elif lines:
        print(*lines, sep="\n")


def _without_nan(node):
    """JSON knows no NaN and no infinity: null stands for the loss of a run that diverged."""
    if isinstance(node, dict):
        return {key: _without_nan(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_nan(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def main() -> None:
    """The command line; a mistake of the user's ends in one line that says what to do, and exit status 2."""
    if sys.stderr is None:  # closed by the caller: logs and progress bars go nowhere, those of workers, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.set_inheritable(2, True)
        sys.stderr = open(2, "w")  # noqa: SIM115 - as long as the process lives
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an orderly end, so that no worker is left behind
    try:
        app(prog_name="python -m dst_tutorial")
    except (ValueError, OSError) as error:
        _end(error)
    except RuntimeError as error:
        from .training import DataError

        if not isinstance(error, DataError):
            raise
        _end(error)


def _end(error: Exception) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
