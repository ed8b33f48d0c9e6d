"""The collector rests while modules are loaded, and goes on as it was before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from cotdistill.garbage import collector_paused


@pytest.fixture(autouse=True)
def _collector_afterwards() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("fails", [False, True])
def test_it_rests_inside_and_works_afterwards(fails: bool) -> None:
    with suppress(ImportError), collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()  # the inner one leaves it as it was
        if fails:
            raise ImportError
    assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


def test_seeding_the_generator_of_the_cpu_draws_what_seeding_all_draws() -> None:
    """What `Loop` draws dropout from on a CPU, against torch.manual_seed."""
    drawn = []
    for seed in (torch.manual_seed, torch.default_generator.manual_seed):
        seed(7)
        drawn.append(torch.nn.functional.dropout(torch.ones(1000), 0.5))
    assert torch.equal(*drawn)
    torch.default_generator.manual_seed(8)
    assert not torch.equal(drawn[0], torch.nn.functional.dropout(torch.ones(1000), 0.5))
