"""Continuous batching gives the plain decoder's tokens, whatever is shared, forced, refilled or cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cotdistill import console
from cotdistill.decoding import choose_decoder, continuous_batching, kv_cache
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Choice, Decoder, Prompt, Rule, Session, greedy
from cotdistill.decoding.kv_cache import KVCache, common_prefix
from cotdistill.decoding.sampling import Sampling
from cotdistill.students.student import Student
from tests.decoding.sessions import FreeSession, free_sessions
from tests.lm_families import FAMILIES, UNSERVED, language_model


def tokens(pupil: Student, made: list[FreeSession], rule: Rule, batch_size: int, plain: bool) -> list[list[int]]:
    """What the sessions decode to."""
    (Decoder if plain else ContinuousDecoder)(pupil, rule, batch_size).run(made)
    return [session.out for session in made]


def check(pupil: Student, contexts: int, prefix: int, rule: Rule, batch_size: int, count: int = 10) -> None:
    vocabulary = len(pupil.tokenizer)
    expected, found = (
        tokens(pupil, free_sessions(count, contexts, prefix, vocabulary), rule, batch_size, plain)
        for plain in (True, False)
    )
    assert len({token for out in expected for token in out}) > 10  # repetition would hide errors
    assert found == expected


@pytest.mark.parametrize(("contexts", "prefix", "batch_size"), [(1, 0, 3), (1, 60, 8), (2, 60, 4)])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_decodes_the_plain_decoder_s_tokens(
    name: str, contexts: int, prefix: int, batch_size: int
) -> None:
    check(language_model(name), contexts, prefix, greedy, batch_size)


@pytest.mark.parametrize("rule", [Contrast(0.5), Contrast(0.3, 0.7, 0.1), Sampling(0.8, 0.9)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_every_rule_at_any_batch_size(rule: Rule, batch_size: int) -> None:
    check(language_model("llama"), 2, 40, rule, batch_size, count=16)


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_prompts_fed_in_pieces(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_batching, "CHUNK", chunk)
    check(language_model("llama"), 2, 40, greedy, 3)
    check(language_model("gemma2"), 1, 0, greedy, 3)


def test_a_long_step_admits_no_further_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_batching, "BUDGET", 20)
    check(language_model("gpt2"), 2, 40, greedy, 8)


@pytest.mark.parametrize("room", [1, 3, 16])
def test_slots_grow_and_shrink_with_their_contexts(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_cache, "ROOM", room)
    monkeypatch.setattr(kv_cache, "SLACK", room)
    check(language_model("llama"), 2, 40, greedy, 3)
    check(language_model("qwen2-window"), 1, 0, greedy, 3)


def test_neither_few_nor_many_shared_tokens_change_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_batching, "SHORTEST_PREFIX", 1)
    monkeypatch.setattr(continuous_batching, "SHORTEST_COPY", 1)
    check(language_model("mistral"), 2, 3, greedy, 4)


def test_equal_prompts_sit_side_by_side() -> None:
    """K samples of one question: the prompt is taken over but for its last token."""
    pupil = language_model("qwen3")
    for plain in (True, False):
        made = [FreeSession([Prompt(list(range(5, 30)))], length) for length in (3, 9, 4, 12, 1)]
        out = tokens(pupil, made, greedy, 2, plain)
        assert all(ids == out[3][: len(ids)] for ids in out)


def test_a_question_s_tokens_are_computed_once_for_its_probes() -> None:
    pupil = language_model("llama")
    questions = [[(7 * at + start) % 390 for at in range(40)] for start in (0, 1)]
    made = [FreeSession([Prompt([*question, 3 + at, 5 + at])], 2) for at in range(3) for question in questions]
    # Two questions: 40 tokens each, once. Six probes: two tokens of their own and the first decoded one.
    assert _count_tokens(pupil, made) == 2 * 40 + 6 * 3
    alone = [FreeSession([Prompt([*questions[0], 3 + at, 5 + at])], 2) for at in range(3)]
    assert _count_tokens(pupil, alone) == 40 + 3 * 3  # shared by all: kept apart, not copied


def _count_tokens(pupil: Student, made: list[FreeSession]) -> int:
    count = 0

    def hook(module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal count
        count += args[0].shape[-1]

    handle = pupil.model.get_input_embeddings().register_forward_pre_hook(hook)
    try:
        ContinuousDecoder(pupil, greedy, 3).run(made)
    finally:
        handle.remove()
    return count


def test_all_contexts_of_a_session_hold_equal_suffixes() -> None:
    """SCOTT's branches advance together: what follows their prompts in the cache is always the same."""
    pupil = language_model("llama")
    made = free_sessions(6, 2, 40, len(pupil.tokenizer))
    seen = 0

    def rule(logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
        nonlocal seen
        for running in run.running:
            if not any(context.pending for context in running.contexts):
                suffixes = [
                    context.fed[len(prompt.ids) - run.shared :]
                    for context, prompt in zip(running.contexts, running.session.prompts, strict=True)
                ]
                assert suffixes[0] == suffixes[1]
                seen += len(suffixes[0])
        return Contrast(0.5)(logits, sessions)

    with continuous_batching.cached_attention(pupil.model), torch.inference_mode():
        run = continuous_batching._Run(pupil, rule, 3, made)
        run.run()
    assert seen > 0


@pytest.mark.parametrize("rows", [1, 8, 16, 32])
def test_memory_grows_with_the_suffix_and_not_with_the_prompt(rows: int) -> None:
    """Keys and values of a batch: the shared prompt once, and per context only what is its own."""
    pupil = language_model("llama")
    made = free_sessions(rows, 2, 300, len(pupil.tokenizer))
    with continuous_batching.cached_attention(pupil.model), torch.inference_mode():
        run = continuous_batching._Run(pupil, Contrast(0.5), rows, made)
        run.run()
    one_token = 2 * 4 * 2 * 8 * 4  # keys and values, layers, key-value heads, width, float32
    assert run.shared >= 300
    assert _bytes(run.cache.prefix) == run.shared * one_token
    longest = max(len(prompt.ids) - run.shared for session in made for prompt in session.prompts) + 24 + 6
    assert _bytes(run.cache.layers) <= 2 * rows * (longest + kv_cache.SLACK) * one_token


def _bytes(layers: dict[int, object]) -> int:
    return sum(tensor.untyped_storage().nbytes() for held in layers.values() for tensor in (held.keys, held.values))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_is_found_fit(name: str) -> None:
    assert isinstance(decoder_for(language_model(name)), ContinuousDecoder)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings said in this test, each text once per process."""
    lines: list[str] = []
    monkeypatch.setattr(console, "_said", set())
    monkeypatch.setattr(console, "warn", lines.append)
    return lines


@pytest.mark.parametrize("name", sorted(UNSERVED))
def test_what_cannot_be_served_continuously_takes_plain_batches_and_says_so_once(name: str, said: list[str]) -> None:
    pupil = language_model(name)
    decoders = [decoder_for(pupil), decoder_for(pupil)]
    assert len(said) == 1
    assert type(pupil.model).__name__ in said[0]
    assert all(isinstance(decoder, Decoder) for decoder in decoders)
    made = free_sessions(5, 1, 0, len(pupil.tokenizer))
    decoders[0].run(made)
    assert all(len(session.out) == session.length for session in made)


def test_a_wrong_attention_is_found_by_the_start_up_test(monkeypatch: pytest.MonkeyPatch) -> None:
    pupil = language_model("llama")
    assert choose_decoder._disagreement(pupil) is None
    copy = KVCache.copy
    monkeypatch.setattr(KVCache, "copy", lambda cache, source, target, length: copy(cache, source, target, length - 1))
    assert "differ" in str(choose_decoder._disagreement(pupil))


def test_the_model_s_own_attention_is_back_after_a_run() -> None:
    pupil = language_model("llama")
    before = pupil.model.config._attn_implementation
    ContinuousDecoder(pupil).run(free_sessions(2, 1, 0, 100))
    assert pupil.model.config._attn_implementation == before
    ContinuousDecoder(pupil).run([])


def test_common_prefix() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert common_prefix([[1], [2]]) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_bfloat16_on_cuda_is_as_near_float32_as_plain_batches_are(name: str) -> None:
    """Kernels round differently in bfloat16, so each way is held against float32, not against the other."""
    pupil = language_model(name)
    exact = Student(copy.deepcopy(pupil.model).to("cuda"), pupil.tokenizer)
    half = Student(copy.deepcopy(pupil.model).to("cuda", torch.bfloat16), pupil.tokenizer)

    def logits(kind: type[Decoder] | type[ContinuousDecoder], asked: Student) -> Tensor:
        record = choose_decoder._Record()
        kind(asked, record, 2).run(choose_decoder._script(asked))
        return torch.stack([row.float() for name in sorted(record.logits) for row in record.logits[name]])

    true = logits(Decoder, exact)
    continuous, plain = (float((logits(kind, half) - true).norm()) for kind in (ContinuousDecoder, Decoder))
    assert 0 < continuous < 1.5 * plain
    check(exact, 2, 60, Contrast(0.5), 4)
