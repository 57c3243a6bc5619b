"""Whether the scores are good enough to release: the gates, and one verdict over all.

A gate is passed, failed, or without enough evidence; it is never passed for want of data, nor by
comparison with a base that gave no answers. The verdict takes the worst: invalid before failed, failed
before not enough evidence, that before passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.errors import ConfigError, ExitCode, Problem
from kit.config.explain import nearest
from kit.config.gates import Gate
from kit.evaluate import judge_gate
from kit.evaluate.conversations import per_group
from kit.evaluate.gate_kinds import (
    Context,
    Found,
    Part,
    further_drawn,
    look,
    look_at_rules,
    meets,
    p_in_the_good_direction,
    refuse_meaningless_margin,
)
from kit.evaluate.naming import names_of
from kit.evaluate.validity import UNPARSABLE, WRONG_LANGUAGE
from kit.evaluate.worst_gate import validity_of, why_no_worst, worst_entry

Scores = dict[str, Any]
GateStatus = Literal["passed", "failed", "not enough evidence"]
VerdictStatus = Literal["passed", "failed", "not enough evidence", "invalid"]

NOT_SCORED: Scores = {"n": 0, "groups": 0}
"""A part that no prompt was scored for: it has no figures either."""

MOST_INVALID = 0.5
"""With a larger share of invalid tuned answers the run is broken, and its scores mean nothing."""

LANGUAGE = "language"
"""The slice column that holds an answer's language: every deployed one must be among the test prompts."""


@dataclass(frozen=True)
class GateResult:
    """A gate, what was found, and whether it holds. `slice` is `column=value` for a worst-slice gate.

    `found` is the number that was judged: the figure or its bound, the unfavourable bound of a gate on
    non-inferiority, how many answers break a rule for one without tolerance. `estimate`, `low` and `high`
    are the figure's own; `adjusted_p` is the p-value corrected for all gates on significance (Holm). `n`
    counts prompts, `groups` what they form; `why` says what evidence is missing, or what made the gate hold
    or not. `reaches_past` is whether a gate passed though its interval goes on to values that would have
    failed it.
    """

    name: str
    metric: str
    kind: str
    of: str
    bound: str
    wanted: str
    found: float | None
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    adjusted_p: float | None
    n: int
    groups: int
    status: GateStatus
    reaches_past: bool
    why: str
    because: str
    slice: str | None


@dataclass(frozen=True)
class Verdict:
    """The release decision, its exit code and one sentence for the top of the report."""

    status: VerdictStatus
    exit_code: ExitCode
    sentence: str


def judge_gates(
    scores: Scores, gates: Sequence[Gate], languages: Sequence[str] = (), beside: Sequence[float] = ()
) -> list[GateResult]:
    """Hold every gate against the scores, in the order of the gates.

    Args:
        languages: those that are deployed. A gate on the worst language is open while one of them has no
            test prompt.
        beside: p-values of gates on significance that other scores are held against at the same time, of
            further systems compared with the same base: they belong to the family.

    Raises:
        ConfigError: gates that name an unknown metric, slice column, or a figure the metric does not
            have; all at once.
    """
    results, problems = [], []
    family = significance_family(scores, gates)
    for gate in gates:
        try:
            others = [*beside, *(p_value for name, p_value in family.items() if name != gate.name)]
            results.append(_judge_gate(scores, gate, languages, others))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return results


