"""The nearest training example and the mask, from prepared data on disk."""

from pathlib import Path
from typing import Any

import pytest
from report_samples import Sample

from kit.config.schema import Config
from kit.data.rows import Row
from kit.data.write import write_split
from kit.report.build import write_report
from kit.report.mask_audit import audit_mask

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


def test_it_stands_beside_the_answers_that_are_shown(sample: Sample) -> None:
    found = {
        "where": "faq.csv:7",
        "similarity": 0.512,
        "prompt": "May I?",
        "answer": "Nobody can promise that.",
    }
    sample.change_scores(items=[{**item, "nearest": found} for item in sample.scores()["items"]])
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    assert page.count("Nearest training example: <code>faq.csv:7</code>, alike by 0.51") > 5
    assert "Nobody can promise that." in page


def test_where_no_training_rows_were_known_the_page_says_so(sample: Sample) -> None:
    sample.change_scores(leaks=None)
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    assert "No nearest training example is shown: the training rows were not at hand." in page


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
