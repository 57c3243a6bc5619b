"""Scores a checkpoint while it trains, by its greedy answers to validation prompts."""

from collections.abc import Sequence
from typing import Any

from kit.config.schema import Config
from kit.evaluate.batching import BatchSize
from kit.evaluate.metrics import LoadedMetric
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import score_answers
from kit.evaluate.validity import languages_of
from kit.train.processes import of_all, rank, world_size


class TaskScorer:
    """The golden metric's mean over the prompts; its sign is flipped where lower is better.

    Of several processes each answers some of the prompts, but where each holds a part of the weights.

    Attributes:
        prompts: answered at once; training lowers it where memory does not hold them.
    """

    def __init__(self, config: Config, asked: Sequence[Prompt], metric: LoadedMetric) -> None:
        self.config, self.asked, self.metric = config, asked, metric
        self.most = min(BatchSize.of(config.evaluate.batch_size).prompts, len(asked))
        self.prompts = self.most

    def longest(self, tokenizer: Any) -> int:
        """Tokens of the longest prompt with the longest answer it may get."""
        prompt = max(len(prompt.ids(tokenizer)) for prompt in self.asked)
        return prompt + self.config.evaluate.max_new_tokens

    def __call__(self, model: Any, tokenizer: Any) -> float:
        """The score of the model as it is now; higher is always better."""
        from kit.evaluate.generate import generate

        config, metric = self.config, self.metric
        training = model.training
        together = world_size() > 1 and config.hardware.shares_weights
        model.eval()
        answers = generate(
            model,
            tokenizer,
            self.asked if together else self.asked[rank() :: world_size()],
            decoding="greedy",
            max_new_tokens=config.evaluate.max_new_tokens,
            batch_size=config.evaluate.batch_size if self.prompts == self.most else self.prompts,
            seed=config.seed,
            sampling=config.evaluate.sampling,
            together=together,
        )
        model.train(training)
        if not together:
            given = {answer.id: answer for part in of_all(answers) for answer in part}
            answers = [given[prompt.id] for prompt in self.asked]
        outputs, finished = [answer.output for answer in answers], [answer.finished for answer in answers]
        mean = score_answers(metric, outputs, finished, self.asked, languages_of(config)).mean
        sign = 1.0 if metric.higher_is_better else -1.0
        # No answer could be scored (all too short to tell their language, say): that is no success.
        return sign * (metric.invalid_item if mean is None else mean)
