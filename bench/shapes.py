"""The shapes that are measured: arguments of `Qwen3Config` or `Qwen2Config`. Weights are random, nothing is
downloaded."""

from typing import Any

Shape = dict[str, Any]

OURS: dict[str, Shape] = {
    "toy": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1},
    "small": {"vocab_size": 4096, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4},
    "wide": {"vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4},
}
"""Of Qwen3, like tiny's; heads of 64, two queries to a key, tied embeddings."""

QWEN: dict[str, Shape] = {
    "qwen2.5-0.5b": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "qwen2.5-14b": {
        "vocab_size": 152064,
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
}
"""Of Qwen2, as in the `config.json` that is published with each model."""

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""What adapters are put beside: all linear layers but the head."""


def configuration(shape: str, **more: Any) -> Any:
    """The transformers configuration of a shape, attention written out so that FLOP can be counted."""
    from transformers import Qwen2Config, Qwen3Config

    if shape in QWEN:
        return Qwen2Config(**{**QWEN[shape], **more})
    heads = OURS[shape]["hidden_size"] // 64
    own = {
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": 64,
        "tie_word_embeddings": True,
    }
    return Qwen3Config(**{**OURS[shape], **own, **more})


def network(shape: str, device: str = "cpu", **more: Any) -> Any:
    """A network of that shape with weights drawn anew; on `meta` they are nothing but their shape."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(configuration(shape, **more)).train()


def with_adapter(model: Any, rank: int) -> Any:
    """The model frozen, LoRA of twice the rank as alpha beside its linear layers."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
    )


def for_method(model: Any, method: str, rank: int) -> Any:
    """The model as the method trains it: whole, or with an adapter."""
    return model if method == "full" else with_adapter(model, rank)


def recomputing(model: Any) -> Any:
    """The model, its activations computed twice from here on."""
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


NO_MASK = {"full_attention": None}
"""No work is done for a mask; and on meta tensors none can be made, for it depends on what is in them."""


def counted(model: Any, rows: int, tokens: int) -> float:
    """FLOP of a forward and a backward pass over `rows` of `tokens`, as torch counts them.

    Scores of pairs that the causal mask hides are counted too, as is usual.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    ids = torch.zeros((rows, tokens), dtype=torch.long, device=device)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, attention_mask=NO_MASK, use_cache=False).loss.backward()
    model.zero_grad()
    return float(counter.get_total_flops())


def flops_of_rows(shape: str, method: str, rank: int, lengths: list[int]) -> float:
    """FLOP of forward and backward over rows of these lengths, each alone; less with adapters."""
    model = for_method(network(shape, "meta", attn_implementation="eager"), method, rank)
    short, long = 64, 256  # the count is a * n + b * n^2
    at_short, at_long = counted(model, 1, short), counted(model, 1, long)
    b = (at_long / long - at_short / short) / (long - short)
    a = at_short / short - b * short
    return sum(a * n + b * n * n for n in lengths)
