"""Where LoRA is quicker than full fine-tuning, taken apart: FLOP, optimiser, memory, what is communicated.

    python bench/lora_speed.py [--shape qwen2.5-7b] [--tokens 1024] [--rank 16]

FLOP are counted by torch on meta tensors of the shape (nothing is computed, nothing downloaded), with and
without recomputing activations. Bytes of weights, gradients and optimiser state are counted the same way for
`full` and `lora`, and for `qlora` on real 4-bit weights of one layer, times the layers; activations, the
library's workspaces and fragmentation come on top and are not counted. The optimiser's step is timed on this
processor on real tensors of one layer, and whole steps on a network that fits it. Nothing here is a GPU's.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

# Python looks for modules beside a script first, and would take `evaluate.py` for the library.
HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
sys.path.append(str(HERE))

# ruff: noqa: E402
from shapes import OURS, QWEN, configuration, counted, for_method, network, recomputing, with_adapter


def flops(shape: str, tokens: int, rank: int) -> dict[str, float]:
    """FLOP of a step over `tokens`: `full` and `lora`, and both with activations computed twice."""
    found = {}
    for method in ("full", "lora"):
        model = for_method(network(shape, "meta", attn_implementation="eager"), method, rank)
        found[method] = counted(model, 1, tokens)
        found[f"{method}, recomputed"] = counted(recomputing(model), 1, tokens)
    return found


def state_bytes(shape: str, rank: int) -> dict[str, dict[str, float]]:
    """Bytes of weights, gradients and AdamW's two moments, by method, as the kit holds them on a GPU.

    `full` trains float32 weights, `lora` float32 adapters beside bfloat16 weights, `qlora` beside NF4 with
    double quantisation in the layers; embeddings and head stay bfloat16.
    """
    model = network(shape, "meta", attn_implementation="eager")
    total = sum(one.numel() for one in model.parameters())
    layers = sum(one.numel() for name, one in model.named_parameters() if ".layers." in name)
    adapted = with_adapter(model, rank)
    adapter = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    trained = {"trained": 4.0 * adapter, "gradients": 4.0 * adapter, "moments": 8.0 * adapter}
    four = four_bit_layer(shape) * configuration(shape).num_hidden_layers
    return {
        "full": {"frozen": 0.0, "trained": 4.0 * total, "gradients": 4.0 * total, "moments": 8.0 * total},
        "lora": {"frozen": 2.0 * total, **trained},
        "qlora": {"frozen": four + 2.0 * (total - layers), **trained},
    }


def four_bit_layer(shape: str) -> float:
    """Bytes of one layer's weights in NF4 with double quantisation, of the real tensors: codes, scales and
    what is not quantised."""
    import bitsandbytes as bnb
    import torch

    layer = network(shape, "cpu", num_hidden_layers=1, vocab_size=8).to(torch.bfloat16).model.layers[0]
    found = 0
    for name, one in layer.named_parameters():
        if name.endswith("weight") and one.dim() == 2:
            codes, state = bnb.functional.quantize_4bit(one.data, quant_type="nf4", compress_statistics=True)
            parts = [codes, state.absmax, state.state2.absmax]
        else:
            parts = [one.data]
        found += sum(part.numel() * part.element_size() for part in parts)
    return float(found)


def optimizer_seconds(shape: str, rank: int, turns: int = 3) -> dict[str, float]:
    """Processor seconds of AdamW's fused step over what is trained of one layer, the least of some turns."""
    import torch

    found = {}
    for method in ("full", "lora"):
        model = for_method(network(shape, "cpu", num_hidden_layers=1, vocab_size=8), method, rank)
        trained = [one for one in model.parameters() if one.requires_grad]
        for one in trained:
            one.grad = torch.ones_like(one)
        optimizer = torch.optim.AdamW(trained, fused=True)
        spent = []
        for _ in range(turns + 1):
            began = time.process_time()
            optimizer.step()
            spent.append(time.process_time() - began)
        found[method] = min(spent[1:])
    return found


def steps_measured(shape: str, tokens: int, rank: int, turns: int = 3) -> dict[str, list[float]]:
    """Processor seconds of whole steps over a row of `tokens`: forward, backward and AdamW in float32, by
    `full` and `lora`, activations kept and computed twice, in turns."""
    import torch

    ids = torch.zeros((1, tokens), dtype=torch.long)
    contestants: dict[str, Any] = {}
    for method in ("full", "lora"):
        for suffix in ("", ", recomputed"):
            model = for_method(network(shape), method, rank)
            model = recomputing(model) if suffix else model
            trained = [one for one in model.parameters() if one.requires_grad]
            contestants[method + suffix] = model, torch.optim.AdamW(trained, fused=True)
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, (model, optimizer) in contestants.items():
            began = time.process_time()
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            spent[name] += [time.process_time() - began] if turn else []
    return spent


def main() -> None:
    """Count, time and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=[*OURS, *QWEN], default="qwen2.5-7b")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rank", type=int, default=16)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    shape = given.shape
    work = flops(shape, given.tokens, given.rank)
    print(f"{given.shape}, a row of {given.tokens:,} tokens, rank {given.rank}, torch {torch.__version__}\n")
    print("| | full, GFLOP a token | lora | full / lora |\n|---|--:|--:|--:|")
    for label, suffix in (("activations kept", ""), ("computed twice", ", recomputed")):
        full, lora = (work[method + suffix] / given.tokens / 1e9 for method in ("full", "lora"))
        print(f"| {label} | {full:.1f} | {lora:.1f} | {full / lora:.2f} |")
    print("\n| GB of | frozen weights | trained weights | gradients | moments | together | of full |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    states = state_bytes(shape, given.rank)
    whole = sum(states["full"].values())
    for method, parts in states.items():
        together = sum(parts.values())
        cells = [f"{size / 1e9:.2f}" for size in [*parts.values(), together]]
        print(f"| {method} | " + " | ".join(cells) + f" | {together / whole:.0%} |")
    smaller = "qwen2.5-0.5b" if shape in QWEN else shape  # a layer of 7B with its state takes 4 GB
    seconds = optimizer_seconds(smaller, given.rank)
    times = seconds["full"] / seconds["lora"]
    print(f"\nAdamW's step over one layer of {smaller}, on this processor: full / lora = {times:.0f}")
    real = shape if shape in OURS else "wide"
    small_work = flops(real, given.tokens, given.rank)
    spent = steps_measured(real, given.tokens, given.rank)
    print(f"\nWhole steps of shape {real} on this processor, full / lora, least and most of the turns:")
    for label, suffix in (("activations kept", ""), ("computed twice", ", recomputed")):
        pairs = zip(spent["full" + suffix], spent["lora" + suffix], strict=True)
        ratios = [full / lora for full, lora in pairs]
        arithmetic = small_work["full" + suffix] / small_work["lora" + suffix]
        print(f"- {label}: {min(ratios):.2f} to {max(ratios):.2f}, by FLOP {arithmetic:.2f}")
    crossed = min(spent["full, recomputed"]) / min(spent["lora"])
    print(f"- full computed twice against lora with activations kept: {crossed:.2f}")
    sent = states["full"]["gradients"] / states["lora"]["gradients"]
    print(f"Gradients that several processes would exchange a step: full / lora = {sent:.0f}")


if __name__ == "__main__":
    main()
