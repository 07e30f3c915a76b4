"""What each contender chose from, on held-out images, and what it chose."""

from ...studies import CONTENDERS, TUNED_AT, chosen, validation
from .. import plots
from ..tables import mean_sd, table_of


def selection_rows(results: dict) -> list[dict[str, str]]:
    """The candidates of the file's contenders with their validation accuracies; the chosen one is marked."""
    rows = []
    for contender in CONTENDERS:
        found = {name: by for name, by in validation(results, contender).items() if by}
        best = chosen(results, contender).name if found else None
        rows += [
            {
                "contender": plots.NAMES[contender],
                "candidate": f"**{name}**" if name == best else name,
                **{
                    f"at {100 * s:g}%": f"{mean_sd(by.get(s, by.get(0.0)), 2)}%" if {s, 0.0} & set(by) else "–"
                    for s in TUNED_AT
                },
            }
            for name, by in found.items()
        ]
    return rows


TABLES = (table_of("selection", selection_rows), table_of("selection-lean", selection_rows))