def verdict(scores: Scores, gates: Sequence[GateResult]) -> Verdict:
    """The release decision from the run's validity and its gates."""
    names, mismatches = names_of(scores), scores["conditions"]["mismatches"]
    if mismatches:
        reason = f"{names.base} and {names.tuned} were not compared like with like: {'; '.join(mismatches)}."
        return Verdict("invalid", ExitCode.INVALID_RUN, reason)
    for decoding, systems in validity_of(scores).items():
        n, invalid = systems["tuned"]["n"], systems["tuned"]["invalid"]
        if mostly_invalid(scores, "tuned", decoding):
            why = invalid_reasons(scores, "tuned", decoding)
            limit = " They are cut at `evaluate.max_new_tokens`." if why.startswith("cut ") else ""
            reason = f"{invalid} of {n} {decoding} answers of {names.the_tuned} are invalid: {why}.{limit}"
            return Verdict("invalid", ExitCode.INVALID_RUN, reason)
    failed = [gate.name for gate in gates if gate.status == "failed"]
    unclear = [gate.name for gate in gates if gate.status == "not enough evidence"]
    if failed:
        sentence = f"{len(failed)} of {len(gates)} gates failed: {', '.join(failed)}."
        if unclear:
            sentence += f" There is not enough evidence for {len(unclear)}: {', '.join(unclear)}."
        return Verdict("failed", ExitCode.GATE_FAILED, sentence)
    if unclear:
        sentence = f"Not enough evidence for {len(unclear)} of {len(gates)} gates: {', '.join(unclear)}."
        return Verdict("not enough evidence", ExitCode.NOT_ENOUGH_EVIDENCE, sentence)
    if not gates:
        sentence = "No gates are set: nothing says which scores would be good enough to release."
        return Verdict("not enough evidence", ExitCode.NOT_ENOUGH_EVIDENCE, sentence)
    past = [gate.name for gate in gates if gate.reaches_past]
    sentence = f"All {len(gates)} gates passed."
    if past:
        sentence += f" For {len(past)} of them the interval reaches past the threshold: {', '.join(past)}."
    return Verdict("passed", ExitCode.DONE, sentence)


def mostly_invalid(scores: Scores, system: str, decoding: str) -> bool:
    """Whether a system is broken under a decoding: more than `MOST_INVALID` of its answers are none."""
    found = validity_of(scores).get(decoding, {}).get(system)
    return bool(found) and found["invalid"] > MOST_INVALID * found["n"]


def broken_base(scores: Scores, entry: Scores) -> bool:
    """Whether base is too broken to compare an entry with. A time is one in whatever language and form; those
    of empty and cut answers are left out of it.
    """
    found = validity_of(scores).get(entry["decoding"], {}).get("base")
    if not found:
        return False
    reasons = found.get("reasons", {})
    harmless = (WRONG_LANGUAGE, UNPARSABLE) if entry["ratio"] is not None else ()
    invalid = found["invalid"] - sum(reasons.get(reason, 0) for reason in harmless)
    return bool(invalid > MOST_INVALID * found["n"])


def invalid_reasons(scores: Scores, system: str, decoding: str) -> str:
    """Why a system's answers are invalid, the commonest reason first: cut 12, wrong language 3."""
    found = validity_of(scores)[decoding][system].get("reasons", {})
    return ", ".join(f"{reason} {found[reason]}" for reason in sorted(found, key=lambda r: (-found[r], r)))


def independent(part: Scores) -> int:
    """How many independent witnesses a comparison rests on: groups of prompts, not prompts."""
    return int(part["groups"] if "groups" in part else part["n"])


def _judge_gate(scores: Scores, gate: Gate, languages: Sequence[str], others: Sequence[float]) -> GateResult:
    where = f"gates: {gate.name}"
    if gate.kind == "zero_tolerance":
        return _judge_rules(scores, gate, where)
    if gate.worst_of is not None:
        entry = worst_entry(scores, gate, where)
    else:
        entry = find_entry(scores, gate.metric, gate.decoding, where, gate.on)
    if entry is None:
        asked = gate.metric == judge_gate.NAME and gate.on is None and scores.get("judge")
        unscored = why_no_worst(scores, gate) if gate.worst_of else "no prompt was scored for both systems"
        return _open(gate, NOT_SCORED, None, judge_gate.why_not(scores, gate.decoding) if asked else unscored)
    entry = per_group(entry, where) if gate.per == "group" else entry
    refuse_missing_figure(entry, gate.of, where)
    refuse_meaningless_margin(entry, gate, where)
    compares = gate.kind != "threshold" or gate.of != "tuned"
    broken = compares and broken_base(scores, entry)
    context = Context(entry["higher_is_better"], scores["confidence"], others, names_of(scores))
    if gate.worst is not None:
        return _judge_worst(entry, gate, context, broken, languages if gate.worst == LANGUAGE else ())
    return _judge_part(entry, gate, context, None, broken)


