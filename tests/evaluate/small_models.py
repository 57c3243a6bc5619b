"""A really small model, its tokenizer and prepared rows, for tests that make their own."""

import json
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(seed: int, hidden: int = 16):
    """A random two-layer Qwen3 with 10,000 weights, over bytes; about one answer in three stops by itself."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=259,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=hidden // 2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.6,
    )
    return Qwen3ForCausalLM(config).eval()


def save_split(folder: Path, rows: list[dict]) -> None:
    import datasets

    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "messages": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "expected": datasets.Value("string"),
            "slices": datasets.Value("string"),
            "group": datasets.Value("string"),
            "source": datasets.Value("string"),
            "line": datasets.Value("int64"),
        }
    )
    columns = {name: [row[name] for row in rows] for name in features}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder))


def make_row(number: int) -> dict:
    return {
        "id": f"{number * 7919 % 65521:016x}",
        "messages": [
            {"role": "user", "content": f"Is fund {number} safe{'?' * (number % 9)}"},
            {"role": "assistant", "content": "It can fall in value."},
        ],
        "expected": json.dumps({"topic": "funds", "answerable": number % 2 == 0}),
        "slices": json.dumps({"topic": "funds"}),
        "group": str(number),
        "source": "test",
        "line": number,
    }
