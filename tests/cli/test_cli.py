"""The command as a person types it: what is printed, and the exit code."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from kit import cli
from kit.config import Config
from kit.terminal import converse, headline

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def casekit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str, columns: int = 200) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["casekit", *words])
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/recipe.yaml").write_text("train:\n  learning_rate: 3e-5\n")
    (tmp_path / "conf/project.yaml").write_text("seed: 7\n")
    return tmp_path


def test_help_lists_the_commands(casekit: Run) -> None:
    code, out, _ = casekit("--help")
    assert code == 0
    assert {
        "new",
        "update",
        "recipes",
        "config",
        "data",
        "train",
        "evaluate",
        "report",
        "run",
        "review",
        "verify",
    } <= set(out.split())


def test_no_command_lets_libraries_complain_while_they_are_imported(
    casekit: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.getLogger("bitsandbytes")
    library.setLevel(logging.NOTSET)
    kernel = logging.getLogger("bitsandbytes.backends.cpu.ops")
    assert kernel.isEnabledFor(logging.WARNING)
    casekit("recipes")  # which imports nothing heavy: what a later import warns of is silenced beforehand
    kernel.warning("Failed to load CPU gemm_4bit_forward")
    assert not kernel.isEnabledFor(logging.WARNING) and capsys.readouterr().err == ""


def test_version(casekit: Run) -> None:
    code, out, _ = casekit("--version")
    assert code == 0
    assert re.fullmatch(r"casekit \d+\.\d+\.\d+\S*\n", out)


def test_config_prints_each_value_with_its_layer(casekit: Run, project: Path) -> None:
    code, out, _ = casekit("config", "--project", str(project), "train.max_steps=9")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:] if line.strip()}
    assert code == 0
    assert lines["train.learning_rate"] == ["3e-05", "recipe", "conf/recipe.yaml:2"]
    assert lines["seed"] == ["7", "project", "conf/project.yaml:1"]
    assert lines["train.max_steps"][:3] == ["9", "command", "line"]
    assert lines["train.warmup_ratio"] == ["0.03", "kit", "default"]


def test_config_schema_is_json_schema(casekit: Run) -> None:
    code, out, _ = casekit("config", "--schema")
    assert code == 0
    assert "learning_rate" in json.loads(out)["$defs"]["Train"]["properties"]


def test_bad_settings_exit_2_with_every_problem(casekit: Run, project: Path) -> None:
    (project / "conf/project.yaml").write_text("sed: 7\ntrain: {learning_rate: fast}\n")
    code, out, err = casekit("config", "--project", str(project))
    assert (code, out) == (2, "")
    assert "conf/project.yaml:1" in err
    assert "did you mean `seed`?" in err
    assert "conf/project.yaml:2" in err
    assert "Traceback" not in err


EARLY = """
import contextlib, io, json, sys
from kit import cli

for words in json.load(sys.stdin):
    sys.argv = ["casekit", *words]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    heavy = sorted({"torch", "transformers", "datasets", "evaluate", "trl", "peft"} & set(sys.modules))
    print(json.dumps([code, heavy, said.getvalue()]))