def _judge_rules(scores: Scores, gate: Gate, where: str) -> GateResult:
    """A gate without tolerance, over every answer."""
    parts = {}
    for decoding in scores["validity"]:
        entry = find_entry(scores, gate.metric, decoding, where)
        judged = gate.metric == judge_gate.NAME and scores.get("judge")
        if entry is None and not judged:
            return _open(gate, NOT_SCORED, None, "no prompt was scored for both systems")
        if entry is None or entry["severities"] is None:
            hint = "`zero_tolerance` is for metrics that judge by the policy's rules, such as violation_rate"
            raise ConfigError(Problem(where, f"{gate.metric!r} has no rules with a severity", hint))
        parts[decoding] = entry["severities"][gate.zero_tolerance]["tuned"]
    found, n, groups = look_at_rules(parts | further_drawn(scores, gate), gate, scores["confidence"])
    # One violation is one too many, however few the prompts.
    lacking = "" if found.found else found.lacking or _thin(gate, n, groups)
    return _result(gate, {"n": n, "groups": groups}, None, found, lacking)


def _judge_worst(
    entry: Scores, gate: Gate, context: Context, broken: bool, expected: Sequence[str]
) -> GateResult:
    """The gate on every value of a slice column: one failure fails it, one thin value leaves it open.

    Args:
        expected: values that must be among them; one that no prompt has leaves the gate open too.
    """
    parts = _slices(entry, gate)
    judged = [_judge_part(part, gate, context, f"{part['column']}={part['value']}", broken) for part in parts]
    for value in expected:
        if value not in {part["value"] for part in parts}:
            why = f"no test prompt is in {value!r}, a deployed language"
            judged.append(_open(gate, NOT_SCORED, f"{gate.worst}={value}", why))
    order = {"failed": 0, "not enough evidence": 1, "passed": 2}
    return min(judged, key=lambda result: (order[result.status], _goodness(gate, context, result)))


def _slices(entry: Scores, gate: Gate) -> list[Part]:
    parts = [part for part in entry["slices"] if part["column"] == gate.worst]
    if not parts:  # response times have none at all
        columns = sorted({part["column"] for part in entry["slices"]})
        hint = f"slice columns: {', '.join(columns) or 'none'}; name them in `data.slices`"
        raise ConfigError(Problem(f"gates: {gate.name}", f"no slices by {gate.worst!r} in the scores", hint))
    return parts


def _goodness(gate: Gate, context: Context, result: GateResult) -> float:
    if result.found is None:
        return float("-inf")
    if gate.kind == "significant":
        return -(1.0 if result.adjusted_p is None else result.adjusted_p)
    upwards = context.higher_is_better if gate.kind == "non_inferior" else gate.at_least is not None
    return result.found if upwards else -result.found


def _judge_part(part: Part, gate: Gate, context: Context, slice_: str | None, broken: bool) -> GateResult:
    """The gate on all prompts or on one slice.

    Args:
        broken: the gate compares with a base most of whose answers are invalid. Such a base counts as
            failing, which flatters tuned: a gate that fails even so has failed, one that passes is open.
    """
    if part["n"] == 0:
        return _open(gate, part, slice_, "no prompt was scored for both systems")
    found = look(part, gate, context)
    lacking = found.lacking if found.found is None else _thin(gate, part["n"], independent(part))
    lacking = lacking or found.lacking
    if not lacking and broken and found.holds:
        lacking = f"most answers of {context.names.the_base} are invalid"
    return _result(gate, part, slice_, found, lacking)


def _thin(gate: Gate, n: int, groups: int) -> str:
    """That so few witnesses are no evidence; empty where there are enough."""
    if groups >= gate.min_n:
        return ""
    counted = "groups of prompts" if groups < n else "scored prompts"
    return f"{groups} {counted}, the gate asks for {gate.min_n}"


def _open(gate: Gate, part: Part, slice_: str | None, lacking: str) -> GateResult:
    return _result(gate, part, slice_, Found(None, None, None, None, None), lacking)


def _result(gate: Gate, part: Part, slice_: str | None, found: Found, lacking: str) -> GateResult:
    """The result of a gate on a part; `lacking` is what evidence it lacks, empty if none."""
    status: GateStatus = "not enough evidence"
    if found.holds is not None and not lacking:
        status = "passed" if found.holds else "failed"
    return GateResult(
        name=gate.name,
        metric=gate.metric,
        kind=gate.kind,
        of="difference" if gate.kind in ("significant", "non_inferior") else gate.of,
        bound=gate.bound,
        wanted=_wanted(gate),
        found=found.found,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        adjusted_p=found.adjusted_p,
        n=part["n"],
        groups=independent(part),
        status=status,
        reaches_past=status == "passed" and _reaches_past(gate, found),
        why=lacking or found.why,
        because=gate.because,
        slice=slice_,
    )


