"""Which settings of `method` belong to which method; a setting that says nothing is refused."""

from collections.abc import Iterator
from typing import get_args

from kit.config.errors import Problem
from kit.config.explain import Finding
from kit.config.schema_train import Method, MethodConfig
from kit.config.tree import Tree, section_at

WHOLE = ("full", "freeze")
"""Methods that change the base's own weights and leave a whole model; the others leave an adapter."""
LORA = ("lora", "qlora")
SOFT_PROMPTS = ("prefix", "prompt")
"""Methods that put virtual tokens before every row."""
USED_BY: dict[str, tuple[str, ...]] = {
    "rank": LORA,
    "alpha": LORA,
    "dropout": LORA,
    "target_modules": (*LORA, "oft"),
    "use_rslora": LORA,
    "use_dora": LORA,
    "init_lora_weights": LORA,
    "loraplus_lr_ratio": LORA,
    "double_quantization": ("qlora",),
    "num_trainable_layers": ("freeze",),
    "num_virtual_tokens": SOFT_PROMPTS,
    "bottleneck_size": ("adapter",),
    "bottleneck_placement": ("adapter",),
    "oft_block_size": ("oft",),
}
"""Setting -> the methods that it says something for."""


def check_method(tree: Tree) -> Iterator[Finding]:
    """Every setting of `method` that says nothing for the method that is chosen.

    A value that is the default is let through: a recipe's `rank: 8` stands under a tier's `name: full`.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
    """
    method = section_at(tree, "method", MethodConfig)
    if method is None:
        return
    for name, methods in USED_BY.items():
        if method.name not in methods and getattr(method, name) != getattr(MethodConfig(), name):
            yield Finding(
                ("method", name),
                f"`method.{name}` is for {_listed(methods, 'and')}, and the method is {method.name}",
                f"take it out, or set method.name to {_listed(methods, 'or')}",
                needs_rest=True,
            )


def too_wide(method: MethodConfig, hidden_size: int | None) -> list[Problem]:
    """That bottlenecks are wider than the model, and so are none; nothing where its width is not known."""
    if method.name != "adapter" or hidden_size is None or method.bottleneck_size <= hidden_size:
        return []
    message = (
        f"is {method.bottleneck_size}, and the model's hidden size is {hidden_size}: a bottleneck is narrower"
    )
    hint = f"set it far below that, such as {max(1, hidden_size // 16)}; full training is `method: full`"
    return [Problem("method.bottleneck_size", message, hint)]


def _listed(names: tuple[str, ...], last: str) -> str:
    *before, end = names
    return f"{', '.join(before)} {last} {end}" if before else end


def method_names() -> tuple[str, ...]:
    """The methods in the order of the schema."""
    return get_args(Method)
