"""What each process of tests does once."""

import gc


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collection: a trainer collects whenever it starts, and walking
    through torch and transformers took half of a short run's time."""
    gc.collect()
    gc.freeze()
