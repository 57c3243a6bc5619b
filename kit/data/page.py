"""`data.html`: what the data is, what was turned away and why, in one file that needs no network."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.schema import Config
from kit.data.rows import Row, is_document
from kit.data.show import Piece, pieces, title
from kit.data.spread import Shown
from kit.files import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_VALUES = 20  # of a column; all are in data.json
_MOST_UNITS, _MOST_SAMPLES = 1000, 4  # shown of a row; so 16 rows of 100,000 tokens are some 500 kB
_WIDTH, _HEIGHT = 640, 120  # of the histogram's bars, in SVG units


def write_page(
    path: Path,
    summary: dict[str, Any],
    rows: Sequence[Shown],
    tokenizer: "PreTrainedTokenizerBase",
    config: Config,
) -> None:
    """Write the page for people; all text of the data is escaped.

    Args:
        path: where to.
        summary: the contents of `data.json`.
        rows: some training rows, shown token by token, very long ones without their middle.
        tokenizer: the one the rows were prepared for.
        config: the settings that they were prepared by.
    """
    from kit.pages import page_environment

    environment = page_environment(Path(__file__).parent / "templates")
    checks = summary["checks"]
    text = environment.get_template("data.html.j2").render(
        summary=summary,
        synthetic=sum(source["rows"] for source in summary["sources"] if source["synthetic"]),
        found=[check for check in checks if check["count"]],
        passed=[check for check in checks if not check["count"] and check["severity"] != "off"],
        off=[check["name"] for check in checks if check["severity"] == "off"],
        columns=_columns(summary),
        documents=any(is_document(row.messages) for _, row in rows),
        bars=_bars(summary["tokens"]["histogram"]),
        rows=[_row(why, row, pieces(row, tokenizer, config)) for why, row in rows],
    )
    write_text(path, text)


def _row(why: str, row: Row, samples: Sequence[Sequence[Piece]]) -> dict[str, Any]:
    shown = samples[:_MOST_SAMPLES]
    return {
        "why": why,
        "where": row.where,
        "id": row.id,
        "label": row.label,
        "samples": [
            {"title": title(row, number, len(samples)), **_sample(sample, _MOST_UNITS // len(shown))}
            for number, sample in enumerate(shown, start=1)
        ],
        "more": len(samples) - len(shown),
    }


def _sample(sample: Sequence[Piece], most: int) -> dict[str, Any]:
    """A sample token by token; of a long one the beginning and the end."""
    units = [(unit, piece.trained) for piece in sample for unit in piece.units]
    left_out = max(len(units) - most, 0)
    parts = [units[: most // 2], units[most // 2 + left_out :]] if left_out else [units]
    return {
        "parts": [_runs(part) for part in parts],
        "left_out": left_out,
        "tokens": sum(piece.tokens for piece in sample),
        "trained": sum(piece.tokens for piece in sample if piece.trained),
    }


def _runs(units: Sequence[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Tokens in runs with and without loss."""
    return [
        {"units": [unit for unit, _ in run], "trained": trained}
        for trained, run in groupby(units, key=lambda unit: unit[1])
    ]


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
