"""The nearest training example and the mask, from prepared data on disk."""

from pathlib import Path
from typing import Any

import pytest
from report_samples import Sample

from kit.config.schema import Config
from kit.data.rows import Row
from kit.data.write import write_split
from kit.report import nearest
from kit.report.build import write_report
from kit.report.mask_audit import audit_mask
from kit.report.nearest import find_nearest

QUESTIONS = {
    "Can I lose the money in my savings account?": "Savings are covered up to 100,000 euros.",
    "What does a gold card cost a year?": "It costs 60 euros a year.",
    "May I call you on 555-867-5309 about the loan?": "Yes, an adviser rings you back.",
}


def row(question: str, answer: str, line: int) -> Row:
    messages = [
        {"role": "system", "content": "You are the assistant of a bank."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return Row("faq.csv", line, messages, {})


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    rows = [row(question, answer, line) for line, (question, answer) in enumerate(QUESTIONS.items(), start=2)]
    write_split(rows, tmp_path / "train", Config.model_validate({}))
    return tmp_path


def test_the_row_whose_question_is_most_alike_is_named_with_its_line(prepared: Path) -> None:
    found = find_nearest(
        prepared,
        {"a": "what does a gold card cost a year", "b": "Could I lose money on my savings account?"},
    )
    assert (found.by_id["a"].where, found.by_id["a"].similarity) == ("faq.csv:3", "1.00")
    assert found.by_id["a"].answer == "It costs 60 euros a year."
    assert found.by_id["b"].where == "faq.csv:2" and 0.4 < float(found.by_id["b"].similarity) < 1
    assert "out of 3" in found.note


def test_the_index_is_that_of_the_near_duplicates(prepared: Path) -> None:
    from kit.data.near import pieces

    asked = "Could I lose money on my savings account?"
    ours = float(find_nearest(prepared, {"a": asked}).by_id["a"].similarity)
    one, other = pieces(asked), pieces(next(iter(QUESTIONS)))
    assert ours == pytest.approx(len(one & other) / len(one | other), abs=0.005)


def test_personal_data_of_a_training_row_is_not_shown(prepared: Path) -> None:
    shown = find_nearest(prepared, {"a": "May I call you about the loan?"}).by_id["a"]
    assert shown.where == "faq.csv:4" and "867" not in shown.prompt


def test_nothing_alike_and_no_training_split_give_none(prepared: Path, tmp_path: Path) -> None:
    assert find_nearest(prepared, {"a": "保本保收益"}).by_id == {}
    gone = find_nearest(tmp_path / "f00d", {"a": "anything"})
    assert gone.by_id == {} and "f00d/train is no longer there" in gone.note


def test_many_rows_and_prompts_are_told(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST_ROWS", 2)
    monkeypatch.setattr(nearest, "MOST_PROMPTS", 1)
    found = find_nearest(prepared, {"a": next(iter(QUESTIONS)), "b": "What does a gold card cost a year?"})
    assert list(found.by_id) == ["a"]
    assert "out of 2 of 3" in found.note and "each of the first 1 " in found.note


def test_it_stands_beside_the_transcript(sample: Sample) -> None:
    asked = sample.scores()["items"][0]["prompt"]
    write_split([row(asked, "Nobody can promise that.", 7)], sample.prepared / "train", sample.config)
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    assert page.count("Nearest training example: <code>faq.csv:7</code>") > 5
    assert "Nobody can promise that." in page


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with the tokenizer beside its golden checkpoint."""
    from kit.models.tiny import new_tokenizer

    tokenizer = new_tokenizer([*QUESTIONS, *QUESTIONS.values()], vocabulary=384)
    tokenizer.save_pretrained(tmp_path / "run" / "golden")
    return tmp_path / "run"


def facts(config: Config, run: Path, prepared: Path, tokenizer: str | None = None) -> dict[str, str]:
    return dict(audit_mask(config, run, prepared, tokenizer).facts)


def test_what_the_model_learns_is_the_answers_with_their_end(prepared: Path, run: Path) -> None:
    audit = audit_mask(Config.model_validate({}), run, prepared, None)
    found = dict(audit.facts)
    assert found["Answers that end their turn"] == "3 of 3"
    assert found["Learned word for word"] == "3 of 3 answers"
    learned, _, tokens = found["Tokens the model learns from"].partition(" of ")
    assert found["Their share"] == f"{100 * int(learned) / int(tokens):.1f}%"
    said = {text.removesuffix("<|im_end|>") for text, is_learned in audit.example if is_learned}
    read = "".join(text for text, is_learned in audit.example if not is_learned)
    assert said < set(QUESTIONS.values()) and "You are the assistant of a bank." in read
    assert audit.where in ("faq.csv:2", "faq.csv:3"), "the row with a telephone number is no example"


def test_another_tokenizer_than_the_datas_is_told(prepared: Path, run: Path) -> None:
    from kit.data.fingerprint import tokenizer_hash
    from kit.models.loading import load_tokenizer

    settings = Config.model_validate({})
    own = tokenizer_hash(load_tokenizer(settings.model.model_copy(update={"name": str(run / "golden")})))
    assert facts(settings, run, prepared, own)["Tokenizer and chat template"].startswith("those")
    assert facts(settings, run, prepared, "0" * 64)["Tokenizer and chat template"].startswith("others")


def test_a_wrong_mask_is_seen(prepared: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit reads what carries loss back as text, so a mask that is off by one does not pass."""
    from kit.data import length
    from kit.data.render import Rendered

    def cut(*arguments: Any) -> list[Rendered]:
        samples = length.render_row(*arguments[:2], 4096)
        return [Rendered(one.input_ids, [*one.labels[2:], -100, -100]) for one in samples]

    monkeypatch.setattr(length, "samples_of", cut)
    found = facts(Config.model_validate({}), run, prepared)
    assert found["Learned word for word"] == "0 of 3 answers"
    assert found["Answers that end their turn"] == "0 of 3"


def test_without_tokenizer_or_data_the_report_says_so(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    for face in ("report.html", "report.md"):
        assert "The mask was not looked at again: f00d/train is no longer there." in (
            (folder / face).read_text("utf-8").replace("\\", "")
        )


def test_the_example_stands_in_the_report(sample: Sample, run: Path) -> None:
    rows = [row(question, answer, 2) for question, answer in QUESTIONS.items()]
    write_split(rows, sample.prepared / "train", sample.config)
    (run / "golden").rename(sample.run / "golden")
    folder = write_report(*sample.arguments).folder
    page = (folder / "report.html").read_text("utf-8")
    mask = page[page.index('<p class="mask"') :]
    assert "<mark>" in mask[: mask.index("</p>")]
    assert "Learned word for word: 3 of 3 answers" in (folder / "report.md").read_text("utf-8")
