"""What a metric's scores mean, as a hash: scores of two evaluations compare only where it is the same."""

from pathlib import Path

from kit.config.schema import Config
from kit.files import sha256_file, sha256_json
from kit.hooks import Hooks


def definitions(config: Config, root: Path, hooks: Hooks, method: int) -> dict[str, str]:
    """For every metric of `evaluate.metrics`, 16 hex digits over what its scores mean.

    Its parameters, the contents of the files that these name (a policy), the project's languages where it
    reads them, the project's hooks where it is one of them, and how the kit makes scores.

    Args:
        root: the project, which the files are named from.
        method: the number that the kit raises when it makes scores otherwise.
    """
    found = {}
    for use in config.evaluate.metrics:
        given = [root / value for value in use.params.values() if isinstance(value, str)]
        files = [path for path in given if path.is_file()]
        files += hooks.files if use.name in hooks.metrics else []
        parts = {
            "metric": use.model_dump(),
            "files": [sha256_file(path) for path in files],
            "languages": config.languages if use.name == "language_fidelity" else [],
            "method": method,
        }
        found[use.name] = sha256_json(parts)[:16]
    return found
