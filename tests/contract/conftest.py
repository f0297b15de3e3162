import pytest

from tests import toys
from tests.contract.cases import Case, build_case


@pytest.fixture(params=list(toys.ACTIONS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=toys.cases(), ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    """Every registered learner on every kind of actions that it can decide."""
    return build_case(*request.param)
