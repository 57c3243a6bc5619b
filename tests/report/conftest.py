from pathlib import Path

import pytest
from report_samples import Sample, build


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A finance project with an evaluation of 120 prompts."""
    return build(tmp_path, prompts=120)
