"""All systems of a comparison on one page: what became of each, and every metric against the reference."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.config.schema import Config
from kit.evaluate.naming import names_of
from kit.report import scores
from kit.report.formatting import count, quantity
from kit.report.gather import power
from kit.report.html import mark, render
from kit.report.markdown import bullets, code, escape, table
from kit.report.read import Json
from kit.report.view import ScoreRow, Verdict

_FIGURES = (
    "name",
    "label",
    "kind",
    "higher_is_better",
    "decoding",
    "n",
    "base",
    "tuned",
    "difference",
    "verdict",
)
"""What the table of all takes from a pair's `metrics` entry."""


@dataclass(frozen=True)
class PairRow:
    """One system held against the reference: what its own report says, and where it lies."""

    system: str
    folder: str
    verdict: Verdict


@dataclass(frozen=True)
class FamilyRow:
    """One system on one metric, against the reference on the prompts that both were scored on."""

    system: str
    scores: ScoreRow


@dataclass(frozen=True)
class FamilyTable:
    """All systems on all metrics under one decoding, metric by metric."""

    decoding: str
    caption: str
    rows: list[FamilyRow]


@dataclass(frozen=True)
class Overview:
    """Everything that the page of several systems shows; texts are raw, each face escapes them."""

    title: str
    reference: str
    kit_version: str
    evaluation: str
    prompts: str
    confidence: str
    power: str
    notices: list[str]
    verdict: Verdict
    pairs: list[PairRow]
    tables: list[FamilyTable]
    unscored: list[str]
    hashes: list[tuple[str, str]]


def build_overview(
    config: Config,
    family: Sequence[Json],
    files: dict[str, str],
    folders: Sequence[str],
    verdicts: Sequence[Verdict],
    overall: Verdict,
) -> Overview:
    """The overview of pairs that were scored, judged and written.

    Args:
        family: the scores of every pair.
        files: system -> the sha256 of its answers' file.
        folders: where each pair's report lies.
    """
    first = family[0]
    names = [names_of(found).tuned for found in family]
    notices = dict.fromkeys(notice for found in family for notice in found["notices"])
    unscored = dict.fromkeys(line for found in family for line in scores.unscored(found))
    return Overview(
        title=f"{count(len(family))} systems against {names_of(first).base}",
        reference=names_of(first).base,
        kit_version=first["kit_version"],
        evaluation=", ".join(found["evaluation"] for found in family),
        prompts=count(first["prompts"]),
        confidence=quantity(config.evaluate.confidence, "rate").replace(".0%", "%"),
        power=power(first),
        notices=list(notices),
        verdict=overall,
        pairs=[PairRow(*row) for row in zip(names, folders, verdicts, strict=True)],
        tables=_tables(family),
        unscored=list(unscored),
        hashes=list(files.items()),
    )


def _tables(family: Sequence[Json]) -> list[FamilyTable]:
    """The pairs' tables laid together: all systems on the first metric, then on the second."""
    rows: dict[tuple[str, str], dict[str, list[FamilyRow]]] = {}
    for found in family:
        for part in scores.score_tables(found):
            metrics = rows.setdefault((part.decoding, part.caption), {})
            for row in part.rows:
                metrics.setdefault(row.name, []).append(FamilyRow(names_of(found).tuned, row))
    return [
        FamilyTable(decoding, caption, [row for found in metrics.values() for row in found])
        for (decoding, caption), metrics in rows.items()
    ]


def overview_page(view: Overview) -> str:
    """The overview as one HTML document, linking to the pairs' own reports."""
    return render("overview.html.j2", {}, view=view, holm=HOLM)


def overview_json(view: Overview, family: Sequence[Json]) -> Json:
    """The contents of `report.json` above the pairs' folders."""
    return {
        "schema": family[0]["schema"],
        "kit_version": view.kit_version,
        "reference": view.reference,
        "prompts": family[0]["prompts"],
        "confidence": family[0]["confidence"],
        "left_out": family[0]["left_out"],
        "files": dict(view.hashes),
        "pairs": [
            {
                "system": pair.system,
                "folder": pair.folder,
                "verdict": asdict(pair.verdict),
                "metrics": [_figures(entry) for entry in found["metrics"]],
            }
            for pair, found in zip(view.pairs, family, strict=True)
        ],
        "verdict": asdict(view.verdict),
    }


def _figures(entry: Json) -> dict[str, Any]:
    return {key: entry[key] for key in _FIGURES}


def overview_markdown(view: Overview) -> str:
    """The overview as GitHub-flavoured Markdown."""
    verdict = view.verdict
    parts = [
        f"# {mark(verdict.status)} {escape(verdict.status.capitalize())}: {escape(view.title)}",
        *(f"> **Read this first.** {escape(notice)}" for notice in view.notices),
        f"{escape(verdict.sentence)} Exit code {verdict.exit_code}.",
        "## Systems",
        table(["system", "result", "why", "report"], [_pair_cells(pair) for pair in view.pairs]),
    ]
    for part in view.tables:
        parts += [f"## Scores, {part.decoding}", table(_columns(view), [_cells(row) for row in part.rows])]
    if view.unscored:
        parts += ["Not scored:", bullets(view.unscored)]
    parts += ["## Limits", bullets([HOLM, view.power])]
    parts += ["## Hashes", table(["answers of", "sha256"], [[escape(n), code(h)] for n, h in view.hashes])]
    parts.append(f"casekit {escape(view.kit_version)}, {code(view.evaluation)}")
    return "\n\n".join(parts) + "\n"


HOLM = (
    "Every system is held against the reference on the prompts that all of them answered. Each metric is "
    "tested once a system, so p is corrected over the systems (Holm); intervals are each system's own."
)
"""How to read the table of all."""


def _pair_cells(pair: PairRow) -> list[str]:
    status = f"{mark(pair.verdict.status)} {pair.verdict.status}"
    return [escape(pair.system), status, escape(pair.verdict.sentence), code(f"{pair.folder}/report.md")]


def _columns(view: Overview) -> list[str]:
    return ["metric", "system", ">n", f">{escape(view.reference)}", ">system", ">difference", ">p", "verdict"]


def _cells(row: FamilyRow) -> list[str]:
    found = row.scores
    return [
        f"{escape(found.label)} ({found.better})",
        escape(row.system),
        found.n,
        f"{found.base} {found.base_interval}",
        f"{found.tuned} {found.tuned_interval}",
        f"{found.difference} {found.difference_interval}",
        escape(found.p),
        f"{mark(found.verdict)} {found.verdict}",
    ]
