"""Gathers everything a report shows, as words, from scores, judgement, data and training."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.schema import Config
from kit.evaluate.naming import names_of
from kit.report import labour, misses, provenance, scores, speed, training, transcripts
from kit.report.axes import axis_tables
from kit.report.baseline import baseline_view
from kit.report.baselines import (
    baseline_columns,
    baseline_notices,
    baseline_rows,
    baselines_left_out,
    counting_metrics,
    unbeaten_sentences,
)
from kit.report.calibration import calibration_cards
from kit.report.formatting import count, number, plural, quantity
from kit.report.general import general_losses, general_rows, general_unscored
from kit.report.harm import harm_rows
from kit.report.judge import judge_card
from kit.report.judgement import Judgement, claim_rows, earlier_verdicts, gate_rows
from kit.report.leaks import leak_notices, leaks_view
from kit.report.read import Inputs, Json
from kit.report.review_rows import reviews_view
from kit.report.reviews import Carried
from kit.report.safety import pair_views
from kit.report.view import About, Evidence, Judged, Scored, View
from kit.report.view_evidence import MaskAudit
from kit.report.worst import worst_view

if TYPE_CHECKING:
    from kit.evaluate.policy import Policy


@dataclass(frozen=True)
class Seeds:
    """How many runs differ by the training seed only (0: nobody knows), and what they come to together."""

    runs: int
    factor: list[Json]


def build_view(
    config: Config,
    root: Path,
    evaluation: Path,
    inputs: Inputs,
    judged: Judgement,
    seeds: Seeds,
    mask: MaskAudit | None = None,
    reviews: Sequence[Carried] | None = None,
) -> View:
    """Everything the faces show, as words; without `reviews` the page offers none."""
    found, counting = inputs.scores, counting_metrics(config)
    about = _about(config, root, inputs, seeds.runs)
    parts = (
        about,
        _judged(config, found, judged, about, seeds.runs, counting),
        _scored(found, seeds.factor, counting, _rule_titles(_policies(config, root))),
        _evidence(config, root, evaluation, inputs, mask, reviews),
    )
    return View(**{name: value for part in parts for name, value in vars(part).items()})


def _about(config: Config, root: Path, inputs: Inputs, seeds: int) -> About:
    found, manifest = inputs.scores, inputs.manifest or {}
    licence, licence_note = _licence(found["model"], config)
    return About(
        title=config.recipe.title,
        names=names_of(found),
        summary=config.recipe.summary,
        project=config.project.name,
        evaluation=found["evaluation"],
        run=found["run"],
        kit_version=found["kit_version"],
        date=(manifest.get("ended") or manifest.get("started") or "")[:10],
        evaluated=found.get("date", ""),
        language=config.languages[0] if config.languages else "en",
        languages=config.languages,
        base_model=found["model"],
        revision=manifest.get("model", {}).get("revision") or "",
        licence=licence,
        licence_note=licence_note,
        hub_base=_hub_base(found["model"], root),
        method=manifest.get("method", ""),
        tuned_by=training.method_label(manifest["method"], config) if manifest else "",
        confidence=quantity(found["confidence"], "rate").replace(".0%", "%"),
        prompts=count(found["prompts"]),
        seeds=count(seeds),
        seeds_note=seeds_note(seeds),
        power=power(found),
        synthetic=bool(found["synthetic"]),
        tiny=found["model"] == "tiny",
        not_for=config.recipe.not_for,
    )


def _judged(
    config: Config, found: Json, judged: Judgement, about: About, seeds: int, counting: set[str]
) -> Judged:
    return Judged(
        notices=[
            *_notices(found, about.synthetic, about.tiny),
            *leak_notices(found, judged.without_leaks, counting),
            *baseline_notices(found, counting),
        ],
        verdict=judged.verdict,
        gates=gate_rows(judged.gates, config, found),
        dropped_gates=judged.dropped,
        earlier=earlier_verdicts(judged),
        claims=claim_rows(judged.claims, config, found),
        leaks=leaks_view(found, judged.without_leaks),
        pairs=pair_views(judged.pairs, about.names, found),
        baseline=baseline_view(judged.held, found) if judged.held else None,
        labour=labour.labour_cost(judged.labour, found),
        limits=_limits(found, seeds, about.synthetic, about.tiny),
    )


def _scored(found: Json, seeds: list[Json], counting: set[str], titles: dict[str, str]) -> Scored:
    tables = scores.score_tables(found)
    return Scored(
        seed_rows=scores.seed_rows(seeds, found),
        changes=scores.change_notes(found, unbeaten_sentences(found, counting)),
        scores=tables,
        score_plot=scores.score_plot(found),
        methods=scores.methods(tables),
        unscored=scores.unscored(found),
        baselines=baseline_rows(found, counting),
        baseline_names=baseline_columns(found),
        baselines_left_out=baselines_left_out(found),
        axes=axis_tables(found),
        slices=scores.slice_tables(found),
        worst_slices=scores.worst_slices(found),
        harm=harm_rows(found),
        validity=scores.validity_rows(found),
        worst=worst_view(found, titles),
        judge=judge_card(found),
        calibration=calibration_cards(found),
        general=general_rows(found),
        general_unscored=general_unscored(found),
        latency=speed.latency(found),
        card_metrics=scores.card_metrics(found),
    )


def _evidence(
    config: Config,
    root: Path,
    evaluation: Path,
    inputs: Inputs,
    mask: MaskAudit | None,
    reviews: Sequence[Carried] | None,
) -> Evidence:
    found, policies = inputs.scores, _policies(config, root)
    titles = _rule_titles(policies)
    picked = transcripts.pick_transcripts(found, titles)
    missed = misses.find_misses(found, titles, _most_urgent(policies))
    return Evidence(
        failures=scores.failure_rows(found, titles),
        transcripts=picked,
        reviews=None if reviews is None else reviews_view(reviews, found["items"], picked, missed),
        misses=missed,
        data=None if inputs.data is None or mask is None else provenance.data_card(inputs.data, mask),
        training=training.training(inputs, config),
        conditions=provenance.conditions(inputs, evaluation),
    )


def _policies(config: Config, root: Path) -> list["Policy"]:
    """The policies that the metrics judge by, each once."""
    from kit.evaluate.policy import load_policy

    paths = dict.fromkeys(use.params["policy"] for use in config.evaluate.metrics if use.params.get("policy"))
    return [load_policy(root / path) for path in paths]


def _rule_titles(policies: Sequence["Policy"]) -> dict[str, str]:
    """Titles of the policy's rules, so that a reader need not know that F1 is a promise of returns.

    A rule that an answer must follow is titled by what is asked, so a failure says that it was not met.
    """
    rules = [rule for policy in policies for rule in policy.rules]
    return {rule.id: rule.title + (" (not met)" if rule.must else "") for rule in rules}


def _most_urgent(policies: Sequence["Policy"]) -> str:
    """The most urgent recommendation of the policies; empty where they have none."""
    return next((label for policy in policies for label in policy.recommendations), "")


def _licence(model: str, config: Config) -> tuple[str, str]:
    """The base model's licence, where it is known, and a sentence on it.

    A tier states the licence of its own model only: a project may have put another one in its place.
    """
    if model == "tiny":
        return "", "The base model was made by casekit itself, which asks for no licence."
    tier = config.tiers.get(config.tier) if config.tier else None
    if tier is not None and _tier_model(tier.settings.get("model")) == model:
        return tier.licence, f"{tier.licence} is the licence of the base model; the tuned one falls under it."
    return "", f"To be filled in: the licence of {model} is not known to casekit, and binds the tuned model."


def _tier_model(named: Any) -> str | None:
    """A tier's own model, which is written as a name or as a section with one."""
    return named.get("name") if isinstance(named, dict) else named


