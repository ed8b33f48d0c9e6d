"""For the whole suite: no network, no deadlines on a noisy machine, one torch thread a worker."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Generator, Iterator
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs one process a core; must be set before torch is imported

import pytest
import typer.main
import typer.testing
from hypothesis import settings

from cotdistill.garbage import collector_paused

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _one_command_tree() -> Iterator[None]:
    """Typer builds every command with its options anew at each call: 40 ms, a thousand times in the suite."""
    tree = functools.cache(typer.main.get_command)
    with patch.object(typer.main, "get_command", tree), patch.object(typer.testing, "_get_command", tree):
        yield


@pytest.fixture(autouse=True)
def _denormals_again() -> Iterator[None]:
    """Loading a student flushes denormals in its process; hypothesis refuses to draw floats then."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded stays: the collector need not go through torch's and transformers' objects at each cell's end."""
    with collector_paused():
        collected = yield
    gc.freeze()
    return collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: the workers then end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
