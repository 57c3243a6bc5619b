"""Conversations turn by turn: in the scores, on the page, in Markdown, and made again by `casekit verify`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from published import problems
from saved_project import add_evaluation, save_rows

Run = Callable[..., tuple[int, str, str]]


def test_a_conversation_asked_at_several_turns_is_followed_to_its_first_fault(
    project: Path, casekit: Run
) -> None:
    save_rows(project / "data/prepared/f00d/test", range(60), turns=3)
    add_evaluation(project, "pushed", 0.1)
    code, out, err = casekit("report", "--evaluation", "pushed")
    assert code in (0, 1, 3), out + err
    folder = project / "reports/pushed"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert not problems(report, "report")
    entry = next(m for m in report["metrics"] if m["name"] == "violation_rate" and m["decoding"] == "greedy")
    assert [row["turn"] for row in entry["turns"]] == [1, 2, 3]
    first, *_, last = entry["turns"]
    assert first["base"]["at_risk"] == first["tuned"]["at_risk"] == 20
    # Nobody leaves before the third turn: the share without a fault is that of the groups without one.
    assert last["base"]["estimate"] == pytest.approx(1 - entry["by_group"]["base"]["estimate"])
    assert last["base"]["estimate"] < last["tuned"]["estimate"] <= first["tuned"]["estimate"]
    assert all("turns" not in m for m in report["metrics"] if m["kind"] == "score")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Policy violations, turn by turn" in page
    assert f"{first['base']['first']} of 20" in page
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Turn by turn" in markdown and f"| 1 | {first['base']['first']} of 20 |" in markdown
    assert casekit("verify", "pushed")[0] == 0


def test_conversations_asked_once_have_no_such_section(project: Path, casekit: Run) -> None:
    casekit("report")
    for name in ("report.html", "report.md"):
        assert "turn by turn" not in (project / "reports/first" / name).read_text(encoding="utf-8").lower()
