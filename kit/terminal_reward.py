"""A reward model's evaluation as a table."""

import json
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from kit.report.formatting import difference, estimate, number, visible

_SLICES_SHOWN = 20


def reward_table(folder: Path) -> Group:
    """Pairwise accuracy of the model and of the rule that the longer answer wins, in all and by slice.

    Args:
        folder: an evaluation with a `reward.json`.
    """
    found = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
    entry, names = found["pairwise_accuracy"], found["systems"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("decided rightly", no_wrap=True)
    for head in ("pairs", names["base"], names["tuned"], "difference", ""):
        table.add_column(head, justify="right")
    table.add_row(*_cells("all", entry))
    for part in entry["slices"][:_SLICES_SHOWN]:
        table.add_row(*_cells(f"{part['column']}={part['value']}", part))
    shorter, error = found["chosen_shorter"], found["calibration"]["error"]
    said = [
        f"where the better answer is the shorter one: {estimate(shorter, 'rate')} of {shorter['n']} pairs"
        if shorter["n"]
        else "in none of the pairs is the better answer the shorter one",
        f"margins as probabilities are off by {number(error, 3)} on the mean (expected calibration error)",
    ]
    if (more := len(entry["slices"]) - _SLICES_SHOWN) > 0:
        said.append(f"{more} more slices are in reward.json")
    return Group(table, *map(Text, said))


def _cells(name: str, entry: dict[str, Any]) -> list[Text]:
    cells = [
        visible(name),
        str(entry["n"]),
        estimate(entry["base"], "rate"),
        estimate(entry["tuned"], "rate"),
        difference(entry["difference"]["estimate"], "rate"),
        entry["verdict"],
    ]
    return [Text(cell) for cell in cells]
