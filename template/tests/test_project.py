"""What must hold before anything is trained: settings, policy, grammar. Offline and quick."""

from itertools import islice
from pathlib import Path

import pytest
from kit.config import load_config
from kit.data.synth import load_grammar, synthesize
from kit.evaluate.policy import load_policy
from kit.hooks import load_hooks

ROOT = Path(__file__).parents[1]


def test_the_settings_are_valid():
    assert load_config(ROOT).config.evaluate.metrics, "nothing would be measured"


@pytest.mark.parametrize("tier", load_config(ROOT).config.tiers)
def test_every_tier_can_be_chosen(tier):
    assert load_config(ROOT, [f"tier={tier}"]).config.tier == tier


def test_the_policy_holds_on_its_own_examples():
    problems = load_policy(ROOT / "conf/policy.yaml").check_examples()
    assert not problems, "\n".join(map(str, problems))


def test_readers_and_cleaners_named_in_the_settings_exist():
    data = load_config(ROOT).config.data
    hooks = load_hooks(ROOT)
    built_in = {"auto", "messages", "alpaca", "sharegpt", "prompt_completion"}
    assert {source.format for source in data.sources} <= built_in | set(hooks.readers)
    assert set(data.cleaners) <= set(hooks.cleaners)


def test_the_grammar_makes_dialogues_that_can_be_trained_on():
    config = load_config(ROOT).config
    grammar = load_grammar(ROOT / "conf/dialogues.yaml")
    rows = list(islice(synthesize(grammar, 40, seed=config.seed), 40))
    assert len(rows) == 40
    for row in rows:
        turns = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert all(message["content"].strip() for message in row["messages"])
