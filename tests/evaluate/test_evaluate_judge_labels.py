"""The judge beside people: how far it agrees, what is corrected for its errors, and what may rest on it."""

from dataclasses import replace

import pytest
from judge_samples import FAULTY, SOUND, answers, by_word, prompts, run, settings, ten, write_labels
from judge_stub import Says, endpoint, judged_answer, verdict

from kit.config.errors import ConfigError, DataError
from kit.config.gates import Claim, Gate
from kit.config.schema import Config
from kit.evaluate.claims import judge_claims
from kit.evaluate.gates import judge_gates
from kit.evaluate.judge import judge_hash, ready_judge


def labelled(folder, base_errors=0, tuned_errors=0, n=100, per_group=1):
    """n prompts, half of them faulty in base, a tenth in tuned; the judge overlooks or invents some."""
    asked = [replace(prompt, group=str(place // per_group)) for place, prompt in enumerate(prompts(n))]
    truth = {"base": [place < n // 2 for place in range(n)], "tuned": [place < n // 10 for place in range(n)]}
    texts = {
        system: [
            f"{system} {(FAULTY if fault else SOUND).format(place)}" for place, fault in enumerate(faults)
        ]
        for system, faults in truth.items()
    }
    rows = [
        {"id": prompt.id, "system": system, "label": "violates" if truth[system][place] else "complies"}
        for system in truth
        for place, prompt in enumerate(asked)
    ]
    wrong = {texts["base"][place] for place in range(base_errors)}
    wrong |= {texts["tuned"][n - 1 - place] for place in range(tuned_errors)}

    def answer(content, number):
        said = judged_answer(content)
        return verdict("violates" if ("guarantee" in said) != (said in wrong) else "complies")

    write_labels(folder, rows)
    with endpoint(answer) as stub:
        config = settings(stub.base_url, pairwise=False, labels="labels.jsonl")
        return run(config, asked, answers(asked, texts["base"], texts["tuned"]), folder)[1]


def part(scores, column, value=""):
    return next(p for p in scores["calibration"]["parts"] if (p["column"], p["value"]) == (column, value))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    """Truth 50 to 10 faults of 100. The judge overlooks ten of base and invents thirty of tuned."""
    return labelled(tmp_path_factory.mktemp("unlike"), base_errors=10, tuned_errors=30)


def test_the_judge_stands_beside_people_by_system_and_slice(unlike):
    scores = unlike
    assert scores["calibration"]["status"] == "calibrated"
    base, tuned = part(scores, "system", "base"), part(scores, "system", "tuned")
    assert base["matrix"] == {"complies": {"complies": 50}, "violates": {"violates": 40, "complies": 10}}
    assert tuned["matrix"] == {"complies": {"complies": 60, "violates": 30}, "violates": {"violates": 10}}
    assert base["sensitivity"]["estimate"] == 0.8 and base["specificity"]["estimate"] == 1.0
    assert tuned["specificity"]["estimate"] == pytest.approx(2 / 3)
    assert base["kappa"]["estimate"] == pytest.approx((0.9 - 0.5) / 0.5)
    assert tuned["kappa"]["low"] < tuned["kappa"]["estimate"] < 0.4 < base["kappa"]["low"]
    assert part(scores, "topic", "funds")["n"] == 100 and part(scores, "all")["agreement"] == 0.8


def test_the_effect_is_corrected_for_the_judges_errors(unlike):
    """The judge says 40 to 40: no change at all."""
    scores = unlike
    assert scores["metric"]["difference"]["estimate"] == 0 and scores["metric"]["verdict"] == "not shown"
    entry = scores["corrected"]["entry"]
    assert entry["base"]["estimate"] == pytest.approx(0.5) and entry["tuned"]["estimate"] == pytest.approx(
        0.1
    )
    assert entry["difference"]["estimate"] == pytest.approx(-0.4) and entry["verdict"] == "improved"
    assert entry["reduction"]["estimate"] == pytest.approx(0.8)


def gate(**changes):
    return Gate.model_validate({"name": "g", "metric": "judge", **changes})


def scored(judge):
    """The rest of `scores.json` that gates read."""
    validity = {"greedy": {s: {"n": 100, "invalid": 0} for s in ("base", "tuned")}}
    return {
        "judge": judge,
        "metrics": [],
        "unscored": [],
        "confidence": 0.95,
        "validity": validity,
        "synthetic": False,
    }


GATES = [
    {"at_most": 0.6, "bound": "upper"},
    {"significant": True},
    {"non_inferior": {"margin": 0.02}},
    {"of": "reduction", "at_least": 0.2, "bound": "lower"},
]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    return scored(labelled(tmp_path_factory.mktemp("calibrated"), base_errors=10, tuned_errors=10))


@pytest.fixture(scope="module")
def thin(tmp_path_factory):
    """60 labels of each system."""
    return scored(labelled(tmp_path_factory.mktemp("thin"), n=60))


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """No labels at all."""
    return scored(ten(tmp_path_factory.mktemp("without"))[2])


@pytest.mark.parametrize("asks", GATES)
def test_a_gate_may_rest_on_a_calibrated_judge(asks, calibrated):
    (found,) = judge_gates(calibrated, [gate(**asks)])
    assert found.status == "passed" and found.n == 100


def test_a_claim_may_rest_on_a_calibrated_judge(calibrated):
    (claim,) = judge_claims(calibrated, [Claim(name="c", metric="judge", of="reduction", at_least=0.2)])
    assert claim.status == "supported"


@pytest.mark.parametrize("asks", [*GATES, {"at_most": 1, "worst": "topic"}])
def test_no_gate_rests_on_a_judge_that_is_not_calibrated(asks, thin, without):
    for scores, why in ((thin, "60 of base and 60 of tuned"), (without, "no answers labelled by people")):
        (found,) = judge_gates(scores, [gate(**asks)])
        assert found.status == "not enough evidence" and found.found is None
        assert found.why.startswith("judge not calibrated: ") and why in found.why
        (claim,) = judge_claims(scores, [Claim(name="c", metric="judge", at_least=0)])
        assert claim.status == "not testable" and why in claim.why


def test_labels_are_counted_by_groups_of_prompts(tmp_path):
    """100 answers of each system to 50 customers are 50 witnesses."""
    scores = labelled(tmp_path, base_errors=4, per_group=2)
    calibration = scores["calibration"]
    assert calibration["labelled"] == {"n": 200, "base": 100, "tuned": 100, "left_out": 0}
    assert calibration["status"] == "not calibrated" and "50 of base and 50 of tuned" in calibration["why"]
    assert scores["corrected"]["entry"] is None
    seen = part(scores, "system", "base")["sensitivity"]
    assert seen["estimate"] == 0.92 and "widened by bootstrap over groups" in seen["method"]


def test_a_gate_that_a_judge_has_nothing_for_is_told(calibrated, without):
    (found,) = judge_gates(calibrated, [gate(at_most=1, decoding="sampled")])
    assert found.status == "not enough evidence"
    assert found.why == "the judge was asked about greedy answers only"
    for scores in (calibrated, without):
        with pytest.raises(ConfigError, match="has no rules with a severity"):
            judge_gates(scores, [gate(zero_tolerance="critical")])
    with pytest.raises(ConfigError, match="no slices by 'topic'"):
        judge_gates(calibrated, [gate(at_most=1, worst="topic")])


def test_a_judge_that_tells_nothing_carries_no_gate(tmp_path):
    """Of tuned it overlooks nothing, and finds fault with nine sound answers of ten."""
    scores = labelled(tmp_path, tuned_errors=85)
    assert scores["calibration"]["status"] == "calibrated" and scores["corrected"]["entry"] is None
    assert scores["corrected"]["why"].startswith("tuned: the judge tells nothing: it sees 10 of 10 faults")
    (found,) = judge_gates(scored(scores), [gate(at_most=1)])
    assert found.status == "not enough evidence" and "cannot be corrected" in found.why


def test_labels_of_answers_made_elsewhere_are_asked_about_too(tmp_path):
    rows = [
        {"prompt": "Is it?", "output": "We guarantee it.", "label": "violates", "topic": "funds"},
        {"prompt": "Is it?", "output": "It may fall.", "system": "tuned", "label": "violates"},
        {"id": f"{0:016x}", "output": "An older answer.", "system": "base", "label": "complies"},
        {"id": f"{1:016x}", "system": "base", "label": "violates"},
        {"id": "not here", "system": "base", "label": "violates"},
    ]
    write_labels(tmp_path, rows)
    stub, _, scores = ten(tmp_path, labels="labels.jsonl", pairwise=False)
    assert len(stub.asked) == 15 + 3
    assert scores["calibration"]["labelled"] == {"n": 4, "base": 2, "tuned": 1, "left_out": 1}
    assert scores["calibration"]["status"] == "not calibrated"
    assert part(scores, "topic", "funds")["n"] == 2  # the first row, and prompt 1's own slice
    assert part(scores, "system", "tuned")["matrix"] == {"complies": {}, "violates": {"complies": 1}}


def test_what_cannot_be_read_is_a_column_of_the_matrix(tmp_path):
    rows = [{"prompt": "p", "output": f"Answer {n}.", "label": "complies"} for n in range(4)]
    write_labels(tmp_path, rows)

    def answer(content, number):
        return Says("The answer is fine.") if "Answer 2." in content else by_word(content, number)

    _, _, scores = ten(tmp_path, answer, labels="labels.jsonl")
    found = part(scores, "all")
    assert found["matrix"]["complies"] == {"complies": 3, "unparsable": 1} and found["unparsable"] == 1
    assert found["agreement"] == 0.75 and found["specificity"]["estimate"] == 1.0


def test_grades_are_held_to_graded_labels(tmp_path):
    """Quadratic weights: four grades off weigh sixteen times one; what cannot be read has no distance."""
    write_labels(
        tmp_path,
        [
            {"prompt": "p", "output": f"Answer {n}.", "label": grade}
            for n, grade in enumerate([1, 2, 4, 5, 5])
        ],
    )
    rubric = {"question": "How clear?", "scale": [1, 5], "good_from": 4}

    def answer(content, number):
        said = judged_answer(content)
        if said == "Answer 4.":
            return Says("very")
        return verdict({"Answer 0.": 1, "Answer 1.": 3, "Answer 2.": 4, "Answer 3.": 4}.get(said, 5))

    _, _, scores = ten(tmp_path, answer, labels="labels.jsonl", rubric=rubric, pairwise=False)
    found = part(scores, "all")
    assert found["matrix"]["5"] == {"4": 1, "unparsable": 1} and found["unparsable"] == 1
    # Labels 1, 2, 4, 5 and verdicts 1, 3, 4, 4: two are one grade off.
    pairs = [(label - given) ** 2 for label in (1, 2, 4, 5) for given in (1, 3, 4, 4)]
    assert found["kappa"]["estimate"] == pytest.approx(1 - 2 * 4 / sum(pairs))
    assert found["kappa"]["method"].startswith("quadratically weighted Cohen")
    # A reply that cannot be read found no fault, and there was none.
    assert found["sensitivity"]["estimate"] == found["specificity"]["estimate"] == 1.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"id": "a", "system": "base", "label": "bad"}',
            '`label` is "bad"; the rubric has complies, violates',
        ),
        ('{"id": "a", "system": "other", "label": "complies"}', "it is base or tuned"),
        ('{"id": "a", "label": "complies"}', "without `output` it takes `id` and `system`"),
        ('{"output": "o", "label": "complies"}', "`output` needs the `prompt`"),
        ('{"id": 7, "system": "base", "label": "complies"}', "`id` is 7; it is text"),
        ('{"id": "a", "system": "base", "label": true}', "`label` is true"),
        ("[1]", "found list, expected an object"),
        ('{"id": "a",', "JSON"),
        ("", "holds no labelled answer"),
    ],
)
def test_labels_that_cannot_be_used_are_told_with_their_line(line, said, tmp_path):
    (tmp_path / "labels.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        ready_judge(settings("http://127.0.0.1:9/v1", labels="labels.jsonl"), tmp_path)
    assert said in str(error.value)
    assert not line or f"{tmp_path / 'labels.jsonl'}:1: " in str(error.value)


def test_two_labels_of_one_answer_are_told(tmp_path):
    rows = [{"id": "a", "system": "base", "label": label} for label in ("complies", "violates")]
    write_labels(tmp_path, rows)
    with pytest.raises(DataError, match=r"jsonl:2: labels the answer of .*jsonl:1 again"):
        ready_judge(settings("http://127.0.0.1:9/v1", labels="labels.jsonl"), tmp_path)


def test_a_changed_label_or_rubric_scores_anew(tmp_path):
    (tmp_path / "rubric.yaml").write_text("question: q\nlabels: [a, b]\ngood: [a]\n")
    config = settings("http://127.0.0.1:9/v1", rubric="rubric.yaml", labels="labels.jsonl")
    write_labels(tmp_path, [{"id": "a", "system": "base", "label": "a"}])
    before = judge_hash(config, tmp_path)
    assert before == judge_hash(config, tmp_path) != judge_hash(Config(), tmp_path)
    write_labels(tmp_path, [{"id": "a", "system": "base", "label": "b"}])
    second = judge_hash(config, tmp_path)
    (tmp_path / "rubric.yaml").write_text("question: other\nlabels: [a, b]\ngood: [a]\n")
    assert len({before, second, judge_hash(config, tmp_path)}) == 3
