"""The base model. Only tiny has to be made on this machine: its words in seconds, its network in minutes."""

from typing import Any

from kit.config import Config
from kit.signals import terminated_in_order


def tokenizer(config: Config) -> Any:
    """The base model's tokenizer, all that reading and preparing data needs of it: for lengths in tokens,
    what the chat template writes, and which tokens carry loss. tiny's is made first where it is not there.
    """
    from kit.models.loading import load_tokenizer

    if config.model.name == "tiny":
        from kit.train.tiny_words import build_words

        build_words()
    return load_tokenizer(config.model)


@terminated_in_order()
def ensure_base(config: Config) -> None:
    """Make sure the base model can be loaded: tiny is built where it is not there."""
    if config.model.name == "tiny":
        from kit.train.tiny import build_tiny

        build_tiny()
