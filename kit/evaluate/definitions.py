"""What a metric's scores mean, as a hash: scores of two evaluations compare only where it is the same."""

from pathlib import Path
from typing import Any

from kit.config.schema import Config, MetricUse
from kit.evaluate.metrics import needs_a_form
from kit.files import sha256_file, sha256_json
from kit.hooks import Hooks


def definitions(config: Config, root: Path, hooks: Hooks, method: int) -> dict[str, str]:
    """For every metric of `evaluate.metrics`, 16 hex digits over what its scores mean.

    Its parameters, the contents of the files that these name (a policy), the project's hooks where it is one
    of them, what makes an answer invalid, and how the kit makes scores. An answer in no language of the
    project, or one that any metric cannot read, is invalid for all metrics.

    Args:
        root: the project, which the files are named from.
        method: the number that the kit raises when it makes scores otherwise.
    """
    own = {use.name: _asked(use, root, hooks) for use in config.evaluate.metrics}
    shared = {
        "languages": [config.languages, config.project.languages],
        "forms": {name: asked for name, asked in own.items() if needs_a_form(name)},
        "method": method,
    }
    return {name: sha256_json({**asked, **shared})[:16] for name, asked in own.items()}


def _asked(use: MetricUse, root: Path, hooks: Hooks) -> dict[str, Any]:
    given = [root / value for value in use.params.values() if isinstance(value, str)]
    files = [path for path in given if path.is_file()]
    files += hooks.files if use.name in hooks.metrics else []
    return {"metric": use.model_dump(), "files": [sha256_file(path) for path in files]}
