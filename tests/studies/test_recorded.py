"""Recorded timings: a run a work, machine and thread count."""

import pytest

from dst_tutorial.studies import recorded
from dst_tutorial.studies.recorded import (
    KINDS,
    SET_UP,
    expected_seconds,
    latest_first,
    load_timings,
    machine,
    record_timing,
    slide8,
)


def run_of(cpu="A(R) Processor @ 1 GHz", date="2026-01-01", threads=1, **work):
    return {"threads": threads, "provenance": {"cpu": cpu, "gpu": None, "date": date}, **work}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_takes_the_place_of_the_same_work_on_the_same_machine(kind, tmp_path):
    work = dict.fromkeys(KINDS[kind], 1)
    first = run_of(**work)
    others = [run_of(cpu="B", **work), run_of(threads=2, **work), *(run_of(**work | {key: 2}) for key in work)]
    for run in (first, *others, first | {"rounds": 7}):
        record_timing(kind, run, tmp_path)
    found = load_timings(kind, tmp_path)
    assert len(found) == len(others) + 1
    assert first not in found
    assert load_timings(kind, tmp_path, rounds=7) == [first | {"rounds": 7}]


def test_what_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m dst_tutorial scaling --record"):
        load_timings("scaling", tmp_path)
    record_timing("scaling", run_of(density=0.1, batch=3), tmp_path)
    with pytest.raises(ValueError, match=r"none of \{'batch': 4\}; make it with"):
        load_timings("scaling", tmp_path, batch=4)
    with pytest.raises(ValueError, match="unknown kind 'speed'"):
        load_timings("speed", tmp_path)


def test_a_damaged_file_is_named_and_left(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)
    file = record_timing("benchmark", run_of(case="slides", work="epoch", batch=1, sparsity=0.5))
    for damaged in (file.read_bytes()[:-9], b"", b"<<<<<<< HEAD\n" + file.read_bytes(), b'{"runs": 1}'):
        file.write_bytes(damaged)
        for use in (
            lambda: load_timings("benchmark"),
            lambda: record_timing("benchmark", run_of(case="slides", work="epoch", batch=1, sparsity=0.5)),
            lambda: expected_seconds("slides", "epoch", 1, 1, rounds=1, seconds=1.0),  # before it is measured
        ):
            with pytest.raises(ValueError, match=r"benchmark\.json is damaged .* get it back from git"):
                use()
        assert file.read_bytes() == damaged


def test_the_latest_comes_first_and_fewer_threads_before_more():
    old, new, more = run_of(), run_of(date="2026-02-01"), run_of(date="2026-02-01", threads=2)
    assert latest_first([old, more, new]) == [new, more, old]


def test_a_machine_is_told_in_few_words():
    assert machine(run_of("Intel(R) Xeon(R) Processor @ 2.50GHz")) == "Intel Xeon @ 2.50GHz"
    assert machine(run_of("Intel(R) Xeon(R) Processor")) == "Intel Xeon"


def test_slide_8_is_recorded():
    assert {(run["case"], run["batch"], run["threads"]) for run in slide8(threads=1)} == {("slides", 100, 1)}


def test_how_long_a_benchmark_will_take_is_read_off_recorded_ones(tmp_path, monkeypatch):
    """Three calls a reading, of every method, in as many rounds as asked for; what is over sooner takes its seconds."""
    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)

    def told(work="inference", threads=1, methods=None, rounds=20):
        return expected_seconds("slides", work, 64, threads, rounds=rounds, seconds=5.0, methods=methods) - SET_UP

    assert told() == 5  # nothing is recorded
    row = {"device": "cpu", "copies": False, "largest_difference": 0.0, "first_ms": 1.0}
    rows = [row | {"method": "slow", "times_ms": [190, 200, 900]}, row | {"method": "fast", "times_ms": [50, 50]}]
    work = {"case": "slides", "batch": 64, "sparsity": 0.95, "rows": rows}
    record_timing("benchmark", run_of(work="inference", **work))
    record_timing("benchmark", run_of(work="inference", **work | {"rows": rows[:1]}, threads=2))
    record_timing("benchmark", run_of(work="epoch", **work))
    assert told() == pytest.approx(3 * 20 * 0.25)
    assert told(methods=["fast"]) == pytest.approx(5)
    assert told(threads=2) == pytest.approx(3 * 20 * 0.2)
    assert told(threads=3) == told()
    assert told(work="epoch") + SET_UP == pytest.approx(3 * 0.25)
