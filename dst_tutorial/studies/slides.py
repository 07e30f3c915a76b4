"""What the slides say, in numbers: facts of the AAAI 2026 tutorial "A Decade of Sparse Training", to compare with."""

EPOCHS, SPARSITY = 10, 0.95
ACCURACY = {"dense": 98.98, "slides": 96.71}  # slide 6, percent on the test set
LOSS = {"dense": 0.0449, "slides": 0.0992}
GAP = -2.27  # slide 6, percentage points
PARAMETERS = {"dense": 1.3e6, "slides": 65e3}  # slides 2, 4 and 6
MEMORY_SAVED = 0.95  # slide 2

SAMPLES, CALLS = 100, 10  # slide 8
BATCH = 64  # the lab's notebook cut its "100 samples" from a batch of so many
MILLISECONDS = {  # slide 8: (method as this package names it, device) -> the mean
    ("Dense+Mask", "cuda"): 0.68,
    ("Dense+Mask", "cpu"): 25.03,
    ("torch CSR", "cpu"): 1351.50,
    ("torch CSR", "cuda"): 1.04,
}
# In the lab's notebook, not on the slide: numpy's `std`, the population standard deviation of the ten times.
DEVIATIONS = {("Dense+Mask", "cpu"): 40.69, ("torch CSR", "cpu"): 4051.16}
GPU_RATIO = 1.53  # slide 8


def cold_and_warm(mean: float, deviation: float, calls: int = CALLS) -> tuple[float, float]:
    """The one slow call and the others, all alike, that give this mean and (population) standard deviation.

    With times c, w, w, ..., w: mean = w + (c - w) / n and deviation = (c - w) * sqrt(n - 1) / n.
    """
    difference = deviation * calls / (calls - 1) ** 0.5
    warm = mean - difference / calls
    return warm + difference, warm


def slowest_at_least(mean: float, deviation: float) -> float:
    """What the slowest of some times took at least: the mean of t^2 is at most the slowest times the mean of t."""
    return mean + deviation**2 / mean


BY_EPOCH = (89.39, 92.72, 94.10, 94.69, 95.73)  # Dense+Mask test accuracy of epochs 1 to 5, in the lab's notebook
