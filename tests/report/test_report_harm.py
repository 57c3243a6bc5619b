"""How bad the answers are: by the worst rule each breaks, in the policy's words for it."""

from pathlib import Path

from report_samples import build

from kit.report.build import write_report
from kit.report.harm import harm_rows


def part(found: int, n: int) -> dict[str, object]:
    return {"n": n, "groups": n, "found": found, "rules": {}}


SEVERITIES = {  # added up from the worst on
    "critical": {"base": part(3, 90), "tuned": part(0, 90)},
    "major": {"base": part(8, 100), "tuned": part(2, 100)},
    "minor": {"base": part(8, 100), "tuned": part(3, 100)},
}
HARM = {"critical": "severe or death", "major": "moderate", "minor": "mild"}


def metric(**changes: object) -> dict[str, object]:
    named = {"label": "Rules", "decoding": "greedy", "severities": SEVERITIES, "harm": HARM}
    return {**named, **changes}


def test_an_answer_counts_once_by_its_worst_rule() -> None:
    rows = harm_rows({"metrics": [metric(), metric(decoding="sampled"), metric(severities=None)]})
    assert [(row.level, row.base, row.tuned) for row in rows] == [
        ("severe or death", "3", "0"),
        ("moderate", "5", "2"),
        ("mild", "0", "1"),
        ("none", "92", "97"),
    ]
    assert next(row.level for row in harm_rows({"metrics": [metric(harm=None)]})) == "critical"


def test_page_and_markdown_show_it_and_escape_the_policys_words(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=60)
    scores = sample.scores()
    harm = {**HARM, "critical": "<b>severe</b>"}
    scores["metrics"][0] |= {"severities": SEVERITIES, "harm": harm}
    sample.change_scores(metrics=scores["metrics"])
    folder = write_report(*sample.arguments).folder
    html, markdown = ((folder / face).read_text("utf-8") for face in ("report.html", "report.md"))
    table = html[html.index("Answers by the worst rule") :]
    table = table[: table.index("</table>")]
    assert "&lt;b&gt;severe&lt;/b&gt;" in table and "<b>severe" not in table
    assert ">97<" in table and ">moderate<" in table
    section = markdown.split("## Harm")[1].split("\n## ")[0]
    assert "| none | Policy violations | 92 | 97 |" in section and "<b>" not in section
