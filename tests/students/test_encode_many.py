"""Many rows are encoded in blocks and chains without looking for branches: the same trees as in one step, branch by
branch."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students import encode
from cotdistill.students.encode import EncodedSet, Encoder, FormSequence, Sharing, merge
from cotdistill.students.student import Student
from tests.benchmarks.workload import items, llama, t5

ROWS = items(12)


@cache
def student(encoder_decoder: bool) -> Student:
    return t5(64, 1) if encoder_decoder else llama(64, 1)


def encoded(strategy: str, sharing: Sharing, encoder_decoder: bool) -> EncodedSet:
    one = student(encoder_decoder)
    made = create(strategy)
    encoder = Encoder(one.tokens, one.start, max_length=150, sharing=sharing)
    return encoder.encode(join(ROWS, made)[0], made, FillContext(0, one.tokens.segment))


def same(one: EncodedSet, other: EncodedSet) -> bool:
    def plain(value: Any) -> Any:
        return None if value is None else (value.dtype, value.tolist())

    def trees(data: EncodedSet) -> Any:
        names = ("ids", "parent", "positions", "tokens", "forms", "weights", "source")
        return [[[plain(getattr(tree, name)) for name in names] for tree in sample] for sample in data.samples]

    return (one.ids, one.dropped, trees(one)) == (other.ids, other.dropped, trees(other))


@pytest.mark.parametrize("encoder_decoder", [False, True])
@pytest.mark.parametrize(("strategy", "sharing"), [("cascod", "chain"), ("scott", "tree"), ("scott", "none")])
def test_blocks_and_chains_give_the_plain_trees(
    strategy: str, sharing: Sharing, encoder_decoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = encoded(strategy, sharing, encoder_decoder)
    assert encoder_decoder or 0 < sum(quick.dropped.values()) < len(ROWS)
    known = len(student(encoder_decoder).tokens._cache)
    monkeypatch.setattr(encode, "_tree", encode._branching)
    assert same(quick, encoded(strategy, sharing, encoder_decoder))
    monkeypatch.setattr(encode, "BLOCK", 5)
    assert same(quick, encoded(strategy, sharing, encoder_decoder))
    assert len(student(encoder_decoder).tokens._cache) == known


def test_segments_of_a_block_are_forgotten() -> None:
    tokens = llama(64, 1).tokens
    kept = tokens.segment(" aaaa")
    with tokens.forgetting():
        inside = tokens.segment(" aaab")
        assert len(tokens._cache) == 2
    assert [*tokens._cache.values()] == [kept]
    assert tokens.segment(" aaab") == inside


def sequence(form: int, *ids: int) -> FormSequence:
    return FormSequence(form, ids, ((len(ids) - 1, 9, 1.0),), None)


@pytest.mark.parametrize(("common", "trees"), [(7, 2), (8, 1)])
def test_a_branch_is_no_chain(common: int, trees: int) -> None:
    made = merge([sequence(0, *range(common), 20, 21), sequence(1, *range(common), 30)], "tree")
    assert len(made) == trees
    assert [tree.is_chain for tree in made] == [trees == 2] * trees
    assert made[0].ids.tolist()[: common + 2] == [*range(common), 20, 21]
    assert {*made[-1].parent.tolist()} >= {-1, common - 1}
