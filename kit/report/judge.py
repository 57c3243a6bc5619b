"""The judge's part of a report: its verdicts, how far people agree, and what its errors leave of them."""

from dataclasses import dataclass
from typing import Any

from kit.report.formatting import (
    JOIN,
    NONE,
    count,
    difference,
    estimate,
    interval,
    number,
    p_value,
    plural,
    quantity,
)
from kit.report.read import Json

SYSTEMS = ("base", "tuned")
_SLICES_SHOWN = 30


@dataclass(frozen=True)
class FaultRow:
    """The share of faulty answers, as the judge says or corrected for its errors."""

    label: str
    how: str
    n: str
    base: str
    base_interval: str
    tuned: str
    tuned_interval: str
    difference: str
    difference_interval: str
    relative: str
    """How many fewer faults, with its interval; empty where it is not known."""
    p: str
    verdict: str


@dataclass(frozen=True)
class AgreementRow:
    """The judge beside people, over some labelled answers."""

    part: str
    n: str
    agreement: str
    kappa: str
    kappa_interval: str
    sensitivity: str
    sensitivity_interval: str
    specificity: str
    specificity_interval: str


@dataclass(frozen=True)
class Matrix:
    """How often each label of people met each verdict of the judge."""

    title: str
    verdicts: list[str]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class JudgeCard:
    """Everything the report says of the judge."""

    sentence: str
    uncalibrated: str
    """Why the judge is not calibrated, or cannot be corrected; empty where it is and can."""
    status: str
    """What stands in red then: `Judge not calibrated`."""
    rubric: list[tuple[str, str]]
    faults: list[FaultRow]
    grades: str
    verdicts: list[str]
    """The verdicts there are, as the columns of `counts`."""
    counts: list[tuple[str, list[str]]]
    """For each system how often each was given."""
    repeated: str
    """How often a verdict changed when it was asked for again; empty where it was asked for once."""
    pairwise: str
    agreement: list[AgreementRow]
    agreement_note: str
    matrices: list[Matrix]


def judge_card(found: Json) -> JudgeCard | None:
    """The card of `scores.json`'s `judge`; None where none was asked."""
    judge = found.get("judge")
    if not judge:
        return None
    calibration, verdicts = judge["calibration"], [*judge["rubric"]["verdicts"], "unparsable"]
    calibrated = calibration["status"] == "calibrated"
    local = judge["where"] == "this machine"
    where = "on this machine" if local else f"at {judge['where']}, where prompts and answers were sent"
    return JudgeCard(
        sentence=f"{judge['model']}, {where}, judged every valid greedy answer by the rubric below.",
        uncalibrated=_sentence(judge["corrected"]["why"]),
        status="Judge not calibrated" if not calibrated else "Judge cannot be corrected",
        rubric=_rubric(judge["rubric"]),
        faults=_fault_rows(judge, calibrated),
        grades=_grades(judge),
        verdicts=[*verdicts, "not judged: invalid"],
        counts=[(system, _counts(judge["verdicts"][system], verdicts)) for system in SYSTEMS],
        repeated=_repeated(judge["verdicts"]),
        pairwise=_pairwise(judge["pairwise"]),
        agreement=[_agreement_row(part) for part in calibration["parts"][:_SLICES_SHOWN]],
        agreement_note=_note(calibration),
        matrices=[
            _matrix(part, verdicts) for part in calibration["parts"] if part["column"] in ("all", "system")
        ],
    )


def judge_metric(found: Json) -> Json | None:
    """What gates on the judge look at, for its name and unit: the corrected figures, else those it says."""
    judge = found.get("judge") or {}
    metric: Json | None = (judge.get("corrected") or {}).get("entry") or judge.get("metric")
    return metric


def _rubric(rubric: Json) -> list[tuple[str, str]]:
    rows = [("Question", rubric["question"]), *(("Criterion", line) for line in rubric["criteria"])]
    if rubric["scale"]:
        low, high = rubric["scale"]
        return [*rows, ("Grades", f"{low} to {high}"), ("No fault", f"{rubric['good_from']} or higher")]
    return [*rows, ("Verdicts", ", ".join(rubric["labels"])), ("No fault", ", ".join(rubric["good"]))]


def _fault_rows(judge: Json, calibrated: bool) -> list[FaultRow]:
    rows = []
    if judge["metric"]:
        how = "Invalid answers are faults; prompts with a reply that could not be read are left out."
        rows.append(_fault_row("As the judge says", how, judge["metric"], ""))
    if entry := judge["corrected"]["entry"]:
        how = "Its errors, as people's labels show them for each system, are taken out (Rogan and Gladen)."
        rows.append(_fault_row("Corrected for its errors", how, entry, entry["verdict"]))
    return rows


