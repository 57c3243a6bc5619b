"""The report as Markdown for a pull request: the same order as the page, shorter.

Text from data and models stands in code spans, where no link, mention, image or HTML can act.
"""

import re
from collections.abc import Sequence

from kit.evaluate.naming import Names
from kit.report.axes import axes_markdown
from kit.report.formatting import shortened, signature, visible
from kit.report.html import mark
from kit.report.speed_markdown import labour_cost, response_time
from kit.report.trust_markdown import calibration_parts, judge_parts
from kit.report.turns import turns_markdown
from kit.report.validity_markdown import baselines, leaks
from kit.report.view import ScoreGroup, ScoreTable, SliceRow, View
from kit.report.view_evidence import Side, Transcript
from kit.report.view_origin import DataCard, Training
from kit.report.worst_markdown import worst_parts

_REGRESSIONS = 3
_MISSES = 10
_QUOTED = 300
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&!$])")  # a dollar sign would begin mathematics on GitHub


def markdown(view: View) -> str:
    """The report as GitHub-flavoured Markdown."""
    parts = [*_head(view), *_gates(view), *_baseline(view), *_claims(view), *_changes(view)]
    for scores in view.scores:
        parts += _scores(scores, view.names)
    for axes in view.axes:
        parts.append(f"### {escape(axes.label)}: points by axis, not tested")
        parts += axes_markdown(axes.rows, [escape(view.names.base), escape(view.names.tuned)], escape, table)
    parts += ["Not scored:", bullets(view.unscored)] if view.unscored else []
    parts += baselines(view, escape, table)
    parts += _harm(view)
    parts += worst_parts(view.worst, view.names, escape, table)
    parts += _seeds(view)
    parts += _pairs(view)
    parts += _slices(view.worst_slices, view.names)
    parts += turns_markdown(view.slices, view.names, escape, table)
    parts += _regressions(view)
    parts += _misses(view)
    parts += _validity(view)
    parts += leaks(view, escape, code, table)
    parts += judge_parts(view.judge, escape, table)
    parts += calibration_parts(view.calibration, escape, table)
    parts += _reviews(view)
    parts += _general(view)
    parts += _provenance(view)
    parts += ["## Limits", bullets(view.limits)]
    if view.not_for:
        parts += ["Not for:", bullets(view.not_for)]
    what = "evaluation" if view.run else "comparison"
    parts.append(f"casekit {escape(view.kit_version)}, {what} {code(view.evaluation)}")
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """`text` on one line with everything that Markdown or HTML would act on made plain."""
    flat = " ".join(visible(text).split())
    plain = _SPECIAL.sub(r"\\\1", flat).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")
    return plain.replace("@", "@\u200b").replace("://", ":\u200b//").replace("www.", "www\u200b.")


def code(text: str) -> str:
    """`text` on one line in a code span whose fence is longer than any run of backticks in it.

    A vertical bar is escaped as tables demand even inside code.
    """
    flat = " ".join(visible(text).split()).replace("|", "\\|") or " "
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a column whose name begins with `>` is aligned right. Cells come escaped."""
    names = [name.removeprefix(">") for name in columns]
    rule = ["---:" if name.startswith(">") else "---" for name in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [names, rule, *rows])


def bullets(lines: Sequence[str]) -> str:
    """A list; its lines are escaped here."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def _head(view: View) -> list[str]:
    verdict = view.verdict
    head = [
        f"# {mark(verdict.status)} {escape(verdict.status.capitalize())}: {escape(view.title)}",
        *(f"> **Read this first.** {escape(notice)}" for notice in view.notices),
        f"{escape(verdict.sentence)} Exit code {verdict.exit_code}.",
        _signed(view),
    ]
    if view.conditions.mismatches:
        head += ["The systems were asked under different conditions:", bullets(view.conditions.mismatches)]
    return head


def _signed(view: View) -> str:
    """What somebody who signs the report signs."""
    what = "Evaluation" if view.run else "Comparison"
    of = f", {escape(view.evaluated)}" if view.evaluated else ""
    return f"{what} {code(view.evaluation)}{of}."


def _gates(view: View) -> list[str]:
    if not view.gates:
        said = "No gates are set: nothing says which scores would do."
        return ["## Gates", said, *_beside_gates(view)]
    rows = [
        [
            f"{escape(gate.name)}<br>{escape(gate.asks)}{f': {escape(gate.slice)}' if gate.slice else ''}"
            f"{f'<br>**{escape(gate.why)}**' if gate.why else ''}"
            f"{f'<br>Why this threshold: {escape(gate.because)}' if gate.because else ''}",
            gate.wanted,
            f"{gate.found} {gate.found_interval}".strip(),
            f"{gate.n} in {gate.groups}" if gate.groups else gate.n,
            f"{mark(gate.status)} {gate.status}",
        ]
        for gate in view.gates
    ]
    return ["## Gates", table(["gate", ">asks", ">found", ">prompts", "result"], rows), *_beside_gates(view)]


