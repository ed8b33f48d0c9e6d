"""Choice scores equal one forward a choice, and the lengths they are divided by are those of the choice."""

from __future__ import annotations

import random

import pytest
import torch

from cotdistill.decoding.choice_scoring import Candidate, score_choices
from cotdistill.decoding.decode import Prompt
from cotdistill.students.student import Student
from tests.lm_families import FAMILIES, UNSERVED, language_model
from tests.models import student


def one_by_one(pupil: Student, prompt: Prompt, candidate: Candidate) -> float:
    """log P(choice | prompt) from one plain forward."""
    with torch.inference_mode():
        if prompt.source is None:
            ids = torch.tensor([[*prompt.ids, *candidate.ids]])
            logits = pupil.model(input_ids=ids).logits[0]
        else:
            ids = torch.tensor([[*prompt.ids, *candidate.ids]])
            logits = pupil.model(input_ids=torch.tensor([prompt.source]), decoder_input_ids=ids).logits[0]
    begin = len(prompt.ids) - 1
    chances = logits.log_softmax(-1)[begin : begin + len(candidate.ids)]
    return float(chances[range(len(candidate.ids)), list(candidate.ids)].sum())


def questions(vocabulary: int, prefix: int, encoder: bool) -> tuple[list[Prompt], list[list[Candidate]]]:
    """Prompts of 1 to 30 ids behind a shared prefix; 2 to 5 choices of 1 to 5 ids that begin alike."""
    draw = random.Random(0)
    shared = [draw.randrange(vocabulary) for _ in range(prefix)]
    prompts, candidates = [], []
    for at in range(9):
        own = [draw.randrange(vocabulary) for _ in range(1 if at == 0 else draw.randint(1, 30))]
        prompts.append(Prompt([0], shared + own) if encoder else Prompt(shared + own))
        first = draw.randrange(vocabulary)
        candidates.append(
            [
                Candidate("x" * n, (first, *(draw.randrange(vocabulary) for _ in range(n - 1))))
                for n in (draw.randint(1, 5) for _ in range(draw.randint(2, 5)))
            ]
        )
    return prompts, candidates


def check(pupil: Student, prefix: int) -> None:
    prompts, candidates = questions(len(pupil.tokenizer), prefix, pupil.encoder_decoder)
    scores = score_choices(pupil, prompts, candidates)
    for prompt, listed, found in zip(prompts, candidates, scores, strict=True):
        expected = [one_by_one(pupil, prompt, candidate) for candidate in listed]
        assert [score.log_likelihood for score in found] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert [score.tokens for score in found] == [len(candidate.ids) for candidate in listed]


@pytest.mark.parametrize("prefix", [0, 50])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_scores_of_every_family_equal_one_forward_a_choice(name: str, prefix: int) -> None:
    check(language_model(name), prefix)


def test_scores_of_t5_equal_one_forward_a_choice() -> None:
    check(student("t5"), 0)


def test_scores_of_a_model_without_slots_equal_one_forward_a_choice() -> None:
    check(language_model(next(iter(UNSERVED))), 0)


def test_a_question_without_choices_has_no_scores_and_an_empty_choice_is_refused() -> None:
    pupil = student("llama")
    assert score_choices(pupil, [Prompt([1, 2]), Prompt([3])], [[], [Candidate("a", (5,))]])[0] == []
    with pytest.raises(ValueError, match="without tokens"):
        score_choices(pupil, [Prompt([1])], [[Candidate("", ())]])
