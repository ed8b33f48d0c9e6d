"""Cached encodings are read back as they were, and any change of what they depend on misses them."""

from __future__ import annotations

import pwd
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.encode import Encoder, TokenTree
from cotdistill.students.encoded_cache import cache_key, encode_cached
from cotdistill.training.objective import training_encoder
from tests.in_process import run
from tests.models import items, student


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("name", ["cascod", "scott", "edit-krsl", "post-cot-permuted"])
def test_read_back_as_encoded(name: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pupil, strategy = student(family), create(name)
    samples, _ = join(items(5), strategy)
    encoder = training_encoder(pupil)
    context = FillContext(0, pupil.tokens.segment)
    first = encode_cached(encoder, samples, strategy, context, tmp_path)
    monkeypatch.setattr(encoder, "encode", None)  # the second time nothing is tokenised
    again = encode_cached(encoder, samples, strategy, context, tmp_path)
    assert again.ids == first.ids
    assert again.forms == first.forms
    for one, other in zip(first.samples, again.samples, strict=True):
        for tree, read in zip(one, other, strict=True):
            for field in fields(TokenTree):
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
    for changes in ({"answers": "letter"}, {"max_length": 64}, {"sharing": "none"}):
        keys.append(cache_key(Encoder(pupil.tokens, pupil.start, **changes), samples, strategy, context))
    other = rows[0].model_copy(update={"question": rows[0].question + "?"})
    keys.append(cache_key(encoder, join([other, *rows[1:]], strategy)[0], strategy, context))
    keys.append(cache_key(Encoder(student("llama").tokens, None), samples, strategy, context))
    assert len(set(keys)) == len(keys)


DAMAGES = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "garbage": lambda whole: b"\xff" * 512,
    "a flipped bit": lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
    "another file": lambda whole: b'{"rows": 1}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_said_and_made_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pupil, strategy = student("gpt2"), create("cascod")
    samples, _ = join(items(3), strategy)
    encoder, context = pupil.encoder(), FillContext(0, pupil.tokens.segment)
    first = encode_cached(encoder, samples, strategy, context, tmp_path)
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(DAMAGES[damage](whole))
    again = encode_cached(encoder, samples, strategy, context, tmp_path)
    assert f"{stored} is damaged" in " ".join(capsys.readouterr().err.split())
    third = encode_cached(encoder, samples, strategy, context, tmp_path)
    assert capsys.readouterr().err == ""  # it is whole again
    assert again.ids == first.ids == third.ids
    assert [tree.ids.tolist() for tree in again.samples[0]] == [tree.ids.tolist() for tree in first.samples[0]]


def test_without_a_home_nothing_is_kept_and_everything_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and a user without an entry in the password database, as containers run."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    monkeypatch.chdir(tmp_path)
    student("gpt2", width=16, layers=1).save(tmp_path / "base")
    Path("rows.jsonl").write_text("".join(item.line() + "\n" for item in items(4)))
    distill = ("distill", "rows.jsonl", "--student", "base", "--steps", "1", "--device", "cpu", "-o")
    done = run(*distill, "run")
    assert done.code == 0, done.err
    done = run(*distill, "~/run")
    assert (done.code, done.errors) == (2, ["error: --out: '~/run': there is no home directory; write the whole path"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "rows.jsonl", "run"]
