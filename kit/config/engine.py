"""What `evaluate.engine: vllm` cannot do: all that looks into the model, which vLLM keeps to itself."""

from collections.abc import Iterator

from kit.config.explain import Finding
from kit.config.methods import LORA
from kit.config.schema_train import MethodConfig
from kit.config.support import is_pissa
from kit.config.tree import Tree, mapping_at, section_at

_LOOK_INSIDE = ("answer_perplexity", "memorised_secrets", "calibration_error", "brier_score", "risk_coverage")
_SERVED = ("full", "freeze", "lora")
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM's room for adapters comes in these sizes."""
_HINT = "set evaluate.engine: transformers"


def check_engine(tree: Tree) -> list[Finding]:
    """Every setting of the merged tree that this engine has no answer to.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
    """
    evaluate = mapping_at(tree, "evaluate")
    if evaluate.get("engine") != "vllm":
        return []
    found = []
    if evaluate.get("latency_prompts", 16) != 0:
        message = "response times are those of transformers, and vLLM answers"
        found.append(Finding(("evaluate", "latency_prompts"), message, f"set it to 0, or {_HINT}"))
    if evaluate.get("harness"):
        message = "lm-evaluation-harness is given the model itself, which vLLM holds"
        found.append(Finding(("evaluate", "harness"), message, f"empty it, or {_HINT}"))
    for index, use in enumerate(evaluate.get("metrics") or []):
        name = use.get("name") if isinstance(use, dict) else use
        if name in _LOOK_INSIDE:
            message = f"{name} reads the model's probabilities, and vLLM answers"
            found.append(Finding(("evaluate", "metrics", index), message, f"take it out, or {_HINT}"))
    name = mapping_at(tree, "method").get("name")
    if isinstance(name, str) and name not in _SERVED:
        message = f"vLLM serves {', '.join(_SERVED)} as they were trained, and the method is {name}"
        found.append(Finding(("evaluate", "engine"), message, _HINT))
    return [*found, *_adapter(tree)]


def _adapter(tree: Tree) -> Iterator[Finding]:
    """What vLLM would refuse of the adapter that the run will leave, hours before there is one."""
    method = section_at(tree, "method", MethodConfig)
    if method is None or method.name not in LORA:
        return
    if method.use_dora:
        message = "vLLM does not serve DoRA (`method.use_dora`)"
        yield Finding(("evaluate", "engine"), message, f"set it to false, or {_HINT}", needs_rest=True)
    saved = method.rank * (2 if is_pissa(method) else 1)  # PEFT's conversion of PiSSA to LoRA doubles it
    if saved > RANKS[-1]:
        how = ", twice `method.rank`, as PiSSA is saved" if is_pissa(method) else " (`method.rank`)"
        message = f"vLLM serves ranks up to {RANKS[-1]}, and the adapter is saved with rank {saved}{how}"
        yield Finding(("evaluate", "engine"), message, f"lower it, or {_HINT}", needs_rest=True)
