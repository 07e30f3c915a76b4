"""What stands above each table in `figures/`: its title, and how to read it."""

_PAIRED = """\
Differences are percentage points, paired by seed, with a 95% interval over seeds. *Level*: the whole interval lies
within the margin (0.15 points on MNIST, 1 elsewhere). *More*, *less*: it excludes zero and the mean is beyond the
margin. *Undecided*: neither."""
_FORMS = """\
*Truly sparse* stores and multiplies only the weights that are there, in this package's kernels. *Dense+Mask*
multiplies dense weights by masks of zeros and ones, and so simulates sparsity."""
_RECIPES = """\
*modern* and *lean* are our recipes, chosen on held-out images; *small dense*: a dense network of as many weights;
*narrow dense*: one of as many multiplications; *static*: a mask that never moves."""
_RIGL = """\
*RigL* grows connections where the gradient is largest, *SET* at random; *ERK* gives small layers more of the weights
(both algorithms drop the smallest)."""
_REGIME = f"""\
Who contends in these tasks, and how far each comes. Every contender chose from six candidates on held-out examples;
five fresh seeds, the test set looked at once.
{_PAIRED}"""

GUIDES: dict[str, tuple[str, str]] = {  # table -> (title, guide)
    "slide8_benchmark": (
        "Slide 8, as it should have been: 100 images through the slides' network",
        f"Left the slides' milliseconds; then ours, the same work on both sides, beside dense torch.\n{_FORMS}",
    ),
    "timings": (
        "How fast every form is",
        f"A row a form: milliseconds, and how many times as long as truly sparse it takes.\n{_FORMS}",
    ),
    "cores": (
        "What more cores are worth",
        "Milliseconds on one thread, and how many times faster the same is on all. Small work gains little.",
    ),
    "break_even": (
        "From which sparsity on truly sparse pays",
        "One square layer, inference. Read: *this* method takes no longer than *that* one from so many zeros on;\n"
        f"the last column is the same for bytes. *Never*: not at the highest sparsity measured.\n{_FORMS}",
    ),
    "forms": (
        "Accuracy, time and memory of the same runs",
        f"The slides' network on all of MNIST, ten epochs, one thread; sparse ones at 95%.\n{_FORMS}\n{_RIGL}",
    ),
    "algorithms": (
        "SET, RigL and gradual pruning on the slides' network",
        f"Accuracy and cost of the same runs. *Explored*: the share of positions that were ever active.\n{_RIGL}",
    ),
    "mnist1d": (
        "SET, RigL and their controls on MNIST-1D",
        f"A task on which accuracy does not saturate, so that ways of training differ more.\n{_RIGL}",
    ),
    "frontier": (
        "The best recipe and its rivals, by sparsity",
        f"The slides' network, ten epochs, fresh seeds, the test images looked at once.\n{_RECIPES}\n{_PAIRED}",
    ),
    "rivals": (
        "`modern` minus each rival",
        f"Above zero, `modern` is ahead.\n{_RECIPES}\n{_PAIRED}",
    ),
    "headline_pairs": (
        "What is claimed loudest, on ten fresh seeds",
        f"95% sparse; *dense takes*: how many times as long, in torch.\n{_RECIPES}\n{_PAIRED}",
    ),
    "ablation": (
        "What each ingredient is worth",
        "First added alone to the slides' protocol, then taken from `modern`, our best recipe. *p* is two-sided;\n"
        f"*Holm* corrects it for the number of rows.\n{_PAIRED}",
    ),
    "networks": (
        "Which claims hold on which network",
        f"A row a claim. *More*: it holds there; *less*: the opposite does.\n{_PAIRED}",
    ),
    "selection": (
        "What each contender chose from, on held-out images",
        f"The highest mean over both columns is chosen, in bold. No test image was looked at.\n{_RECIPES}",
    ),
    "selection-lean": (
        "What `lean` and its rival chose from, on held-out images",
        f"The same within a tenth of the dense multiplications. The chosen one is bold.\n{_RECIPES}",
    ),
    "where_sparse_wins": (
        "Where sparse wins: all regimes",
        "A row a task and budget. In each column the contender that did best on held-out examples,\n"
        f"and *moving sparse* minus it.\n{_PAIRED}",
    ),
    "regimes_noise": ("Most inputs are noise", _REGIME),
    "regimes_fashion": ("Clothes in the place of digits, alone and beside noise", _REGIME),
    "regimes_few": ("Few of many inputs say something", _REGIME),
    "regimes_classes": ("Many classes on one linear layer", _REGIME),
    "regimes_length": ("More images, and longer trainings", _REGIME),
    "regimes_memory": ("So many bytes of training state", _REGIME),
    "regimes_structure": ("Zeros anywhere, and zeros in groups", _REGIME),
}


def guided(table: str, rendered: str) -> str:
    """A table as Markdown, below its title and guide if it has one."""
    title, guide = GUIDES.get(table, ("", ""))
    return f"# {title}\n\n{guide}\n\n{rendered}" if title else rendered
