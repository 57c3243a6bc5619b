"""Whether the scores are good enough to release: gates, claims, and one verdict over all.

A gate is passed, failed, or without enough evidence; it is never passed for want of data, nor by
comparison with a base that gave no answers. The verdict takes the worst: invalid before failed, failed
before not enough evidence, that before passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.errors import ConfigError, ExitCode, Problem
from kit.config.explain import nearest
from kit.config.schema import Claim, Gate

Scores = dict[str, Any]
GateStatus = Literal["passed", "failed", "not enough evidence"]
ClaimStatus = Literal["supported", "not supported", "not testable"]
VerdictStatus = Literal["passed", "failed", "not enough evidence", "invalid"]

NOT_SCORED: Scores = {"n": 0, "groups": 0}
"""A part that no prompt was scored for: it has no figures either."""

MOST_INVALID = 0.5
"""With a larger share of invalid tuned answers the run is broken, and its scores mean nothing."""

LANGUAGE = "language"
"""The slice column that holds an answer's language: every deployed one must be among the test prompts."""

_ROUNDING = 1e-9
_BOUND_KEYS = {"estimate": "estimate", "lower": "low", "upper": "high"}


@dataclass(frozen=True)
class GateResult:
    """A gate, what was found, and whether it holds. `slice` is `column=value` for a worst-slice gate.

    `n` counts prompts, `groups` what they form; `why` says why there is not enough evidence. `low` and
    `high` are the interval of the figure; `reaches_past` is whether a gate passed though its interval
    goes on to values that would have failed it.
    """

    name: str
    metric: str
    of: str
    bound: str
    wanted: str
    found: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    status: GateStatus
    reaches_past: bool
    why: str
    because: str
    slice: str | None


@dataclass(frozen=True)
class ClaimResult:
    """A published figure beside what was found (`estimate`, `low`, `high`, `n`), and why it holds or not."""

    name: str
    claimed: float
    found: dict[str, Any] | None
    status: ClaimStatus
    source: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """The release decision, its exit code and one sentence for the top of the report."""

    status: VerdictStatus
    exit_code: ExitCode
    sentence: str


def judge_gates(scores: Scores, gates: Sequence[Gate], languages: Sequence[str] = ()) -> list[GateResult]:
    """Hold every gate against the scores, in the order of the gates.

    Args:
        languages: those that are deployed. A gate on the worst language is open while one of them has no
            test prompt.

    Raises:
        ConfigError: gates that name an unknown metric, slice column, or a figure the metric does not
            have; all at once.
    """
    results, problems = [], []
    for gate in gates:
        try:
            results.append(_judge_gate(scores, gate, languages))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return results


def judge_claims(scores: Scores, claims: Sequence[Claim]) -> list[ClaimResult]:
    """Compare every claim with the greedy scores.

    `supported` needs the whole interval at or above the claimed figure: a point estimate that happens
    to lie there is not enough.

    Raises:
        ConfigError: a claim names an unknown metric, or a figure the metric does not have.
    """
    return [_judge_claim(scores, claim) for claim in claims]


def verdict(scores: Scores, gates: Sequence[GateResult]) -> Verdict:
    """The release decision from the run's validity and its gates."""
    mismatches = scores["conditions"]["mismatches"]
    if mismatches:
        reason = f"base and tuned were not compared like with like: {'; '.join(mismatches)}."
        return Verdict("invalid", ExitCode.INVALID_RUN, reason)
    for decoding, systems in scores["validity"].items():
        n, invalid = systems["tuned"]["n"], systems["tuned"]["invalid"]
        if mostly_invalid(scores, "tuned", decoding):
            reason = f"{invalid} of {n} {decoding} answers of the tuned model are empty, cut or repeating."
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
    found = scores["validity"].get(decoding, {}).get(system)
    return bool(found) and found["invalid"] > MOST_INVALID * found["n"]


def independent(part: Scores) -> int:
    """How many independent witnesses a comparison rests on: groups of prompts, not prompts."""
    return int(part["groups"] if "groups" in part else part["n"])


def _judge_gate(scores: Scores, gate: Gate, languages: Sequence[str]) -> GateResult:
    entry = _entry(scores, gate.metric, gate.decoding, f"gates: {gate.name}")
    if entry is None:
        return _result(gate, NOT_SCORED, None, "no prompt was scored for both systems")
    _refuse_missing_figure(entry, gate.of, f"gates: {gate.name}")
    broken = gate.of != "tuned" and mostly_invalid(scores, "base", gate.decoding)
    if gate.worst is not None:
        return _judge_worst(entry, gate, broken, languages if gate.worst == LANGUAGE else ())
    return _judge_part(entry, gate, None, broken)


def _judge_worst(entry: Scores, gate: Gate, broken: bool, expected: Sequence[str]) -> GateResult:
    """The gate on every value of a slice column: one failure fails it, one thin value leaves it open.

    Args:
        expected: values that must be among them; one that no prompt has leaves the gate open too.
    """
    parts = [part for part in entry["slices"] if part["column"] == gate.worst]
    if not parts:  # response times have none at all
        columns = sorted({part["column"] for part in entry["slices"]})
        hint = f"slice columns: {', '.join(columns) or 'none'}; name them in `data.slices`"
        raise ConfigError(Problem(f"gates: {gate.name}", f"no slices by {gate.worst!r} in the scores", hint))
    judged = [_judge_part(part, gate, f"{part['column']}={part['value']}", broken) for part in parts]
    for value in expected:
        if value not in {part["value"] for part in parts}:
            why = f"no test prompt is in {value!r}, a deployed language"
            judged.append(_result(gate, NOT_SCORED, f"{gate.worst}={value}", why))
    order = {"failed": 0, "not enough evidence": 1, "passed": 2}
    return min(judged, key=lambda result: (order[result.status], _goodness(gate, result.found)))


