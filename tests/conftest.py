"""Fixtures that all tests share."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: how long an example takes says how busy the machine is. The same examples each time: a change fails for
# what it does. `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")

# What runs in the background of a shell or under nohup ignores these, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no worker is left alone with them at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of this checkout."""
    return Path(__file__).parent.parent
