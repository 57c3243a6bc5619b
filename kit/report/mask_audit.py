"""The loss mask, looked at again when the report is made: what the model was in fact taught to say.

Training rows are rendered anew with the tokenizer that the run left beside its golden checkpoint, and what
carries loss is read back as text: it must be the answers, whole, each with its end of turn, and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config.errors import CasekitError
from kit.config.schema import Config
from kit.report.formatting import count, plural, quantity
from kit.report.view_evidence import MaskAudit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kit.data.prepared import PreparedRow

LOOKED_AT = 100
"""Training rows, evenly chosen."""
_SHOWN = 3_000
"""Characters of the example."""


@dataclass
class _Counts:
    """What the rows came to."""

    samples: int = 0
    tokens: int = 0
    learned: int = 0
    turns: int = 0
    """Runs of tokens with loss: one an answer."""
    ended: int = 0
    """Those whose last token ends a turn."""
    answers: int = 0
    """Answers that are plain text, so that they can be compared."""
    same: int = 0
    """Those that are, word for word, what a run says."""


def audit_mask(config: Config, run: Path, prepared: Path, prepared_for: str | None) -> MaskAudit:
    """Render some training rows again and say which tokens carry loss, with one row as an example.

    Args:
        config: as the run was trained.
        run: its folder; the tokenizer is that of its golden checkpoint.
        prepared: the folder of the prepared data.
        prepared_for: the hash of tokenizer and chat template in its `data.json`.

    Returns:
        Without figures and example where the training split or the tokenizer is no longer there, which the
        note then says. Rows with personal data are no examples.
    """
    if not (prepared / "train").is_dir():
        return _none(f"{prepared.name}/train is no longer there")
    if not (run / "golden" / "tokenizer_config.json").is_file():
        return _none("the run has no golden checkpoint with a tokenizer")
    from kit.models.loading import load_tokenizer

    own = config.model.model_copy(update={"name": str(run / "golden"), "revision": None})
    try:
        tokenizer = load_tokenizer(own)
        return _audit(config, prepared, tokenizer, prepared_for)
    except CasekitError as error:
        return _none(str(error.problems[0]).splitlines()[0])


def _none(why: str) -> MaskAudit:
    return MaskAudit(f"The mask was not looked at again: {why}.", [], "", [])


def _audit(
    config: Config, prepared: Path, tokenizer: "PreTrainedTokenizerBase", prepared_for: str | None
) -> MaskAudit:
    from kit.data.fingerprint import tokenizer_hash
    from kit.data.prepared import load_rows, load_table

    total = len(load_table(prepared, "train"))
    rows = load_rows(prepared, "train", range(0, total, -(-total // LOOKED_AT) or 1))
    counts = _Counts()
    for row in rows:
        _count(row, tokenizer, config, counts)
    where, example = _example(rows, tokenizer, config)
    note = (
        f"{plural(len(rows), 'training row')} of {count(total)} rendered again with the run's own tokenizer."
    )
    is_same = prepared_for == tokenizer_hash(tokenizer)
    told = "those the data was prepared for" if is_same else "others than the data was prepared for"
    return MaskAudit(note, [*_facts(counts), ("Tokenizer and chat template", told)], where, example)


def _facts(counts: _Counts) -> list[tuple[str, str]]:
    facts = [
        ("Tokens the model learns from", f"{count(counts.learned)} of {count(counts.tokens)}"),
        ("Their share", quantity(counts.learned / counts.tokens if counts.tokens else None, "rate")),
        ("Answers that end their turn", f"{count(counts.ended)} of {count(counts.turns)}"),
    ]
    if counts.answers:
        facts.append(("Learned word for word", f"{count(counts.same)} of {plural(counts.answers, 'answer')}"))
    return facts


def _count(row: "PreparedRow", tokenizer: "PreTrainedTokenizerBase", config: Config, counts: _Counts) -> None:
    from kit.data.chat_template import named_stop_ids
    from kit.data.length import samples_of

    stops = set(named_stop_ids(tokenizer))
    said = []
    for sample in samples_of(row, tokenizer, config):
        counts.samples += 1
        counts.tokens += len(sample.input_ids)
        for run in _runs(sample.input_ids, sample.labels):
            counts.learned += len(run)
            counts.turns += 1
            counts.ended += run[-1] in stops
            said.append(_flat(str(tokenizer.decode(run, skip_special_tokens=True))))
    answers = [message for message in row.messages if message["role"] == "assistant"]
    plain = not any(key in message for message in answers for key in ("tool_calls", "reasoning_content"))
    if plain and row.rejected is None:
        counts.answers += len(answers)
        counts.same += sum(_flat(message["content"]) in said for message in answers)


def _runs(ids: Sequence[int], labels: Sequence[int]) -> Iterator[list[int]]:
    """The tokens of every unbroken run with loss."""
    from kit.data.rows import IGNORED

    run: list[int] = []
    for token, label in zip(ids, labels, strict=True):
        if label != IGNORED:
            run.append(token)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _flat(text: str) -> str:
    return " ".join(text.split())


def _example(
    rows: "Sequence[PreparedRow]", tokenizer: "PreTrainedTokenizerBase", config: Config
) -> tuple[str, list[tuple[str, bool]]]:
    """The row of middle length among those without personal data, in runs with and without loss."""
    from kit.data.personal import redact_all
    from kit.data.show import pieces

    clean = [row for row in rows if redact_all(row.messages) == row.messages]
    if not clean:
        return "", []
    by_length = sorted(clean, key=lambda row: (sum(len(m["content"]) for m in row.messages), row.id))
    row = by_length[len(by_length) // 2]
    runs, left = [], _SHOWN
    for piece in pieces(row, tokenizer, config)[0]:
        if left > 0:
            runs.append((piece.text[:left], piece.trained))
        left -= len(piece.text)
    return f"{row.source}:{row.line}", runs
