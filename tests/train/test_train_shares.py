"""How processes share validation out: every batch that one process has, in one of them."""

import pytest

from kit.train.shares import own_batches


@pytest.mark.parametrize(("rows", "size", "processes"), [(9, 4, 2), (8, 4, 2), (3, 4, 4), (33, 4, 4)])
def test_every_batch_of_one_process_is_in_one_of_several(rows, size, processes, monkeypatch):
    def shares(of: int) -> list[list[list[int]]]:
        monkeypatch.setenv("WORLD_SIZE", str(of))
        found = []
        for rank in range(of):
            monkeypatch.setenv("RANK", str(rank))
            found.append(own_batches(rows, size))
        return found

    (alone,), together = shares(1), shares(processes)
    assert len({len(share) for share in together}) == 1, "each waits for the others after every batch"
    in_order = [batch for turn in zip(*together, strict=True) for batch in turn]
    assert in_order[: len(alone)] == alone
    assert all(batch == [rows] for batch in in_order[len(alone) :]), "the rest are of the row that is none"
