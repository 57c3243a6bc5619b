"""What each process of tests does once."""

import gc
import os
from tempfile import TemporaryDirectory

_trackio = TemporaryDirectory(prefix="trackio-", ignore_cleanup_errors=True)
os.environ["TRACKIO_DIR"] = _trackio.name  # it is read where Trackio is imported, whoever imports it first


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collection: a trainer collects whenever it starts, and walking
    through torch and transformers took half of a short run's time."""
    gc.collect()
    gc.freeze()
