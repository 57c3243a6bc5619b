"""A report of an evaluation that was made with other settings is made, and says so."""

from pathlib import Path


def test_an_evaluation_of_these_settings_needs_no_word(project: Path, casekit) -> None:
    code, _, err = casekit("report")
    assert (code, err) == (0, "")


def test_answers_made_with_other_settings_are_told(project: Path, casekit) -> None:
    code, _, err = casekit("report", "evaluate.max_prompts=50")
    assert code == 0
    assert "warning evaluate.max_prompts is 50, and the answers of first were made with 400" in err
    assert "give the evaluation's words to `casekit report` and `verify` too" in err


def test_another_number_of_answers_is_told(project: Path, casekit) -> None:
    _, _, err = casekit("report", "evaluate.sampling.answers=4")
    assert "evaluate.sampling.answers is 4, and 1 was drawn to each prompt of first" in err


def test_scores_of_another_policy_are_told(project: Path, casekit) -> None:
    policy = project / "conf" / "policy.yaml"
    policy.write_text(policy.read_text() + "\n# another word\n")
    _, _, err = casekit("report")
    assert "the metrics, or a file that they read, are not those that first was scored with" in err


def test_verify_says_that_settings_of_the_command_line_are_given_again(project: Path, casekit) -> None:
    casekit("report", "report.tolerance=0.5")
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "settings that were given on the command line then are given to verify as well: key=value" in err
    assert casekit("verify", "first", "report.tolerance=0.5")[0] == 0
