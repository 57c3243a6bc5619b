"""Answers that outlast the others are set aside, so that not all places look at their columns."""

import numpy as np
import pytest
import torch
from test_evaluate_generate import prompts, said

import kit.evaluate.continuous as continuous
import kit.evaluate.generate as generation
from kit.config.schema import Sampling
from kit.evaluate.continuous import ContinuousBatch

SHORT, LONG = 4, 24


def answers_of(tokenizer, monkeypatch, length):
    """Answers as long as `length` says of a prompt's number: the likeliest tokens, and a stop at the end."""
    stop = tokenizer.eos_token_id

    def choose(scores, ids, steps):
        scores[:, stop] = -torch.inf
        ends = [step + 1 == length(int(id_ or "0", 16)) for id_, step in zip(ids, steps, strict=True)]
        return torch.where(torch.tensor(ends), stop, scores.argmax(dim=-1))

    monkeypatch.setattr(generation, "chooser", lambda *_: choose)


@pytest.fixture
def few_are_long(tokenizer, monkeypatch):
    """Answers of four tokens, but seven of twenty-four."""
    answers_of(tokenizer, monkeypatch, lambda number: LONG if number % 11 == 3 else SHORT)


def answer(model, tokenizer, batch_size):
    settings = {"decoding": "greedy", "max_new_tokens": 100, "seed": 1, "sampling": Sampling()}
    return said(generation.generate(model, tokenizer, prompts(80), batch_size=batch_size, **settings))


def looked_at(model, tokenizer, monkeypatch):
    """What is answered eight at a time, how many rows were read, and the columns of all rows of all steps
    that no short answer has."""
    read, columns, inner = [], [], model.model.forward
    longest = max(len(prompt.ids(tokenizer)) for prompt in prompts(80)) + SHORT

    def forward(input_ids, attention_mask, **more):
        rows, tokens = input_ids.shape
        read.append(rows * (tokens > 1))
        columns.append(rows * max(0, attention_mask.shape[-1] - longest) * (tokens == 1))
        return inner(input_ids=input_ids, attention_mask=attention_mask, **more)

    with monkeypatch.context() as patched:
        patched.setattr(model.model, "forward", forward)
        return answer(model, tokenizer, 8), sum(read), sum(columns)


def test_who_outlasts_the_others_widens_their_columns_no_more(model, tokenizer, few_are_long, monkeypatch):
    alone = answer(model, tokenizer, 1)
    made, read, columns = looked_at(model, tokenizer, monkeypatch)
    assert made == alone and sorted(tokens for _, _, tokens, _ in alone) == [SHORT] * 73 + [LONG] * 7
    assert read == 80 + 1, "every prompt is read once, and so is what they begin with"
    monkeypatch.setattr(continuous, "_OUTLASTS", torch.inf)
    as_before, read, most = looked_at(model, tokenizer, monkeypatch)
    assert as_before == alone and read == 81
    assert columns < 0.85 * most


def test_no_more_are_answered_at_once_than_was_asked_for(model, tokenizer, monkeypatch):
    lengths, together, step = np.random.default_rng(2).exponential(20, size=80), [], ContinuousBatch.step
    answers_of(tokenizer, monkeypatch, lambda number: 1 + min(int(lengths[number]), 90))

    def counted(batch):
        together.append((len(batch.rows), len(batch.aside)))
        return step(batch)

    monkeypatch.setattr(ContinuousBatch, "step", counted)
    answer(model, tokenizer, 8)
    assert max(aside for _, aside in together) == 4, "half as many as there are places are set aside"
    assert max(rows for rows, _ in together) == 8


def test_who_is_put_back_while_memory_runs_out_is_answered_once(
    model, tokenizer, few_are_long, monkeypatch, capsys
):
    alone, put, calls = answer(model, tokenizer, 1), ContinuousBatch._put, []

    def second_fails(batch, rows, *more):
        if batch.aside and len(rows) == 1:
            calls.append(len(batch.aside))
            if len(calls) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
        put(batch, rows, *more)

    monkeypatch.setattr(ContinuousBatch, "_put", second_fails)
    assert answer(model, tokenizer, 8) == alone
    assert calls[1] == calls[0] - 1, "one was back already"
    assert "going on with 4" in " ".join(capsys.readouterr().out.split())
