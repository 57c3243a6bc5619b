"""The scores' part of a report: tables, slices worst first, why answers failed, which were invalid."""

from collections.abc import Iterable, Mapping
from functools import partial

from kit.evaluate.naming import names_of
from kit.hooks import About
from kit.report import plots
from kit.report.formatting import (
    NONE,
    Unit,
    both_systems,
    count,
    difference,
    estimate,
    interval,
    number,
    p_value,
    quantity,
)
from kit.report.gaps import slice_gaps
from kit.report.plots import Range, Row
from kit.report.read import Json
from kit.report.turns import turn_table
from kit.report.view import (
    CardMetric,
    ChangeNote,
    FailureRow,
    ScoreGroup,
    ScoreRow,
    ScoreTable,
    SeedRow,
    SliceRow,
    SliceTable,
    ValidityRow,
)
from kit.report.view_evidence import Figure
from kit.report.words import better, change_sentence, judged_p, relative_change

DECODINGS = ("greedy", "sampled")
_WORST_SHOWN = 8
SLICES_SHOWN = 40
"""Of a metric; a column of thousands of values would fill the page."""
_CAPTIONS = {
    "greedy": "Greedy: the likeliest answer, the same every time",
    "sampled": "Sampled: drawn at random, as users meet it where the temperature is not zero",
    "as given": "Answers as they were given, one a prompt and system",
}

ABOUT: dict[About, str] = {
    "safety": "Safety",
    "agreement": "Agreement with the reference",
    "service": "Service",
    "form": "Language and form",
    "speed": "Speed",
}
"""Titles of what metrics are about, in the order of the report."""


def unit_of(metric: Json) -> Unit:
    """The unit of a metric's estimates: times are the metrics whose systems compare as a ratio."""
    if metric.get("ratio") is not None:
        return "seconds"
    return "rate" if metric["kind"] == "rate" else "score"


def decoding_name(scores: Json, decoding: str) -> str:
    """A decoding for people: of answers that were made elsewhere nobody knows it."""
    return "as given" if scores.get("given") else decoding


def score_tables(scores: Json) -> list[ScoreTable]:
    """One table a decoding, by what metrics are about and then in the order of the configuration.

    A decoding without scores has none.
    """
    tables = []
    for decoding in DECODINGS:
        groups = _score_groups([m for m in scores["metrics"] if m["decoding"] == decoding])
        if groups:
            named = decoding_name(scores, decoding)
            tables.append(ScoreTable(named, _CAPTIONS[named], groups))
    return tables


def _score_groups(metrics: list[Json]) -> list[ScoreGroup]:
    """An answer may agree with its reference and not be safe: the two are never one list."""
    groups = []
    for about, title in ABOUT.items():
        rows = [_score_row(metric) for metric in metrics if metric["about"] == about]
        if rows:
            groups.append(ScoreGroup(title, rows))
    return groups


def score_plot(scores: Json) -> Figure | None:
    """All greedy rates, base and tuned, on one 0–100% axis; None where nothing is a rate."""
    rates = [m for m in _greedy(scores) if unit_of(m) == "rate" and m["tuned"]["estimate"] is not None]
    if not rates:
        return None
    rows = [Row(m["label"], better(m), span(m["base"]), span(m["tuned"])) for m in rates]
    names = names_of(scores)
    title = f"Scores of {names.base} and {names.tuned} with their intervals: " + "; ".join(
        f"{row.label} {row.base.text if row.base else NONE} to {row.tuned.text if row.tuned else NONE}"
        for row in rows
    )
    return plots.figure(partial(plots.interval_plot, rows, title))


def change_notes(scores: Json, beside: Mapping[str, str]) -> list[ChangeNote]:
    """One sentence a greedy metric: first what got worse, then what improved, then what is not shown.

    Args:
        beside: metric -> what else is to be said of it.
    """
    order = {"worse": 0, "improved": 1, "not shown": 2}
    notes = [
        ChangeNote(
            m["label"],
            f"{change_sentence(m, unit_of(m), scores['confidence'])} {beside.get(m['name'], '')}".strip(),
            m["verdict"],
        )
        for m in _greedy(scores)
    ]
    return sorted(notes, key=lambda note: order[note.verdict])


