"""Builds a report: judges the gates, gathers everything once, writes its faces.

All faces (HTML, Markdown, JSON, JUnit, both cards) come from the same judgement and the same view, so they
agree by construction; `kit.report.verify` makes them again and compares.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, ExitCode, Problem
from kit.config.gates import Gate
from kit.config.schema import Config
from kit.files import new_folder, write_text
from kit.report.baseline import find_baseline, hold_against
from kit.report.card import model_card
from kit.report.data_card import data_card
from kit.report.gather import Seeds, build_view
from kit.report.html import page
from kit.report.judgement import judge
from kit.report.junit import junit
from kit.report.markdown import markdown
from kit.report.mask_audit import audit_mask
from kit.report.pdf import print_pdf
from kit.report.read import Inputs, Json, read_inputs
from kit.report.record import Beside, Made, items_text, json_text, recorded_json, settings_text
from kit.report.reviews import FILE as REVIEWS
from kit.report.reviews import carry_over, latest, read_reviews
from kit.report.sources import Sources


@dataclass(frozen=True)
class ReportResult:
    """Where a report lies and what it says."""

    folder: Path
    exit_code: ExitCode
    verdict: dict[str, Any]
    """`{"status", "exit_code", "sentence"}`, as in `report.json`."""


def write_report(
    config: Config,
    root: Path,
    evaluation: Path,
    run: Path,
    prepared: Path,
    recipe_gates: Sequence[Gate] = (),
    baseline: str | None = None,
    browser: Path | None = None,
) -> ReportResult:
    """Judge an evaluation and write `reports/<evaluation id>/`; an earlier verdict there stays listed.

    Args:
        config: the project's settings: gates, claims, what the recipe is not for.
        root: the project.
        evaluation: the folder with `scores.json`.
        run: the folder with `manifest.json` and `metrics.jsonl`.
        prepared: the folder with `data.json`.
        recipe_gates: those of the recipe and its tier; the report names the ones the project dropped.
        baseline: the released report to hold it against, an id or a folder, instead of the settings' own.
        browser: prints the page to `report.pdf`, if one is given; see `kit.report.pdf.require_browser`.

    Raises:
        CasekitError: the browser fails.
        DataError: an input is absent or broken, or a line of `reviews.jsonl` is no review.
        ConfigError: a gate names a metric that was not measured, or there is no such baseline.
        InvalidRunError: nothing is comparable with the baseline.
    """
    from kit.evaluate.seeds import find_seeds

    sources = Sources(config, root, evaluation, run, prepared, tuple(recipe_gates))
    inputs = read_inputs(evaluation, run, prepared)
    beside = Beside(
        baseline=find_baseline(sources, baseline),
        reviews=carry_over(latest(read_reviews(root / REVIEWS)), inputs.scores["items"]),
        by_seed=find_seeds(root, evaluation),
    )
    made = make_faces(sources, inputs, beside)
    with new_folder(sources.folder) as temporary:
        for name, text in made.texts.items():
            write_text(temporary / name, text)
        if browser is not None:
            print_pdf(browser, temporary / "report.html", temporary / "report.pdf")
    return ReportResult(sources.folder, ExitCode(made.verdict.exit_code), asdict(made.verdict))


def make_faces(sources: Sources, inputs: Inputs, beside: Beside) -> Made:
    """Every file of a report, by its name; nothing is written.

    Raises:
        ConfigError: a gate names a metric that was not measured, or a licence is that of no source.
        InvalidRunError: nothing is comparable with the baseline.
    """
    from kit.evaluate.seeds import seed_factor

    config, found = sources.config, inputs.scores
    _refuse_unknown_sources(config, inputs.data or {"sources": []})
    held = hold_against(beside.baseline, found, config, sources.root) if beside.baseline else None
    judged = judge(found, config, sources.evaluation, sources.folder, sources.recipe_gates, held=held)
    seeds = Seeds(len(beside.by_seed) or 1, seed_factor(beside.by_seed))
    data = inputs.data or {}
    mask = audit_mask(config, sources.run, sources.prepared, data.get("tokenizer"))
    where = (sources.root, sources.evaluation)
    view = build_view(config, *where, inputs, judged, seeds, mask, beside.reviews)
    texts = {
        "report.html": page(view),
        "report.md": markdown(view),
        "MODEL_CARD.md": model_card(view),
        "DATA_CARD.md": data_card(view, data, config),
        "junit.xml": junit(view),
        "items.jsonl": items_text(found["items"]),
        "settings.json": settings_text(config, sources.recipe_gates),
    }
    report = recorded_json(sources, found, judged, beside, seeds.factor, texts)
    return Made({**texts, "report.json": json_text(report)}, report, judged.verdict)


def _refuse_unknown_sources(config: Config, data: Json) -> None:
    """A licence of a source that there is not would be printed nowhere."""
    known = {source["name"] for source in data["sources"]}
    if unknown := sorted(set(config.report.data_licences) - known):
        hint = f"sources of the data: {', '.join(sorted(known))}"
        raise ConfigError(Problem("report.data_licences", f"no source {', '.join(unknown)}", hint))
