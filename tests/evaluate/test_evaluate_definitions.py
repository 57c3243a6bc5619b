"""What the scores of a metric mean, as a hash: whatever can change a score changes it."""

from pathlib import Path

from kit.config.schema import Config
from kit.evaluate.definitions import definitions
from kit.hooks import Hooks


def hashes(*metrics, method=1, **project):
    uses = [{"name": name, "params": params} for name, params in metrics]
    config = Config.model_validate({"project": project, "evaluate": {"metrics": uses}})
    return definitions(config, Path("/"), Hooks(), method)


OVERLAP = ("token_f1", {})
CLOSED = ("closed_accuracy", {"labels": ["yes", "no"]})


def test_the_languages_are_part_of_every_metric():
    """An answer in none of them is invalid, for whichever metric."""
    one, other = hashes(OVERLAP, languages=["en"]), hashes(OVERLAP, languages=["en", "fr"])
    assert one != other and one == hashes(OVERLAP, languages=["en"])


def test_a_metric_that_can_find_an_answer_unparsable_is_part_of_every_metric():
    alone, beside = hashes(OVERLAP), hashes(OVERLAP, CLOSED)
    assert alone["token_f1"] != beside["token_f1"]
    narrower = hashes(OVERLAP, ("closed_accuracy", {"labels": ["yes"]}))
    assert narrower["token_f1"] != beside["token_f1"]
    assert narrower["closed_accuracy"] != beside["closed_accuracy"]


def test_another_metric_changes_nothing():
    assert hashes(OVERLAP)["token_f1"] == hashes(OVERLAP, ("exact_match", {}))["token_f1"]
    calibrated = hashes(OVERLAP, ("exact_match", {}), ("brier_score", {"of": "exact_match"}))
    assert hashes(OVERLAP)["token_f1"] == calibrated["token_f1"]
    assert hashes(OVERLAP) != hashes(OVERLAP, method=2)
