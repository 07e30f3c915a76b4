"""Who can skip which zeros: what is reported of processors, with sources. Nothing of it is measured here."""

_PROCESSORS = (
    ("CPU, vector units", "anywhere, best in batches", "here, four to ten times faster at 95%",
     "notebooks 6 and 7"),
    ("GPU, ordinary cores", "anywhere", "in 16 bits typically faster than dense from about 99% on",
     "Li et al., 2023; kernels: Gale et al., 2020"),
    ("GPU, sparse tensor cores", "2 of every 4", "twice the arithmetic of dense", "Mishra et al., 2021"),
    ("IPU (Graphcore)", "anywhere, better in blocks", "a fixed pattern in 16 bits faster than dense from about 90% on",
     "Li et al., 2023"),
    ("Cerebras", "anywhere", "language models trained with 75% of their weights at zero, the pattern fixed",
     "Thangarasa et al., 2023"),
    ("EIE, a chip for inference", "anywhere, in weights and inputs", "13 times faster than a GPU on the dense network",
     "Han et al., 2016"),
)  # fmt: skip


def processor_rows() -> list[dict[str, str]]:
    """A processor a row: the zeros that it can skip, what is reported, and by whom."""
    return [dict(zip(("processor", "skips zeros", "reported", "source"), row, strict=True)) for row in _PROCESSORS]
