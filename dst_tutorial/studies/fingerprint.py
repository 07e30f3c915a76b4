"""Is a recorded number of this code? A fingerprint of the code behind a training, recorded beside it."""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

BEHIND = (  # the modules that run when a point is trained and measured
    *("positions.py", "randomness.py", "kernels/*.py", "layers/initialisation.py", "layers/allocation.py"),
    *("layers/sparse.py", "layers/sequential.py", "layers/convert.py", "layers/sparsify.py", "layers/watching.py"),
    *("layers/modes.py", "topology/*.py"),
    *("training/optim.py", "training/models.py", "training/data.py", "training/loop.py", "training/by_recipe.py"),
)


def fingerprint() -> str:
    """The same for the same code behind a training, wherever it stands: imports, comments and docstrings aside."""
    package = Path(__file__).parent.parent
    files = [file for pattern in BEHIND for file in package.glob(pattern)]
    return _digest(file.read_text(encoding="utf-8") for file in files)


def _digest(sources: Iterable[str]) -> str:
    """Of the statements of some modules, whichever module each is in."""
    statements = {repr(_bare(node)) for source in sources for node in _telling(ast.parse(source).body)}
    return hashlib.sha256(repr(sorted(statements)).encode()).hexdigest()[:12]


def _telling(statements: Iterable[ast.AST]) -> list[ast.AST]:
    """Those that do something: no docstring, no import, no list of names to import."""

    def is_telling(node: ast.AST) -> bool:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id != "__all__"
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return not (is_docstring or isinstance(node, ast.Import | ast.ImportFrom))

    return list(filter(is_telling, statements))


def _bare(node: object) -> object:
    """A syntax tree as nested lists; the same in all versions of Python."""
    if isinstance(node, list):
        return [_bare(n) for n in _telling(node)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, *((name, _bare(value)) for name, value in fields if name != "ctx")]
