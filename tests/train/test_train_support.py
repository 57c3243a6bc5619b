"""Every stage with every method: what is refused is refused, and everything else trains."""

import pytest
from support_matrix import STAGES, combinations, refusals, settings_of, trained

from kit.config.schema import Config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared data of every stage: eight rows to learn, two to validate with."""
    return {stage: write(tmp_path_factory.mktemp(stage), 8, 2) for stage, write in STAGES.items()}


@pytest.mark.parametrize(("stage", "method", "option"), combinations())
def test_what_is_not_refused_trains(stage, method, option, base, data, tmp_path):
    settings = settings_of(stage, method, option, base)
    if refusals(settings):
        pytest.skip("refused")
    found = trained(Config.model_validate(settings), tmp_path, data[stage])
    print(stage, method, option, [round(x,3) for x in found["losses"]], found["trainable"])
    assert found["losses"][-1] < found["losses"][0]
