"""One broker per test process; every test uses topics and client identifiers of its own."""

import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from broker import Broker  # noqa: E402

COUNTER = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    ended = running.process.poll()
    running.stop()
    assert ended is None, "the broker ended by itself:\n" + "".join(running.lines[-50:])


@pytest.fixture
def unique():
    """A word that no other test of this run uses."""
    return f"{os.getpid()}x{next(COUNTER)}"


@pytest.fixture
def topic(unique):
    return f"open/{unique}"