def _hub_base(model: str, root: Path) -> str:
    """`model` where it is a Hub id, `owner/name`; a folder of that name in the project is not one."""
    is_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not (root / model).exists()
    return model if is_id else ""


def _notices(found: Json, synthetic: bool, tiny: bool) -> list[str]:
    """What a reader must know before any number."""
    from kit.evaluate.gates import invalid_reasons, mostly_invalid

    notices = []
    if tiny and synthetic:
        notices.append(
            "The base model is tiny, made by the kit itself, and the data is synthetic: "
            "these results prove the machinery, not the domain."
        )
    elif tiny:
        notices.append(
            "The base model is tiny, made by the kit itself: results prove the machinery, not the domain."
        )
    elif synthetic:
        notices.append("The data is synthetic: results prove the machinery, not the domain.")
    if "notices" in found:  # of a comparison, where nobody knows of a base and of tuning
        broken = mostly_invalid(found, "base", "greedy")
        said = f"Most answers of {names_of(found).base} are invalid and count as failures."
        return [*notices, *found["notices"], *([said] if broken else [])]
    if mostly_invalid(found, "base", "greedy"):
        why = invalid_reasons(found, "base", "greedy")
        notices.append(
            f"Most answers of the base model are invalid ({why}) and count as failures: much of the "
            "difference is that tuning taught the model to give a valid answer at all; see Validity."
        )
    notices += general_losses(found)
    mismatches = (found.get("conditions") or {}).get("mismatches") or []
    if mismatches:
        notices.append("The systems were not asked under the same conditions; see Conditions.")
    return notices


