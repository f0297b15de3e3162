import pytest
import torch

from tests.server.store.postgres import programs

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs PostgreSQL where it is not installed; CI installs it."""
    without = [item for item in items if item.get_closest_marker("postgres")] if programs() is None else []
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
