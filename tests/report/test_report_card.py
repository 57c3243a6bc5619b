"""The model card is one the Hub can read."""

import pytest
from huggingface_hub import ModelCard
from report_samples import Sample, build, config

from kit.report.build import write_report
from kit.report.card import hub_licence


def load(sample: Sample) -> ModelCard:
    text = (write_report(*sample.arguments).folder / "MODEL_CARD.md").read_text("utf-8")
    return ModelCard(text)


def test_metadata_carries_the_tuned_scores(sample: Sample) -> None:
    card = load(sample).data

    assert card.language == ["en"]
    assert card.library_name == "peft"
    assert {"casekit", "lora", "synthetic-data"} <= set(card.tags)
    results = {result.metric_type: result for result in card.eval_results}
    found = next(m for m in sample.scores()["metrics"] if m["name"] == "violation_rate")["tuned"]
    assert results["violation_rate"].metric_value == pytest.approx(100 * found["estimate"], abs=0.01)
    assert f"{100 * found['high']:.1f}]" in results["violation_rate"].metric_name


def test_tiny_names_no_base_model_and_no_licence_a_hub_model_does(sample: Sample) -> None:
    assert load(sample).data.base_model is None
    assert load(sample).data.license is None

    sample.change_scores(model="Qwen/Qwen3-8B")
    card = load(sample).data
    assert (card.base_model, card.license) == ("Qwen/Qwen3-8B", "apache-2.0")


def test_a_tiers_licence_is_not_given_to_another_model(sample: Sample) -> None:
    """A project may put a Llama in the place of the tier's Qwen; its licence is then not Apache-2.0."""
    sample.change_scores(model="meta-llama/Llama-3.1-8B-Instruct")
    card = load(sample)
    assert card.data.license is None
    assert "To be filled in: the licence of meta-llama/Llama-3.1-8B-Instruct" in card.text
    assert "Apache" not in card.content


def test_the_intended_use_is_no_finding(sample: Sample) -> None:
    card = load(sample).text
    summary = sample.config.recipe.summary
    assert card.count(summary) == 1
    assert card.index("## Intended use") < card.index(summary)
    assert "How far it does so" in card[card.index(summary) :]


def test_a_folder_of_the_project_is_no_hub_model(sample: Sample) -> None:
    sample.change_scores(model="models/mine")
    (sample.root / "models/mine").mkdir(parents=True)
    assert load(sample).data.base_model is None


@pytest.mark.parametrize(
    ("stated", "fields"),
    [
        ("Apache-2.0", ("apache-2.0", None)),
        ("MIT", ("mit", None)),
        ("Qwen licence (commercial use up to 100 million monthly users)", ("other", "qwen-licence")),
        ("", (None, None)),
    ],
)
def test_licences(stated: str, fields: tuple[str | None, str | None]) -> None:
    assert hub_licence(stated) == fields


def test_a_card_without_scores_has_no_model_index(tmp_path: object) -> None:
    sample = build(tmp_path, prompts=40, settings=config(gates=[], claims=[]))  # type: ignore[arg-type]
    sample.change_scores(metrics=[], items=[])
    assert load(sample).data.eval_results is None