def _limits(found: Json, seeds: int, synthetic: bool, tiny: bool) -> list[str]:
    limits = [seeds_note(seeds), power(found)]
    if synthetic:
        limits.append(
            "The held-out prompts come from the same phrase grammar as the training data; only their names, "
            "numbers and products are new. Real customers phrase things in ways it does not hold."
        )
    if tiny:
        limits.append("Tiny is too small a model to serve anyone; its scores say nothing of a larger one.")
    limits.append(
        "Metrics are rules and counts, not judgement: each one's blind spots stand on its card. "
        "Every metric is tested by itself, without correction for how many there are; gates that ask for "
        "significance are corrected together (Holm), slices too (Benjamini–Hochberg)."
    )
    return [limit for limit in limits if limit]


def seeds_note(seeds: int) -> str:
    """What the intervals say of the luck of training, by the number of runs that differ by the seed only."""
    from kit.evaluate.seeds import FEWEST_SEEDS

    if not seeds:
        return "The intervals cover the choice of prompts, not the luck of training or of drawing an answer."
    if seeds == 1:
        return "One training seed: the intervals cover the choice of prompts, not the luck of training."
    if seeds < FEWEST_SEEDS:
        return f"{count(seeds)} training seeds: too few to tell the luck of training apart."
    return (
        f"{count(seeds)} training seeds: the table by seeds covers the luck of training too; all other "
        "intervals are of this run alone and cover the choice of prompts."
    )


def power(found: Json) -> str:
    """How small a difference so many prompts show, in a sentence; empty where it was not computed."""
    effect = found.get("minimum_detectable_effect")
    if effect is None:
        return ""
    prompts = plural(found["prompts"], "prompt")
    groups: int = found["groups"] if "groups" in found else found["prompts"]
    if groups < found["prompts"]:  # the effect was computed from groups
        prompts += f" in {plural(groups, 'group')}"
    from kit.evaluate.power import PLANNED_DISCORDANCE

    if effect >= PLANNED_DISCORDANCE:
        return f"{prompts} are too few: most differences would go unseen."
    return (
        f"{prompts} show a difference of {number(effect * 100)} points in four cases of five, where the "
        "systems disagree on one in five; smaller differences may go unseen."
    )
