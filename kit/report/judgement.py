"""Gates and claims in a report: judged once, as rows, beside what was judged before and what was dropped."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config.gates import Gate
from kit.config.schema import Config
from kit.evaluate.naming import names_of
from kit.files import sha256_file, sha256_json
from kit.report import scores, words
from kit.report.baseline import Held, with_baseline
from kit.report.formatting import Unit, count, plural
from kit.report.judge import judge_metric
from kit.report.leaks import leak_change
from kit.report.read import Json, read_earlier
from kit.report.view import ClaimRow, DroppedGate, EarlierVerdict, GateRow, Verdict

if TYPE_CHECKING:
    from kit.evaluate.claims import ClaimResult
    from kit.evaluate.gates import GateResult
    from kit.evaluate.two_sided import TwoSided


@dataclass(frozen=True)
class Judgement:
    """What the gates and claims came to, and what they came to before."""

    gates: list["GateResult"]
    claims: list["ClaimResult"]
    verdict: Verdict
    judged_by: dict[str, str]
    """Hashes of the gates, the scores and the baseline: the same ones give the same verdict."""
    earlier: list[Json]
    """What `report.json` said of this evaluation before, judged by other gates or on other scores."""
    dropped: list[DroppedGate]
    """The recipe's gates that the project does not set as the recipe does."""
    without_leaks: Json | None
    """What comes out otherwise without the leaked prompts; see `leaks.leak_change`."""
    labour: Json | None
    """What the cost model of labour says; None where the project types no assumptions."""
    pairs: list["TwoSided"]
    """Faults against over-caution, for every pair of metrics that the case has."""
    held: Held | None = None
    """The evaluation against a released one."""


def judge(
    found: Json,
    config: Config,
    evaluation: Path,
    report: Path,
    recipe_gates: Sequence[Gate],
    beside: Sequence[float] = (),
    held: Held | None = None,
) -> Judgement:
    """Judge an evaluation's scores.

    Args:
        evaluation: the folder of `scores.json`.
        report: the report's folder, whose verdict is kept where it came about otherwise: nobody can turn a
            failed gate into a passed one by another threshold without the report saying so.
        recipe_gates: those of the recipe and its tier.
        beside: p-values of the same gates on further systems compared with the same base.
        held: the evaluation against a released one, which the verdict takes in.

    Raises:
        ConfigError: a gate or claim names a metric that was not measured.
    """
    from kit.evaluate.claims import judge_claims
    from kit.evaluate.gates import judge_gates, verdict
    from kit.evaluate.labour import model_labour
    from kit.evaluate.two_sided import two_sided

    gates = judge_gates(found, config.gates, config.languages, beside)
    by_gates = verdict(found, gates)
    overall = Verdict(by_gates.status, int(by_gates.exit_code), by_gates.sentence)
    labour = model_labour(found, config.labour)
    judged_by = {
        "gates": sha256_json([gate.model_dump(mode="json") for gate in config.gates] + config.languages),
        "scores": sha256_file(evaluation / "scores.json"),
        "baseline": held.judged_by(config) if held else "",
    }
    return Judgement(
        gates=gates,
        claims=judge_claims(found, config.claims, labour),
        verdict=with_baseline(overall, held.result) if held else overall,
        judged_by=judged_by,
        earlier=_earlier(read_earlier(report), judged_by),
        dropped=_dropped(recipe_gates, config, found),
        held=held,
        without_leaks=leak_change(found, gates, overall.status, config),
        labour=labour,
        pairs=two_sided(found, config.gates),
    )


def _earlier(report: Json | None, judged_by: dict[str, str]) -> list[Json]:
    """The verdicts that the report in place holds, its own among them unless it is today's."""
    if report is None:
        return []
    before: list[Json] = report.get("earlier", [])
    if report.get("judged_by") == judged_by:
        return before
    own = {key: report["verdict"][key] for key in ("status", "exit_code", "sentence")}
    gates = [{key: gate[key] for key in ("name", "wanted", "status")} for gate in report["gates"]]
    return [*before, {**own, "gates": gates, "judged_by": report.get("judged_by", {})}]


