"""Tiny's definition: its size, its tokenizer, and what makes a new one."""

import shutil
from pathlib import Path

import pytest

from kit.models.copying import start_copying
from kit.models.tiny import (
    ARCHITECTURE,
    CHAT_TEMPLATE,
    grammar_files,
    new_model,
    new_tokenizer,
    recipes_folder,
    system_prompt,
    tiny_fingerprint,
    tiny_folder,
)

TEXTS = ["Your order WZ-7076 is on its way, Zoé.", "¿Dónde está mi pedido?", "Où est ma commande ?"]


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer(TEXTS * 20, vocabulary=400)


def test_tiny_has_about_two_million_parameters(tokenizer):
    model = new_model(tokenizer, seed=0)
    assert 1.8e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.1e6
    assert ARCHITECTURE["max_position_embeddings"] >= 512
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_weights_follow_the_seed(tokenizer):
    import torch

    first, again, other = (new_model(tokenizer, seed=seed).model.norm for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    drawn = [new_model(tokenizer, seed=seed).lm_head.weight for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert other is not first


@pytest.mark.parametrize("text", [*TEXTS, "Ünseen: 日本語 😀 \n\ttabs", "<b>&amp;</b>"])
def test_any_text_survives_the_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_digits_are_cut_in_pairs_so_that_unseen_numbers_can_be_copied():
    seen = [f"order {number}" for number in range(1000, 9999, 7)]
    tokenizer = new_tokenizer(seen, vocabulary=500)
    tokens = [tokenizer.decode([token]) for token in tokenizer("order 90817263").input_ids]
    assert tokens[-4:] == ["90", "81", "72", "63"]


def test_a_copying_start_finds_what_followed_the_same_token_before(tokenizer):
    """Random tokens, twice: the first head of layer 0 looks one back, that of layer 1 at what followed."""
    import torch

    model = new_model(tokenizer, seed=0).eval()
    start_copying(model, seed=0)
    model.set_attn_implementation("eager")
    once = torch.randperm(ARCHITECTURE["vocab_size"], generator=torch.Generator().manual_seed(0))[:40]
    with torch.no_grad():
        made = model(torch.cat([once, once])[None], output_attentions=True)
    neighbour, match = (layer[0, 0] for layer in made.attentions)
    places = torch.arange(40, 79)
    assert neighbour[places, places - 1].min() > 0.9
    assert match[places, places - 39].mean() > 0.9
    likely = made.logits[0, 40:79].topk(20).indices
    assert (likely == once[1:, None]).any(-1).float().mean() > 0.5  # by chance 0.01


def test_padding_has_a_token_of_its_own(tokenizer):
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"


def test_the_template_is_chatml_and_marks_what_the_assistant_says(tokenizer):
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
    )
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(prompt)
    marked = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    said = [token for token, mask in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(said) == "Hello<|im_end|>"


def recipes(folder: Path) -> Path:
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "dialogues.yaml").write_text("languages: [en]\n")
    (folder / "shop" / "recipe.yaml").write_text("data:\n  system_prompt: You sell.\ntrain:\n  seed: 1\n")
    return folder


def test_the_fingerprint_follows_grammar_and_system_prompt_and_nothing_else_of_a_recipe(tmp_path):
    folder = recipes(tmp_path)
    first = tiny_fingerprint(folder)
    recipe = folder / "shop" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 2"))
    assert tiny_fingerprint(folder) == first
    recipe.write_text("data: {system_prompt: You buy.}\n")
    second = tiny_fingerprint(folder)
    assert second != first
    (folder / "shop" / "dialogues.yaml").write_text("languages: [fr]\n")
    assert tiny_fingerprint(folder) not in {first, second}


def test_a_grammar_may_lie_alone(tmp_path):
    grammar = recipes(tmp_path) / "shop" / "dialogues.yaml"
    assert system_prompt(grammar) == "You sell."
    grammar.with_name("recipe.yaml").unlink()
    assert system_prompt(grammar) is None


def test_recipes_are_found_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    import kit

    assert {path.parent.name for path in grammar_files()} >= {"finance", "medical", "ecommerce"}
    installed = tmp_path / "kit"
    recipes(installed / "_scaffold" / "recipes")
    shutil.copy(CHAT_TEMPLATE, installed)
    monkeypatch.setattr(kit, "__file__", str(installed / "__init__.py"))
    assert recipes_folder() == installed / "_scaffold" / "recipes"


def test_the_cache_is_where_it_is_asked_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path))
    assert tiny_folder().parent == tmp_path
    monkeypatch.delenv("CASEKIT_CACHE")
    assert tiny_folder().parent == Path.home() / ".cache" / "casekit"
