"""All figures and tables, the slides' and ours, in one folder: with an index, and a manifest of what came from what."""

import hashlib
import json
from pathlib import Path

from ..paths import reading, results_folder
from .figures import best_recipe, breakeven, candidates, ingredients, protocol, set_and_rigl, shapes, timings, where
from .guides import guided
from .pictures import Picture, animated, rendered
from .plots import in_words
from .tables import FORMS, Table, markdown

FRAME_MS = 300  # of a GIF
_DRAWN = (shapes, protocol, set_and_rigl, timings, ingredients, best_recipe, breakeven, where)
_TABLED = (protocol, timings, breakeven, best_recipe, ingredients, set_and_rigl, candidates, where)
FIGURES: dict[str, Picture] = {
    picture.name: picture
    for picture in sorted((p for study in _DRAWN for p in study.FIGURES), key=lambda picture: picture.slide or 99)
}
TABLES: dict[str, Table] = {table.name: table for study in _TABLED for table in study.TABLES}


def write_all(folder: Path) -> dict:
    """Write every figure and table into `folder`, with a manifest of what came from what; return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}

    def write(name: str, content: bytes, source: str, **more: str) -> None:
        (folder / name).write_bytes(content)
        files[name] = {"from": source, "sha256": hashlib.sha256(content).hexdigest()} | more

    for name, picture in FIGURES.items():
        figure = picture.make()
        width, height = figure.get_size_inches()
        for ending in picture.endings:
            size = f"{width:.1f} x {height:.1f} in"
            write(f"{name}.{ending}", rendered(figure, ending), picture.source, size=size, alt=in_words(figure)[0])
        if picture.moving:
            write(f"{name}.gif", animated(picture.moving(), FRAME_MS), picture.source, alt=in_words(figure)[0])
    for table in TABLES.values():
        for ending in FORMS:
            told = table.rendered(ending)
            content = guided(table.name, told) if ending == "md" else told
            write(f"{table.name}.{ending}", content.encode(), table.source)
    write("README.md", _index(files).encode(), "the files of this folder")
    manifest = {"made by": "python -m dst_tutorial figures", "results": _hashes_of_results(), "files": files}
    (folder / "manifest.json").write_bytes((json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    return manifest


def _index(files: dict[str, dict[str, str]]) -> str:
    """The folder's README: slide by slide, what can take the place of what."""
    rows = []
    for name, picture in FIGURES.items():
        endings = (*picture.endings, *(["gif"] if picture.moving else []))
        links = " ".join(f"[{ending}]({name}.{ending})" for ending in endings)
        entry = files[f"{name}.{picture.endings[0]}"]
        rows.append({"slide": str(picture.slide or "–"), "figure": f"`{name}` {links}", "size": entry["size"],
                     "from": entry["from"], "what it shows": entry["alt"]})  # fmt: skip
    for name in (f"{table}.{ending}" for table in TABLES for ending in FORMS):
        slide = name.removeprefix("slide")[0] if name.startswith("slide") else "–"
        shows = "What was recorded, as a table." if slide == "–" else "The slide's table, with ours beside it."
        rows.append({"slide": slide, "figure": f"[`{name}`]({name})", "size": "–", "from": files[name]["from"],
                     "what it shows": shows})  # fmt: skip
    rows.sort(key=lambda row: row["slide"])  # "–" sorts last
    return (
        "# The slides' figures and tables, and ours\n\n"
        "Made by `make figures` from the recorded results: same results, same bytes. No picture is larger than a\n"
        "16:9 slide of 13.3 x 7.5 inches. What became of the slides' numbers stands in [claims.md](claims.md).\n"
        "Slide 10's takeaways, as measured: [slide10_takeaways.md](slide10_takeaways.md); what carries them:\n"
        "[headlines.md](headlines.md).\n\n" + markdown(rows)
    )


def _hashes_of_results() -> dict[str, str]:
    told = [picture.source for picture in FIGURES.values()] + [table.source for table in TABLES.values()]
    sources = {source for sources in told for source in sources.split(", ") if source.startswith("results/")}
    files = {source: results_folder() / Path(source).name for source in sorted(sources)}
    return {source: hashlib.sha256(file.read_bytes()).hexdigest() for source, file in files.items()}


def changed_results(folder: Path) -> list[str]:
    """The result files that are not those from which the figures in `folder` were drawn."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return []
    with reading(manifest):
        drawn_from = dict(json.loads(manifest.read_text(encoding="utf-8"))["results"])
    return [source for source, digest in _hashes_of_results().items() if drawn_from.get(source) != digest]