def earlier_verdicts(judged: Judgement) -> list[EarlierVerdict]:
    """The verdicts this evaluation got before, oldest first, with what has changed since."""
    rows = []
    for verdict in judged.earlier:
        changed = [
            key for key, value in judged.judged_by.items() if verdict["judged_by"].get(key, "") != value
        ]
        asked = [f"{gate['name']}: {gate['wanted']}, {gate['status']}" for gate in verdict["gates"]]
        rows.append(
            EarlierVerdict(
                status=verdict["status"],
                exit_code=verdict["exit_code"],
                sentence=verdict["sentence"],
                changed=f"other {' and '.join(changed)}" if changed else "the same gates and scores as now",
                gates=asked or ["none"],
            )
        )
    return rows


def _dropped(recipe_gates: Sequence[Gate], config: Config, found: Json) -> list[DroppedGate]:
    """The recipe's gates that the project does not set, or sets otherwise."""
    own = {gate.name: gate for gate in config.gates}
    rows = []
    for gate in recipe_gates:
        mine = own.get(gate.name)
        if mine is not None and _condition(mine) == _condition(gate):
            continue
        _, asks, wanted = _told(gate, found)
        now = "set otherwise" if mine else "dropped"
        rows.append(DroppedGate(name=gate.name, asks=asks, wanted=wanted, now=now))
    return rows


def _told(gate: Gate, found: Json) -> tuple[Unit, str, str]:
    """The unit of a gate's metric, what the gate asks and what it wants, in words."""
    from kit.evaluate.gates import measured

    metric = _metric(measured(found, gate.on), gate.metric, gate.decoding)
    unit = scores.unit_of(metric) if metric else "score"
    asks = words.gate_asks(gate, metric["label"] if metric else gate.metric, names_of(found))
    return unit, asks, words.gate_wanted(gate, unit, metric, found["confidence"])


def _condition(gate: Gate) -> Json:
    return gate.model_dump(exclude={"name", "because"})


def report_json(found: Json, judged: Judgement, seed_factor: list[Json]) -> Json:
    """The contents of `report.json`."""
    return {
        **{key: value for key, value in found.items() if key != "items"},
        "gates": [asdict(gate) for gate in judged.gates],
        "claims": [asdict(claim) for claim in judged.claims],
        "two_sided": [asdict(pair) for pair in judged.pairs],
        "verdict": asdict(judged.verdict),
        "judged_by": judged.judged_by,
        "dropped_gates": [asdict(gate) for gate in judged.dropped],
        "earlier": judged.earlier,
        "seed_factor": seed_factor,
        "leak_change": judged.without_leaks,
        "labour": judged.labour,
    }


def gate_rows(results: list["GateResult"], config: Config, found: Json) -> list[GateRow]:
    """Every gate as a row, in the order of the settings."""
    gates = {gate.name: gate for gate in config.gates}
    rows = []
    for result in results:
        gate = gates[result.name]
        unit, asks, wanted = _told(gate, found)
        rows.append(
            GateRow(
                name=result.name,
                asks=asks,
                wanted=wanted,
                found=words.gate_found(result, gate, unit),
                found_interval=words.gate_interval(result, gate, unit),
                n=count(result.n),
                groups=plural(result.groups, "group") if result.groups < result.n else "",
                status=result.status,
                because=result.because,
                why=words.gate_why(result, gate, unit, names_of(found)),
                slice=(result.slice or "").partition("=")[2],
            )
        )
    return rows


def claim_rows(results: list["ClaimResult"], config: Config, found: Json) -> list[ClaimRow]:
    """Every claim as a row, in the order of the settings."""
    claims = {claim.name: claim for claim in config.claims}
    rows = []
    for result in results:
        claim = claims[result.name]
        metric = _metric(found, claim.metric, "greedy") if claim.metric else None
        unit: Unit = scores.unit_of(metric) if metric else "rate" if claim.modelled_by else "score"
        value, span = words.claim_found(result.found, claim, unit)
        rows.append(
            ClaimRow(
                name=result.name,
                definition=words.sentence(claim.definition),
                claimed=words.claim_claimed(claim, unit),
                margin=words.claim_margin(claim, unit),
                found=value,
                found_interval=f"{span} {result.basis}" if claim.modelled_by and span else span,
                status=result.status,
                source=result.source,
                why=words.sentence(result.why),
            )
        )
    return rows


def _metric(found: Json, name: str, decoding: str) -> Json | None:
    if name == "judge" and (judged := judge_metric(found)):
        return judged
    named = (m for m in found["metrics"] if m["name"] == name and m["decoding"] == decoding)
    return next(named, None)
