"""Attributions: complete, in both families, faithful to what a model really reads, words told from tokens."""

from __future__ import annotations

import pytest
import torch

from cotdistill.data.records import Example
from cotdistill.errors import UsageError
from cotdistill.strategies.grids import ATTRIBUTED, TEACHER_FORM
from cotdistill.strategies.registry import create
from cotdistill.students.encode import Encoder
from cotdistill.students.student import Student
from cotdistill.training.attribution import COMPLETE, Method, attribute, filled, words_of_tokens
from tests.models import student

FORM = ATTRIBUTED.made.form("cot")
ASKED = [
    (
        Example(id="a", question="Where would you find a drill?", choices=("workshop", "kitchen"), answer="workshop"),
        "A drill is a tool. A tool is found in the workshop.",
        "workshop",
    ),
    (Example(id="b", question="9 plus 1, then 4?", choices=None, answer="2"), "9 plus 1 is 10.", "2"),
    (Example(id="c", question="Is it?", choices=None, answer="yes"), "Reason: yes", "yes"),
]


def encoder(model: Student) -> Encoder:
    return model.encoder()


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_integrated_gradients_are_complete(family: str) -> None:
    model = student(family)
    for (_, rationale, _), found in zip(ASKED, attribute(model, encoder(model), FORM, ASKED), strict=True):
        assert len(found.scores) == len(rationale.split())
        assert found.error is not None
        # A random T5's ReLUs bend the path: where a rationale is worth next to nothing the error is absolute.
        assert sum(found.scores) == pytest.approx(found.worth, rel=COMPLETE, abs=3e-3)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-input"])
def test_scores_do_not_depend_on_the_batch(family: str, method: Method) -> None:
    model = student(family)
    together = attribute(model, encoder(model), FORM, ASKED, method)
    alone = [attribute(model, encoder(model), FORM, [one], method)[0] for one in ASKED]
    for one, other in zip(together, alone, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-input"])
def test_a_model_that_reads_one_word_gives_it_all_the_score(method: Method) -> None:
    """A model whose head looks only at how far the token " drill" stands out: every other word scores nothing."""
    model = student("gpt2")
    words = ASKED[0][1].split()
    at = words.index("drill")
    one = filled(model, encoder(model), FORM, *ASKED[0])
    places = [one.rationale.start + n for n, word in enumerate(one.words) if word == at]

    class Reads(torch.nn.Module):
        """Logits that depend on the embeddings at `places` alone."""

        def __init__(self, whole: torch.nn.Module) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, inputs_embeds: torch.Tensor, **_: object) -> object:
            logits = torch.zeros(*inputs_embeds.shape[:2], self.whole.config.vocab_size)
            seen = inputs_embeds[:, places].pow(2).sum((1, 2))
            for position, token in one.targets:
                logits[:, position, token] = 100 * seen
            return type("Out", (), {"logits": logits})()

        def __getattr__(self, name: str) -> object:
            return super().__getattr__(name) if name == "whole" else getattr(self.whole, name)

    reader = Student(model.model, model.tokenizer)
    reader.model = Reads(model.model)
    found = attribute(reader, encoder(model), FORM, ASKED[:1], method)[0]
    assert max(range(len(words)), key=lambda n: abs(found.scores[n])) == at
    assert all(abs(score) < 1e-6 for n, score in enumerate(found.scores) if n != at)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_every_token_belongs_to_the_word_it_spells(family: str) -> None:
    model = student(family)
    for text in ("A drill is a tool.", "one", "the garden, or (the) kitchen", "the  garden"):
        ids = model.tokens.segment(" " + text)
        words = words_of_tokens(model, text, len(ids))
        assert words == sorted(words)
        assert set(words) == set(range(len(text.split())))
        for n, word in enumerate(text.split()):
            spelled = model.tokens.text([i for i, at in zip(ids, words, strict=True) if at == n])
            assert spelled.strip() == word


def test_a_form_without_the_rationale_before_the_answer_is_refused() -> None:
    model = student("gpt2")
    with pytest.raises(UsageError, match="before the answer"):
        attribute(model, encoder(model), create("post-cot").form("answer"), ASKED[:1])


def test_a_rationale_that_does_not_fit_scores_nothing() -> None:
    model = student("gpt2")
    small = Encoder(model.tokens, model.start, max_length=20)
    found = attribute(model, small, FORM, ASKED[:1])[0]
    assert found.scores == (0.0,) * len(ASKED[0][1].split())
    assert found.error is None


def test_the_teachers_form_shows_the_rationale_before_the_answer() -> None:
    model = student("llama")
    assert attribute(model, encoder(model), TEACHER_FORM, ASKED[1:2])[0].worth != 0
