"""Cached encodings are read back as they were, and any change of what they depend on misses them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.cache import cache_key, encode_cached
from cotdistill.students.encode import Encoded, Encoder
from tests.models import items, student


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("name", ["cascod", "scott", "edit-krsl", "post-cot-permuted"])
def test_read_back_as_encoded(
    name: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pupil, strategy = student(family), create(name)
    samples, _ = join(items(5), strategy)
    encoder = pupil.encoder()
    context = FillContext(0, pupil.tokens.segment)
    first = encode_cached(encoder, samples, strategy, context, tmp_path)
    monkeypatch.setattr(encoder, "encode", None)  # the second time nothing is tokenised
    again = encode_cached(encoder, samples, strategy, context, tmp_path)
    assert again.ids == first.ids
    assert again.forms == first.forms
    for one, other in zip(first.samples, again.samples, strict=True):
        for tree, read in zip(one, other, strict=True):
            for field in fields(Encoded):
                kept, found = getattr(tree, field.name), getattr(read, field.name)
                assert (kept is None) == (found is None)
                assert kept is None or (np.array_equal(kept, found) and kept.dtype == found.dtype)


def test_every_setting_and_every_text_is_in_the_key() -> None:
    pupil, strategy = student("gpt2"), create("cascod")
    rows = items(3)
    samples, _ = join(rows, strategy)
    context = FillContext(0, pupil.tokens.segment)
    encoder = Encoder(pupil.tokens, pupil.start)
    keys = [cache_key(encoder, samples, strategy, context)]
    keys.append(cache_key(encoder, samples, create("cascod", {"alpha": 0.1}), context))
    keys.append(cache_key(encoder, samples, strategy, replace(context, seed=1)))
    keys.append(cache_key(encoder, samples[:2], strategy, context))
    for changes in ({"answers": "letter"}, {"max_length": 64}, {"share": "none"}):
        keys.append(cache_key(Encoder(pupil.tokens, pupil.start, **changes), samples, strategy, context))
    other = rows[0].model_copy(update={"question": rows[0].question + "?"})
    keys.append(cache_key(encoder, join([other, *rows[1:]], strategy)[0], strategy, context))
    keys.append(cache_key(Encoder(student("llama").tokens, None), samples, strategy, context))
    assert len(set(keys)) == len(keys)