def _reaches_past(gate: Gate, found: Found) -> bool:
    if gate.kind != "threshold":
        return False
    unfavourable = found.low if gate.at_least is not None else found.high
    return unfavourable is not None and not meets(gate, unfavourable)


def _wanted(gate: Gate) -> str:
    worst = f", worst of {gate.worst_of} answers" if gate.worst_of else ""
    return _asked(gate) + (", by group" if gate.per == "group" else "") + worst


def _asked(gate: Gate) -> str:
    if gate.non_inferior is not None:
        return f"no loss of {gate.non_inferior.margin:g} or more"
    if gate.zero_tolerance is not None:
        worse = "" if gate.zero_tolerance == "critical" else " or worse"
        return f"no {gate.zero_tolerance}{worse} violation"
    if gate.significant:
        return "significantly better than base"
    return f"at least {gate.at_least:g}" if gate.at_least is not None else f"at most {gate.at_most:g}"


def significance_family(scores: Scores, gates: Sequence[Gate]) -> dict[str, float]:
    """The p-value of every gate that asks for significance, by name; the worst slice's where it asks for one.

    A gate that cannot be tested counts with p = 1: the family is what was planned, not what came out.
    """
    return {gate.name: _largest_p(scores, gate) for gate in gates if gate.kind == "significant"}


def _largest_p(scores: Scores, gate: Gate) -> float:
    judged = None if gate.on else judge_gate.judge_entry(scores, gate.decoding)
    for entry in [*measured(scores, gate.on)["metrics"], *([judged] if judged else [])]:
        if entry["name"] == gate.metric and entry["decoding"] == gate.decoding:
            whole = per_group(entry, f"gates: {gate.name}") if gate.per == "group" else entry
            parts = [p for p in entry["slices"] if p["column"] == gate.worst] if gate.worst else [whole]
            better = entry["higher_is_better"]
            return max((p_in_the_good_direction(part, better) for part in parts), default=1.0)
    return 1.0


def measured(scores: Scores, on: str | None) -> Scores:
    """What was measured on a general set, by its name, or on the case's own test split; nothing where the
    set was not asked.
    """
    if on is None:
        return scores
    found = (each for each in scores.get("general") or [] if each["name"] == on)
    return next(found, {"metrics": [], "unscored": []})


def find_entry(
    scores: Scores, metric: str, decoding: str, where: str, on: str | None = None
) -> dict[str, Any] | None:
    """A metric's entry; None if the metric was asked for but no prompt could be scored.

    Of the judge it is the one corrected for its errors; None too where there is none.

    Raises:
        ConfigError: there is no such metric in the scores.
    """
    if metric == judge_gate.NAME and on is None and scores.get("judge"):
        return judge_gate.judge_entry(scores, decoding)
    looked_at = measured(scores, on)
    for entry in looked_at["metrics"]:
        if entry["name"] == metric and entry["decoding"] == decoding:
            return dict(entry)
    if any(lost["name"] == metric and lost["decoding"] == decoding for lost in looked_at["unscored"]):
        return None
    known = sorted({entry["name"] for entry in looked_at["metrics"] if entry["decoding"] == decoding})
    near = nearest(metric, known)
    hint = (f"did you mean `{near}`? " if near else "") + f"{decoding} scores: {', '.join(known) or 'none'}"
    of_what = f"{decoding} answers" + (f" to the general set {on!r}" if on else "")
    raise ConfigError(Problem(where, f"unknown metric {metric!r} for {of_what}", hint))


def refuse_missing_figure(entry: dict[str, Any], of: str, where: str) -> None:
    """Refuse a figure that a metric does not have.

    Raises:
        ConfigError: it is asked for the reduction of what is no rate of faults, or the ratio of no times.
    """
    if of == "reduction" and (entry["kind"] != "rate" or entry["higher_is_better"]):
        hint = "`reduction` is for rates where lower is better; use `difference`"
        raise ConfigError(Problem(where, "the metric has no `reduction`", hint))
    if of == "ratio" and entry["ratio"] is None:
        raise ConfigError(Problem(where, "the metric has no `ratio`", "`ratio` is for response times"))
