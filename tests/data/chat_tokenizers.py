"""Small byte-level BPE tokenizers for tests: real tokenisation, made in milliseconds, no download."""

import os
import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}"
    "{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_CONTROL = re.compile(
    r"<\|[^|<>\s'\"{}]+\|?>|<[^|<>\s'\"{}]+\|>|<｜[^｜]+｜>|</?s>|</?(?:start|end)_of_turn>|\[/?[A-Z_]{3,}\]"
)
_CORPUS = [
    "What does the card cost? The card costs 12 euros a year, and you can cancel it any time.",
    "user assistant system Is it safe? No return is guaranteed; prices can fall as well as rise.",
] * 20


def chat_tokenizer(
    template: str | None = CHATML,
    eos: str = "<|im_end|>",
    bos: str | None = None,
    controls: tuple[str, ...] = (),
    word_marks: bool = False,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer whose control tokens are all those that `template` spells; with
    `word_marks` one that marks words with U+2581 as sentencepiece does.
    """
    spelled = sorted(
        set(_CONTROL.findall(template or "")) | {eos, "<|pad|>", *controls} | ({bos} if bos else set())
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if word_marks:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=400 + len(spelled),
        special_tokens=spelled,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    if bos:  # as Llama does: every text that is tokenised gets a beginning of sequence
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    named = {"eos_token": eos, "pad_token": "<|pad|>"} | ({"bos_token": bos} if bos else {})
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.chat_template = template
    return fast


def shared_data() -> Path:
    """The folder of real test data, which is not part of the repository."""
    return Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
