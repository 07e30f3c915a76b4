"""Build the book: `make book` writes book/built/html, a site that needs no network, from the notebooks as they are.

The pages are the repository's own: they are copied, links to what is no page go to the repository, terms of the
glossary get their meaning as a hint, and sphinx makes a site of them. No notebook is run.
"""

import pkgutil
import posixpath
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import nbformat
from explorer import explorer_page, vega
from sphinx.cmd.build import build_main

import dst_tutorial
from dst_tutorial.choices import slug

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CODE = f"{PROJECT['urls']['Repository']}/blob/v{PROJECT['version']}"

PAGES = (
    "README.md",
    "USING.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "PLACES.md",
    "LICENSE-PROSE.md",
    "notebooks/*.md",
    "notebooks/*.ipynb",
    "figures/*.md",
)
PICTURES = (".svg", ".png", ".gif")
CONTENTS = {  # of the landing page, which is the README
    "Notebooks": "notebooks/[01]*",
    "In the page": "explorer",
    "Look up": "notebooks/glossary\nnotebooks/references\nUSING\napi/index",
    "Evidence": "figures/README",
    "Take part": "notebooks/README\nCONTRIBUTING\nPLACES\nCHANGELOG",
}


def toctree(entries: str, caption: str = "") -> str:
    """A list of pages, in the margin only."""
    options = ":hidden:\n:glob:\n" + (f":caption: {caption}\n" if caption else "")
    return f"\n```{{toctree}}\n{options}\n{entries}\n```\n"


def page_of(path: str) -> str:
    """Where a file of the repository stands in the book: the README is the landing page."""
    return "index.md" if path == "README.md" else path


def relinked(text: str, folder: str, pages: set[str]) -> str:
    """Markdown whose links lead to pages of the book, to pictures, or to the repository; badges become words."""

    def link(match: re.Match) -> str:
        target, _, part = match[1].partition("#")
        if not target or re.match(r"\w+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        path = f"{path}/README.md" if f"{path}/README.md" in pages else path
        if path not in pages and not path.endswith(PICTURES):
            return f"]({CODE}/{path})"
        return f"]({posixpath.relpath(page_of(path), folder or '.')}{'#' * bool(part)}{part})"

    text = re.sub(r"\[!\[(Open in \w+)\]\([^)]*\)\]", r"[\1]", text)
    return re.sub(r"\]\(([^)\s]+)\)", link, text)


# --- the glossary ----------------------------------------------------------------------------------------------------


def glossary(text: str) -> dict[str, str]:
    """Term -> meaning, from the table of notebooks/glossary.md."""
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \| \d\d \|$", text, re.M))


def glossary_page(text: str) -> str:
    """The table as a list with a place for each term that links can lead to."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d\d) \|$", text, re.M)
    files = {path.name[:2]: path.name for path in (ROOT / "notebooks").glob("[01]*.ipynb")}
    listed = "\n\n".join(
        f'<span id="{slug(term)}"></span>**{term}**\n: {meaning} [Notebook {int(where)}]({files[where]})'
        for term, meaning, where in rows
    )
    return f"{text[: text.index('| term |')]}{listed}\n"


def explained(meanings: dict[str, str]) -> Callable[[str], str]:
    """A function that links each term, where it first stands in one page's prose, to the glossary, with its meaning."""
    places = {name.casefold(): term for term in meanings for name in re.split(r", | or ", term)}
    words = "|".join(re.escape(name) for name in sorted(places, key=len, reverse=True))
    # headings, tables, code, links, formulas and what is set bold stay as they are
    kept = r"^(?:#|\||!\[|---)[^\n]*$|```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|\$[^$]*\$|\*\*[^*]*\*\*|<[^>]*>"
    told = set()

    def hint(match: re.Match) -> str:
        term = match["term"] and places[match["term"].casefold()]
        if term is None or term in told:
            return match[0]
        told.add(term)
        meaning = meanings[term].replace('"', "&quot;").replace("*", "")
        return f'<a class="term" href="glossary.html#{slug(term)}" title="{meaning}">{match[0]}</a>'

    return lambda text: re.sub(rf"{kept}|(?<![\w-])(?P<term>{words})(?![\w-])", hint, text, flags=re.M | re.S | re.I)


# --- all pages -------------------------------------------------------------------------------------------------------


def api_pages() -> dict[str, str]:
    """A page for each folder of the package: what its modules say of themselves."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(dst_tutorial.__path__, "dst_tutorial."):
        if not module.name.rpartition(".")[2].startswith("_"):
            found.setdefault(".".join(module.name.split(".")[:2]) if module.ispkg or module.name.count(".") > 1
                             else "dst_tutorial", []).append(module.name)  # fmt: skip
    pages = {
        f"api/{folder}.md": f"# {folder}\n\n" + "\n".join(
            f"## {name.removeprefix('dst_tutorial.')}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
            for name in modules
        )
        for folder, modules in found.items()
    }  # fmt: skip
    first = "# The package\n\n```{eval-rst}\n.. automodule:: dst_tutorial\n```\n"
    return {"api/index.md": first + toctree("dst_tutorial*"), **pages}


def _title(page: Path) -> bool:
    """Does it have one? Two tables have none: they stand in the README."""
    return page.read_text(encoding="utf-8").startswith("# ")


def gather(source: Path) -> None:
    """Write every page, and the pictures, into a folder for sphinx."""
    shutil.rmtree(source, ignore_errors=True)
    files = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern)) if path.suffix != ".md" or _title(path)]
    pages = {path.relative_to(ROOT).as_posix() for path in files}
    meanings = glossary((ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8"))
    written = api_pages() | {"explorer.md": explorer_page()}
    for path in files:
        name, folder = path.relative_to(ROOT).as_posix(), path.parent.relative_to(ROOT).as_posix().removeprefix(".")
        if path.suffix == ".ipynb":
            notebook, hints = nbformat.read(path, 4), explained(meanings)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    text = relinked(cell.source, folder, pages)
                    cell.source = text if cell.metadata.get("tags") else hints(text)
            written[name] = nbformat.writes(notebook)
            continue
        text = path.read_text(encoding="utf-8")
        text = glossary_page(text) if name == "notebooks/glossary.md" else relinked(text, folder, pages)
        if name == "README.md":
            text += "".join(toctree(entries, caption) for caption, entries in CONTENTS.items())
        elif name == "figures/README.md":
            text += toctree("[a-z]*")
        written[page_of(name)] = text
    for name, text in written.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    for path in (path for path in (ROOT / "figures").iterdir() if path.suffix in PICTURES):
        shutil.copy(path, source / "figures")


def main(source: Path = HERE / "built" / "source", html: Path = HERE / "built" / "html") -> int:
    """Gather and build; 0 if sphinx has nothing to complain of."""
    gather(source)
    made, doctrees = source.parent / "static", source.parent / "doctrees"
    made.mkdir(exist_ok=True)
    (made / "vega.js").write_text(vega(), encoding="utf-8")
    static = f"-Dhtml_static_path={HERE / 'static'},{made}"
    quiet_and_strict = ("-q", "-W", "--keep-going")
    return build_main([f"-c{HERE}", f"-d{doctrees}", static, *quiet_and_strict, str(source), str(html)])


if __name__ == "__main__":
    sys.exit(main())
