"""The plain decoder, the reference of all others, against transformers' own generate()."""

from __future__ import annotations

import pytest
import torch

from cotdistill.students.decode import Decoder, Prompt, greedy
from cotdistill.students.families import Student
from tests.lm_families import FAMILIES, UNSERVED, language_model
from tests.models import student
from tests.students.sessions import FreeSession, free_sessions


def generated(pupil: Student, prompt: Prompt, length: int) -> list[int]:
    """Greedy ids of one unpadded prompt."""
    ids = torch.tensor([prompt.ids if prompt.source is None else prompt.source])
    forced = {} if prompt.source is None else {"decoder_input_ids": torch.tensor([prompt.ids])}
    out = pupil.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=length,
                               min_new_tokens=length, do_sample=False, pad_token_id=0, eos_token_id=None,
                               **forced)[0]
    return out[len(prompt.ids) :].tolist()


@pytest.mark.parametrize("name", sorted(FAMILIES | UNSERVED))
def test_padded_batches_equal_generate(name: str) -> None:
    pupil = language_model(name)
    made = [FreeSession(session.prompts, 12) for session in free_sessions(5, 1, 0, 400)]
    Decoder(pupil, greedy, 5 if name != "llama-dynamic-rope" else 1).run(made)
    assert [session.out for session in made] == [generated(pupil, session.prompts[0], 12) for session in made]


def test_encoder_decoder_batches_equal_generate() -> None:
    pupil = student("t5", seed=3)
    with torch.no_grad():
        for weight in pupil.model.parameters():
            weight.mul_(1.5)
    made = [FreeSession([Prompt([pupil.start or 0], session.prompts[0].ids)], 8)
            for session in free_sessions(5, 1, 0, 130)]
    Decoder(pupil, greedy, 3).run(made)
    assert [session.out for session in made] == [generated(pupil, session.prompts[0], 8) for session in made]


def test_forced_tokens_stand_where_the_session_put_them() -> None:
    pupil = language_model("llama")
    forced = FreeSession([Prompt([1, 2, 3])], 6, {2: [11, 12, 13]})
    Decoder(pupil, greedy, 1).run([forced])
    again = FreeSession([Prompt([1, 2, 3, *forced.out[:2], 11, 12, 13])], 4)
    Decoder(pupil, greedy, 1).run([again])
    assert forced.out[2:] == again.out
