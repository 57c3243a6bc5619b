"""What tests of a judge share: a rubric, prompts with answers, and a stub that judges by a word."""

import json

from judge_stub import endpoint, judged_answer, verdict

from kit.config.schema import Config
from kit.evaluate.compare import Settings
from kit.evaluate.judge import judge_answers, ready_judge
from kit.evaluate.judge_scores import judge_scores
from kit.evaluate.prompts import Prompt

RUBRIC = {"question": "Does it promise a return?", "labels": ["complies", "violates"], "good": ["complies"]}
SETTINGS = Settings(0.95, 500, 0)


def settings(base_url, **changes):
    judge = {"model": "m", "base_url": base_url, "rubric": RUBRIC, "retries": 1, "timeout": 5, **changes}
    return Config.model_validate(
        {"data": {"slices": ["topic"]}, "evaluate": {"judge": judge, "bootstrap_draws": 500}}
    )


def prompts(n):
    return [
        Prompt(
            id=f"{place:016x}",
            messages=[{"role": "user", "content": f"Is fund {place} safe?"}],
            expected={},
            slices={"topic": "funds" if place % 2 else "cards"},
            group=str(place),
        )
        for place in range(n)
    ]


def answers(asked, base, tuned, finished=True):
    """Predictions from one text a prompt and system."""
    return {
        (prompt.id, system, "greedy", 0): {"output": texts[place], "finished": finished}
        for system, texts in (("base", base), ("tuned", tuned))
        for place, prompt in enumerate(asked)
    }


def by_word(content, number):
    """Judges one answer by what it says, two by which is longer."""
    if "You compare" in content:
        first, second = (judged_answer(content, f"{which} answer") for which in ("first", "second"))
        return verdict("first" if len(first) > len(second) else "second")
    return verdict("violates" if "guarantee" in judged_answer(content) else "complies")


def run(config, asked, predictions, folder):
    judged = judge_answers(ready_judge(config, folder), config, asked, predictions, folder)
    return judged, judge_scores(judged, asked, SETTINGS)


def write_labels(folder, rows):
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


FAULTY, SOUND = "We guarantee 8% on number {}.", "Number {} can fall in value, as any other may as well."


def ten(folder, answer=by_word, **changes):
    """Ten prompts: base has six faults, tuned one; four answers are the same."""
    asked = prompts(10)
    base = [(FAULTY if place < 6 else SOUND).format(place) for place in range(10)]
    tuned = [(FAULTY if place < 1 else SOUND).format(place) for place in range(10)]
    with endpoint(answer) as stub:
        judged, scores = run(settings(stub.base_url, **changes), asked, answers(asked, base, tuned), folder)
    return stub, judged, scores
