"""Progress bars as plain text: a notebook's own kind leaves errors in a notebook that is opened again."""

import sys

from tqdm import tqdm as plain


def tqdm(**options) -> plain:
    """tqdm's bar; in a notebook on standard output, since it would look like a warning elsewhere."""
    in_notebook = type(sys.stdout).__module__.startswith("ipykernel")
    return plain(file=sys.stdout if in_notebook else sys.stderr, **options)
