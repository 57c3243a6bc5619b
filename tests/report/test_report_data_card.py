"""The cards are what the Hub reads: their metadata comes back as it was written."""

import json
import re
import warnings
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData
from report_samples import Sample, build, config

from kit.config.errors import ConfigError
from kit.report.build import write_report


def text(sample: Sample, name: str) -> str:
    return (write_report(*sample.arguments).folder / name).read_text(encoding="utf-8")


def front_matter(card: str) -> dict[str, object]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    tree = yaml.safe_load(found[1])
    assert isinstance(tree, dict)
    return tree


def change_data(sample: Sample, **changes: object) -> None:
    path = sample.prepared / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("model", ["tiny", "Qwen/Qwen3-8B"])
def test_the_model_cards_metadata_comes_back(model: str, sample: Sample) -> None:
    sample.change_scores(model=model)
    card = text(sample, "MODEL_CARD.md")
    tree = front_matter(card)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = ModelCard(card)  # raises where the Hub's own reader would
        assert read.data.to_dict() == tree
        assert ModelCardData(**tree, ignore_metadata_errors=False).to_dict() == tree
    found = {result.metric_type: result.metric_value for result in read.data.eval_results}
    assert {"violation_rate", "disclosure_rate", "token_f1"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())
    again = ModelCard(str(read))
    assert again.data.to_dict() == tree and again.text == read.text


def test_the_data_cards_metadata_comes_back(sample: Sample) -> None:
    card = text(sample, "DATA_CARD.md")
    tree = front_matter(card)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = DatasetCard(card)
        assert read.data.to_dict() == tree
        assert DatasetCardData(**tree).to_dict() == tree
    assert tree["language"] == ["en"]
    assert tree["size_categories"] == "1K<n<10K"
    assert tree["task_categories"] == ["text-generation"]
    assert tree["tags"] == ["casekit", "synthetic"]
    assert tree["language_creators"] == ["machine-generated"]
    assert "license" not in tree, "nobody said what it is"


def test_the_data_card_says_where_rows_came_from_and_who_is_in_them(sample: Sample) -> None:
    card = text(sample, "DATA_CARD.md")
    assert f"| conf/dialogues.yaml | grammar | 1,200 | 1,188 | yes | to be filled in | `{'1' * 64}` |" in card
    assert "100.0% of the kept rows are synthetic" in card
    assert "| train | 948 | 79.8% |" in card
    assert "each value is replaced by a placeholder" in card
    assert "| email | 3 | 4 |" in card
    assert "| de | 6 |" in card and "12 turns too short to tell" in card
    assert "| duplicate | equal to an earlier row | reject | 8 |" in card
    assert "Fingerprint f00d" in card


def test_stated_licences_are_printed_and_one_is_the_sets(tmp_path: Path) -> None:
    source = {"name": "faq.csv", "sha256": "2" * 64, "format": "messages", "synthetic": False}
    stated = {"conf/dialogues.yaml": "CC-BY-4.0", "faq.csv": "CC-BY-4.0"}
    sample = build(tmp_path, prompts=60, settings=config(report={"data_licences": stated}))
    sources = json.loads((sample.prepared / "data.json").read_text())["sources"]
    change_data(sample, sources=[*sources, {**source, "rows": 812, "kept": 812}])
    card = text(sample, "DATA_CARD.md")
    assert front_matter(card)["license"] == "cc-by-4.0"
    assert "| faq.csv | messages | 812 | 812 | no | CC-BY-4.0 |" in card

    one = config(report={"data_licences": {"faq.csv": "CC-BY-4.0"}})
    card = text(Sample(one, *sample.arguments[1:]), "DATA_CARD.md")
    assert "license" not in front_matter(card), "the other source's is not known"
    assert "to be filled in" in card


def test_a_licence_of_no_source_is_refused(tmp_path: Path) -> None:
    settings = config(report={"data_licences": {"fap.csv": "MIT"}})
    sample = build(tmp_path, prompts=60, settings=settings)
    with pytest.raises(ConfigError, match=r"no source fap\.csv") as refused:
        write_report(*sample.arguments)
    assert "conf/dialogues.yaml" in refused.value.problems[0].hint


def test_hostile_names_cannot_break_out_of_the_front_matter(tmp_path: Path) -> None:
    settings = config(project={"name": "x\n---\nlicense: mit\n# <script>"})
    sample = build(tmp_path, prompts=60, settings=settings)
    for name, reader in (("DATA_CARD.md", DatasetCard), ("MODEL_CARD.md", ModelCard)):
        read = reader(text(sample, name))
        assert read.data.license is None
        assert "<script>" not in read.text


def test_real_rows_are_not_called_synthetic(sample: Sample) -> None:
    (source,) = json.loads((sample.prepared / "data.json").read_text())["sources"]
    change_data(sample, sources=[{**source, "synthetic": False}], personal=None, languages=None)
    card = text(sample, "DATA_CARD.md")
    assert "Read this first" not in card
    assert front_matter(card)["language_creators"] == ["found"]
    assert "It is not known whether personal data was looked for." in card
    assert "languages were not detected" in card
