"""What must hold before anything is trained: settings, policy, grammar. Offline and quick."""

import shutil
from pathlib import Path

import pytest
from kit.config import load_config
from kit.data.grammar_load import load_grammar
from kit.data.prepare import prepare
from kit.data.prepared import load_summary
from kit.data.synth import synthesize
from kit.evaluate.policy import load_policy
from kit.evaluate.policy_examples import problems_of
from kit.hooks import load_hooks
from kit.models.tiny import new_tokenizer

ROOT = Path(__file__).parents[1]


def test_the_settings_are_valid():
    assert load_config(ROOT).config.evaluate.metrics, "nothing would be measured"


@pytest.mark.parametrize("tier", load_config(ROOT).config.tiers)
def test_every_tier_can_be_chosen(tier):
    assert load_config(ROOT, [f"tier={tier}"]).config.tier == tier


def test_the_policy_holds_on_its_own_examples():
    problems = problems_of(load_policy(ROOT / "conf/policy.yaml"))
    assert not problems, "\n".join(map(str, problems))


def test_readers_and_cleaners_named_in_the_settings_exist():
    data = load_config(ROOT).config.data
    hooks = load_hooks(ROOT)
    built_in = {"auto", "messages", "alpaca", "sharegpt", "prompt_completion"}
    assert {source.format for source in data.sources} <= built_in | set(hooks.readers)
    assert set(data.cleaners) <= set(hooks.cleaners)


def test_dialogues_of_the_grammar_can_be_prepared(tmp_path):
    """By the recipe's settings, whatever data the project uses itself, with a small tokenizer."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("project.yaml"))
    few = "data.sources=[{grammar: conf/dialogues.yaml, dialogues: 200}]"
    config = load_config(tmp_path, [few, "model=tiny"]).config
    rows = list(synthesize(load_grammar(tmp_path / "conf/dialogues.yaml"), 200, config.seed))
    texts = [message["content"] for row in rows for message in row["messages"]]

    folder = prepare(config, tmp_path, load_hooks(ROOT), new_tokenizer(texts))

    count = load_summary(folder)["rows"]
    assert count["read"] == count["kept"] + count["rejected"] == 200
    assert count["kept"] > 150, f"too many rejected: see {folder}/rejected.jsonl"
    assert min(count["train"], count["valid"], count["test"]) > 0