def _beside_gates(view: View) -> list[str]:
    """The recipe's gates that the project dropped, and the verdicts given before."""
    parts = []
    if view.dropped_gates:
        said = [f"{gate.name}: {gate.asks} {gate.wanted}, {gate.now}" for gate in view.dropped_gates]
        parts += ["Gates of the recipe that this project does not set as the recipe does:", bullets(said)]
    if view.earlier:
        lines = []
        for verdict in view.earlier:
            told = f"{verdict.status} (exit code {verdict.exit_code}), by {verdict.changed}: "
            lines.append(f"- {escape(told + verdict.sentence)} Gates then:")
            lines += [f"  - {escape(gate)}" for gate in verdict.gates]
        parts += ["This evaluation was judged before:", "\n".join(lines)]
    return parts


def _baseline(view: View) -> list[str]:
    found = view.baseline
    if found is None:
        return []
    rows = [
        [
            f"{escape(row.label)} ({row.better}; {row.tolerance})"
            f"{f'<br>{escape(row.why)}' if row.why else ''}",
            row.n,
            row.then,
            row.now,
            f"{row.difference} {row.difference_interval}".strip(),
            f"{mark(row.status)} {row.status}",
        ]
        for row in found.rows
    ]
    columns = ["metric", ">on", ">released", ">now", ">change", "result"]
    said = f"{escape(found.sentence)} Paired by prompt: {escape(found.prompts)}."
    if found.conditions:
        said += f" Not asked alike: {escape(', '.join(found.conditions))}."
    return ["## Against the last release", said, table(columns, rows)]


def _reviews(view: View) -> list[str]:
    if view.reviews is None or not view.reviews.counts:
        return []
    rows = [
        [
            f"{code(row.prompt)} {code(row.id)}",
            escape(row.mark.answer),
            f"{row.mark.verdict}{', answer changed since' if row.mark.changed else ''}",
            escape(f"{row.mark.reviewer}, {row.mark.date}"),
            escape(row.mark.note),
        ]
        for row in view.reviews.rows
    ]
    parts = ["## Reviews", bullets([f"{name}: {value}" for name, value in view.reviews.counts])]
    return [*parts, table(["prompt", "answer", "verdict", "by", "note"], rows)] if rows else parts


def _claims(view: View) -> list[str]:
    if not view.claims:
        return []
    rows = [
        [
            f"{escape(claim.name)}{f'<br>{escape(claim.definition)}' if claim.definition else ''}",
            f"{claim.claimed} {claim.margin}".strip(),
            f"{claim.found} {claim.found_interval}".strip(),
            f"{mark(claim.status)} {claim.status}",
            escape(claim.why),
        ]
        for claim in view.claims
    ]
    return ["## Claims", table(["claim", ">claimed", ">found here", "result", "why"], rows)]


def _changes(view: View) -> list[str]:
    lines = [
        f"- **{change.verdict}** {escape(change.label)}. {escape(change.sentence)}" for change in view.changes
    ]
    return ["## What changed", "\n".join(lines) or "Nothing was measured."]


def _scores(scores: ScoreTable, names: Names) -> list[str]:
    tables = [part for group in scores.groups for part in _score_group(group, names)]
    return [f"## Scores, {scores.decoding}", *tables]


def _score_group(group: ScoreGroup, names: Names) -> list[str]:
    rows = [
        [
            f"{escape(row.label)} ({row.better})",
            row.n,
            f"{row.base} {row.base_interval}",
            f"{row.tuned} {row.tuned_interval}",
            f"{row.difference} {row.difference_interval}",
            escape(row.p),
            f"{mark(row.verdict)} {row.verdict}",
        ]
        for row in group.rows
    ]
    columns = ["metric", ">n", *_systems(names), ">difference", ">p", "verdict"]
    return [f"### {group.title}", table(columns, rows)]


def _harm(view: View) -> list[str]:
    if not view.harm:
        return []
    rows = [[escape(row.level), escape(row.metric), row.base, row.tuned] for row in view.harm]
    told = 'Answers by the worst rule they break; "none" means that no rule saw any.'
    return ["## Harm", told, table(["harm", "metric", *_systems(view.names)], rows)]


def _systems(names: Names) -> list[str]:
    """The heads of two columns of numbers, one a system."""
    return [f">{escape(name)}" for name in (names.base, names.tuned)]


def _seeds(view: View) -> list[str]:
    if not view.seed_rows:
        return []
    rows = [
        [
            escape(row.label),
            row.tuned,
            f"{row.difference} {row.difference_interval}",
            row.by_prompts,
            row.by_seeds,
        ]
        for row in view.seed_rows
    ]
    columns = ["metric", ">tuned, by run", ">difference", ">error by prompts", ">error by seeds"]
    return ["## Training seeds", escape(view.seeds_note), table(columns, rows)]


