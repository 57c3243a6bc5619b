"""The score of a checkpoint while it trains, in several processes."""

from contextlib import suppress

import pytest

from kit.evaluate.evaluate import task_scorer
from kit.hooks import Hooks


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "zero2"])  # under which each process has all the weights
def test_several_processes_share_out_the_prompts_of_a_score(sharding, project, model, tokenizer, monkeypatch):
    config, root, prepared, _ = project
    hardware = config.hardware.model_copy(update={"sharding": sharding})
    config = config.model_copy(update={"hardware": hardware})
    scorer = task_scorer(config, root, prepared, Hooks())
    alone = scorer(model, tokenizer)

    class WaitsError(Exception):
        """For the other process, whose answers are not there yet."""

    def meet(answers):
        given.append(answers)
        if len(given) < 2:
            raise WaitsError
        return given

    given = []
    monkeypatch.setattr("kit.evaluate.task_score.world_size", lambda: 2)
    monkeypatch.setattr("kit.evaluate.task_score.of_all", meet)
    for number in (0, 1):
        monkeypatch.setattr("kit.evaluate.task_score.rank", lambda number=number: number)
        with suppress(WaitsError):
            together = scorer(model, tokenizer)
    assert together == alone
    parts = [{answer.id for answer in answers} for answers in given]
    assert parts[0] | parts[1] == {prompt.id for prompt in scorer.asked} and not parts[0] & parts[1]
    assert abs(len(parts[0]) - len(parts[1])) <= 1
