"""Exercises of notebook 06: solutions, and the checks that tell what is wrong with an answer."""

import time
from statistics import mean, median, pstdev

from .judging import Verdict, ask, judge, number_of, parts_of

HINTS = {
    "cold_and_warm": (
        "Two unknowns, two equations: the mean, and the deviation.",
        "With n runs, mean = warm + (cold - warm) / n.",
        "And deviation = (cold - warm) * sqrt(n - 1) / n, for the deviation that divides by n.",
    ),
    "fair_time": (
        "One call before the clock starts.",
        "Time each call by itself (`time.perf_counter`), and take the median of all.",
    ),
}


def cold_and_warm(average, deviation, runs):
    difference = deviation * runs / (runs - 1) ** 0.5
    warm = average - difference / runs
    return warm + difference, warm


def check_cold_and_warm(answer) -> Verdict:
    """`answer(average, deviation, runs)`: (cold, warm), if one run took cold and all others warm."""

    def trial(cold: float, warm: float, runs: int) -> str | None:
        times = [cold] + [warm] * (runs - 1)
        average, deviation = mean(times), pstdev(times)
        got = parts_of(ask(answer, average, deviation, runs), "the cold time", "the warm time")
        one, other = number_of(got[0], "The cold time"), number_of(got[1], "The warm time")
        close = 1e-6 * max(cold, warm)
        if abs(one - cold) < close and abs(other - warm) < close:
            return None
        if abs(one - warm) < close and abs(other - cold) < close:
            return "Both are right; return the cold one first."
        again = [one] + [other] * (runs - 1)
        return (
            f"{runs} runs, {average:.2f} ± {deviation:.2f} ms: with your times ({one:.2f}, {other:.2f}) it would be "
            f"{mean(again):.2f} ± {pstdev(again):.2f} ms. What do mean and variance say of cold - warm?"
        )

    trials = ((13_505.0, 1.11, 10), (147.1, 11.47, 10), (5.0, 1.0, 2), (60.0, 2.0, 5))
    return judge(
        trial,
        trials,
        "Right: two numbers printed beside a table are enough to see the cold call in it.",
    )


def fair_time(task, runs):
    task()  # whatever is set up once is not on the clock
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return median(times)


def check_fair_time(answer) -> Verdict:
    """`answer(task, runs)`: the median seconds of `runs` calls of `task`, after a call that does not count."""

    def trial(naps: list[float], runs: int, usual: float) -> str | None:
        calls = []

        def task() -> None:
            time.sleep(naps[min(len(calls), len(naps) - 1)])
            calls.append(1)

        seconds = number_of(ask(answer, task, runs), "The median")
        if len(calls) < runs:
            return f"With runs={runs} the task was called {len(calls)} times only."
        if len(calls) == runs:
            return "Every call was timed, the first one too. Call the task once before the clock starts."
        if seconds > 3 * usual:
            return (
                f"The calls take about {1e3 * usual:.0f} ms, and you report {1e3 * seconds:.0f} ms: one slow call must "
                "not decide. Take the median of the single calls, neither their sum nor their mean."
            )
        if seconds < 0.5 * usual:
            return f"The calls take about {1e3 * usual:.0f} ms, and you report {1e3 * seconds:.1f} ms."
        return None

    return judge(
        trial,
        (
            ([0.02], 3, 0.02),
            ([0.3, 0.02], 3, 0.02),
            ([0.3, 0.02, 0.02, 0.4, 0.02], 5, 0.02),
            ([0.3, 0.005, 0.02, 0.2], 3, 0.02),  # neither the first, the last nor the fastest, nor the one before
        ),
        "Right: warmed up, and not at the mercy of one bad call. On a GPU, wait for it before every look at the clock.",
    )