def _goodness(gate: Gate, found: float | None) -> float:
    if found is None:
        return float("-inf")
    return found if gate.at_least is not None else -found


def _judge_part(part: dict[str, Any], gate: Gate, slice_: str | None, broken: bool) -> GateResult:
    """The gate on all prompts or on one slice.

    Args:
        broken: the gate compares with a base most of whose answers are invalid. Such a base counts as
            failing, which flatters tuned: a gate that fails even so has failed, one that passes is open.
    """
    found = _figure(part, gate)
    why = ""
    if part["n"] == 0:
        why = "no prompt was scored for both systems"
    elif found is None:
        why = "the base model had nothing to reduce"
    elif independent(part) < gate.min_n:
        counted = "groups of prompts" if independent(part) < part["n"] else "scored prompts"
        why = f"{independent(part)} {counted}, the gate asks for {gate.min_n}"
    elif broken and _holds(gate, found):
        why = "most answers of the base model are empty, cut or repeating"
    return _result(gate, part, slice_, why)


def _figure(part: dict[str, Any], gate: Gate) -> float | None:
    """The number a gate looks at; None where nothing was scored, or base had nothing to reduce."""
    figure = part.get(gate.of)
    value = None if figure is None else figure[_BOUND_KEYS[gate.bound]]
    return None if value is None else float(value)


def _holds(gate: Gate, found: float) -> bool:
    if gate.at_least is not None:
        return found >= gate.at_least - _ROUNDING
    assert gate.at_most is not None  # noqa: S101  # the schema: exactly one of the two
    return found <= gate.at_most + _ROUNDING


def _result(gate: Gate, part: dict[str, Any], slice_: str | None, why: str) -> GateResult:
    """The result of a gate on a part; `why` is what evidence it lacks, empty if none."""
    found, figure = _figure(part, gate), part.get(gate.of) or {}
    low, high = figure.get("low"), figure.get("high")
    status: GateStatus = "not enough evidence"
    if found is not None and not why:
        status = "passed" if _holds(gate, found) else "failed"
    unfavourable = low if gate.at_least is not None else high
    reaches_past = status == "passed" and unfavourable is not None and not _holds(gate, unfavourable)
    return GateResult(
        name=gate.name,
        metric=gate.metric,
        of=gate.of,
        bound=gate.bound,
        wanted=f"at least {gate.at_least:g}" if gate.at_least is not None else f"at most {gate.at_most:g}",
        found=found,
        low=low,
        high=high,
        n=part["n"],
        groups=independent(part),
        status=status,
        reaches_past=reaches_past,
        why=why,
        because=gate.because,
        slice=slice_,
    )


def _judge_claim(scores: Scores, claim: Claim) -> ClaimResult:
    def result(status: ClaimStatus, why: str, found: dict[str, Any] | None = None) -> ClaimResult:
        return ClaimResult(claim.name, claim.at_least, found, status, claim.source, why)

    if claim.metric is None:
        return result("not testable", "no offline metric can measure it")
    entry = _entry(scores, claim.metric, "greedy", f"claims: {claim.name}")
    if entry is None:
        return result("not testable", f"{claim.metric} applied to no prompt")
    _refuse_missing_figure(entry, claim.of, f"claims: {claim.name}")
    part = entry[claim.of]
    if part is None:
        return result("not testable", "the base model had nothing to reduce")
    if claim.of != "tuned" and mostly_invalid(scores, "base", "greedy"):
        return result("not testable", "most answers of the base model are empty, cut or repeating")
    found = {key: part[key] for key in ("estimate", "low", "high")} | {"n": entry["n"]}
    on = "synthetic prompts" if scores["synthetic"] else "prompts"
    measured = f"measured on {entry['n']} {on}"
    if part["low"] >= claim.at_least - _ROUNDING:
        return result("supported", f"the whole interval reaches it; {measured}", found)
    if part["high"] < claim.at_least:
        return result("not supported", f"the whole interval lies below it; {measured}", found)
    return result("not supported", f"the interval includes it but also lower figures; {measured}", found)


def _entry(scores: Scores, metric: str, decoding: str, where: str) -> dict[str, Any] | None:
    """A metric's entry; None if the metric was asked for but no prompt could be scored."""
    for entry in scores["metrics"]:
        if entry["name"] == metric and entry["decoding"] == decoding:
            return dict(entry)
    if any(lost["name"] == metric and lost["decoding"] == decoding for lost in scores["unscored"]):
        return None
    known = sorted({entry["name"] for entry in scores["metrics"] if entry["decoding"] == decoding})
    near = nearest(metric, known)
    hint = (f"did you mean `{near}`? " if near else "") + f"{decoding} scores: {', '.join(known) or 'none'}"
    raise ConfigError(Problem(where, f"unknown metric {metric!r} for {decoding} answers", hint))


def _refuse_missing_figure(entry: dict[str, Any], of: str, where: str) -> None:
    if of == "reduction" and (entry["kind"] != "rate" or entry["higher_is_better"]):
        hint = "`reduction` is for rates where lower is better; use `difference`"
        raise ConfigError(Problem(where, "the metric has no `reduction`", hint))
    if of == "ratio" and entry["ratio"] is None:
        raise ConfigError(Problem(where, "the metric has no `ratio`", "`ratio` is for response times"))