def methods(tables: list[ScoreTable]) -> list[tuple[str, str]]:
    """Metrics whose intervals and tests were made alike, and how."""
    alike: dict[str, list[str]] = {}
    for row in (row for table in tables for row in table.rows):
        labels = alike.setdefault(row.methods, [])
        if row.label not in labels:
            labels.append(row.label)
    return [(", ".join(labels), how) for how, labels in alike.items()]


def seed_rows(factor: list[Json], scores: Json) -> list[SeedRow]:
    """Every metric over the training seeds: what each run reached, and what seeds and prompts leave open."""
    units = {metric["name"]: unit_of(metric) for metric in _greedy(scores)}
    rows = []
    for found in factor:
        unit, gap = units[found["name"]], found["difference"]
        errors = [difference(gap[key], unit).removeprefix("+") for key in ("prompt_error", "seed_error")]
        rows.append(
            SeedRow(
                label=found["label"],
                tuned=", ".join(quantity(value, unit) for value in found["tuned"]),
                difference=difference(gap["estimate"], unit),
                difference_interval=interval(gap["low"], gap["high"], unit),
                by_prompts=errors[0],
                by_seeds=errors[1],
            )
        )
    return rows


def unscored(scores: Json) -> list[str]:
    """Metrics that no prompt could be scored on, with the reason."""
    return [
        f"{m['label']} ({decoding_name(scores, m['decoding'])}): {m['why']}."
        for m in scores.get("unscored") or []
    ]


def slice_tables(scores: Json) -> list[SliceTable]:
    """A table and plot for every greedy metric with slices: the worst tuned scores, no more than so many."""
    tables = []
    for metric in _greedy(scores):
        found = sorted(metric.get("slices") or [], key=partial(_badness, metric))
        turns = turn_table(metric)
        if not found and turns is None:
            continue
        shown, left_out = found[:SLICES_SHOWN], len(found) - SLICES_SHOWN
        rows = [_slice_row(metric, part) for part in shown]
        more = (
            f"; {count(left_out)} better ones are left out and stand in report.json" if left_out > 0 else ""
        )
        gaps = slice_gaps(scores, metric, unit_of(metric))
        figure = _slice_figure(metric, shown) if shown else None
        tables.append(SliceTable(metric["label"], more, gaps, turns, rows, figure))
    return tables


def worst_slices(scores: Json) -> list[SliceRow]:
    """The slices a release would be stopped for: those that got worse, then the worst tuned rates."""
    candidates = [
        (part["verdict"] != "worse", _badness(metric, part), position, metric, part)
        for position, metric in enumerate(_greedy(scores))
        if unit_of(metric) == "rate"
        for part in metric.get("slices") or []
        if part["tested"] and (part["verdict"] == "worse" or _falls_short(metric, part))
    ]
    candidates.sort(key=lambda candidate: candidate[:3])
    return [_slice_row(metric, part) for *_, metric, part in candidates[:_WORST_SHOWN]]


def failure_rows(scores: Json, titles: dict[str, str]) -> list[FailureRow]:
    """Why greedy answers failed, most frequent first, with the policy's title for a rule's code."""
    rows = []
    for metric in _greedy(scores):
        details = metric.get("details") or {}
        base, tuned = details.get("base", {}), details.get("tuned", {})
        reasons = sorted(base.keys() | tuned.keys(), key=lambda r: (-base.get(r, 0) - tuned.get(r, 0), r))
        for reason in reasons:
            found = (count(base.get(reason, 0)), count(tuned.get(reason, 0)))
            rows.append(FailureRow(metric["label"], reason, titles.get(reason, ""), *found))
    return rows


