"""The nearest training examples, as words; `kit.evaluate.nearest` found them when the answers were scored."""

from kit.report.formatting import number
from kit.report.read import Json
from kit.report.view_evidence import Nearest


def nearest_of(item: Json) -> Nearest | None:
    """The training example nearest to a prompt; None where nothing is alike, or no training row was known."""
    found = item.get("nearest")
    if found is None:
        return None
    return Nearest(found["where"], number(found["similarity"], 2), found["prompt"], found["answer"])


def nearest_note(scores: Json) -> str:
    """What stands beside the answers that are shown, or why nothing does; empty for a comparison."""
    if scores.get("leaks") is None:
        said = "No nearest training example is shown: the training rows were not at hand."
        return said if scores.get("run") else ""
    return (
        "With each stands the training example whose question is most like its own (1 means the same words); "
        "it is the one that the baseline `nearest training answer` copies."
    )
