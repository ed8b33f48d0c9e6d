"""The plain decoder, the reference of all others, against transformers' own generate()."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, GenerationConfig, MixtralConfig, MixtralForCausalLM

from cotdistill.console import _said
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.contexts import Generated
from cotdistill.decoding.decode import Choice, Decoder, Prompt, greedy
from cotdistill.decoding.walk import WalkSession
from cotdistill.strategies.forms import Tokens
from cotdistill.strategies.registry import create
from cotdistill.students.student import Student
from tests.decoding.sessions import FreeSession, free_sessions
from tests.lm_families import FAMILIES, MIXED, STATEFUL, UNSERVED, language_model
from tests.models import items, student


def generated(pupil: Student, prompt: Prompt, length: int) -> list[int]:
    """Greedy ids of one unpadded prompt."""
    ids = torch.tensor([prompt.ids if prompt.source is None else prompt.source])
    forced = {} if prompt.source is None else {"decoder_input_ids": torch.tensor([prompt.ids])}
    out = pupil.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        **forced,
    )[0]
    return out[len(prompt.ids) :].tolist()


@pytest.mark.parametrize("name", sorted(FAMILIES | UNSERVED))
def test_padded_batches_equal_generate(name: str) -> None:
    pupil = language_model(name)
    made = [FreeSession(session.prompts, 12) for session in free_sessions(5, 1, 0, 400)]
    Decoder(pupil, greedy, 5 if name != "llama-dynamic-rope" else 1).run(made)
    assert [session.out for session in made] == [generated(pupil, session.prompts[0], 12) for session in made]


@pytest.mark.parametrize("name", [*sorted(FAMILIES), *UNSERVED, *STATEFUL])
def test_what_serves_a_family_says_what_generate_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _said.clear()
    pupil = language_model(name)
    decoder = decoder_for(pupil, batch_size=4)
    made = [FreeSession(session.prompts, 10) for session in free_sessions(4, 1, 0, 400)]
    decoder.run(made)
    assert [session.out for session in made] == [generated(pupil, session.prompts[0], 10) for session in made]
    slow = name in ("openai-gpt", "recurrent-gemma")
    assert (getattr(decoder, "contexts", None) is Generated) == slow
    assert capsys.readouterr().err.count("generate() token by token") == slow


@pytest.mark.parametrize("name", ["rwkv", "recurrent-gemma"])
def test_forced_tokens_reach_a_state(name: str) -> None:
    pupil = language_model(name)
    forced = FreeSession([Prompt([1, 2, 3])], 6, {2: [11, 12, 13]})
    decoder_for(pupil).run([forced])
    again = FreeSession([Prompt([1, 2, 3, *forced.out[:2], 11, 12, 13])], 4)
    decoder_for(pupil).run([again])
    assert forced.out[2:] == again.out


def test_generation_settings_change_no_greedy_token() -> None:
    pupil = language_model("recurrent-gemma")
    kept = pupil.model.generation_config
    made = []
    for settings in (
        kept,
        GenerationConfig(
            do_sample=True,
            temperature=9.0,
            repetition_penalty=9.0,
            num_beams=3,
            suppress_tokens=[*range(390)],
            no_repeat_ngram_size=1,
        ),
    ):
        pupil.model.generation_config = settings
        session = FreeSession([Prompt([5, 6, 7, 8])], 8)
        decoder_for(pupil).run([session])
        made.append(session.out)
    pupil.model.generation_config = kept
    assert made[0] == made[1]


def test_router_logits_are_asked_for_by_nobody_and_stay_in_the_config(tmp_path: Path) -> None:
    made = MixtralForCausalLM(MixtralConfig(**MIXED, num_local_experts=2, output_router_logits=True))
    pupil = Student(made, language_model("llama").tokenizer)
    assert not pupil.model.config.output_router_logits
    pupil.save(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).output_router_logits


def test_a_walk_ends_at_every_end_that_the_model_declares() -> None:
    pupil = language_model("llama")
    ends = [pupil.tokens.stop, 7, 9]
    pupil.model.generation_config.eos_token_id = ends
    assert Student(pupil.model, pupil.tokenizer).tokens.stops == {*ends}
    encoder = Student(pupil.model, pupil.tokenizer).encoder(sharing="none")
    strategy = create("cot")
    session = WalkSession(
        encoder, [strategy.form(name) for name in strategy.plan], items(1)[0].example(), {}, "answer", "forced", 50
    )
    assert session.begin()
    assert session.push(Choice(5, 5)) == [5]
    fed = session.push(Choice(9, 9))  # an end: the connector is fed, and 9 is no part of the rationale
    assert fed
    assert 9 not in fed
    assert session.slots["rationale"] == Tokens((5,))


def test_encoder_decoder_batches_equal_generate() -> None:
    pupil = student("t5", seed=3)
    with torch.no_grad():
        for weight in pupil.model.parameters():
            weight.mul_(1.5)
    made = [
        FreeSession([Prompt([pupil.start or 0], session.prompts[0].ids)], 8) for session in free_sessions(5, 1, 0, 130)
    ]
    Decoder(pupil, greedy, 3).run(made)
    assert [session.out for session in made] == [generated(pupil, session.prompts[0], 8) for session in made]


def test_forced_tokens_stand_where_the_session_put_them() -> None:
    pupil = language_model("llama")
    forced = FreeSession([Prompt([1, 2, 3])], 6, {2: [11, 12, 13]})
    Decoder(pupil, greedy, 1).run([forced])
    again = FreeSession([Prompt([1, 2, 3, *forced.out[:2], 11, 12, 13])], 4)
    Decoder(pupil, greedy, 1).run([again])
    assert forced.out[2:] == again.out
