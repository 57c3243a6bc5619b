"""`data.html`: what the data is, what was turned away and why, in one file that needs no network."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.data.rows import Row, is_document
from kit.data.show import pieces, title
from kit.files import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_VALUES = 20  # of a column; all are in data.json
_WIDTH, _HEIGHT = 640, 120  # of the histogram's bars, in SVG units


def write_page(
    path: Path, summary: dict[str, Any], rows: Sequence[Row], tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Write the page for people; all text of the data is escaped.

    Args:
        path: where to.
        summary: the contents of `data.json`.
        rows: a few training rows, shown token by token.
        tokenizer: the one the rows were prepared for.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    checks = summary["checks"]
    text = environment.get_template("data.html.j2").render(
        summary=summary,
        synthetic=sum(source["rows"] for source in summary["sources"] if source["synthetic"]),
        found=[check for check in checks if check["count"]],
        passed=[check for check in checks if not check["count"] and check["severity"] != "off"],
        off=[check["name"] for check in checks if check["severity"] == "off"],
        columns=_columns(summary),
        documents=any(is_document(row.messages) for row in rows),
        bars=_bars(summary["tokens"]["histogram"]),
        rows=[
            {
                "where": row.where,
                "samples": [
                    {"title": title(row, number, len(samples)), "pieces": sample}
                    for number, sample in enumerate(samples, start=1)
                ],
                "tokens": row.tokens,
                "label": row.label,
            }
            for row, samples in ((row, pieces(row, tokenizer)) for row in rows)
        ],
    )
    write_text(path, text)


def _columns(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Slice and label columns, each with its values, the most frequent first, and how many are not shown."""
    entries = summary["balance"] or [
        {"column": column, "kind": "slice", "value": value, "rows": count}
        for column, values in summary["slices"].items()
        for value, count in values.items()
    ]
    grouped = groupby(entries, key=lambda entry: (entry["column"], entry["kind"]))
    columns = [{"name": name, "kind": kind, "values": list(values)} for (name, kind), values in grouped]
    return [
        {**column, "values": column["values"][:_MOST_VALUES], "more": column["values"][_MOST_VALUES:]}
        for column in columns
    ]


def _bars(histogram: Sequence[dict[str, int]]) -> list[dict[str, float]]:
    """Geometry of the histogram: one bar a bin, the fullest as high as the plot."""
    most = max((bin_["count"] for bin_ in histogram), default=1)
    step = _WIDTH / max(len(histogram), 1)
    return [
        {
            **bin_,
            "x": round(index * step + 1, 1),
            "width": round(step - 2, 1),
            "height": round(_HEIGHT * bin_["count"] / most, 1),
            "y": round(_HEIGHT - _HEIGHT * bin_["count"] / most, 1),
        }
        for index, bin_ in enumerate(histogram)
    ]
