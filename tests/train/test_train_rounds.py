"""How answers of `grpo` are drawn, and dealt out to another number of processes."""

import numpy as np
import pytest
import torch

from kit.drawing import uniforms
from kit.train.rounds import by_numbers, dealt, load_round, save_round


def test_tokens_are_drawn_as_often_as_they_are_likely():
    scores = torch.tensor([2.0, -torch.inf, 0.5, 0.0, -1.0])
    places = [f"7-{row}" for row in range(20_000)]
    numbers = {place: uniforms(42, place, 3) for place in places}
    drawn = by_numbers(numbers, temperature=0.8)(scores.repeat(len(places), 1), places, [2] * len(places))
    likely = torch.softmax(scores.double() / 0.8, dim=-1)
    often = drawn.bincount(minlength=5) / len(places)
    assert often[1] == 0, "what cannot be is never drawn"
    assert torch.allclose(often.double(), likely, atol=4 * float(np.sqrt(0.25 / len(places))))


def test_every_answer_and_step_has_numbers_of_its_own():
    scores = torch.zeros(2, 1000)
    choose = by_numbers({place: uniforms(42, place, 50) for place in ("1-0", "1-1")}, temperature=1.0)
    drawn = torch.stack([choose(scores, ["1-0", "1-1"], [step, step]) for step in range(50)])
    assert len(set(drawn[:, 0].tolist())) > 40 and not torch.equal(drawn[:, 0], drawn[:, 1])


def round_of(processes: int, passes: int) -> list[list[dict[str, torch.Tensor]]]:
    """Eight answers, padded in each process to its own longest prompt and answer."""
    answers, size = [], 8 // (processes * passes)
    for process in range(processes):
        width = 3 + process
        of_process = []
        for number in range(passes):
            first = (process * passes + number) * size
            ids = torch.arange(first + 1, first + size + 1)
            prompt, answer = torch.zeros(size, width).long(), torch.zeros(size, width).long()
            prompt[:, -1], answer[:, 0] = ids, ids
            batch = {"prompt_ids": prompt, "completion_ids": answer, "advantages": ids / 10}
            of_process.append({**batch, "num_items_in_batch": torch.tensor(24)})
        answers.append(of_process)
    return answers


@pytest.mark.parametrize(("processes", "passes"), [(1, 4), (1, 8), (4, 1), (4, 2)])
def test_a_round_is_dealt_out_anew_without_losing_or_moving_an_answer(processes, passes):
    found = dealt(round_of(2, 2), processes, passes)
    assert [len(of_process) for of_process in found] == [passes] * processes
    batches = [one for of_process in found for one in of_process]
    for one in batches:
        assert len(one["advantages"]) == 8 // len(batches) and one["num_items_in_batch"] == 24
        assert torch.equal(one["prompt_ids"][:, -1], one["completion_ids"][:, 0]), "padded on its own side"
        assert torch.allclose(one["prompt_ids"][:, -1] / 10, one["advantages"])
    assert torch.cat([one["prompt_ids"][:, -1] for one in batches]).tolist() == list(range(1, 9))


def test_a_kept_round_is_read_as_it_was_and_its_passes_are_counted_anew(tmp_path):
    (left,) = round_of(1, 2)
    save_round(str(tmp_path), step=6, accumulation=2, left=left)
    step, same = load_round(str(tmp_path), accumulation=2, rank=0, processes=1, on=torch.device("cpu"))
    assert step == 6 and same is not None
    assert all(torch.equal(a[name], b[name]) for a, b in zip(left, same, strict=True) for name in a)
    step, first = load_round(str(tmp_path), accumulation=1, rank=1, processes=2, on=torch.device("cpu"))
    assert step == 3 and first is not None and first[0]["prompt_ids"][:, -1].tolist() == [5, 6, 7, 8]
    save_round(str(tmp_path), step=4, accumulation=2, left=None)
    assert load_round(str(tmp_path), 2, 0, 1, torch.device("cpu")) == (4, None)
