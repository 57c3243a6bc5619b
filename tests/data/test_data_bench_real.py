"""The script behind docs/explanation/real-data.md runs on real files and counts what it prints."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_tokenizers import shared_data

from kit.data import check

TURNS = "languages of turns"
FILES = ("ecom_spree_glossary_fr_es", "eval_xstest_en")


Printed = tuple[str, str]


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    """`python bench/real_data.py`, in this process: its output and what it complains of."""
    path = Path(__file__).parents[2] / "bench/real_data.py"
    spec = importlib.util.spec_from_file_location("real_data", path)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "real_data", script)  # its dataclasses look themselves up
    spec.loader.exec_module(script)
    monkeypatch.setattr(check, "MOST_EXAMPLES", check.MOST_EXAMPLES)  # it shows all, other tests five

    def run(*words: str) -> Printed:
        monkeypatch.setattr(sys, "argv", ["real_data.py", *words])
        script.main()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files alone, so that the tokenizer learns from no others."""
    folder = tmp_path_factory.mktemp("data")
    for name in FILES:
        path = shared_data() / f"{name}.jsonl"
        if not path.is_file():
            pytest.skip(f"{path.name} is not in the shared test data (set CASEKIT_SHARED_DATA)")
        (folder / path.name).symlink_to(path)
    return folder


def table(text: str) -> dict[str, dict[str, int]]:
    """The cells of the printed tables by file and column."""
    cells: dict[str, dict[str, int]] = {}
    head: list[str] = []
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if row[0] == "file":
            head = row
        elif line.startswith("| "):
            counted = [(name, cell) for name, cell in zip(head[1:], row[1:], strict=True) if name != TURNS]
            counts = {name: int(cell.replace(",", "").replace("--", "0")) for name, cell in counted}
            cells.setdefault(row[0].strip("`"), {}).update(counts)
    return cells


def test_the_tables_and_the_flagged_rows_of_two_files(
    real_data: Callable[..., Printed], folder: Path
) -> None:
    printed, complaints = real_data("--data", str(folder))
    assert f"not there: {folder}/ecom_bitext_en.jsonl" in complaints
    found = table(printed)
    spree, xstest = (found[name] for name in FILES)
    assert (spree["read"], xstest["read"], found["all"]["read"]) == (1500, 360, 1860)
    # No row of it is wrong, so all that the glossary lost is told by its checks.
    assert xstest["kept"] == 360
    rejecting = ("empty", "overlap", "near overlap", "duplicate", "conflict")
    assert spree["read"] - spree["kept"] == sum(spree.get(name, 0) for name in rejecting) > 200
    assert (spree["html"], spree["email"], spree["language"]) == (17, 2, 2)
    assert re.search(r"`eval_xstest_en` .* en \d+, untold \d+ \|", printed)
    assert "`iban`" in printed.split("In none of them:")[-1]

    flagged, _ = real_data("--data", str(folder), "--flagged", "html", "email", "--count", "5")
    assert "## html: 17 flagged, 5 shown" in flagged
    assert "## email: 2 flagged, 2 shown" in flagged
    shown = re.findall(r"^\d+\. ecom_spree_glossary_fr_es\.jsonl:(\d+): ", flagged, flags=re.MULTILINE)
    assert len(shown) == len(set(shown[:5])) + len(set(shown[5:])) == 7
    assert set(shown[5:]) == {"571", "1031"}
    assert '571 fr: "steve@getvendo.com"' in flagged  # the row itself is there to be read


def test_a_folder_without_the_files_is_told(
    real_data: Callable[..., Printed], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        real_data("--data", str(tmp_path))
    assert f"none of the files is in {tmp_path}: name their folder by --data" in capsys.readouterr().err