"""


def test_what_can_be_told_at_once_is_told_before_anything_heavy_is_imported(project: Path) -> None:
    """Torch and transformers take seconds: a slip of the pen must not."""
    of_data = [["data", "check"], ["data", "prepare"], ["data", "show"]]
    of_model = [["train"], ["run"], ["tune"], *of_data]
    every = [*of_model, ["evaluate"], ["report"], ["verify"], ["config"]]
    every.append(["answer", "--base-url", "http://localhost:1", "--model", "m", "--out", "o"])
    asked = [([*words, "train.lerning_rate=1"], "unknown key `train.lerning_rate`") for words in every]
    asked += [([*words, "model=/no/such"], "the folder '/no/such' does not exist") for words in of_model]
    metrics = "evaluate.metrics=[token_f1, tokn_f1]"
    scoring = (["train"], ["run"], ["tune"], ["evaluate"])
    asked += [([*words, metrics], "`evaluate.metrics[1]`: unknown metric 'tokn_f1'") for words in scoring]
    wide = ["method=adapter", "method.bottleneck_size=999999"]
    told = "method.bottleneck_size is 999999, and the model's hidden size is 256: a bottleneck is narrower"
    asked += [([*words, *wide], told) for words in (["train"], ["run"], ["tune"])]
    asked += [(words, "the data was not prepared yet") for words in (["train"], ["tune"])]
    asked += [(["evaluate"], "there is no finished run"), (["watch"], "there is no run")]
    done = subprocess.run(
        [sys.executable, "-c", EARLY],
        input=json.dumps([[*words, "--project", str(project)] for words, _ in asked]),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr
    for (words, told), (code, heavy, said) in zip(asked, answers, strict=True):
        assert (code, heavy) == (2, []) and told in said, (words, said)


def test_text_in_brackets_is_printed_as_it_is(casekit: Run, project: Path) -> None:
    code, _, err = casekit("config", "--project", str(project), "model.dtype=[bold]x[/bold]")
    assert code == 2
    assert "[bold]x[/bold]" in err


@pytest.mark.parametrize(
    ("typed", "quoted"),
    [
        (["train.stages=[sft,", "dpo]"], "'train.stages=[sft, dpo]'"),
        (
            ["data.sources=[{path:", "a=b.jsonl},", "{path:", "c.jsonl}]"],
            "'data.sources=[{path: a=b.jsonl}, {path: c.jsonl}]'",
        ),
    ],
)
@pytest.mark.parametrize("command", [["config"], ["train"], ["data", "check"], ["data", "show"], ["verify"]])
def test_a_list_that_the_shell_took_apart_is_one_error_that_says_to_quote_it(
    command: list[str], typed: list[str], quoted: str, casekit: Run, project: Path
) -> None:
    code, _, err = casekit(*command, "--project", str(project), "seed=7", *typed, "tier=null")
    assert code == 2
    assert err.splitlines() == [
        f"error command line: {quoted.strip(chr(39))} the shell took this apart at its spaces, "
        f"into {len(typed)} words",
        f"      put it in quotes: {quoted}",
    ]


def test_brackets_that_nothing_closes_are_no_shells_work(casekit: Run, project: Path) -> None:
    code, _, err = casekit("config", "--project", str(project), "train.stages=[sft,", "seed=7")
    assert code == 2 and "not valid YAML" in err and "shell" not in err


def test_values_in_brackets_are_no_markup(casekit: Run, project: Path) -> None:
    code, out, _ = casekit("config", "--project", str(project), "data.system_prompt='[bold]x[/] [/y]'")
    assert code == 0
    assert '"[bold]x[/] [/y]"' in out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["train", "seed=3"], None, "no run had begun: the same command begins again"),
        (["train", "seed=3"], "interrupted", "`casekit train --resume {p}` continues it"),
        (["train", "--resume", "seed=3"], None, "`casekit train --resume seed=3 {p}` continues it"),
        (["run", "seed=3"], "interrupted", "`casekit train --resume {p}` continues it"),
        (
            ["train", "--processes", "2", "hardware.machine_rank=1"],
            "interrupted",
            "`casekit train --resume hardware.machine_rank=1 {p}` continues it",
        ),
        (["run"], "finished", "done: `casekit evaluate --run 99990101-000000-sft-lora {p}` goes on"),
        (
            ["train", "--processes", "2", "hardware.num_threads=1"],
            "finished",
            "`casekit evaluate --run 99990101-000000-sft-lora hardware.num_threads=1 {p}` goes on",
        ),
        (
            ["train", "--resume", "--run=9999", "seed=3"],
            "finished",
            "`casekit evaluate --run 99990101-000000-sft-lora seed=3 {p}` goes on",
        ),
        (["run"], "between two stages", "`casekit train --resume {p}` continues it"),
        (["evaluate"], "finished", "the same command goes on: answers that were given are kept"),
        (["data", "prepare"], "interrupted", "the same command begins again"),
        (["tune"], "interrupted", "the same command goes on with the search"),
        (["chat"], "interrupted", ""),
    ],
)
def test_ctrl_c_exits_130_and_says_how_to_go_on_where_there_is_something_to(
    words: list[str],
    status: str | None,
    said: str,
    casekit: Run,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        if status:
            make_run(project, "99990101-000000-sft-lora", status)  # it began while the command ran
        raise KeyboardInterrupt

    make_run(project, "20260101-000000-sft-lora", "interrupted")  # an older one is not meant
    for met in ("kit.config.load_config", "kit.train.chain.to_resume"):
        monkeypatch.setattr(met, interrupt)
    code, _, err = casekit(*words, "--project", str(project))
    assert code == 130
    told = said.format(p=f"--project {project}")
    assert err.startswith("interrupted; ") and told in err if told else err.strip() == "interrupted"


def make_run(root: Path, name: str, status: str) -> Path:
    run = root / "runs" / name
    run.mkdir(parents=True)
    chain = {"stages": ["sft", "dpo"], "number": 1} if status == "between two stages" else None
    began = f"{name[:4]}-{name[4:6]}-{name[6:8]}T00:00:00+00:00"
    facts = {"status": "finished" if chain else status, "stage": "sft", "chain": chain}
    facts |= {"sessions": [{"started": began}]}
    (run / "manifest.json").write_text(json.dumps(facts))
    (run / "config.yaml").write_text("model: {name: tiny}\nseed: 8\n")
    return run


def test_a_run_is_named_only_to_resume_it(casekit: Run, project: Path) -> None:
    code, _, err = casekit("train", "--project", str(project), "--run", "2026")
    assert code == 2
    assert "--resume" in err
    code, _, err = casekit("train", "--project", str(project), "--resume", "2026")
    assert code == 2
    assert "2026 expected key=value" in err and "casekit train --resume --run 2026" in err


def test_a_misspelt_metric_is_told_before_training(casekit: Run, project: Path) -> None:
    code, _, err = casekit("train", "--project", str(project), "evaluate.metrics=[token_f2]")
    assert code == 2
    assert "token_f1" in err


def test_a_runs_own_settings_cannot_be_changed_when_it_is_evaluated(casekit: Run, project: Path) -> None:
    run = project / "runs/20260101-000000-sft-lora"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text('{"status": "finished"}')
    (run / "config.yaml").write_text("model: {name: tiny}\nseed: 8\n")
    words = ("evaluate", "--project", str(project))
    code, _, err = casekit(*words, "model=other/model", "data.sources=[{path: a.jsonl}]", "seed=8")
    assert code == 2
    assert "`model.name` is the run's own" in err
    assert "`data.sources[0].path` is the run's own" in err
    assert "`seed`" not in err


def test_a_report_is_listed_with_points_and_what_was_not_scored(casekit: Run, tmp_path: Path) -> None:
    folder = tmp_path / "shop/reports/r1"
    folder.mkdir(parents=True)
    metric = {
        "name": "violation_rate",
        "kind": "rate",
        "decoding": "greedy",
        "base": {"estimate": 0.52, "low": 0.45, "high": 0.59},
        "tuned": {"estimate": 0.02, "low": 0.01, "high": 0.05},
        "difference": {"estimate": -0.5, "low": -0.57, "high": -0.43},
        "verdict": "improved",
    }
    unscored = {**metric, "base": None, "tuned": None, "difference": None, "verdict": "not shown"}
    report = {"verdict": {"status": "passed"}, "metrics": [metric, unscored]}
    (folder / "report.json").write_text(json.dumps(report))
    code, out, _ = casekit("reports", str(tmp_path / "shop"))
    assert code == 0
    (line,) = out.splitlines()
    assert line.startswith("passed ") and "violation_rate 52.0% → 2.0%, improved" in line
    assert line.endswith(str(folder / "report.html"))


def test_the_scores_of_reports_are_readable_on_80_columns(tmp_path: Path) -> None:
    """The longest names and numbers there are: nothing is cut, and names of the kit stay in one line."""
    folders = []
    for project, status in (("ecommerce", "not enough evidence"), ("medical-assistant-north", "passed")):
        folders.append(tmp_path / project / "reports/20260101-000000-sft-lora")
        folders[-1].mkdir(parents=True)
        metrics = [
            {
                "name": name,
                "kind": kind,
                "decoding": "greedy",
                "base": {"estimate": 0.0},
                "tuned": {"estimate": 1.0},
                "difference": {"estimate": sign * 1.0, "low": sign * 0.9876, "high": sign * 1.0},
                "verdict": verdict,
            }
            for name, kind, sign, verdict in (
                ("recommendation_accuracy", "rate", 1, "improved"),
                ("token_f1", "score", -1, "not shown"),
                ("answers_within_the_house_style_of_the_bank", "rate", -1, "worse"),
            )
        ]
        sentence = "Not enough evidence for 1 of 3 gates: Emergencies are sent on."
        missed = {"name": "Few in four answers", "metric": "under_triage", "kind": "threshold", "of": "tuned"}
        missed |= {"bound": "upper", "found": 0.68549, "wanted": "at most 0.3, worst of 4 answers"}
        missed |= {"status": "failed", "slice": None}
        gates = [missed, {**missed, "name": "held", "status": "passed"}]
        report = {"verdict": {"status": status, "sentence": sentence}, "metrics": metrics, "gates": gates}
        (folders[-1] / "report.json").write_text(json.dumps(report))
    screen = Console(width=80, file=io.StringIO())
    screen.print(headline(folders))
    tables = screen.file.getvalue()
    assert "…" not in tables
    assert tables.count("Emergencies are sent on.") == 1, "why, for the one that did not pass"
    assert max(map(len, tables.splitlines())) <= 80
    told = "- Few in four answers: under_triage, upper bound 0.685 where it asks for at most 0.3, worst of 4"
    assert " ".join(tables.split()).count(told) == 1 and "held" not in tables, "it stands in no table below"
    assert tables.count("difference [interval]") == 2
    assert "ecommerce: not enough evidence\n" in tables
    assert "medical-assistant-north: passed\n" in tables
    for words in (
        "recommendation_accuracy 0.0% 100.0% +100.0\u00a0points [98.8,\u00a0100.0] improved",
        "token_f1 0.000 1.000 −1.000 [−0.988,\u00a0−1.000] not shown",
    ):
        assert [line.split() for line in tables.splitlines()].count(words.split()) == 2
    names = "".join(line.split(" ")[0] for line in tables.splitlines())
    assert names.count("answers_within_the_house_style_of_the_bank") == 2


def test_projects_without_a_report_say_what_to_run(casekit: Run, project: Path) -> None:
    code, _, err = casekit("reports", str(project))
    assert code == 2
    assert "casekit run" in err


@pytest.mark.parametrize("command", ["train", "run", "tune", "evaluate", "chat"])
def test_a_gpu_that_is_not_there_is_told_before_anything_is_looked_for(
    command: str, casekit: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (project / "conf/project.yaml").write_text("hardware: {device: cuda}\n")
    code, _, err = casekit(command, "--project", str(project))
    assert code == 2
    assert "hardware.device `cuda` is asked for, but torch sees no GPU" in err
    assert "no finished run" not in err


def test_a_conversation_from_a_pipe_reads_like_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Where is it?\n"))
    converse(lambda turns: f"answer {len(turns)}", None, Config())
    _, *said = capsys.readouterr().out.splitlines(keepends=True)
    assert said == ["you Where is it?\n", "assistant answer 1\n", "you \n"]


def test_an_answer_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    converse(lambda turns: "fine\x1b[2J [bold]", "hello", Config())
    assert capsys.readouterr().out == "fine⟦U+001B⟧[2J [bold]\n"


def test_outside_a_project(casekit: Run, tmp_path: Path) -> None:
    code, _, err = casekit("config", "--project", str(tmp_path))
    assert code == 2
    assert "casekit new" in err


def test_a_pdf_without_a_browser_is_bad_input_and_says_what_to_install(
    casekit: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.report.pdf.find_browser", lambda: None)
    code, _, err = casekit("report", "--pdf", "--project", str(project))
    assert code == 2
    assert "--pdf" in err and "apt install chromium" in " ".join(err.split())


def test_a_report_without_an_evaluation_says_what_to_run(casekit: Run, project: Path) -> None:
    code, _, err = casekit("report", "--project", str(project))
    assert code == 2
    assert "casekit evaluate" in err


def test_evaluate_without_a_run_says_what_to_run(casekit: Run, project: Path) -> None:
    code, _, err = casekit("evaluate", "--project", str(project))
    assert code == 2
    assert "casekit train" in err


def test_evaluate_says_which_run_it_takes_and_that_a_newer_one_is_unfinished(
    casekit: Run, project: Path
) -> None:
    def told(*words: str) -> str:
        return casekit("evaluate", "--project", str(project), "model=other", *words)[2]  # refused right after

    make_run(project, "20260101-000000-sft-lora", "interrupted")
    assert "`casekit train --resume` goes on with 20260101-000000-sft-lora" in told()
    taken = make_run(project, "20260102-000000-sft-lora", "finished")
    said = "run 20260102-000000-sft-lora, the newest that is finished\n"
    assert told().startswith(said) and "warning" not in told()
    chain = {"status": "finished", "stage": "sft", "chain": {"stages": ["sft", "dpo"], "number": 1}}
    (taken / "manifest.json").write_text(json.dumps(chain))
    assert "warning dpo, the stage after it, has not begun: `casekit train --resume` goes on" in told()
    make_run(project, "20260103-000000-sft-lora", "interrupted")
    newer = "warning 20260103-000000-sft-lora began later and is interrupted: `casekit train --resume` goes"
    assert told().startswith(f"{said}{newer} on with it\n")
    assert "newest" not in told("--run", "20260102")


POLICY = """rules:
  - id: F1
    title: Promises
    severity: critical
    never: ['guarantee']
    negation_clears: true
    examples:
      violates: ['We guarantee 8%.']
      complies:
        - 'We do not guarantee it.'
        - 'Nothing is certain.'
  - id: F2
    title: Names the risk
    must: ['can fall']
    examples: {violates: ['It pays 8%.'], complies: ['It can fall.']}
