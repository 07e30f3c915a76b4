"""The claims ledger: every number on the slides beside what was measured, and what became of it.

A verdict is computed by a check (`checks.py`), never written down. Beside each claim stands the verdict that the
notebooks' prose relies on; where the two differ, the ledger complains.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..studies import slides
from . import checks
from .checks import ARTEFACT, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, Finding
from .tables import Rows, markdown


@dataclass(frozen=True)
class Claim:
    slide: str
    what: str
    claimed: str
    tolerance: str
    find: Callable[[], Finding]
    where: str  # the notebook and its section
    expected: str = REPRODUCED  # the verdict that the prose relies on


TRAINING, MASKS, FOOLED = "03, The slides' experiment", "05, The slide's picture", "06, The benchmark that fooled us"
STORAGE, TABLE = "01, What 95% fewer weights save", "06, The table that stands"
CLAIMS = (
    Claim("1", "a network trains with 95% fewer parameters", "yes", "every seed above 95%", checks.it_trains, TRAINING),
    Claim("1, 2, 8", "fewer parameters", "95%", "0.5 points", checks.fewer_parameters, "01, The paradox"),
    Claim("2, 4, 6", "parameters, dense", "1.3M", "0.05M", checks.dense_parameters, "01, The paradox"),
    Claim("2, 6", "parameters, 95% sparse", "65K", "5%", checks.sparse_parameters, "01, The paradox", NOT_REPRODUCED),
    Claim("2", "active weights", "5%", "0.05 points", checks.active_share, "02, The slides' network, 95% sparse"),
    Claim("2", "memory reduction", "95%", "1 point", checks.memory_saved, STORAGE, NOT_REPRODUCED),
    Claim("3", "a mask saves no memory", "none saved", "exact", checks.masks_save_nothing, "02, What a mask saves"),
    Claim("4", "training and test images", "60K and 10K", "exact", checks.images, TRAINING),
    Claim("4", "convolutions (channels), linear layers", "2 (16, 32) and 4", "exact", checks.architecture,
          "01, The paradox"),
    Claim("5", "topology updates", "every 2 epochs", "exact", checks.every_two_epochs, MASKS),
    Claim("6", "epochs, sparsity", "10, 95%", "exact", checks.protocol, TRAINING),
    Claim("6", "test accuracy, dense", "98.98%", "0.3 points",
          checks.trained("dense", "test_accuracy", slides.ACCURACY["dense"], 0.3, ".2f", "%"), TRAINING),
    Claim("6", "test accuracy, Dense+Mask", "96.71%", "0.5 points",
          checks.trained("slides", "test_accuracy", slides.ACCURACY["slides"], 0.5, ".2f", "%"), TRAINING),
    Claim("6", "test loss, dense", "0.0449", "0.01",
          checks.trained("dense", "test_loss", slides.LOSS["dense"], 0.01, ".4f"), TRAINING),
    Claim("6", "test loss, Dense+Mask", "0.0992", "0.02",
          checks.trained("slides", "test_loss", slides.LOSS["slides"], 0.02, ".4f"), TRAINING),
    Claim("6", "gap to dense", "-2.27", "0.5 points", checks.gap, TRAINING),
    Claim("6 (lab)", "test accuracy after epochs 1 to 5", "89.39, 92.72, 94.10, 94.69, 95.73", "1.5 points each",
          checks.by_epoch, TRAINING),
    Claim("7", "sparsity at the start", "95%", "0.05 points", checks.sparse_at_the_start, MASKS),
    Claim("7", "sparsity after topology updates", "about 95%", "constant", checks.sparse_ever_after, MASKS),
    Claim("7", "the topology changes", "yes", "some of it", checks.topology_changes, "05, How little it explored"),
    Claim("8", "samples timed", "100", "exact", checks.samples, FOOLED, ARTEFACT),
    Claim("8", "runs averaged", "10", "deviation under 2.97 means", checks.ten_runs, FOOLED, ARTEFACT),
    Claim("8", "Dense+Mask (CPU), mean of 10 runs", "25.03 ms", "no run of more than twice the mean",
          checks.uneven_runs("Dense+Mask"), FOOLED, ARTEFACT),
    Claim("8", "truly sparse CSR (CPU), mean of 10 runs", "1351.50 ms", "no run of more than twice the mean",
          checks.uneven_runs("torch CSR"), FOOLED, ARTEFACT),
    Claim("8", "CSR against Dense+Mask (CPU)", "54 times slower", "artefact if level within a factor of 2",
          checks.csr_against_mask, TABLE, ARTEFACT),
    Claim("8", "Dense+Mask (GPU)", "0.68 ms", "a factor of 2", checks.gpu_time("Dense+Mask"), TABLE, NOT_MEASURED),
    Claim("8", "truly sparse CSR (GPU)", "1.04 ms", "a factor of 2", checks.gpu_time("torch CSR"), TABLE, NOT_MEASURED),
    Claim("8", "GPU: Dense+Mask faster than CSR", "1.53 times", "0.3", checks.gpu_ratio, TABLE, NOT_MEASURED),
    Claim("9", "sparse formats cost overhead at low sparsity", "yes", "break-even near 50%",
          checks.overhead_at_low_sparsity, STORAGE),
    Claim("9, 10", "energy", "no number", "–", lambda: Finding("–", NOT_MEASURED), "06, The barriers, again",
          NOT_MEASURED),
)  # fmt: skip


HEAD = """\
# The slides' claims

Every number on the slides, and what became of it: {}.

Written by `python -m dst_tutorial claims` from the recorded results, from shapes, or by arithmetic on the slides' own
numbers. *Reproduced*: what was measured lies within the tolerance. *Artefact*: the number comes from the way it was
measured. *Lab*: in the notebook behind the slides, not on them. Milliseconds depend on the machine; ratios do so less.

"""


def judged(claims: Iterable[Claim] = CLAIMS) -> Rows:
    """The ledger's rows, with the verdict that the prose relies on as "expected"."""
    return [
        {
            "slide": claim.slide,
            "claim": claim.what,
            "claimed": claim.claimed,
            "measured": found.measured,
            "tolerance": claim.tolerance,
            "verdict": found.verdict,
            "hardware": found.hardware,
            "where": claim.where,
            "expected": claim.expected,
        }
        for claim in claims
        for found in [claim.find()]
    ]


def complaints(rows: Rows) -> list[str]:
    """One for each row whose verdict is not the expected one."""
    told = (
        "slide {slide}, {claim}: claimed {claimed}, measured {measured}: {verdict}, where the notebooks say {expected}"
    )
    return [told.format(**row) for row in rows if row["verdict"] != row["expected"]]


def ledger(rows: Rows) -> str:
    """The rows as Markdown, below how many claims came to what."""
    counts = Counter(row["verdict"] for row in rows)
    columns = ("slide", "claim", "claimed", "measured", "tolerance", "verdict", "hardware")
    shown = [{column: row[column] for column in columns} | {"shown in": row["where"]} for row in rows]
    for row in shown:
        row["verdict"] = row["verdict"] if row["verdict"] == REPRODUCED else f"**{row['verdict']}**"
    verdicts = (REPRODUCED, NOT_REPRODUCED, ARTEFACT, NOT_MEASURED)
    return HEAD.format(", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts)) + markdown(shown)
