import pytest

from npcmeta.learners import LEARNERS
from tests import toys
from tests.contract.cases import Case, build_case


@pytest.fixture(params=list(toys.ACTIONS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(LEARNERS))
def case(request: pytest.FixtureRequest, kind: str) -> Case:
    """Every registered learner on every kind of actions."""
    return build_case(request.param, kind)