def _fault_row(label: str, how: str, metric: Json, verdict: str) -> FaultRow:
    base, tuned, gap = metric["base"], metric["tuned"], metric["difference"]
    reduction = metric["reduction"]
    fewer = ""
    if reduction:
        least = "at least " if reduction["at_least"] else ""
        fewer = f"Reduction {least}{estimate(reduction, 'rate')}"
    return FaultRow(
        label=label,
        how=how,
        n=count(metric["n"]),
        base=quantity(base["estimate"], "rate"),
        base_interval=interval(base["low"], base["high"], "rate"),
        tuned=quantity(tuned["estimate"], "rate"),
        tuned_interval=interval(tuned["low"], tuned["high"], "rate"),
        difference=difference(gap["estimate"], "rate"),
        difference_interval=interval(gap["low"], gap["high"], "rate"),
        relative=fewer,
        p=p_value(gap["p_value"]),
        verdict=verdict,
    )


def _grades(judge: Json) -> str:
    grades = judge["grades"]
    if not grades:
        return ""
    gap = grades["difference"]
    return (
        f"Mean grade of base {estimate(grades['base'], 'score')}, "
        f"of tuned {estimate(grades['tuned'], 'score')}: "
        f"{difference(gap['estimate'], 'score')} {interval(gap['low'], gap['high'], 'score')}, "
        f"{p_value(gap['p_value'])}."
    )


def _counts(given: Json, verdicts: list[str]) -> list[str]:
    return [*(count(given["counts"][name]) for name in verdicts), count(given["invalid"])]


def _repeated(verdicts: Json) -> str:
    if not any(verdicts[system]["repeated"] for system in SYSTEMS):
        return ""
    told = []
    for system in SYSTEMS:
        changed, asked = verdicts[system]["changed"], verdicts[system]["repeated"]
        told.append(f"{count(changed)} of {plural(asked, 'answer')} of {system}")
    return f"Asked again about the same answer, the judge changed its verdict on {' and '.join(told)}."


def _pairwise(pairs: Json | None) -> str:
    """Who was preferred, in sentences."""
    if pairs is None:
        return ""
    text = (
        f"Of {plural(pairs['n'], 'pair')} the judge preferred tuned in {count(pairs['tuned'])} and base in "
        f"{count(pairs['base'])}; {count(pairs['tie'])} were ties. Each pair was asked about in both orders "
        f"({count(pairs['asked'])} pairs; the others were equal, or validity decided): in "
        f"{count(pairs['changed_with_order'])} the preference changed with the order, which counts as a tie; "
        f"in {count(pairs['unparsable'])} a reply could not be read. The answer shown first was preferred "
        f"{count(pairs['first_preferred'])} times, the second {count(pairs['second_preferred'])} times."
    )
    compared = pairs["compared"]
    if compared is None:
        return text
    gap = compared["difference"]
    shown = {"improved": "tuned is preferred", "worse": "base is preferred"}.get(
        compared["verdict"], "not shown"
    )
    return (
        f"{text} Preferred more often: {shown} ({difference(gap['estimate'], 'rate')} "
        f"{interval(gap['low'], gap['high'], 'rate')}, {p_value(gap['p_value'])}). Preferences are held to "
        "no labels: no gate looks at them."
    )


def _agreement_row(part: Json) -> AgreementRow:
    kappa, seen, passed = part["kappa"], part["sensitivity"], part["specificity"]
    name = "all labelled answers" if part["column"] == "all" else f"{part['column']}: {part['value']}"
    return AgreementRow(
        part=name,
        n=count(part["n"]),
        agreement=quantity(part["agreement"], "rate"),
        kappa=number(kappa["estimate"], 2),
        kappa_interval=_bare(kappa),
        sensitivity=quantity(seen["estimate"], "rate") if seen else NONE,
        sensitivity_interval=_span(seen),
        specificity=quantity(passed["estimate"], "rate") if passed else NONE,
        specificity_interval=_span(passed),
    )


def _span(share: dict[str, Any] | None) -> str:
    return interval(share["low"], share["high"], "rate") if share else ""


def _bare(kappa: dict[str, Any]) -> str:
    if kappa["low"] is None:
        return str(kappa["method"])
    return f"[{number(kappa['low'], 2)},{JOIN}{number(kappa['high'], 2)}]"


def _note(calibration: Json) -> str:
    labelled = calibration["labelled"]
    if not labelled["n"]:
        return ""
    left_out = labelled["left_out"]
    more = f" Left out: {plural(left_out, 'label')} of answers that are invalid or not in this evaluation."
    return (
        f"People labelled {plural(labelled['n'], 'answer')}, {count(labelled['base'])} of base and "
        f"{count(labelled['tuned'])} of tuned.{more if left_out else ''} Kappa is agreement beyond chance. "
        "An error that is not the same for both systems does not cancel in their difference."
    )


def _matrix(part: Json, verdicts: list[str]) -> Matrix:
    title = "All labelled answers" if part["column"] == "all" else f"Answers of {part['value']}"
    rows = [
        (label, [count(given.get(name, 0)) for name in verdicts]) for label, given in part["matrix"].items()
    ]
    return Matrix(f"{title}: people's label by row, the judge's verdict by column", verdicts, rows)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
