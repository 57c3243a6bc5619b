"""Every stage with every method: what is refused is refused at config time, and everything else trains.

`make support` runs this module alone and keeps what it found; the support page is made from that.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from support_matrix import SHARDINGS, STAGES, STEPS, combinations, refusals, settings_of, versions
from train_rewards import FIRST_HALF
from train_world import losses_of, write_base

import kit
from kit.config import load_config
from kit.config.errors import ConfigError
from kit.config.methods import SOFT_PROMPTS
from kit.config.schema import Config
from kit.config.schema_train import Stage
from kit.config.support import REFUSALS
from kit.config.support_page import RECORD, Record, Refused, Trained, markdown_page, read_record
from kit.files import write_json
from kit.models.loading import load_tokenizer, load_tuned
from kit.train.examples import load_rows, tokenise
from kit.train.metrics import read_metrics
from kit.train.reward import reward_gaps
from kit.train.stages import train

DOCS = Path(__file__).parents[2] / "docs" / "reference"
ALL = list(combinations())
BORNE = [one for one in ALL if not refusals(settings_of(*one, Path("base")))]
TRAINED = [one for one in BORNE if one[2] not in SHARDINGS]
REFUSED = [one for one in ALL if one not in BORNE]
KEPT = os.environ.get("CASEKIT_RECORD_SUPPORT")
"""Where `make support` keeps what is found."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of two layers, so that `freeze` has one to leave alone."""
    return write_base(tmp_path_factory.mktemp("base"), num_hidden_layers=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Prepared data of every stage: eight rows to learn, two to validate with."""
    return {stage: write(tmp_path_factory.mktemp(stage), 8, 2) for stage, write in STAGES.items()}


@pytest.fixture(scope="module")
def record() -> Iterator[Record]:
    """What trained and what was refused, kept where `make support` asks for it.

    What a part of the tests finds takes its place among what was found before with the same libraries.
    """
    found = Record(versions(), [], [])
    yield found
    if KEPT:
        write_json(Path(KEPT), asdict(merged(read_record(Path(KEPT)), found)))


def merged(before: Record, found: Record) -> Record:
    """The record with what was found now in place of what was found before."""
    old = before if before.made_with == found.made_with else Record(found.made_with, [], [])
    trained = {(*cell[:3], cell.processes): cell for cell in [*old.trained, *found.trained]}
    refused = {cell[:3]: cell for cell in [*old.refused, *found.refused]}
    places = {one: place for place, one in enumerate(ALL)}

    def kept(cells: dict[Any, Any], allowed: list[tuple[str, str, str]]) -> list[Any]:
        there = [cell for cell in cells.values() if cell[:3] in allowed]
        return sorted(there, key=lambda cell: places[cell[:3]])

    return Record(found.made_with, kept(trained, BORNE), kept(refused, REFUSED))


def rewards_of(run: Path, method: str) -> list[float]:
    """The mean reward of every step of grpo, whose weights have gradients and leave the reference."""
    lines = [line for line in read_metrics(run) if line["kind"] == "train"]
    assert all(line["rewards"] == {"first_half": line["reward"]} for line in lines)
    assert all(line["grad_norm"] > 0 for line in lines)
    # Virtual tokens are no zero to begin with: their model is not the base, which it is held to.
    at_first = lines[0]["kl"]
    assert at_first > 0 if method in SOFT_PROMPTS else at_first == pytest.approx(0, abs=1e-5)
    assert lines[-1]["kl"] > 0 and lines[-1]["kl"] != at_first
    return [line["reward"] for line in lines]


def assert_scores_each_row_for_itself(model: Any, config: Config, prepared: Path) -> None:
    """Rows are padded to share a batch; a score must not depend on how far."""
    tokenizer = load_tokenizer(config.model)
    rows = tokenise(load_rows(prepared, "train", "reward"), tokenizer, config)
    alone, together = (reward_gaps(model, tokenizer, rows, size) for size in (1, len(rows)))
    assert together == pytest.approx(alone, abs=1e-2 if config.method.name == "qlora" else 1e-4)
    assert sum(alone) > 0, "and the chosen answer is ahead, as it was learned"


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "method", "option"), TRAINED)
def test_what_is_not_refused_trains_and_loads(
    stage, method, option, base, data, record, tmp_path, exact_arithmetic
):
    config = Config.model_validate(settings_of(stage, method, option, base))
    run = train(config, tmp_path, data[stage], task_score=None, rewards=[FIRST_HALF])
    values = rewards_of(run, method) if stage == "grpo" else losses_of(run)
    assert len(values) == STEPS
    if stage != "grpo":
        assert all(later < values[0] for later in values[1:])
    tuned = load_tuned(run / "golden", config)
    if stage == "reward":
        assert_scores_each_row_for_itself(tuned, config, data[stage])
    with torch.no_grad():
        assert tuned(torch.arange(12)[None]).logits.isfinite().all()
    cell = Trained(stage, method, option, 1, round(values[0], 3), round(values[-1], 3))
    record.trained.append(cell)


@pytest.mark.slow
@pytest.mark.skipif(not KEPT, reason="all of them take two processes minutes: `make support` trains them")
@pytest.mark.parametrize("sharding", ["none", *SHARDINGS])
@pytest.mark.parametrize("of_stage", STAGES)
def test_two_processes_train_what_is_not_refused(of_stage, sharding, base, data, record, tmp_path):
    borne = [one for one in BORNE if one[0] == of_stage]
    twice = [one for one in borne if (one[2] if one[2] in SHARDINGS else "none") == sharding]
    if not twice:
        pytest.skip("none of this stage is shared out so")
    runs = [
        {
            "name": f"{number}",
            "prepared": str(data[of_stage]),
            "config": settings_of(*one, base, processes=2),
        }
        for number, one in enumerate(twice)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    driver = Path(__file__).with_name("process_driver.py")
    paths = os.pathsep.join([str(Path(kit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [*launcher, str(driver), str(tmp_path / "runs.json"), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    before = read_record(Path(KEPT)) if KEPT else record
    alone = {cell[:3]: cell for cell in merged(before, record).trained if cell.processes == 1}
    for number, (stage, method, option) in enumerate(twice):
        (run,) = (tmp_path / str(number) / "runs").iterdir()
        config = Config.model_validate(settings_of(stage, method, option, base))
        assert load_tuned(run / "golden", config)
        values = rewards_of(run, method) if stage == "grpo" else losses_of(run)
        first, last = (round(values[at], 3) for at in (0, -1))
        same = alone[stage, method, "" if option in SHARDINGS else option]
        assert (first, last) == pytest.approx((same.first, same.last), abs=0.05)
        record.trained.append(Trained(stage, method, option, 2, first, last))


@pytest.mark.parametrize(("stage", "method", "option"), REFUSED)
def test_what_is_refused_is_refused_with_its_reason(stage, method, option, record, tmp_path):
    settings = settings_of(stage, method, option, Path("base"))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "project.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    said = [(problem.message.partition(": ")[2], problem.hint) for problem in caught.value.problems]
    holding = refusals(settings)
    assert {(refusal.reason, refusal.hint) for refusal in holding} == set(said)
    assert all(problem.where.startswith("conf/project.yaml:") for problem in caught.value.problems)
    record.refused.append(Refused(stage, method, option, [refusal.what for refusal in holding]))


def test_the_page_is_what_was_recorded_and_the_record_is_of_today():
    kept = read_record(DOCS / RECORD)
    assert (DOCS / "support.md").read_text(encoding="utf-8") == markdown_page(kept)
    advice = "run `make support`: stages, methods or refusals changed"
    assert {cell[:3] for cell in kept.trained if cell.processes == 1} == set(TRAINED), advice
    assert {cell[:3] for cell in kept.trained if cell.processes == 2} == set(BORNE), advice
    refused = {
        cell[:3]: [one.what for one in refusals(settings_of(*cell[:3], Path("base")))] for cell in REFUSED
    }
    assert {cell[:3]: cell.what for cell in kept.refused} == refused, advice
    assert set(kept.made_with) == set(versions())
    assert all(cell.last < cell.first for cell in kept.trained if cell.stage != "grpo")
    plain = {(cell.stage, cell.method): cell for cell in kept.trained if not cell.option}
    for cell in kept.trained:
        if cell.option:  # packed, checkpointed and shared out they learn what they do plainly
            assert cell.last == pytest.approx(plain[cell.stage, cell.method].last, abs=2e-3)


def test_every_refusal_of_the_table_is_met():
    met = {refusal.what for one in REFUSED for refusal in refusals(settings_of(*one, Path("base")))}
    assert met == {refusal.what for refusal in REFUSALS}


def test_every_stage_of_the_settings_is_in_the_matrix():
    assert set(STAGES) == set(get_args(Stage))


def test_a_part_that_is_trained_again_takes_its_place_in_the_record():
    kept = read_record(DOCS / RECORD)
    (one, *_), (no, *_) = kept.trained, kept.refused
    again = Trained(*one[:4], 9.0, 1.0)
    both = merged(kept, Record(kept.made_with, [again], []))
    assert again in both.trained and one not in both.trained
    assert (len(both.trained), both.refused) == (len(kept.trained), kept.refused)
    gone = merged(kept, Record({"torch": "another"}, [], [no]))  # nothing is kept of other libraries
    assert (gone.trained, gone.refused) == ([], [no])


def test_a_record_that_is_no_record_is_told(tmp_path):
    path = tmp_path / RECORD
    path.write_text(json.dumps({"trained": []}))
    with pytest.raises(ConfigError, match="is no record of what was trained") as caught:
        read_record(path)
    assert "make support" in str(caught.value)
