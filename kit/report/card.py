"""The model card: metadata the Hub reads, then what the model is for, how it was made and how it did."""

import re

from kit.config.methods import WHOLE
from kit.report.formatting import visible
from kit.report.html import mark
from kit.report.markdown import bullets, escape, table
from kit.report.validity_markdown import baselines
from kit.report.view import View
from kit.report.view_origin import Training

_HUB_LICENCES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc0-1.0", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "openrail", "llama2", "llama3", "llama3.1", "gemma",
    "unlicense", "afl-3.0", "isc", "wtfpl",
}  # fmt: skip
"""Licence ids of the Hub that models commonly carry; any other licence is `other`, with its name."""


def model_card(view: View) -> str:
    """`MODEL_CARD.md`: YAML front matter for the Hub, and the card itself."""
    parts = [
        f"---\n{_metadata(view)}\n---",
        f"# {escape(view.project)}",
        *(f"> **Read this first.** {escape(notice)}" for notice in view.notices),
        f"Release report: {mark(view.verdict.status)} **{view.verdict.status}** "
        f"(exit code {view.verdict.exit_code}). {escape(view.verdict.sentence)}",
        *_use(view),
        "## Licence",
        escape(view.licence_note),
        *_making(view),
        *_loading(view),
        *_evaluation(view),
        "## Limits",
        bullets(view.limits),
    ]
    return "\n\n".join(parts) + "\n"


def hub_licence(licence: str) -> tuple[str | None, str | None]:
    """The Hub's `license` and `license_name` for a licence as its publisher states it.

    Both are None where no licence is stated; a licence the Hub has no id for is `other`, by name.
    """
    identifier = re.sub(r"[^a-z0-9.-]+", "-", licence.partition("(")[0].strip().lower()).strip("-")
    if not identifier:
        return None, None
    return (identifier, None) if identifier in _HUB_LICENCES else ("other", identifier)


def _metadata(view: View) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    is_synthetic = "synthetic" if view.synthetic else "held-out"
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="casekit-prepared",
            dataset_name=visible(f"{view.title} ({is_synthetic} test split)"),
            dataset_split="test",
            dataset_revision=view.data.fingerprint if view.data else None,
            metric_type=metric.name,
            metric_name=visible(f"{metric.label}: {metric.text}"),
            metric_value=metric.value,
        )
        for metric in view.card_metrics
    ]
    licence, licence_name = hub_licence(view.licence)
    card = ModelCardData(
        base_model=view.hub_base or None,
        language=view.languages,
        library_name="transformers" if view.method in WHOLE else "peft",
        model_name=visible(view.project),
        pipeline_tag="text-generation",
        tags=["casekit", view.method, *(["synthetic-data"] if view.synthetic else [])],
        eval_results=results or None,
        license=licence,
        license_name=licence_name,
    )
    return str(card.to_yaml()).strip()


def _use(view: View) -> list[str]:
    stands = "How far it does so, the scores below say."
    parts = ["## Intended use", f"{escape(view.summary)} {stands}" if view.summary else escape(view.title)]
    if view.not_for:
        parts += ["## Not for", bullets(view.not_for)]
    return parts


def _making(view: View) -> list[str]:
    if view.data is None or view.training is None:
        return []
    base = f"{view.base_model} @ {view.revision}" if view.revision else view.base_model
    sources = [
        [escape(s.name), s.rows, "yes" if s.synthetic else "no", f"`{s.sha256}`"] for s in view.data.sources
    ]
    return [
        "## Data",
        table(["source", ">rows", "synthetic", "sha256"], sources),
        bullets([f"{name}: {value}" for name, value in view.data.facts]),
        "## Training",
        bullets([f"Base model: {base}", *(said for stage in view.training.stages for said in _stage(stage))]),
    ]


def _stage(stage: Training) -> list[str]:
    title = [stage.title] if stage.title else []
    facts = [f"{name}: {value}" for name, value in (*stage.facts, *stage.settings)]
    return [*title, *facts, *stage.findings]


def _loading(view: View) -> list[str]:
    """How to load what PEFT does not load by itself; nothing of the other methods."""
    if view.method != "adapter":
        return []
    return [
        "## Loading",
        "PEFT brings no bottleneck adapters: elsewhere casekit has to be installed too, and makes them known "
        "to it first. They cannot be merged into the base.",
        """```python
from kit.models.bottleneck import register
from peft import PeftModel

register()
model = PeftModel.from_pretrained(base, folder)  # the loaded base, and the folder of this adapter
```""",
    ]


def _evaluation(view: View) -> list[str]:
    parts = [
        "## Evaluation",
        f"{view.prompts} held-out prompts, the same for base and tuned; {view.confidence} intervals.",
    ]
    for scores in view.scores:
        rows = [
            [
                f"{escape(row.label)} ({row.better})",
                f"{row.base} {row.base_interval}",
                f"{row.tuned} {row.tuned_interval}",
                f"{row.difference} {row.difference_interval}",
                row.verdict,
            ]
            for row in scores.rows
        ]
        parts += [f"### {scores.decoding.capitalize()}"]
        parts += [table(["metric", ">base", ">tuned", ">difference", "verdict"], rows)]
    leaks = f"{view.leaks.sentence} {view.leaks.change}".strip()
    return [*parts, *baselines(view, escape, table), "## Leaks from training", escape(leaks)]
