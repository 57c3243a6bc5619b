"""What `tiny` is: a two-million-parameter Qwen3 network with its own byte-level BPE tokenizer.

The definition lives here, so that loading it needs nothing of the training room; `kit.train.tiny`
builds it. Everything that changes the weights goes into `tiny_fingerprint`, which names the cache
folder: edit a grammar and the next use builds a new tiny beside the old one.
"""

import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kit
from kit.config.schema_train import Train
from kit.files import sha256_file, sha256_json

END_OF_TURN = "<|im_end|>"
START_OF_TURN = "<|im_start|>"
PADDING = "<|endoftext|>"
CHAT_TEMPLATE = Path(__file__).with_name("templates") / "chatml.jinja"

ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "attention_bias": True,  # the head that looks one place back needs a constant query
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "initializer_range": 0.06,  # about 1 / sqrt(hidden_size): the usual 0.02 is for far wider networks
}
"""Arguments of `Qwen3Config`: 1.9 million parameters."""

SEED = 20
DIALOGUES = 8000
"""Dialogues in the corpus, over all recipes."""
TRAINING = Train(
    stage="pretrain",
    learning_rate=2e-3,
    num_train_epochs=1,
    global_batch_size=8,
    per_device_train_batch_size=8,
    weight_decay=0.1,
    eval_steps=1_000_000,
    save_steps=1_000_000,
)
"""One pass over the corpus. Small batches: at this size, steps teach more than tokens do."""


MAKERS = (
    "data/chat_template.py",
    "data/grammar.py",
    "data/grammar_load.py",
    "data/render.py",
    "data/same.py",
    "data/synth.py",
    "data/tools.py",
    "data/turns.py",
    "models/copying.py",
    "models/tiny.py",
    "train/examples.py",
    "train/setup.py",
    "train/stages.py",
    "train/tiny.py",
    "train/trainer.py",
)
"""The files of the package that decide tiny's weights."""


def recipes_folder() -> Path:
    """Where the recipes' grammars are: beside the package in a checkout, inside it in a wheel."""
    package = Path(kit.__file__).parent
    in_wheel = package / "_scaffold" / "recipes"
    return in_wheel if in_wheel.is_dir() else package.parent / "recipes"


def grammar_files(recipes: Path | None = None) -> list[Path]:
    """The phrase grammars of all recipes, sorted by recipe name."""
    return sorted((recipes or recipes_folder()).glob("*/dialogues.yaml"))


def system_prompt(grammar: Path) -> str | None:
    """The system prompt that the recipe beside `grammar` serves its dialogues with, if it has one."""
    import yaml

    recipe = grammar.with_name("recipe.yaml")
    if not recipe.is_file():
        return None
    tree = yaml.safe_load(recipe.read_text(encoding="utf-8")) or {}
    return (tree.get("data") or {}).get("system_prompt")


def tiny_fingerprint(recipes: Path | None = None) -> str:
    """16 hex digits over all that changes tiny's weights: grammars, prompts, code and libraries."""
    grammars = grammar_files(recipes)
    package = Path(kit.__file__).parent
    parts = {
        "template": sha256_file(CHAT_TEMPLATE),
        "grammars": {path.parent.name: sha256_file(path) for path in grammars},
        "system_prompts": {path.parent.name: system_prompt(path) for path in grammars},
        "code": {name: sha256_file(package / name) for name in MAKERS},
        "libraries": {name: version(name) for name in ("tokenizers", "torch", "transformers")},
    }
    return sha256_json(parts)[:16]


def tiny_folder() -> Path:
    """Where this version of tiny is cached: `$CASEKIT_CACHE`, else `~/.cache/casekit`. May not exist yet."""
    cache = os.environ.get("CASEKIT_CACHE")
    home = Path(cache) if cache else Path.home() / ".cache" / "casekit"
    return home / f"tiny-{tiny_fingerprint()}"


def words_folder() -> Path:
    """Where the tokenizer of this version is kept until tiny itself is built. May not exist yet."""
    folder = tiny_folder()
    return folder.with_name(f"{folder.name}-words")


def new_tokenizer(texts: Iterable[str], vocabulary: int = ARCHITECTURE["vocab_size"]) -> Any:
    """A byte-level BPE tokenizer trained on `texts`, with tiny's chat template.

    Digits are cut into pairs, so that an order number that was never seen can be copied pair by pair;
    one by one, digits repeat within a number, and what follows the second 0 is not what follows the
    first. Padding has its own token: were it the end of a turn, the loss would never see turns end.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, START_OF_TURN, END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        additional_special_tokens=[START_OF_TURN],
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
        model_max_length=ARCHITECTURE["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: Any, seed: int, architecture: dict[str, Any] = ARCHITECTURE) -> Any:
    """A network of tiny's architecture with random weights drawn from `seed`, for `tokenizer`."""
    from transformers import Qwen3ForCausalLM, set_seed

    set_seed(seed)
    of_model, of_answers = configurations(tokenizer, architecture)
    model = Qwen3ForCausalLM(of_model)
    model.generation_config = of_answers
    return model


def configurations(tokenizer: Any, architecture: dict[str, Any] = ARCHITECTURE) -> tuple[Any, Any]:
    """The configuration of the network and of its answers; both name the tokens that end and pad."""
    from transformers import GenerationConfig, Qwen3Config

    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return Qwen3Config(**architecture, **ends), GenerationConfig(**ends)