refusals: ["cannot help"]
recommendations: {doctor: ['see a doctor']}
examples:
  refuses: ['I cannot help.']
  answers: ['I can help.']
  recommends: {doctor: ['See a doctor.'], none: ['Rest.']}
"""


def policy_test(casekit: Run, tmp_path: Path, old: str = "", new: str = "") -> tuple[int, str, str]:
    path = tmp_path / "policy.yaml"
    assert old in POLICY
    path.write_text(POLICY.replace(old, new))
    return casekit("policy", "test", str(path))


def test_policy_test_says_by_rule_what_holds(casekit: Run, tmp_path: Path) -> None:
    code, out, err = policy_test(casekit, tmp_path)
    assert (code, err) == (0, "")
    rows = [line.split()[:4] for line in out.splitlines()[1:6]]
    assert rows == [
        ["F1", "critical", "3", "holds"],
        ["F2", "major", "2", "holds"],
        ["refusals", "2", "holds", "Phrases"],
        ["doctor", "1", "holds", "Phrases"],
        ["none", "1", "holds", "Answers"],
    ]
    assert "all 5 hold on 9 examples" in out


def test_policy_test_names_the_rule_the_line_and_the_example_that_fails(casekit: Run, tmp_path: Path) -> None:
    code, out, err = policy_test(casekit, tmp_path, "Nothing is certain.", "We guarantee it.")
    assert code == 1
    assert ["F1", "critical", "3", "1", "wrong", "Promises"] in [line.split() for line in out.splitlines()]
    assert "F2" in out and "1 of 5 failed" in out
    assert "policy.yaml:11 rule F1: the example 'We guarantee it.' should be one that complies" in err
    code, _, err = policy_test(casekit, tmp_path, "See a doctor.", "Rest.")
    assert code == 1
    assert "policy.yaml:21 examples: the example 'Rest.' should recommend 'doctor'" in err


def test_a_rule_that_no_example_breaks_does_not_pass(casekit: Run, tmp_path: Path) -> None:
    code, _, err = policy_test(casekit, tmp_path, "{violates: ['It pays 8%.'], complies", "{complies")
    assert code == 1
    assert "policy.yaml:12 rule F2: has no example of `violates`" in err
    code, _, err = policy_test(casekit, tmp_path, "doctor: ['See a doctor.'], ", "")
    assert code == 1 and "recommendation doctor: has no example" in err


def test_a_broken_policy_file_is_bad_input_with_its_line(casekit: Run, tmp_path: Path) -> None:
    code, _, err = policy_test(casekit, tmp_path, "['guarantee']", "['(guarantee']")
    assert code == 2 and "policy.yaml:5 rule F1" in err and "'(guarantee'" in err
    code, _, err = policy_test(casekit, tmp_path, POLICY, "rules: []\n")
    assert code == 2 and "has no rules and no phrases" in err
    code, _, err = policy_test(casekit, tmp_path, "rules:\n", "rules: [\n")
    assert code == 2 and "policy.yaml:" in err


def test_synthetic_data_is_written_and_says_so(casekit: Run, tmp_path: Path) -> None:
    grammar = Path(__file__).parents[2] / "recipes/blank/dialogues.yaml"
    out_file = tmp_path / "rows.jsonl"
    code, _, _ = casekit("data", "synth", str(out_file), "--grammar", str(grammar), "--count", "20")
    rows = [json.loads(line) for line in out_file.read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert len(rows) == 20
    assert all(row["synthetic"] for row in rows)
    assert rows[0]["messages"][-1]["role"] == "assistant"


def test_help_names_no_type_for_a_flag_and_brackets_what_may_be_left_out_once(casekit: Run) -> None:
    for words in (["train"], ["new"], ["config"], ["chat"], ["data", "check"], ["data", "show"]):
        _, out, _ = casekit(*words, "--help")
        flags = [line for line in out.splitlines() if "<bool>" in line and "--help" not in line]
        assert flags == []
        assert "[[" not in out
