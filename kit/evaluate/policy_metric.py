"""What the metrics that apply a policy share: the `policy` parameter."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from kit.evaluate.item_metric import ItemMetric, Reference
from kit.evaluate.policy import Policy, load_policy


class PolicyMetric(ItemMetric):
    """A metric whose `compute` takes `policy`, the path of a policy file. Abstract, as its base is."""

    policy: Policy
    rule_kind: ClassVar[Literal["never", "must"] | None] = None
    """Which rules the details of an answer name; None where they name none."""

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Read the policy.

        Raises:
            TypeError: `policy` is missing, or something else was given as well.
            ConfigError: the policy file has errors.
        """
        if set(params) != {"policy"}:
            found = ", ".join(sorted(params)) or "nothing"
            raise TypeError(
                f"{self.name} takes one parameter, policy=<path of the policy file>; found {found}"
            )
        path = Path(params["policy"])
        self.policy = _read(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=16)
def _read(path: Path, modified: int) -> Policy:
    """Read once as long as the file does not change; training scores the same policy many times."""
    return load_policy(path)


def metrics_with_policy(names: Sequence[str]) -> set[str]:
    """Those of the kit's metrics that take a policy; names of others are passed over."""
    from kit.evaluate.metrics import metric_names, module_of, not_of_answers

    known = set(names).intersection(metric_names())
    return {name for name in known if not not_of_answers(name) and isinstance(module_of(name), PolicyMetric)}
