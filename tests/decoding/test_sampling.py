"""Samples follow the tempered, cut distribution and depend on the session's generator alone."""

from __future__ import annotations

from random import Random

import pytest
import torch

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.decode import Decoder
from cotdistill.decoding.sampling import Sampling
from cotdistill.seeds import rng
from tests.decoding.sessions import FreeSession, free_sessions
from tests.lm_families import language_model


def sample(rule: Sampling, z: torch.Tensor, count: int) -> torch.Tensor:
    """Share of each token among `count` draws from logits [V]."""
    session = FreeSession([], 1, random=Random(0))
    tokens = [choice.token for choice in rule(z.expand(count, 1, -1), [session] * count)]
    return torch.bincount(torch.tensor(tokens), minlength=len(z)) / count


def test_draws_follow_the_tempered_distribution() -> None:
    z = torch.tensor([1.0, 0.0, 2.0, -1.0, 0.5])
    for temperature in (0.5, 1.0, 2.0):
        assert (sample(Sampling(temperature), z, 20_000) - (z / temperature).softmax(-1)).abs().max() < 0.012


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    z = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
    shares = sample(Sampling(top_p=0.65), z, 20_000)
    assert shares[0] == shares[3] == 0
    assert (shares[1:3] - torch.tensor([4 / 7, 3 / 7])).abs().max() < 0.012
    assert sample(Sampling(top_p=0.01), z, 50)[1] == 1  # the most likely token always stays


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Sampling(**wrong)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    pupil = language_model("llama")

    def drawn(decoder: type, batch_size: int, only: slice = slice(None)) -> list[list[int]]:
        made = free_sessions(9, 1, 0, 400)
        for at, session in enumerate(made):
            session.random = rng(0, "sample", f"row-{at}", 0)
        decoder(pupil, Sampling(0.9, 0.95), batch_size).run(made[only])
        return [session.out for session in made[only]]

    expected = drawn(Decoder, 1)
    assert drawn(ContinuousDecoder, 4) == expected
    assert drawn(ContinuousDecoder, 9) == expected
    assert drawn(Decoder, 3) == expected
    assert drawn(ContinuousDecoder, 2, slice(3, 7)) == expected[3:7]
