"""Rows of the embedded world: fields, determinism, the cue, and what training never sees."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from cotdistill.data.records import Example
from cotdistill.errors import UsageError
from cotdistill.world import questions as world
from cotdistill.world.clocks import LONG, SHORT, Clocks, later
from cotdistill.world.kinds import KIND_OF, RELATIONS, THINGS, Kinds, held_out
from cotdistill.world.problem import Problem
from cotdistill.world.stow import KNOWN, RULES, WORDS, Stow

EVERY_SET = [(name, split) for name in world.WORLDS for split in world.splits(name)]
CUED_SETS = [(name, split) for name, split in EVERY_SET if name in ("kinds", "clocks")]


def problem_of(row: dict[str, Any]) -> Problem:
    """The problem a row puts."""
    problem = world.parse(row["question"])
    assert problem is not None
    return problem


def problems(name: str, split: str) -> list[Problem]:
    """The problems of a whole split."""
    return [problem_of(row) for row in world.rows(name, split)]


@pytest.mark.parametrize(("name", "split"), EVERY_SET)
def test_rows_keep_the_contract(name: str, split: str) -> None:
    rows = world.rows(name, split)
    assert len(rows) == world.SIZES[name][split]
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({(row["question"], *row["choices"]) for row in rows}) == len(rows)
    for row in rows:
        example = Example.model_validate(row, strict=False)  # refuses unknown fields, a gold off the list
        assert len(set(example.choices or ())) == world.CHOICES
        assert (example.task, example.split) == (row["id"].split("-")[0], split)


def test_rows_are_reproducible_prefixes_and_differ_by_seed() -> None:
    whole = world.rows("demo", "train")
    assert world.rows("demo", "train") == whole
    assert world.rows("demo", "train", limit=7) == whole[:7]
    assert [row for row in whole if row["task"] == "clocks"] == world.rows("clocks", "train", limit=500)
    other = world.rows("demo", "train", seed=1)
    assert not {row["id"] for row in whole} & {row["id"] for row in other}
    assert [row["question"] for row in whole] != [row["question"] for row in other]
    first = ["kinds-train-00000", "clocks-train-00000", "kinds-train-00001"]
    assert [row["id"] for row in whole[:3]] == first


def test_rows_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = "from cotdistill.world.questions import rows; print(rows('demo', 'shift', 40), rows('stow', 'new', 40))"
    command = [sys.executable, "-c", code]
    hashed = ({**os.environ, "PYTHONHASHSEED": seed} for seed in "12")
    first, second = (subprocess.check_output(command, env=environment) for environment in hashed)
    assert first == second != b""


@pytest.mark.parametrize(("name", "split"), CUED_SETS)
def test_cue_names_a_choice_and_helps_only_where_it_should(name: str, split: str) -> None:
    rows = world.rows(name, split)
    assert all(world.cue(row["question"]) in row["choices"] for row in rows)
    p = 0.85 if split in ("train", "dev", "id") else 0.25
    helped = sum(world.cue(row["question"]) == row["answer"] for row in rows)
    assert abs(helped - p * len(rows)) < 4 * math.sqrt(p * (1 - p) * len(rows))


@pytest.mark.parametrize("family", ["kinds", "clocks"])
def test_a_wrong_cue_prefers_no_place_among_the_choices(family: str) -> None:
    places = Counter(row["choices"].index(world.cue(row["question"])) for row in world.rows(family, "shift"))
    assert all(abs(places[place] - 75) < 4 * math.sqrt(300 * 0.25 * 0.75) for place in range(4))


@pytest.mark.parametrize("name", world.WORLDS)
def test_the_gold_answer_stands_at_every_place_alike(name: str) -> None:
    places = Counter(row["choices"].index(row["answer"]) for row in world.rows(name, "id"))
    assert all(abs(places[place] - 75) < 4 * math.sqrt(300 * 0.25 * 0.75) for place in range(4))


def test_stow_has_no_cue() -> None:
    question = world.rows("stow", "id", limit=1)[0]["question"]
    assert world.cue(question) is None


@pytest.mark.parametrize("family", world.FAMILIES)
def test_no_test_content_stands_in_train_or_dev_whatever_the_seed(family: str) -> None:
    def contents(split: str, seed: int) -> set[str]:
        rows = world.rows(family, split, seed=seed)
        return {problem_of(row).content(tuple(row["choices"])) for row in rows}

    train, dev = (contents(split, 0) | contents(split, 1) for split in ("train", "dev"))
    assert not train & dev
    for split in world.splits(family)[2:]:
        assert not contents(split, 0) & (train | dev), split


def test_content_leaves_out_the_cue_and_whatever_does_not_change_the_reasoning() -> None:
    leo, ann = Clocks(9, (1, 4), ("Leo", "Hal")), Clocks(9, (1, 4), ("Ann", "Bob"))
    assert leo.content(("1", "2")) == ann.content(("3", "2"))
    drill = Kinds("drill", "place", 0)
    assert drill.content(("river", "workshop")) == drill.content(("workshop", "river"))
    words = ("hot", "muffled", "knobby", "massive")
    assert Stow("Ann", "door", words).content(()) == Stow("Bob", "door", words[::-1]).content(())


def test_held_out_relations_are_asked_in_hard_only() -> None:
    pairs = {
        split: {(p.thing, p.relation) for p in problems("kinds", split) if isinstance(p, Kinds)}
        for split in world.splits("kinds")
    }
    out = {(thing, held_out(thing)) for thing in KIND_OF}
    assert len(out) == len(KIND_OF) == 64
    assert pairs["hard"] <= out
    assert len(pairs["hard"]) > 60  # nearly every held-out pair is asked
    for split in ("train", "dev", "id", "shift"):
        assert not pairs[split] & out, split


def test_each_hop_of_a_held_out_pair_is_met_in_training() -> None:
    trained = {p for p in problems("demo", "train") if isinstance(p, Kinds)}
    assert {p.thing for p in trained} == set(KIND_OF)
    assert len({(KIND_OF[p.thing], p.relation) for p in trained}) == 32


def test_each_kind_holds_out_each_relation_twice() -> None:
    for things in THINGS.values():
        assert Counter(map(held_out, things)) == dict.fromkeys(RELATIONS, 2)


def test_hard_clocks_are_longer_than_any_in_training() -> None:
    lengths = {
        split: {len(p.waits) for p in problems("clocks", split) if isinstance(p, Clocks)}
        for split in world.splits("clocks")
    }
    assert lengths.pop("hard") == set(LONG)
    assert all(found == set(SHORT) for found in lengths.values())


def test_new_stow_words_are_never_trained_on() -> None:
    def words(split: str) -> set[str]:
        return {word for p in problems("stow", split) if isinstance(p, Stow) for word in p.words}

    known = {word for words in WORDS.values() for word in words[:KNOWN]}
    assert words("train") == known
    assert words("id") <= known
    assert words("new") == {word for words in WORDS.values() for word in words[KNOWN:]}


def test_every_question_is_read_back() -> None:
    for family in world.FAMILIES.values():
        for problem in family.every_word():
            assert world.parse(problem.text()) == problem
            assert world.parse(f"Someone says {problem.answer}. {problem.text()}") == problem


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is the capital of France?",
        "Where would you find a unicorn?",
        "A clock shows 13. Leo waits 1 hour. What does it show?",
        "Ann has a thing near the door. It is hot, boiling, knobby and massive. Where is it stowed?",
    ],
)
def test_other_questions_are_none_of_this_world(question: str) -> None:
    assert world.parse(question) is None
    with pytest.raises(ValueError, match="not a question"):
        world.argue(question, "yes")


def test_an_impossible_answer_cannot_be_argued_for() -> None:
    with pytest.raises(ValueError, match="'13' cannot answer"):
        world.argue("A clock shows 9. Leo waits 1 hour. What does it show?", "13")


def test_the_facts_agree_with_a_second_telling() -> None:
    assert [later(12, 1), later(9, 3), later(6, 6), later(1, -1), later(10, 4)] == [1, 12, 12, 12, 2]
    assert len(KIND_OF) == 64  # no thing stands under two kinds
    assert len({value for relation in RELATIONS.values() for value in relation.values}) == 32
    assert len({word for words in WORDS.values() for word in words}) == 80
    assert len(set(RULES.values())) == 8
    assert Kinds("drill", "place", 0).proof() == ("A drill is a tool.", "A tool is found in the workshop.")
    assert Clocks(9, (1, 4), ("Leo", "Hal")).proof() == ("9 plus 1 is 10.", "10 plus 4 is 2.")
    assert Stow("Ann", "door", ("hot", "muffled", "knobby", "massive")).proof() == (
        "It is heavy and dull.",
        "Things that are heavy and dull go in the cellar.",
    )


@pytest.mark.parametrize(
    ("name", "split", "hint"),
    [("dem", "train", '"demo"'), ("stow", "hard", "no split 'hard'"), ("kinds", "shfit", '"shift"')],
)
def test_unknown_names_are_usage_errors(name: str, split: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        world.rows(name, split)


def test_the_world_needs_no_heavy_library() -> None:
    code = (
        "import sys; from cotdistill.demo import corpora, tokenizer; "
        "from cotdistill.world import checker, questions; "
        "sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
