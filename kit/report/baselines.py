"""The trivial baselines' part of a report: their table, and what it means for the metrics that count."""

from collections.abc import Collection

from kit.config.schema import Config
from kit.evaluate.naming import names_of
from kit.report.formatting import NONE, interval, plural, quantity
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view_validity import BaselineCell, BaselineRow
from kit.report.words import better

_DOING = {
    "majority label": "always giving the commonest answer",
    "always refuse": "always refusing",
    "nearest training answer": "copying the nearest training answer",
}
_HEADS = {"nearest training answer": "nearest answer"}
"""Short enough to head a column."""


def counting_metrics(config: Config) -> set[str]:
    """The metrics that decide something: those of gates and claims; without any, all that are measured."""
    gates = {gate.metric for gate in config.gates if gate.on is None}
    claims = {claim.metric for claim in config.claims if claim.metric}
    return gates | claims or {use.name for use in config.evaluate.metrics}


def baseline_rows(scores: Json, counting: Collection[str]) -> list[BaselineRow]:
    """A row for every greedy metric that a baseline has a figure on, in the order of the configuration."""
    return [_row(m, m["name"] in counting) for m in _with_baselines(scores) if _has_figure(m)]


def _with_baselines(scores: Json) -> list[Json]:
    return [m for m in scores["metrics"] if m["decoding"] == "greedy" and m.get("baselines")]


def _row(metric: Json, counts: bool) -> BaselineRow:
    unit = unit_of(metric)
    cells = [
        BaselineCell(
            name=name,
            value=quantity(found["estimate"], unit),
            interval="" if found["estimate"] is None else interval(found["low"], found["high"], unit),
            beaten=found["verdict"] == "improved",
            why=found["why"],
        )
        for name, found in metric["baselines"].items()
    ]
    verdicts = {f["verdict"] for f in metric["baselines"].values() if f["estimate"] is not None}
    verdict = next((one for one in ("worse", "not shown", "improved") if one in verdicts), "")
    return BaselineRow(
        label=metric["label"],
        better=better(metric),
        counts=counts,
        tuned=quantity(metric["tuned"]["estimate"], unit),
        tuned_interval=interval(metric["tuned"]["low"], metric["tuned"]["high"], unit),
        cells=cells,
        verdict=verdict,
    )


def unbeaten(metric: Json) -> list[str]:
    """The baselines that tuned is not shown to be better than, by the interval of the paired difference."""
    found = metric.get("baselines") or {}
    return [name for name, b in found.items() if b["estimate"] is not None and b["verdict"] != "improved"]


def unbeaten_sentence(metric: Json) -> str:
    """That tuned is no better than some baselines, in words; empty where it is better than all."""
    names = unbeaten(metric)
    if not names:
        return ""
    return f"Not shown to be better than {_listed([_figure(metric, name) for name in names])}."


def unbeaten_sentences(scores: Json, counting: Collection[str]) -> dict[str, str]:
    """Metric that counts -> that tuned is no better there than some baselines; in the plain words."""
    found = {m["name"]: unbeaten_sentence(m) for m in _with_baselines(scores) if m["name"] in counting}
    return {name: sentence for name, sentence in found.items() if sentence}


def baseline_columns(scores: Json) -> list[tuple[str, str]]:
    """The baselines' names as columns of a table, with the columns' kind."""
    names: Json = next((m["baselines"] for m in _with_baselines(scores)), {})
    return [(_HEADS.get(name, name).capitalize(), "number w-score") for name in names]


def baselines_left_out(scores: Json) -> list[str]:
    """Which baseline has no figure on which metrics, and why."""
    said: dict[tuple[str, str], list[str]] = {}
    for metric in _with_baselines(scores):
        why: dict[str, list[str]] = {}
        for name, found in metric["baselines"].items():
            if found["why"]:
                why.setdefault(found["why"], []).append(name)
        for reason, names in why.items():
            said.setdefault((", ".join(names), reason), []).append(metric["label"])
    return [f"Left out, {names}: {', '.join(labels)} ({why})." for (names, why), labels in said.items()]


def _figure(metric: Json, name: str) -> str:
    return f"{_DOING[name]} ({quantity(metric['baselines'][name]['estimate'], unit_of(metric))})"


def baseline_notices(scores: Json, counting: Collection[str]) -> list[str]:
    """What page one says of metrics that count on which a trivial baseline does as well as tuned."""
    metrics = [m for m in _with_baselines(scores) if m["name"] in counting and _has_figure(m)]
    short = [m for m in metrics if unbeaten(m)]
    tuned = names_of(scores).tuned
    if not short:
        return []
    everywhere = [name for name in _DOING if all(name in unbeaten(m) for m in metrics)]
    if everywhere:
        doing = _listed([_DOING[name] for name in everywhere])
        return [
            f"On no metric that counts is {tuned} shown to be better than {doing}; see Trivial baselines."
        ]
    listed = "; ".join(f"{m['label']} ({_best(m)})" for m in short)
    said = (
        f"On {len(short)} of {plural(len(metrics), 'metric')} that count, {tuned} is not shown to be better "
    )
    return [f"{said}than a trivial baseline: {listed}. {_where_they_fail(metrics, short)}"]


def _has_figure(metric: Json) -> bool:
    return any(found["estimate"] is not None for found in metric["baselines"].values())


def _best(metric: Json) -> str:
    """The best of the baselines that are not beaten, and those that do as well."""
    found = {name: metric["baselines"][name]["estimate"] for name in unbeaten(metric)}
    best = max(found.values()) if metric["higher_is_better"] else min(found.values())
    names = [_DOING[name] for name, value in found.items() if value == best]
    return f"{_listed(names)}: {quantity(best, unit_of(metric))}"


def _where_they_fail(metrics: list[Json], short: list[Json]) -> str:
    """For every baseline that was named, the metric that counts on which it is furthest behind tuned."""
    said = []
    for name in dict.fromkeys(name for metric in short for name in unbeaten(metric)):
        behind = [m for m in metrics if m["baselines"][name]["verdict"] == "improved"]
        gaps = [abs(m["baselines"][name]["difference"]["estimate"]) for m in behind if m["kind"] == "rate"]
        rates = [m for m in behind if m["kind"] == "rate"]
        if rates:
            worst = rates[gaps.index(max(gaps))]
            value = quantity(worst["baselines"][name]["estimate"], unit_of(worst))
            said.append(f"{_DOING[name]} has {value} on {worst['label']}")
    return f"What they lose by it: {'; '.join(said)}." if said else ""


def _listed(parts: list[str]) -> str:
    if not parts:
        return NONE
    *first, last = parts
    return f"{', '.join(first)} or {last}" if first else last
