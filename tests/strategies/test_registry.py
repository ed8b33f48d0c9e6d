"""The registry: every registered name is checked, wrong names and values are answered in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from cotdistill.errors import UsageError
from cotdistill.strategies.registry import create, entries
from cotdistill.testing import check_strategy
from tests.models import tokenizer
from tests.real import data

NAMES = [entry.name for entry in entries() if entry.value is not None]
METHODS = {  # methods.md section 4: the table of baselines and methods
    "answer-only",
    "cot",
    "post-cot",
    "post-cot-permuted",
    "post-cot-masked",
    "post-cot-key",
    "post-cot-random-k",
    "step-by-step",
    "mt-ra",
    "mt-cot",
    "scott",
    "scott-port",
    "cascod",
    "weighted-cot",
}


def test_the_registry_holds_every_method() -> None:
    assert set(NAMES) >= METHODS


@pytest.mark.parametrize("kind", ["byte-bpe", "metaspace", "prepend"])
@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_holds_with_every_tokenizer(name: str, kind: str) -> None:
    check_strategy(create(name), tokenizer(kind), encoder_decoder=kind == "metaspace")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["tokenizers/gpt2", "tokenizers/t5", "stories260K-hf"])
def test_every_strategy_holds_with_real_tokenizers(name: str, folder: str) -> None:
    words = AutoTokenizer.from_pretrained(data(folder))
    if words.eos_token is None:
        words.add_special_tokens({"eos_token": "<|endoftext|>"})
    differ = check_strategy(create(name), words, encoder_decoder=folder.endswith("t5"))
    if "permuted" not in name:
        assert differ == 0, "segment-wise ids differ from joint tokenisation"


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_documents_paper_and_loss(name: str) -> None:
    entry = next(entry for entry in entries() if entry.name == name)
    about = entry.value.__doc__ or ""
    assert "Paper:" in about
    assert "Loss:" in about
    assert create(name).paper


def test_strategies_import_neither_torch_nor_transformers() -> None:
    program = (
        "import sys; from cotdistill.strategies.registry import create, entries; [create(e.name) for e in entries()]; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_unknown_names_are_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match='did you mean "cascod"'):
        create("casco")
    with pytest.raises(UsageError, match='did you mean "alpha"'):
        create("scott", {"alhpa": "0.5"})
    with pytest.raises(UsageError, match="none, input, both"):
        create("scott", {"tags": "all"})
    with pytest.raises(UsageError, match="takes a number"):
        create("scott", {"alpha": "half"})
    with pytest.raises(UsageError, match="shares must be"):
        create("scott", {"alpha": "1.5"})


def test_parameters_are_recorded_with_their_types() -> None:
    assert dict(create("post-cot-key", {"k": "3", "label_share": "0.5"}).params) == {
        "k": 3,
        "by": "tfidf",
        "exclude_label": False,
        "label_share": 0.5,
    }


def test_post_cot_key_without_words_is_answer_only() -> None:
    keyed, plain = create("post-cot-key", {"k": 0}), create("answer-only")
    assert keyed.forms == plain.forms


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("cot", True),
        ("cascod", True),
        ("scott", True),
        ("weighted-cot", True),
        ("scott-port", True),
        ("answer-only", False),
        ("post-cot", False),
        ("step-by-step", False),
        ("mt-ra", False),
        ("mt-cot", False),
    ],
)
def test_which_strategies_answer_after_their_rationale(name: str, after: bool) -> None:
    assert create(name).answers_after_rationale is after
