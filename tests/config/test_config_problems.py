"""What a person reads when settings are wrong: everything at once, each with place, reason and remedy."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from config_samples import RECIPE

from kit.config import ConfigError, Problem, load_config

Make = Callable[..., Path]


def problems_of(root: Path, overrides: list[str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(root, overrides or [])
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_all_problems_of_all_layers_are_reported_at_once(make_project: Make) -> None:
    root = make_project(
        "tier: tiny\n"
        "trian: 3\n"
        "train:\n"
        "  learning_rate: fast\n"
        "  lr_scheduler_type: cosin\n"
        "gates:\n"
        "  - {name: a, metric: violation_rat, at_least: 1}\n"
        "  - {name: b, metric: violation_rate}\n"
    )
    found = problems_of(root, ["model.dtype=bf16", "seed=-1"])
    assert {problem.where for problem in found} == {
        "conf/project.yaml:2",
        "conf/project.yaml:4",
        "conf/project.yaml:5",
        "conf/project.yaml:7",
        "conf/project.yaml:8",
        "command line: model.dtype=bf16",
        "command line: seed=-1",
    }
    assert len(found) == 7


def test_a_fault_of_one_layer_hides_nothing_of_the_others(make_project: Make) -> None:
    """A repeated key, a bad word, a word that is no YAML and wrong types: one list, not four rounds."""
    root = make_project(
        "seed: 1\nseed: -2\ntrain:\n  learning_rate: fast\nevaluate: {batch_size: !!binary aGk=}\n"
    )
    found = problems_of(root, ["train.max_steps", "model.dtype=[a", "method.rank=x"])
    assert {problem.where: problem.message for problem in found} == {
        "conf/project.yaml:2": "`seed`: found -2, expected a whole number greater than or equal to 0",
        "conf/project.yaml:4": "`train.learning_rate`: found 'fast', expected a number",
        "conf/project.yaml:5": "values of type bytes are not supported",
        "command line: train.max_steps": "expected key=value",
        "command line: model.dtype=[a": "not valid YAML: expected ',' or ']', but got '<stream end>'",
        "command line: method.rank=x": "`method.rank`: found 'x', expected a whole number",
    }
    assert [problem.message for problem in found if "given twice" in problem.message] == [
        "`seed` is given twice"
    ]


def test_where_a_file_cannot_be_read_only_what_is_certain_is_said(make_project: Make) -> None:
    """The recipe may have defined the tier, the metric and the other batch size; types stay types."""
    found = problems_of(
        make_project(
            "tier: startup\n"
            "train: {golden_metric: violation_rate, global_batch_size: 12, learning_rate: fast}\n"
            "gates: [{name: g, metric: violation_rate}]\n",
            "evaluate: [1\n",
        )
    )
    assert [problem.where.rpartition("conf/")[2] for problem in found] == [
        "recipe.yaml:2",
        "project.yaml:2",
        "project.yaml:3",
    ]
    assert "expected a number" in found[1].message
    assert "exactly one of `at_least`, `at_most`" in found[2].message


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ("evaluate: {metrics: violation_rate}", "expected a list"),
        ("evaluate: {metrics: [3]}", "expected a name, or `key: value` lines"),
        ("evaluate: [violation_rate]", "expected `key: value` lines"),
        ("evaluate:", "found nothing, expected `key: value` lines"),
        ("tiers: [tiny]\ntier: tiny", "expected `key: value` lines"),
        (
            "data: {slices: topic}\ngates: [{name: g, metric: violation_rate, at_most: 0, worst: topic}]",
            "texts",
        ),
        ("recipe: {languages: fr}\nproject: {languages: [fr]}", "expected a list of texts"),
        (
            "evaluate: {latency_prompts: false}\ngates: [{name: g, metric: response_time, at_most: 1}]",
            "expected a whole number",
        ),
    ],
)
def test_a_wrong_type_causes_no_second_complaint(make_project: Make, project: str, message: str) -> None:
    root = make_project(f"{project}\ntrain: {{golden_metric: violation_rate}}\n")
    (problem,) = problems_of(root)
    assert message in problem.message


def test_two_gates_without_a_name_miss_their_names_and_nothing_else(make_project: Make) -> None:
    found = problems_of(
        make_project("gates: [{metric: violation_rate, at_most: 0}, {metric: violation_rate}]")
    )
    assert {problem.message.partition("`: ")[0] for problem in found} >= {"`gates[0].name` is missing"}
    assert not [problem for problem in found if "more than one gate" in problem.message]


WRONG_TYPES = [
    ("train: {learning_rate: true}", "found true, expected a number"),
    ("train: {learning_rate: '2e-4'}", "found '2e-4', expected a number"),
    ("seed: true", "found true, expected a whole number"),
    ("seed: 1_000", "found '1_000', expected a whole number"),
    ("seed: 1.5", "found 1.5, expected a whole number"),
    ("seed: 1e3", "found 1000.0, expected a whole number"),
    ("seed:", "found nothing, expected a whole number"),
    ("seed: [1]", "found [1], expected a whole number"),
    ('method: {rank: "8"}', "found '8', expected a whole number"),
    ("method: {rank: 0}", "found 0, expected a whole number greater than 0"),
    ("method: {dropout: 1}", "found 1, expected a number less than 1"),
    ("method: {target_modules: 3}", "found 3, expected text or a list of texts"),
    ("method: {target_modules: [3]}", "expected text or a list of texts"),
    ("method: 3", "found 3, expected a name, or `key: value` lines"),
    ("train: {gradient_checkpointing: yes}", "found 'yes', expected true or false"),
    ('train: {gradient_checkpointing: "off"}', "found 'off', expected true or false"),
    ("train: {gradient_checkpointing: 1}", "found 1, expected true or false"),
    ("train:", "`train`: found nothing, expected `key: value` lines"),
    ("train: 3", "`train`: found 3, expected `key: value` lines"),
    ("model: {revision: 1234567}", "found 1234567, expected text"),
    ("project: {languages: en}", "found 'en', expected a list of texts"),
    ("project: {languages: [1]}", "found 1, expected text"),
    ("data: {sources: {path: a}}", "found {'path': 'a'}, expected a list"),
    ("data: {checks: {advised_tokens: [1, 2, 3]}}", "found [1, 2, 3], expected a list of 2 whole numbers"),
    ("data: {checks: {advised_tokens: [1]}}", "found [1], expected a list of 2 whole numbers"),
    ("data: {checks: {advised_tokens: 3}}", "found 3, expected a list of 2 whole numbers"),
    ("data: {checks: {advised_tokens: [1, '2']}}", "found '2', expected a whole number"),
    ("tune: {learning_rate: 1e-3}", "found 0.001, expected a list of numbers"),
    ("tune: {rank: 8}", "found 8, expected a list of whole numbers"),
    ("tracking: {report_to: tensorbord}", "expected a list of tensorboard, wandb, mlflow, trackio"),
    ("tiers: {tiny: {settings: 3}}", "found 3, expected `key: value` lines"),
    ("tiers: {tiny: 3}", "`tiers.tiny`: found 3, expected `key: value` lines"),
]


@pytest.mark.parametrize(("project", "message"), WRONG_TYPES, ids=[project for project, _ in WRONG_TYPES])
def test_a_wrong_type_is_refused_in_plain_words(make_project: Make, project: str, message: str) -> None:
    """What the reference and the JSON Schema call an error is one: nothing is quietly converted."""
    (problem,) = problems_of(make_project(project))
    assert message in problem.message
    assert problem.where == "conf/project.yaml:1"
    assert not re.search(r"valid|instance|Tuple|dictionary|NoneType|\[key\]", str(problem))


@pytest.mark.parametrize(
    ("project", "hint"),
    [
        ('method: {rank: "8"}', "write it without quotes: 8"),
        ("seed: 1_000", "write it without `_`: 1000"),
        ("seed: 1e3", "write it in digits: 1000"),
        ("seed:", "fill it in, or remove the line"),
        ("train:", "fill it in, or remove the line"),
        ("model: {revision: 1234567}", "put it in quotes"),
        ("project: {languages: en}", "write it in brackets: [en]"),
        ("tracking: {report_to: tensorbord}", "write it in brackets: [tensorboard]"),
        ("train: {learning_rate: fast}", ""),
    ],
)
def test_a_wrong_type_says_what_to_write(make_project: Make, project: str, hint: str) -> None:
    (problem,) = problems_of(make_project(project))
    assert problem.hint == hint


def test_a_hint_from_the_schema_is_whole_sentences(make_project: Make) -> None:
    """A description of several lines is not broken off in the middle of a sentence."""
    (problem,) = problems_of(make_project("train: {packing: on}"))
    assert problem.hint.startswith("Join the sequences of a global batch")
    assert problem.hint.endswith("The steps see what they see unpacked.")


@pytest.mark.parametrize(
    ("project", "key", "value"),
    [
        ("train: {learning_rate: 2e-4}", "train.learning_rate", 2e-4),
        ("train: {learning_rate: 1}", "train.learning_rate", 1.0),
        ("train: {num_train_epochs: 3}", "train.num_train_epochs", 3.0),
        ("data: {checks: {advised_tokens: [100, 300]}}", "data.checks.advised_tokens", (100, 300)),
        ("train: {gradient_checkpointing: true}", "train.gradient_checkpointing", True),
        ("model: {revision: '1234567'}", "model.revision", "1234567"),
    ],
)
def test_right_types_load_as_they_are_written(
    make_project: Make, project: str, key: str, value: object
) -> None:
    found: object = load_config(make_project(project)).config
    for part in key.split("."):
        found = getattr(found, part)
    assert (found, type(found)) == (value, type(value))


def test_the_settings_of_every_tier_are_checked_whichever_is_chosen(make_project: Make) -> None:
    recipe = RECIPE.replace("learning_rate: 2e-3, ", "learning_rte: 2e-3, ").replace(
        "model: Qwen/Qwen3-8B", "model: {dtype: bf16}\n      gates: [{name: g, metric: nope, at_most: 0}]"
    )
    lines = {text: number for number, text in enumerate(recipe.splitlines(), 1)}
    (train,) = (number for text, number in lines.items() if "learning_rte" in text)
    (dtype,) = (number for text, number in lines.items() if "bf16" in text)
    for chosen in ("null", "tiny", "startup"):
        found = problems_of(make_project(f"tier: {chosen}\n", recipe))
        assert {problem.where for problem in found} == {
            f"conf/recipe.yaml:{line}" for line in (train, dtype, dtype + 1)
        }, chosen
        assert len(found) == 3
        assert all(("tier startup: " in problem.message) == (chosen != "startup") for problem in found[-2:])
    assert "did you mean `learning_rate`" in str(found)


def test_a_tier_that_breaks_what_the_recipe_relies_on_is_told_too(make_project: Make) -> None:
    recipe = RECIPE.replace("train:\n", "train:\n  golden_metric: violation_rate\n", 1)
    tier = "      evaluate: {metrics: [exact_match]}\n"
    (problem,) = problems_of(make_project("", recipe + tier))
    assert problem.message == "tier startup: `train.golden_metric`: unknown metric 'violation_rate'"


def test_a_project_is_not_held_to_tiers_that_it_does_not_choose(make_project: Make) -> None:
    recipe = RECIPE + "      train: {per_device_train_batch_size: 8, global_batch_size: 32}\n"
    root = make_project(
        "train: {global_batch_size: 12, per_device_train_batch_size: 4}\ntier: tiny\n", recipe
    )
    assert load_config(root).config.train.global_batch_size == 12
    root = make_project("train: {global_batch_size: 12}\n", recipe)
    (problem,) = problems_of(root, ["tier=startup"])
    assert "must be a multiple" in problem.message


def test_a_tier_chooses_no_tier(make_project: Make) -> None:
    recipe = RECIPE + "      tier: tiny\n      tiers: {medium: {title: t, licence: l}}\n"
    found = problems_of(make_project("tier: startup\n", recipe))
    assert [problem.where for problem in found] == ["conf/recipe.yaml:22", "conf/recipe.yaml:23"]
    assert all("a tier cannot choose or change tiers" in problem.message for problem in found)


def test_a_metric_is_named_once(make_project: Make) -> None:
    (problem,) = problems_of(
        make_project(
            "evaluate:\n  metrics:\n    - exact_match\n    - violation_rate\n    - name: exact_match\n"
        )
    )
    assert problem.where == "conf/project.yaml:5"
    assert "the metric 'exact_match' is given twice" in problem.message


def test_settings_that_are_a_folder_are_not_passed_over(make_project: Make) -> None:
    root = make_project()
    (root / "conf/project.yaml").unlink()
    (root / "conf/project.yaml").mkdir()
    (problem,) = problems_of(root)
    assert (problem.where, problem.message) == ("conf/project.yaml", "is a folder")


def test_unreadable_files_and_words_are_reported_together(make_project: Make) -> None:
    found = problems_of(make_project("seed: 1\nseed: 2\n", "a: [1\n"), ["train.max_steps"])
    assert [problem.where.rpartition("conf/")[2] for problem in found] == [
        "recipe.yaml:2",
        "project.yaml:2",
        "command line: train.max_steps",
    ]


def test_an_unknown_tier_hides_no_other_problem(make_project: Make) -> None:
    found = problems_of(make_project("tier: huge\nseed: -1\n"))
    assert {problem.where for problem in found} == {"conf/project.yaml:1", "conf/project.yaml:2"}


def test_a_threshold_that_nothing_can_miss_is_refused(make_project: Make) -> None:
    (problem,) = problems_of(make_project("gates: [{name: g, metric: violation_rate, at_most: .inf}]\n"))
    assert "finite" in problem.message


@pytest.mark.parametrize(
    ("project", "message", "hint"),
    [
        ("train: {learning_rte: 1}", "unknown key `train.learning_rte`", "did you mean `learning_rate`?"),
        ("method: qlra", "`method.name`: unknown value 'qlra'", "did you mean `qlora`?"),
        ("model: {dtype: bf16}", "unknown value 'bf16'", "allowed: auto, bfloat16, float16, float32"),
        ("train: {learning_rate: fast}", "found 'fast', expected a number", ""),
        ("train: {max_steps: 0}", "0 steps train nothing", ""),
        ("train: {global_batch_size: 30}", "must be a multiple of `per_device_train_batch_size` (8)", ""),
        ("data: {sources: [{path: a, hub: b}]}", "exactly one of `path`, `hub` and `grammar`", ""),
        ("data: {split: {valid: 0.6, test: 0.5}}", "leave something to train on", ""),
        ("evaluate: {metrics: [{params: {}}]}", "`evaluate.metrics[0].name` is missing", ""),
        ("gates: [{name: g, metric: violation_rat, at_most: 0}]", "'violation_rat'", "violation_rate"),
        ("gates: [{name: g, metric: violation_rate, at_most: 0, worst: topc}]", "slice 'topc'", "topic"),
        ("train: {golden_metric: exact}", "unknown metric 'exact'", "allowed: violation_rate"),
        (
            "evaluate: {batch_size: many}",
            "found 'many', expected a whole number or `auto`",
            "answered at once",
        ),
        ("evaluate: {batch_size: 0}", "found 0, expected a whole number greater than 0 or `auto`", ""),
        ("evaluate: {general: [{name: a, path: b, metrics: []}]}", "`evaluate.general[0].metrics`", ""),
        (
            "gates: [{name: g, metric: exact_match, on: gsm, at_most: 0}]\n"
            "evaluate: {general: [{name: gsm8k, path: a, metrics: [exact_match]}]}",
            "unknown general set 'gsm'",
            "did you mean `gsm8k`?",
        ),
        (
            "gates: [{name: g, metric: violation_rate, on: gsm8k, at_most: 0}]\n"
            "evaluate: {general: [{name: gsm8k, path: a, metrics: [exact_match]}]}",
            "unknown metric 'violation_rate'",
            "allowed: exact_match",
        ),
        (
            "evaluate: {general: [{name: a, path: b, metrics: [m]}, {name: a, path: c, metrics: [m]}]}",
            "more than one general set or task is called 'a'",
            "a name of its own",
        ),
        ("project: {languages: [de]}", "unknown language 'de'", "allowed: en, fr"),
        ("tier: huge", "unknown tier 'huge'", "allowed: startup, tiny"),
        ("- a\n- b", "expected `key: value` lines", ""),
        ("tracking: {report_to: [tensorbord]}", "'tensorbord'", "did you mean `tensorboard`?"),
        ("tier: [tiny]", "unknown tier", "allowed: startup, tiny"),
        ("project: {languages: 3}", "found 3, expected a list of texts", ""),
        ("data: {slices: 3}", "found 3, expected a list of texts", ""),
        ("train: {learning_rate: .inf}", "found inf, expected a finite number", ""),
        ("data: {checks: {advised_tokens: [500, 200]}}", "begins at 500, above its end 200", ""),
        ("tiers: {tiyn: {title: t, licence: l}}", "unknown key `tiers.tiyn`", "did you mean `tiny`? allowed"),
    ],
)
def test_a_problem_says_what_was_found_and_what_to_do(
    make_project: Make, project: str, message: str, hint: str
) -> None:
    (problem,) = problems_of(make_project(project))
    assert message in problem.message
    assert hint in problem.hint
    assert problem.where.startswith("conf/project.yaml:")


def test_a_gate_on_sampled_answers_needs_sampling(make_project: Make) -> None:
    root = make_project(
        "evaluate: {sampling: {enabled: false}}\n"
        "gates: [{name: g, metric: violation_rate, at_most: 0, decoding: sampled}]\n"
    )
    (problem,) = problems_of(root)
    assert "none are drawn" in problem.message


def test_gate_names_are_unique(make_project: Make) -> None:
    gate = "{name: g, metric: violation_rate, at_most: 0}"
    found = problems_of(make_project(f"gates: [{gate}, {gate}, {gate}]"))
    names = [problem for problem in found if "more than one gate is called 'g'" in problem.message]
    assert len(names) == 2, "the second and the third, and each once"


def test_words_that_are_no_settings(make_project: Make) -> None:
    found = problems_of(make_project(), ["train.max_steps", "=3"])
    assert [problem.where for problem in found] == ["command line: train.max_steps", "command line: =3"]


def test_response_time_is_a_metric_only_where_it_is_measured(make_project: Make) -> None:
    gate = "gates: [{name: g, metric: response_time, of: ratio, at_least: 1}]\n"
    assert load_config(make_project(gate)).config.gates[0].metric == "response_time"
    (problem,) = problems_of(make_project(gate + "evaluate: {latency_prompts: 0}\n"))
    assert "unknown metric 'response_time'" in problem.message


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["train.stage=sft", "train.preference.beta=0.2"], "beta", "train.stage is sft"),
        (["train.stage=dpo", "train.preference.loss_type=[kto]"], "loss_type", "'kto' is no loss of dpo"),
        (["train.stage=kto", "train.preference.loss_type=[ipo]"], "loss_type", "'ipo' is no loss of kto"),
        (
            ["train.stage=dpo", "train.preference.label_smoothing=0.1"],
            "label_smoothing",
            "no loss of sigmoid uses it",
        ),
        (["train.stage=dpo", "train.preference.loss_type=[exo_pair]"], "label_smoothing", "above 0"),
        (
            ["train.stage=dpo", "train.preference.loss_weights=[1, 2]"],
            "loss_weights",
            "2 weights for 1 losses",
        ),
        (
            ["train.stage=dpo", "train.preference.undesirable_weight=2"],
            "undesirable_weight",
            "train.stage is dpo",
        ),
    ],
)
def test_settings_of_preferences_that_do_not_fit_the_stage_are_refused(
    make_project: Make, words: list[str], key: str, said: str
) -> None:
    (found,) = problems_of(make_project(""), words)
    assert found.message.startswith(f"`train.preference.{key}`") and said in found.message and found.hint


def test_what_would_spoil_a_comparison_with_the_reference_is_refused(make_project: Make) -> None:
    found = problems_of(
        make_project(""),
        [
            "train.stage=kto",
            "train.packing=true",
            "method.dropout=0.1",
            "train.per_device_train_batch_size=1",
            "train.per_device_eval_batch_size=1",
            "train.global_batch_size=4",
        ],
    )
    assert {problem.message.split("`")[1] for problem in found} == {
        "train.packing",
        "method.dropout",
        "train.per_device_train_batch_size",
        "train.per_device_eval_batch_size",
    }
    load_config(make_project(""), ["train.stage=dpo", "train.per_device_eval_batch_size=1"])
    assert (
        len(problems_of(make_project(""), ["train.stage=dpo", "train.preference.loss_type=[simpo, ipo]"]))
        == 1
    )
    assert len(problems_of(make_project(""), ["train.stage=dpo", "train.preference.simpo_gamma=1"])) == 1
    load_config(make_project(""), ["train.stage=dpo", "train.preference.loss_type=[sigmoid, sft]"])


@pytest.mark.parametrize("stage", ["pretrain", "sft", "dpo", "kto", "orpo"])
def test_an_adapter_on_the_layer_that_losses_are_computed_from_is_refused(
    make_project: Make, stage: str
) -> None:
    words = [f"train.stage={stage}", "method.target_modules=[q_proj, lm_head]"]
    (found,) = problems_of(make_project(""), words)
    assert found.message.startswith("`method.target_modules` names lm_head") and found.hint


@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo"])
def test_rows_of_preferences_are_not_packed(make_project: Make, stage: str) -> None:
    (found,) = problems_of(make_project(""), [f"train.stage={stage}", "train.packing=true"])
    assert found.message == f"`train.packing` joins dialogues, and {stage} compares answers one by one"
    assert "sft and pretrain" in found.hint
    load_config(make_project(""), [f"train.stage={stage}", "train.packing=false"])
    load_config(make_project(""), ["train.stage=pretrain", "train.packing=true"])


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ("significant: true, at_most: 0", "found `at_most`, `significant`; a second condition is a second"),
        ("significant: true, of: reduction", "looks at the difference of tuned and base: leave `of` out"),
        ("non_inferior: {margin: -1}", "`gates[1].non_inferior.margin`: found -1, expected"),
        ("non_inferior: 0.02", "`gates[1].non_inferior`: found 0.02"),
        ("zero_tolerance: critical, worst: topic", "every tuned answer, greedy and sampled: leave `worst`"),
        ("zero_tolerance: dire", "unknown value"),
    ],
)
def test_a_gate_that_asks_for_what_does_not_belong_together_is_told_with_its_line(
    make_project: Make, asks: str, told: str
) -> None:
    fine = "gates:\n  - {name: a, metric: violation_rate, significant: true}\n"
    wrong = f"  - {{name: b, metric: violation_rate, {asks}}}\n"
    (problem,) = problems_of(make_project(fine + wrong))
    assert problem.where == "conf/project.yaml:3"
    assert told in problem.message