def validity_rows(scores: Json) -> list[ValidityRow]:
    """How many answers were invalid and why, for each decoding and system."""
    rows = []
    for decoding, systems in (scores.get("validity") or {}).items():
        for system, found in systems.items():
            share = found["invalid"] / found["n"] if found["n"] else None
            reasons = ", ".join(f"{reason} {count(n)}" for reason, n in found.get("reasons", {}).items())
            rows.append(
                ValidityRow(
                    decoding_name(scores, decoding),
                    names_of(scores).of(system),
                    count(found["n"]),
                    count(found["invalid"]),
                    quantity(share, "rate"),
                    reasons or NONE,
                )
            )
    return rows


def card_metrics(scores: Json) -> list[CardMetric]:
    """The tuned model's greedy scores for the Hub's model index; rates in per cent."""
    found = []
    for metric in _greedy(scores):
        value, unit = metric["tuned"]["estimate"], unit_of(metric)
        if value is not None:
            scaled = round(value * 100, 2) if unit == "rate" else round(value, 4)
            found.append(CardMetric(metric["name"], metric["label"], scaled, estimate(metric["tuned"], unit)))
    return found


def _greedy(scores: Json) -> list[Json]:
    return [metric for metric in scores["metrics"] if metric["decoding"] == "greedy"]


def _score_row(metric: Json) -> ScoreRow:
    unit = unit_of(metric)
    base, tuned, change = metric["base"], metric["tuned"], metric["difference"]
    methods = dict.fromkeys(part["method"] for part in (base, tuned, change) if part and part.get("method"))
    return ScoreRow(
        label=metric["label"],
        name=metric["name"],
        better=better(metric),
        n=count(metric["n"]),
        **both_systems(metric, unit),
        p=p_value(judged_p(change)),
        relative=relative_change(metric),
        methods="; ".join(methods),
        verdict=metric["verdict"],
    )


def _slice_row(metric: Json, part: Json) -> SliceRow:
    unit = unit_of(metric)
    base, tuned, change = part["base"], part["tuned"], part.get("difference") or {}
    low, high = change.get("low"), change.get("high")
    return SliceRow(
        metric=metric["label"],
        column=part["column"],
        value=str(part["value"]),
        n=count(part["n"]),
        base=quantity(base["estimate"], unit),
        tuned=quantity(tuned["estimate"], unit),
        tuned_interval=interval(tuned["low"], tuned["high"], unit),
        difference=difference(change.get("estimate"), unit),
        difference_interval=interval(low, high, unit),
        q=p_value(change.get("q_value")).replace("p", "q", 1),
        verdict=part["verdict"] if part["tested"] else "too few to test",
    )


def _badness(metric: Json, part: Json) -> tuple[bool, float, str, str]:
    """Sorts the worst tuned score first, slices without a score last, ties by name."""
    value = part["tuned"]["estimate"]
    worst_first = 0.0 if value is None else (value - 1 if metric["higher_is_better"] else -value)
    return (value is None, worst_first, part["column"], str(part["value"]))


def _falls_short(metric: Json, part: Json) -> bool:
    """Whether the tuned score of a slice leaves anything to improve: 100%, or 0% of faults, does not."""
    value = part["tuned"]["estimate"]
    return value is not None and value != (1.0 if metric["higher_is_better"] else 0.0)


def _slice_figure(metric: Json, parts: Iterable[Json]) -> Figure | None:
    if unit_of(metric) != "rate":
        return None
    rows = [
        Row(
            label=str(part["value"]),
            note=f"{part['column']}, n = {number(part['n'], 0)}",
            base=span(part["base"]),
            tuned=span(part["tuned"]),
            faint=not part["tested"],
        )
        for part in parts
    ]
    title = f"{metric['label']} by slice, worst score first"
    return plots.figure(partial(plots.slice_plot, rows, title))


def span(value: Json) -> Range | None:
    """A rate with its interval, to be drawn; None where there is none."""
    if value["estimate"] is None:
        return None
    low = value["estimate"] if value.get("low") is None else value["low"]
    high = value["estimate"] if value.get("high") is None else value["high"]
    return Range(value["estimate"], low, high, quantity(value["estimate"], "rate"))
