"""The examples of the page on preferences are taken as they are written, in a project of a recipe."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/learn-from-preferences.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OF_STAGES = ["dpo", "kto", "sft and dpo"]


@pytest.fixture
def bank(tmp_path: Path, casekit, model: Path) -> Path:
    """A project of the finance recipe with files such as the page speaks of."""
    conf, raw = tmp_path / "conf", tmp_path / "data/raw"
    raw.mkdir(parents=True)
    for name in ("recipe.yaml", "policy.yaml", "dialogues.yaml"):
        shutil.copy(ROOT / "recipes/finance" / name, conf / name)
    (pair, label) = (json.loads(line) for line in re.findall(r"```json\n(.*?)\n```", PAGE))
    asked = [f"Is fund {number} safe?" for number in range(60)]
    pairs = [{**pair, "prompt": question} for question in asked]
    (raw / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    with (raw / "feedback.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "answer", "helpful"])
        rows.writerows([question, label["completion"], number % 2] for number, question in enumerate(asked))
    dialogues = [
        {"prompt": f"What does card {number} cost?", "completion": f"It costs {number} euros."}
        for number in range(60)
    ]
    (raw / "dialogues.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dialogues))
    return tmp_path


@pytest.mark.parametrize(("block", "stages"), list(zip(BLOCKS, OF_STAGES, strict=True)), ids=OF_STAGES)
def test_an_example_of_the_page_is_all_that_a_recipes_project_needs(block, stages, bank, casekit, model):
    (bank / "conf/project.yaml").write_text(f"tier: tiny\nmodel: {{name: {model}}}\n{block}")
    code, out, err = casekit("data", "check")
    assert (code, err) == (0, ""), err
    said = " ".join(out.split())
    assert "rejected 0" in said and ("for sft 60" in said and "for dpo 60" in said) == ("sft" in stages)
    for other in ("orpo", "reward") if stages == "dpo" else ():  # the page: the first example with these
        code, _, err = casekit("data", "check", f"train.stage={other}")
        assert (code, err) == (0, ""), err
