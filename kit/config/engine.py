"""What `evaluate.engine: vllm` cannot do: all that looks into the model, which vLLM keeps to itself."""

from typing import Any

from kit.config.explain import Finding

_LOOK_INSIDE = ("answer_perplexity", "memorised_secrets", "calibration_error", "brier_score", "risk_coverage")
_SERVED = ("full", "freeze", "lora")
_HINT = "set evaluate.engine: transformers"


def check_engine(tree: dict[str, Any]) -> list[Finding]:
    """Every setting of the merged tree that this engine has no answer to.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
    """
    evaluate = tree.get("evaluate")
    if not isinstance(evaluate, dict) or evaluate.get("engine") != "vllm":
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
    method = tree.get("method")
    name = method.get("name") if isinstance(method, dict) else method
    if isinstance(name, str) and name not in _SERVED:
        message = f"vLLM serves {', '.join(_SERVED)} as they were trained, and the method is {name}"
        found.append(Finding(("evaluate", "engine"), message, _HINT))
    return found
