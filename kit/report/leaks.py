"""The leaks' part of a report: which test prompts stand in training rows, and what changes without them."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from kit.config.schema import Config
from kit.report.formatting import both_systems, count, plural, shortened
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view_validity import LeakRow, Leaks, LeakScore

_SHOWN = 20
_TEXT = 240
"""Characters of a text."""


def leak_change(scores: Json, gates: list[Any], status: str, config: Config) -> Json | None:
    """What gates and verdict are without the leaked prompts; None where nothing leaked.

    Args:
        gates: the results with them, in the order of the configuration.
        status: the verdict's, with them.

    Returns:
        `{"status", "exit_code", "sentence", "changed", "gates": [{"name", "with", "without"}]}`; of the
        gates those that come out otherwise.
    """
    from kit.evaluate.gates import judge_gates, verdict

    if not scores.get("without_leaks"):
        return None
    rest = {**scores, **scores["without_leaks"]}
    found = judge_gates(rest, config.gates, config.languages)
    overall = verdict(rest, found)
    otherwise = [
        {"name": one.name, "with": one.status, "without": other.status}
        for one, other in zip(gates, found, strict=True)
        if one.status != other.status
    ]
    return {
        "status": overall.status,
        "exit_code": int(overall.exit_code),
        "sentence": overall.sentence,
        "changed": overall.status != status,
        "gates": otherwise,
    }


def leak_notices(scores: Json, change: Json | None, counting: Collection[str]) -> list[str]:
    """What page one says: that the verdict, a gate or a metric that counts rests on leaked prompts."""
    if change is None:
        return []
    decided = [pair for pair in _pairs(scores) if pair[0]["name"] in counting and pair[0]["ratio"] is None]
    moved = [(one, other) for one, other in decided if one["verdict"] != other["verdict"]]
    otherwise = change["gates"]
    if not (change["changed"] or otherwise or moved):
        return []
    said = [f"{_leaked(scores)} with training rows; see Leaks from training."]
    if change["changed"]:
        said.append(f"Without them the verdict would be: {change['status']}.")
    if otherwise:
        gates = "; ".join(f"{g['name']} ({g['with']}, without them {g['without']})" for g in otherwise)
        said.append(f"Gates that come out otherwise: {gates}.")
    if moved:
        said_of = (f"{m['label']} ({m['verdict']}, without them {rest['verdict']})" for m, rest in moved)
        metrics = "; ".join(said_of)
        said.append(f"Changes that come out otherwise: {metrics}.")
    return [" ".join(said)]


def _leaked(scores: Json) -> str:
    found = len(scores["leaks"])
    share = "shares" if found == 1 else "share"
    what = "text or a group" if any(leak["kind"] == "group" for leak in scores["leaks"]) else "text"
    return f"{count(found)} of {plural(scores['prompts'], 'test prompt')} {share} {what}"


def leaks_view(scores: Json, change: Json | None) -> Leaks:
    """The section on leaks."""
    found = scores.get("leaks")
    if found is None:
        said = "The training rows were not at hand, so no test prompt was looked up among them."
        return Leaks(said, "", [], "", [])
    if not found:
        said = f"None of {plural(scores['prompts'], 'test prompt')} shares text with a training row."
        return Leaks(said, "", [], "", [])
    kinds = Counter(leak["kind"] for leak in found)
    named = ", ".join(f"{count(kinds[kind])} {words}" for kind, words in _KINDS.items() if kinds[kind])
    return Leaks(
        sentence=f"{_leaked(scores)} with training rows: {named}.",
        change=_change_sentence(change),
        rows=[_row(leak) for leak in found[:_SHOWN]],
        left_out=plural(len(found) - _SHOWN, "more prompt") if len(found) > _SHOWN else "",
        scores=_scores(scores),
    )


_KINDS = {
    "exact": "the whole of it",
    "near": "nearly the whole of it",
    "13-gram": "a run of 13 words or more",
    "group": "a group, such as a patient or a ticket",
}


def _change_sentence(change: Json | None) -> str:
    if change is None:
        return ""
    if not change["changed"] and not change["gates"]:
        return f"Without them every gate comes out the same, and so does the verdict: {change['status']}."
    return f"Without them the verdict is {change['status']}: {change['sentence']}"


def _row(leak: Json) -> LeakRow:
    own, theirs = leak["differs"]
    if leak["kind"] == "group":
        how = "of one group"
    elif leak["kind"] == "13-gram":
        how = f"both have “{leak['shared']}”"
    elif own or theirs:
        how = f"here “{own}”, there “{theirs}”" if own and theirs else f"only one has “{own or theirs}”"
    else:
        how = "the same words"
    return LeakRow(
        kind=leak["kind"],
        test=leak["test"]["where"],
        test_text=_short(leak["test"]["text"]),
        train=leak["train"]["where"],
        train_text=_short(leak["train"]["text"]),
        how=_short(how),
    )


def _short(text: str) -> str:
    shown, left_out = shortened(text, _TEXT)
    return f"{shown} …" if left_out else shown


def _scores(scores: Json) -> list[LeakScore]:
    return [
        _score(metric, part, which)
        for metric, rest in _pairs(scores)
        for which, part in (("all prompts", metric), ("without leaks", rest))
    ]


def _pairs(scores: Json) -> list[tuple[Json, Json]]:
    """Every greedy metric on all prompts and without the leaked ones, the judge's verdicts among them."""
    rest = {m["name"]: m for m in scores["without_leaks"]["metrics"] if m["decoding"] == "greedy"}
    unscored = {lost["name"] for lost in scores["without_leaks"]["unscored"] if lost["decoding"] == "greedy"}
    nothing = {"estimate": None, "low": None, "high": None}
    none_left = {"n": 0, "base": nothing, "tuned": nothing, "difference": nothing, "verdict": "not shown"}
    greedy = [m for m in scores["metrics"] if m["decoding"] == "greedy" and m["name"] in {*rest, *unscored}]
    pairs = [(metric, rest.get(metric["name"], none_left)) for metric in greedy]
    judged, left = ((part.get("judge") or {}).get("metric") for part in (scores, scores["without_leaks"]))
    return [*pairs, (judged, left or none_left)] if judged else pairs


def _score(metric: Json, part: Json, which: str) -> LeakScore:
    unit = unit_of(metric)
    return LeakScore(
        label=metric["label"],
        prompts=which,
        n=count(part["n"]),
        **both_systems(part, unit),
        verdict=part["verdict"],
    )
