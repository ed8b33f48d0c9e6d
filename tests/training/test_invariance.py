"""Loss and gradient of a step do not depend on how its rows are split, padded, packed, ordered or shared."""

from __future__ import annotations

import pytest
import torch

from cotdistill.strategies.registry import create, entries
from cotdistill.training.batches import for_rank, micro_batches, step_indices, step_trees
from cotdistill.training.objective import can_pack, collate, token_nll, training_encoder
from cotdistill.training.packed_attention import PACKED, using_attention
from tests.models import student
from tests.training.learning import distance, encode, step_gradient

STRATEGIES = [entry.name for entry in entries() if entry.value is not None]


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("name", ["scott", "cascod", "mt-cot", "weighted-cot", "edit-krsl"])
@pytest.mark.parametrize("budget", [1, 200, 4096])
def test_any_split_into_micro_batches_is_the_same_step(budget: int, name: str, family: str) -> None:
    pupil = student(family)
    strategy = create(name)
    loss, gradient = step_gradient(pupil, encode(pupil, name, sharing="none"), strategy, budget=1, plain=True)
    fast_loss, fast = step_gradient(pupil, encode(pupil, name), strategy, budget=budget)
    assert fast_loss == pytest.approx(loss, rel=1e-5, abs=1e-7)
    assert distance(fast, gradient) < 1e-4


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_order_of_rows_is_no_matter(family: str) -> None:
    pupil = student(family)
    data = encode(pupil, "scott")
    loss, gradient = step_gradient(pupil, data)
    other_loss, other = step_gradient(pupil, data, order=[2, 0, 3, 1])
    assert other_loss == pytest.approx(loss, rel=1e-6)
    assert distance(other, gradient) < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_shared_prefixes_are_computed_once_and_change_nothing(name: str, family: str) -> None:
    pupil = student(family)
    plain, shared = encode(pupil, name, sharing="none"), encode(pupil, name, sharing="tree")
    assert shared.input_tokens() <= plain.input_tokens()
    if name in ("cascod", "mt-cot", "mt-ra"):
        assert shared.input_tokens() < plain.input_tokens()
    _, gradient = step_gradient(pupil, plain, create(name), plain=True)
    assert distance(step_gradient(pupil, shared, create(name))[1], gradient) < 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_nothing_leaks_from_one_packed_row_into_another(family: str) -> None:
    pupil = student(family)
    data = encode(pupil, "cascod", count=2)
    first, second = step_trees(data.samples, data.forms)
    with torch.no_grad(), using_attention(pupil.model, PACKED):
        before = token_nll(pupil, collate(pupil, [first, second], packed=True))[: len(first.tokens)]
        second.ids[:] = 7
        after = token_nll(pupil, collate(pupil, [first, second], packed=True))[: len(first.tokens)]
    assert torch.equal(before, after)


def test_a_model_that_leaks_is_not_packed() -> None:
    pupil = student("llama")
    pupil.model.config.attention_chunk_size = 8  # a mask we do not know
    assert not can_pack(pupil)
    assert training_encoder(pupil).sharing == "chain"


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_rank_runs_as_many_micro_batches_and_all_coefs_are_used_once(processes: int) -> None:
    pupil = student("gpt2")
    data = encode(pupil, "cascod", count=5)
    rows = step_trees(data.samples, data.forms)
    for packed in (True, False):
        batches = micro_batches(rows, 150, packed, processes)
        ranks = [list(for_rank(batches, rank, processes)) for rank in range(processes)]
        assert len({len(mine) for mine in ranks}) == 1
        used = sum(float(tree.weights.sum()) for mine in ranks for batch in mine for tree in batch)
        assert used == pytest.approx(1.0, rel=1e-5)


def test_an_epoch_holds_every_example_once_and_depends_on_seed_and_step_only() -> None:
    steps = [step_indices(10, 4, seed=3, step=step) for step in range(5)]
    flat = [at for step in steps for at in step]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    assert step_indices(10, 4, seed=3, step=2) == steps[2]
    assert step_indices(10, 4, seed=4, step=0) != steps[0]
