"""Which stages a source is read for, and which of them learn from a row, where a project has several.

A row is made for one kind of stage: a pair for those that compare answers, a labelled answer for kto, a
document for pretraining, a dialogue for the others. A source that names its stages is taken at its word.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kit.config.errors import Problem
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.config.schema_train import Stage
from kit.data.preference import LABEL_STAGES, PAIR_STAGES, PREFERENCE
from kit.data.rows import SPLITS, Row, is_document
from kit.data.store import Entry


@dataclass(frozen=True)
class ReadFor:
    """The stages that the rows of a source may serve."""

    stages: tuple[Stage, ...]
    named: bool = False
    """Whether the source names them, so that those for dialogues also take what is made for others."""

    def narrowed(self, format_name: str, columns: Collection[str], known: bool) -> "ReadFor":
        """Those that learn from rows of a format; all where none does, for a refusal to speak of.

        Args:
            columns: those of the source's first records, under our names.
            known: whether it is one of our formats; a reader of the project says row by row what it read.
        """
        if not known or len(self.stages) == 1:
            return self
        if format_name in PREFERENCE:
            own: tuple[Stage, ...] = PAIR_STAGES
        elif "label" in columns and set(self.stages) & set(LABEL_STAGES):
            own = LABEL_STAGES
        elif format_name == "text":
            own = ("pretrain",)
        else:
            own = of_dialogues(self.stages)
        also = of_dialogues(self.stages) if self.named and format_name != "text" else ()
        kept = tuple(stage for stage in self.stages if stage in (*own, *also))
        return ReadFor(kept, self.named) if set(kept) & set(own) else self

    def learning(self, row: Row) -> list[Stage]:
        """Those that learn from a row."""
        if is_document(row.messages):
            return [stage for stage in self.stages if stage == "pretrain"]
        dialogues = of_dialogues(self.stages)
        if row.rejected is None and row.label is None:
            return list(dialogues)
        own = PAIR_STAGES if row.rejected is not None else LABEL_STAGES
        also = dialogues if self.named and row.label is not False else ()
        return [stage for stage in self.stages if stage in (*own, *also)]


def read_for(source: Source, config: Config) -> ReadFor:
    """The stages that a source is read for: those it names, else all of the project."""
    return ReadFor(tuple(source.stages or config.train.names), named=bool(source.stages))


def of_dialogues(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Those of the stages that learn from dialogues, neither from pairs nor from labelled answers."""
    return tuple(stage for stage in stages if stage not in (*PAIR_STAGES, *LABEL_STAGES))


def count_stages(entries: Sequence[Entry], config: Config) -> dict[str, dict[str, int]]:
    """The rows of every split that each stage learns from, or is held against, for `data.json`."""
    return {
        stage: {
            split: sum(entry.split == split and stage in entry.stages for entry in entries)
            for split in SPLITS
        }
        for stage in config.train.names
    }


def stages_without_rows(entries: Sequence[Entry], config: Config) -> list[Problem]:
    """Stages of a chain that have nothing to learn from, or nothing to choose a checkpoint by."""
    if len(config.train.names) == 1:
        return []  # then a split without rows is told
    wanted = ["train", *(["valid"] if config.data.split.valid else [])]
    return [
        Problem(
            where="train.stages",
            message=f"the stage {stage} has no row in {' and '.join(empty)}",
            hint=_hint(stage),
        )
        for stage, rows in count_stages(entries, config).items()
        if (empty := [split for split in wanted if not rows[split]])
    ]


def _hint(stage: str) -> str:
    if stage in PAIR_STAGES:
        return "it learns from pairs: bring more rows with `chosen` and `rejected`"
    if stage in LABEL_STAGES:
        return "it learns from answers labelled true or false: bring more rows with a `label`"
    return (
        "it learns from dialogues: bring more, or let it take the chosen answers of pairs (answers labelled "
        f"true) as well, by naming it in their source: `stages: [{stage}, …]`"
    )
