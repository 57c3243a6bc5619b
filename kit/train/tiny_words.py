"""tiny's tokenizer alone, for what reads, checks and prepares data: it is made in seconds, where the network
takes minutes. It is the tokenizer that tiny has when it is built, for it is made from the same dialogues.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from kit.files import new_folder
from kit.models.tiny import (
    ARCHITECTURE,
    DIALOGUES,
    SEED,
    configurations,
    grammar_files,
    new_tokenizer,
    tiny_folder,
    words_folder,
)
from kit.train.tiny import Messages, corpus

Shape = dict[str, Any]


def build_words() -> Path:
    """The folder of tiny's tokenizer: tiny's own where it is built, else one made for that.

    Raises:
        ModelError: no recipe's grammar can be found to make the dialogues from.
    """
    folder, built = words_folder(), tiny_folder()
    if built.is_dir() or folder.is_dir():
        return built if built.is_dir() else folder
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # whoever waits finds it made
        if not folder.is_dir():
            Console(stderr=True).print("making the tokenizer of tiny, the base model: once a machine")
            build_words_into(folder, corpus(grammar_files(), DIALOGUES, SEED))
    return folder


def build_words_into(folder: Path, dialogues: list[Messages], shape: Shape = ARCHITECTURE) -> None:
    """Leave the tokenizer of these dialogues in `folder`, with the configurations that name its ends.

    Args:
        shape: of the network, as arguments of `Qwen3Config`.
    """
    tokenizer = new_tokenizer((turn["content"] for row in dialogues for turn in row), shape["vocab_size"])
    with new_folder(folder) as made:
        for part in (tokenizer, *configurations(tokenizer, shape)):
            part.save_pretrained(made)
