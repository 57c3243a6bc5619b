"""Which architectures keep packed samples apart: the list in the docs, measured as a run measures it."""

from typing import Any

import pytest
import torch
import transformers

from kit.config.errors import ModelError
from kit.train.packed import check_isolation

pytestmark = pytest.mark.slow
WORDS = 300
SHAPE = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
OLD = {"vocab_size": WORDS, "hidden_size": 64, "n_layer": 2, "n_head": 4}
KEPT_APART: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {},
    "Mistral": {"sliding_window": 8},
    "Gemma2": {"head_dim": 16},
    "Gemma3Text": {"head_dim": 16},
    "Phi3": {},
    "Qwen3Moe": EXPERTS,
    "GPT2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "GPTNeoX": {},
    "Olmo2": {},
    "Glm4": {"head_dim": 16},
    "DeepseekV3": {
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 16,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
    },
}
MIXED: dict[str, dict[str, Any]] = {
    "Bloom": OLD,
    "Falcon": {"alibi": True},
    "OPT": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "Mamba": {},
    "Mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
    "Qwen3Next": {
        **EXPERTS,
        "shared_expert_intermediate_size": 32,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
    },
}


class Words:
    """As much of a tokenizer as the measurement asks for."""

    all_special_ids = (0, 1, 2)

    def __len__(self) -> int:
        return WORDS


def random_network(name: str, settings: dict[str, Any], dtype: str) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SHAPE, **settings})
    return transformers.AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", KEPT_APART)
def test_these_keep_packed_samples_apart(name: str, dtype: str) -> None:
    model = random_network(name, KEPT_APART[name], dtype)
    found = check_isolation(model, Words(), model.dtype)
    assert found["leak"] == 0
    assert found["error"] < (1e-6 if dtype == "float32" else 1e-2), "the docs say how much is rounding"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MIXED)
def test_these_are_refused(name: str, dtype: str) -> None:
    model = random_network(name, MIXED[name], dtype)
    with pytest.raises(ModelError, match="see each other"):
        check_isolation(model, Words(), model.dtype)
