"""The judge's part of a report: its verdicts, how far people agree, and what its errors leave of them."""

from dataclasses import dataclass
from typing import Any

from kit.report.axes import AxisRow, axis_rows
from kit.report.formatting import (
    JOIN,
    NONE,
    BothSystems,
    both_systems,
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
_REASONS_SHOWN = 10
_CRITERION_VERDICTS = ["met", "not met", "unparsable"]
_NOT_JUDGED = "not judged: invalid"


@dataclass(frozen=True)
class FaultRow(BothSystems):
    """The share of faulty answers, or the points earned, as the judge says or corrected for its errors."""

    label: str
    how: str
    n: str
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
class RubricsCard:
    """What the judge says of the criteria of rows' own rubrics."""

    sentence: str
    uncalibrated: str
    """As of the whole card: of labelled criteria."""
    status: str
    verdicts: list[str]
    points: list[FaultRow]
    """The points that answers earn, as the judge says and corrected for its errors."""
    counts: list[tuple[str, list[str]]]
    repeated: str
    reasons: list[tuple[str, str, str]]
    """The commonest criteria missed and faults, with the number of answers of base and of tuned."""
    axes: list[AxisRow]
    """The points that answers earn by the axis of the criteria, as the judge says."""
    agreement: list[AgreementRow]
    agreement_note: str
    matrices: list[Matrix]


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
    rubrics: RubricsCard | None
    """None where it was not asked about criteria of rows' rubrics."""


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
        status=_status(calibration),
        rubric=_rubric(judge["rubric"]),
        faults=_fault_rows(judge, calibrated),
        grades=_grades(judge),
        verdicts=[*verdicts, _NOT_JUDGED],
        counts=[(system, _counts(judge["verdicts"][system], verdicts)) for system in SYSTEMS],
        repeated=_repeated(judge["verdicts"]),
        pairwise=_pairwise(judge["pairwise"]),
        agreement=[_agreement_row(part) for part in calibration["parts"][:_SLICES_SHOWN]],
        agreement_note=_note(calibration),
        matrices=[
            _matrix(part, verdicts) for part in calibration["parts"] if part["column"] in ("all", "system")
        ],
        rubrics=_rubrics_card(judge["rubrics"]) if judge.get("rubrics") else None,
    )


def _rubrics_card(found: Json) -> RubricsCard:
    calibration, metric, rows = found["calibration"], found["metric"], []
    if metric:
        how = (
            "Points of the criteria met by all points above 0, the mean held within 0 and 1. Invalid answers "
            "earn nothing; prompts with a reply that could not be read are left out."
        )
        rows.append(_fault_row("As the judge says", how, metric, ""))
    if entry := found["corrected"]["entry"]:
        how = "Its errors, as people's labels of criteria show them for each system, are taken out."
        rows.append(_fault_row("Corrected for its errors", how, entry, entry["verdict"]))
    given = metric["details"] if metric else {system: {} for system in SYSTEMS}
    reasons = {**given["base"], **given["tuned"]}
    ranked = sorted(reasons, key=lambda one: -sum(given[system].get(one, 0) for system in SYSTEMS))
    return RubricsCard(
        sentence=(
            f"Of {plural(found['prompts'], 'prompt')} whose row has a rubric of its own, the judge said of "
            "each criterion whether the answer meets it. It was not told the points. No gate looks at these "
            "figures."
        ),
        uncalibrated=_sentence(found["corrected"]["why"]),
        status=_status(calibration),
        verdicts=[*_CRITERION_VERDICTS, _NOT_JUDGED],
        points=rows,
        counts=[(system, _counts(found["verdicts"][system], _CRITERION_VERDICTS)) for system in SYSTEMS],
        repeated=_repeated(found["verdicts"]),
        reasons=[
            (one, *(count(given[system].get(one, 0)) for system in SYSTEMS))
            for one in ranked[:_REASONS_SHOWN]
        ],
        axes=axis_rows(metric or {}),
        agreement=[_agreement_row(part) for part in calibration["parts"][:_SLICES_SHOWN]],
        agreement_note=_note(calibration, of_criteria=True),
        matrices=[
            _matrix(part, _CRITERION_VERDICTS)
            for part in calibration["parts"]
            if part["column"] in ("all", "system")
        ],
    )


def _status(calibration: Json) -> str:
    return "Judge cannot be corrected" if calibration["status"] == "calibrated" else "Judge not calibrated"


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
    reduction, unit = metric["reduction"], metric["kind"]
    fewer = ""
    if reduction:
        least = "at least " if reduction["at_least"] else ""
        fewer = f"Reduction {least}{estimate(reduction, 'rate')}"
    return FaultRow(
        label=label,
        how=how,
        n=count(metric["n"]),
        **both_systems(metric, unit),
        relative=fewer,
        p=p_value(metric["difference"]["p_value"]),
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


def _note(calibration: Json, of_criteria: bool = False) -> str:
    labelled = calibration["labelled"]
    if not labelled["n"]:
        return ""
    left_out, n = labelled["left_out"], labelled["n"]
    given = f"gave {plural(n, 'label')} of criteria" if of_criteria else f"labelled {plural(n, 'answer')}"
    more = f" Left out: {plural(left_out, 'label')} of answers that are invalid or not in this evaluation."
    return (
        f"People {given}, {count(labelled['base'])} of base and "
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
