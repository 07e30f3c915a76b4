"""How sphinx builds the book: its theme as it comes, formulas as MathML, nothing from elsewhere, no cell run."""

import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "Dynamic sparse training"
html_title = "Dynamic sparse training, taken apart and measured"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "sphinx_book_theme"
html_math_renderer = "mathml"
html_copy_source = False
html_static_path = ["static"]  # and what build_book.py makes
html_css_files = ["book.css"]
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}
author = ""
exclude_patterns = ["**.ipynb_checkpoints"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist", "html_image"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type", "toc.not_included", "misc.highlighting_failure"]


def _formula(self, node: nodes.Element, display: str) -> None:
    self.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def _docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings as reStructuredText: plain text, `code`, and rows of a name and its meaning as a list."""
    parts = re.split(r"(`[^`]+`)", "\n".join(lines))
    parts[::2] = (re.sub(r"([*_|\\])", r"\\\1", text) for text in parts[::2])
    parts[1::2] = (f"``{' '.join(code[1:-1].split())}``" for code in parts[1::2])
    told, in_list = [], False
    text = re.sub(r"(?<=\S``)(?=\w)", r"\\ ", "".join(parts))  # a letter after code: `unit`s
    for line in text.split("\n"):
        row = re.match(r"(\S.{0,40}?) {2,}(\S.*)", line)
        goes_on = in_list and line.startswith(" ")
        if in_list != bool(row or goes_on):
            told.append("")
        in_list = bool(row or goes_on)
        told.append(f"* *{row[1]}*: {row[2]}" if row else f"  {line.strip()}" if goes_on else line)
    lines[:] = told


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer(
        "mathml",
        (lambda self, node: _formula(self, node, "inline"), None),
        (lambda self, node: _formula(self, node, "block"), None),
    )
    app.connect("autodoc-process-docstring", _docstring)
