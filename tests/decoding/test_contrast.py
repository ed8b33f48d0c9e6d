"""The facts of SCOTT's rule: greedy as a special case, and classifier-free guidance as an oracle."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
import torch

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Choice, Decoder, Prompt, greedy
from tests.decoding.sessions import FreeSession
from tests.lm_families import language_model

STOP = 7


@dataclass
class StoppedSession:
    """SCOTT's stops: (a) the first context alone would pick it, (b) the contrastive pick is it."""

    prompts: list[Prompt]
    by_alone: bool = True
    out: list[int] = field(default_factory=list)

    def push(self, choice: Choice) -> list[int] | None:
        if choice.token == STOP or (self.by_alone and choice.alone == STOP) or len(self.out) == 24:
            return None
        self.out.append(choice.token)
        return [choice.token]


def pairs(count: int, vocabulary: int = 400) -> list[list[Prompt]]:
    """Prompts that differ in their last ids."""
    draw = random.Random(1)
    shared = [draw.randrange(vocabulary) for _ in range(20)]

    def prompt(at: int) -> Prompt:
        return Prompt([*shared, at % vocabulary, *(draw.randrange(vocabulary) for _ in range(3))])

    return [[prompt(at), prompt(at)] for at in range(count)]


def logits(rows: int = 50, vocabulary: int = 300) -> torch.Tensor:
    return torch.randn(rows, 2, vocabulary, generator=torch.Generator().manual_seed(0)) * 3


def picks(rule: Contrast, z: torch.Tensor) -> list[int]:
    return [choice.token for choice in rule(z, [FreeSession([], 1)] * len(z))]


def test_it_is_the_published_formula() -> None:
    z = logits()
    for lam, temperature in ((0.5, 1.0), (0.3, 0.5), (0.9, 2.0)):
        score = (z[:, 0] / temperature).log_softmax(-1) - lam * z[:, 1].log_softmax(-1)
        assert picks(Contrast(lam, temperature), z) == score.argmax(-1).tolist()


def test_the_growth_form_is_the_same_rule() -> None:
    """argmax log p1 + g log(p1 / p2) with lam = g / (1 + g); lam 0.5 is g = 1."""
    p1, p2 = logits().log_softmax(-1).unbind(1)
    for g in (0.25, 1.0, 3.0):
        assert picks(Contrast(g / (1 + g)), logits()) == (p1 + g * (p1 - p2)).argmax(-1).tolist()


def test_lambda_zero_and_identical_contexts_are_greedy() -> None:
    z = logits()
    first = z[:, 0].argmax(-1).tolist()
    assert picks(Contrast(0.0), z) == first
    assert picks(Contrast(0.9), z[:, :1].expand(-1, 2, -1)) == first
    assert picks(Contrast(0.5), z) != first


def test_the_temperature_scales_the_first_context_only() -> None:
    z = logits()
    scaled = torch.stack([z[:, 0] / 0.5, z[:, 1]], 1)
    assert picks(Contrast(0.5, 0.5), z) == picks(Contrast(0.5), scaled)
    assert picks(Contrast(0.5, 0.5), z) != picks(Contrast(0.5), z / 0.5)


def test_the_mask_leaves_only_plausible_tokens() -> None:
    z = logits()
    p1 = z[:, 0].softmax(-1)
    tokens = picks(Contrast(0.9, plausibility=0.1), z)
    assert all(p1[row, token] >= 0.1 * p1[row].max() for row, token in enumerate(tokens))
    assert picks(Contrast(0.9), z) != tokens
    assert picks(Contrast(0.9, plausibility=1.0), z) == z[:, 0].argmax(-1).tolist()


def test_alone_is_the_first_context_s_own_pick() -> None:
    z = logits()
    choices = Contrast(0.9)(z, [FreeSession([], 1)] * len(z))
    assert [choice.alone for choice in choices] == z[:, 0].argmax(-1).tolist()
    assert any(choice.alone != choice.token for choice in choices)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"plausibility": 0.0}, {"plausibility": 1.5}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Contrast(**wrong)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("decoder", [Decoder, ContinuousDecoder])
def test_lambda_zero_decodes_greedily_token_for_token(decoder: type, name: str) -> None:
    pupil = language_model(name)
    both = [FreeSession(prompts, 16) for prompts in pairs(8)]
    alone = [FreeSession(prompts[:1], 16) for prompts in pairs(8)]
    decoder(pupil, Contrast(0.0), 4).run(both)
    decoder(pupil, greedy, 4).run(alone)
    assert [session.out for session in both] == [session.out for session in alone]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("lam", [0.25, 0.5, 0.75])
def test_it_equals_classifier_free_guidance_up_to_the_stop(name: str, lam: float) -> None:
    """transformers' guidance with scale 1 / (1 - lam) and the perturbed prompt as the negative one."""
    pupil = language_model(name)
    made = [StoppedSession(prompts, by_alone=False) for prompts in pairs(12)]
    ContinuousDecoder(pupil, Contrast(lam), 5).run(made)
    for session in made:
        ids, negative = (torch.tensor([prompt.ids]) for prompt in session.prompts)
        oracle = pupil.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            negative_prompt_ids=negative,
            guidance_scale=1 / (1 - lam),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=STOP,
            pad_token_id=0,
        )[0, ids.shape[1] :].tolist()
        assert session.out == (oracle[: oracle.index(STOP)] if STOP in oracle else oracle)


def test_the_first_stop_rule_only_ever_stops_earlier() -> None:
    pupil = language_model("gpt2")
    z_stops, early = [], []
    for by_alone, out in ((False, z_stops), (True, early)):
        made = [StoppedSession(prompts, by_alone) for prompts in pairs(12)]
        ContinuousDecoder(pupil, Contrast(0.5), 5).run(made)
        out += [session.out for session in made]
    assert all(late[: len(soon)] == soon for late, soon in zip(z_stops, early, strict=True))
