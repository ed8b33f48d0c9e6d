"""The embedded tokenizer: one token a word, exact round trips, segments that join, loading."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.demo.corpora import base_documents, lettered, teacher_documents
from cotdistill.demo.tokenizer import BLANK, build_tokenizer
from cotdistill.strategies import registry
from cotdistill.world import questions as world

SETS = [(name, split) for name in world.FAMILIES for split in world.splits(name)]
ROWS = [row for name, split in SETS for row in world.rows(name, split, limit=40)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text)["input_ids"])


def rendered(row: dict[str, Any]) -> str:
    return f"{row['question']}\nAnswer Choices:\n{lettered(row['choices'])}"


def test_more_than_500_rows_come_back_with_one_token_a_word(tokenizer: Any) -> None:
    assert len(ROWS) >= 500
    for row in ROWS:
        for text in (rendered(row), " " + row["rationale"], f" {row['answer']}"):
            found = ids(tokenizer, text)
            assert tokenizer.decode(found) == text
            tokens = tokenizer.convert_ids_to_tokens(found)
            assert BLANK not in tokens  # a blank alone would mean a word in pieces
            assert all(
                len(token.removeprefix(BLANK)) > 1
                or not token.isalpha()
                or token in "abcdQA"
                or token in (BLANK + "A", BLANK + "a", "Ċ")
                for token in tokens
            ), tokens


def test_documents_have_no_word_in_pieces(tokenizer: Any) -> None:
    for document in (*islice(teacher_documents(), 300), *islice(base_documents(), 300)):
        tokens = tokenizer.convert_ids_to_tokens(ids(tokenizer, document.text))
        blanks = tokens.count(BLANK)
        assert blanks == document.text.count("The answer is ."), document.text


@given(text=st.text(st.characters(max_codepoint=127)))
def test_any_ascii_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


@given(text=st.text())
def test_any_unicode_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


VISIBLE = st.text(st.characters(max_codepoint=127), min_size=1).filter(lambda text: text[0] > " ")


@given(row=st.sampled_from(ROWS), tail=st.lists(VISIBLE, max_size=3))
def test_segments_that_begin_with_their_blank_give_the_joint_ids(
    tokenizer: Any, row: dict[str, Any], tail: list[str]
) -> None:
    segments = [rendered(row), *(" " + text.rstrip() for text in tail)]
    assert [i for part in segments for i in ids(tokenizer, part)] == ids(tokenizer, "".join(segments))


def test_document_parts_give_the_joint_ids(tokenizer: Any) -> None:
    for document in (*islice(teacher_documents(), 500), *islice(base_documents(), 500)):
        parts = [part for part in (document.prompt, *document.completion) if part]
        assert [i for part in parts for i in ids(tokenizer, part)] == ids(tokenizer, document.text)


ROOM = Path(registry.__file__).parent
SHIPPED = [entry.name for entry in registry.entries() if Path(entry.origin).parent == ROOM]


@pytest.mark.parametrize("name", SHIPPED)
def test_literals_of_every_shipped_strategy_are_whole_words(tokenizer: Any, name: str) -> None:
    for form in registry.create(name).forms:
        for text in (form.source, *(part.text for part in form.target)):
            literal = re.sub(r" ?\{\w+\}", "", text)
            tokens = tokenizer.convert_ids_to_tokens(ids(tokenizer, literal))
            assert not [token for token in tokens if len(token) == 1 and token.islower()], text


def test_special_tokens_are_there_and_never_added(tokenizer: Any) -> None:
    special = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert len({tokenizer.convert_tokens_to_ids(token) for token in special}) == 4
    assert not set(ids(tokenizer, "Someone says river.")) & set(tokenizer.all_special_ids)
    assert len(tokenizer) <= 640


def test_words_of_extra_texts_become_tokens() -> None:
    plain, extended = build_tokenizer(), build_tokenizer(["Verdict: zebra-like!!\n\nend"])
    assert len(ids(plain, " zebra")) == 6
    assert len(ids(extended, " zebra")) == 1
    assert len(ids(extended, "!!")) == 2  # tokens of runs would break the joining of segments
    assert len(ids(extended, "\n\n")) == 2
    assert set(plain.get_vocab()) < set(extended.get_vocab())


def test_auto_tokenizer_loads_it_beside_a_llama(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import AutoTokenizer, LlamaConfig

    build_tokenizer().save_pretrained(tmp_path)
    LlamaConfig(vocab_size=len(tokenizer)).save_pretrained(tmp_path)  # it must not become a Llama tokenizer
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in (rendered(ROWS[0]), "é\n\n  zebra-like <b> , .", "[factual] A drill is a tool."):
        assert ids(loaded, text) == ids(tokenizer, text)
        assert loaded.decode(ids(loaded, text)) == text
    assert loaded.eos_token_id == tokenizer.eos_token_id
    assert loaded.pad_token_id == tokenizer.pad_token_id
    assert (tmp_path / "tokenizer.json").stat().st_size < 20_000