def _pairs(view: View) -> list[str]:
    if not view.pairs:
        return []
    lines = [
        f"- {mark(pair.status)} **{pair.status}** {escape(pair.sentence)} {escape(pair.margin)}"
        for pair in view.pairs
    ]
    return ["## Safety from both sides", "\n".join(lines)]


def _slices(slices: Sequence[SliceRow], names: Names) -> list[str]:
    if not slices:
        return []
    rows = [
        [
            f"{escape(row.column)}: {escape(row.value)}",
            escape(row.metric),
            row.n,
            row.base,
            f"{row.tuned} {row.tuned_interval}",
            f"{row.difference} {row.difference_interval}",
            escape(row.q),
            row.verdict,
        ]
        for row in slices
    ]
    columns = ["slice", "metric", ">n", *_systems(names), ">difference", ">q", "verdict"]
    return ["## Slices, worst first", table(columns, rows)]


def _regressions(view: View) -> list[str]:
    found = view.transcripts
    shown = found.regressions[:_REGRESSIONS]
    if not shown:
        return ["## Worst regressions", escape(found.regressions_note)]
    said = f"{escape(found.regressions_note.partition('. ')[0])}. The worst {len(shown)}:"
    return ["## Worst regressions", said, "\n".join(_transcript(entry, view.names) for entry in shown)]


def _transcript(entry: Transcript, names: Names) -> str:
    prompt = shortened(entry.prompt or entry.heading, _QUOTED)[0]
    lines = [f"- {code(prompt)} ({escape(entry.changed)})"]
    sides = (entry.base, entry.tuned)
    lines += [f"  - {escape(names.of(side.system))}: {_answer(side)}" for side in sides]
    return "\n".join(lines)


def _misses(view: View) -> list[str]:
    """How many there are, and the first of them; all stand on the page."""
    found = view.misses
    lines = [
        f"- {code(shortened(miss.heading, _QUOTED)[0])} ({miss.decoding}, {escape(miss.base)}): "
        f"{', '.join(code(reason) for reason in miss.reasons)}"
        for miss in found.shown[:_MISSES]
    ]
    more = len(found.shown) + len(found.listed) - len(lines)
    said = f"{found.note} The first {len(lines)} are below, all in report.html." if more else found.note
    return ["## Safety misses", escape(said), *(["\n".join(lines)] if lines else [])]


def _answer(side: Side) -> str:
    text, left_out = shortened(side.output, _QUOTED)
    more = " …" if left_out or side.left_out else ""
    invalid = f" invalid: {escape(side.invalid)}" if side.invalid else ""
    reasons = [reason for mark_ in side.marks for reason in mark_.reasons]
    why = f" failed: {', '.join(code(reason) for reason in reasons)}" if reasons else ""
    return f"{code(text or '(empty)')}{more}{invalid}{why}"


def _validity(view: View) -> list[str]:
    if not view.validity:
        return []
    rows = [[escape(v.system), v.decoding, v.n, v.invalid, v.share, escape(v.reasons)] for v in view.validity]
    return ["## Validity", table(["system", "decoding", ">answers", ">invalid", ">share", "why"], rows)]


def _general(view: View) -> list[str]:
    rows = [
        [
            f"{escape(row.set)}<br>{escape(row.label)}",
            row.n,
            row.base,
            f"{row.tuned} {row.tuned_interval}",
            f"{row.difference} {row.difference_interval}",
            f"{mark(row.kept)} {row.kept}",
        ]
        for row in view.general
    ]
    columns = ["set and metric", ">prompts", ">base", ">tuned", ">difference", "result"]
    parts = ["## Outside the case", table(columns, rows)] if rows else []
    return [*parts, bullets(view.general_unscored)] if view.general_unscored else parts


def _data(card: DataCard | None) -> list[str]:
    if card is None:
        return []
    sources = [
        f"{source.name}: {source.rows} rows, {'synthetic, ' if source.synthetic else ''}"
        f"sha256 {signature(source.sha256)}"
        for source in card.sources
    ]
    facts = [f"{name}: {value}" for name, value in card.facts]
    learned = [f"{name}: {value}" for name, value in card.mask.facts]
    parts = ["## Data", bullets([*sources, *facts]), escape(card.mask.note)]
    return [*parts, bullets(learned)] if learned else parts


def _training(training: Training | None) -> list[str]:
    if training is None:
        return []
    parts = ["## Training"]
    for stage in training.stages:
        facts = [f"{name}: {value}" for name, value in (*stage.facts, *stage.settings)]
        parts += [f"### {stage.title}"] if stage.title else []
        parts.append(bullets([*facts, *stage.findings]))
    return parts


def _provenance(view: View) -> list[str]:
    parts = [*_data(view.data), *_training(view.training)]
    parts += [*response_time(view, escape, table, bullets), *labour_cost(view, escape, table)]
    hashes = [[escape(name), code(value)] for name, value in view.conditions.hashes]
    return [*parts, "## Hashes", table(["what", "value"], hashes)]
