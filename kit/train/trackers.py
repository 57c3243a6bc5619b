"""Where curves go besides `metrics.jsonl`."""

import importlib.util

from kit.config.errors import ConfigError, Problem
from kit.config.schema_train import Tracker


def check_trackers(trackers: list[Tracker]) -> None:
    """Refuse a tracker that is not installed, before anything is loaded.

    Raises:
        ConfigError: names every one of them.
    """
    missing = [tracker for tracker in trackers if importlib.util.find_spec(tracker) is None]
    if missing:
        raise ConfigError(
            [
                Problem(
                    where="tracking.report_to",
                    message=f"{tracker!r} is not installed",
                    hint=f"`pip install {tracker}`, or take it off the list; metrics.jsonl is always written",
                )
                for tracker in missing
            ]
        )
