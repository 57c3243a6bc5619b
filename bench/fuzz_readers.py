"""Coverage-guided fuzzing of the readers: bytes that reach new lines of code are kept and changed again.

    pip install atheris
    python bench/fuzz_readers.py [.jsonl .csv …] [-max_total_time=60]

Beside the tests' own fuzzing (`tests/data/test_data_read_fuzz.py`, Hypothesis), whose rule it holds files to:
every record becomes a row or a rejection with its line and reason, or the file is one error with its name.
Ends at the first file that breaks the rule, which atheris leaves in the folder that it runs in. Words that
begin with a hyphen are atheris' own; without suffixes, all kinds of text are taken in turn.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
with atheris.instrument_imports(include=["kit.data"]):
    from test_data_read_fuzz import VALID, read_to_the_end

TEXT = (".jsonl", ".json", ".csv", ".tsv", ".txt")
STAGES = ("sft", "pretrain", "dpo", "kto")


def main() -> None:
    """Fuzz until told to stop."""
    suffixes = [word for word in sys.argv[1:] if word.startswith(".")] or list(TEXT)
    folder = Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, suffix in enumerate(suffixes):
        (corpus / f"valid{number}").write_bytes(bytes([number, 0]) + VALID[suffix])

    def one(data: bytes) -> None:
        """The first byte chooses the kind, the second the stage."""
        if len(data) > 2:
            read_to_the_end(
                folder, suffixes[data[0] % len(suffixes)], data[2:], STAGES[data[1] % len(STAGES)]
            )

    options = [word for word in sys.argv[1:] if not word.startswith(".")]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
