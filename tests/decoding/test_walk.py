"""The walk: what is asked is what was trained on, and every token of a context is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.decode import Choice, Decoder, Session
from cotdistill.decoding.sampling import Sampling
from cotdistill.decoding.walk import Walked, WalkSession, walk
from cotdistill.strategies.forms import FillContext, Form, Strategy, Tokens, given, learn
from cotdistill.strategies.join import Sample, join
from cotdistill.strategies.registry import create, entries
from cotdistill.students.encode import Encoder
from cotdistill.students.student import Student
from cotdistill.students.tokens import SegmentTokenizer
from tests.lm_families import language_model
from tests.models import items, student, tokenizer

STRATEGIES = [entry.name for entry in entries() if entry.value is not None]
TOKENIZERS = ["byte-bpe", "metaspace", "prepend"]
CONNECTOR = " So the answer is"
Sequences = tuple[list[int], list[int] | None]  # decoder ids up to the last learned one, encoder ids
SCORES = lambda id, text, answer: [float(len(word)) for word in text.split()]  # noqa: E731


def encoder_of(kind: str = "byte-bpe", seq2seq: bool = False, max_length: int | None = None) -> Encoder:
    """An encoder without a model."""
    tokens = SegmentTokenizer(tokenizer(kind), seq2seq)
    return Encoder(tokens, tokens.pad if seq2seq else None, max_length=max_length, sharing="none")


@dataclass
class Writer:
    """A decoder whose model writes the given texts, one per slot, each ended by the stop token."""

    texts: list[str]
    student: Student | None = None
    runs: int = 0
    sessions: list[WalkSession] = field(default_factory=list)
    longest: int = 0  # context that the model has read

    def run(self, sessions: Sequence[Session]) -> None:
        self.runs += 1
        for session in sessions:
            assert isinstance(session, WalkSession)
            self.sessions.append(session)
            seen = list(session.prompts[0].ids)
            while (pushed := session.push(self._next(session))) is not None:
                assert pushed  # nothing to feed would leave the decoder without a next token
                seen += pushed
                assert session.context == seen  # the walk's books agree with what the model has read
            self.longest = max(self.longest, len(seen))

    def _next(self, session: WalkSession) -> Choice:
        tokens = session.encoder.tokens
        script = [*tokens.segment(self.texts[0]), tokens.stop]
        token = script[len(session.ids)]
        if token == tokens.stop or tokens.text([*session.ids, token]).endswith(CONNECTOR.strip()):
            self.texts.pop(0)
        return Choice(token, token)


def written(name: str, texts: list[str], seq2seq: bool = False, **options: object) -> tuple[Walked, WalkSession]:
    """One walk of a strategy whose model writes `texts`."""
    writer = Writer(list(texts))
    encoder = encoder_of("metaspace" if seq2seq else "byte-bpe", seq2seq)
    found = walk(writer, encoder, create(name), [items(1)[0].example()], **options)[0]  # type: ignore[arg-type]
    return found, writer.sessions[-1]


def trained(strategy: Strategy, encoder: Encoder) -> tuple[list[Sample], list[list[Sequences]]]:
    """Samples, and for each the sequences trained on."""
    samples, _ = join(items(4), strategy)
    # A strategy that changes as training goes on is asked what it learned at the end.
    context = FillContext(0, encoder.tokens.segment, SCORES, epoch=9, progress=0.99)
    data = encoder.encode(samples, strategy, context)
    assert not data.dropped
    return samples, [
        [
            (
                [*tree.ids.tolist(), int(tree.tokens[tree.positions.argmax()])],
                None if tree.source is None else tree.source.tolist(),
            )
            for tree in trees
        ]
        for trees in data.samples
    ]


def begins(asked: list[int], source: list[int] | None, sequences: list[Sequences]) -> bool:
    return any(ids[: len(asked)] == asked and source == trained_source for ids, trained_source in sequences)


@pytest.mark.parametrize("seq2seq", [False, True], ids=["causal", "seq2seq"])
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_ids_asked_are_a_prefix_of_ids_trained_on(name: str, kind: str, seq2seq: bool) -> None:
    """From the first prompt to where the answer begins, the rationale filled in or written by the student."""
    strategy, encoder = create(name), encoder_of(kind, seq2seq)
    samples, sequences = trained(strategy, encoder)
    for sample, trees in zip(samples, sequences, strict=True):
        draft = sample.drafts["factual"]
        for filled in ({}, {"rationale": draft.rationale}):
            for plan in filter(None, (strategy.plan, strategy.explain)):
                session = WalkSession(
                    encoder, [strategy.form(form) for form in plan], draft.example, filled, "choices", "forced", 200
                )
                if session.begin():
                    assert begins(session.prompts[0].ids, session.prompts[0].source, trees)
                assert session.asked is None or begins(session.asked.ids, session.asked.source, trees)
        writer = Writer([" " + draft.rationale])
        asked = walk(writer, encoder, strategy, [draft.example], goal="choices")[0].asked
        assert asked is not None
        assert begins(asked.ids, asked.source, trees)


def test_a_connector_the_student_writes_is_not_fed_again() -> None:
    found, session = written("cot", [" A drill is a tool." + CONNECTOR, " workshop"])
    assert (found.rationale, found.answer) == ("A drill is a tool.", "workshop")
    assert found.unprompted
    assert found.finished
    text = session.encoder.tokens.text(session.context)
    assert text.count(CONNECTOR) == 1
    assert found.generated == len(session.encoder.tokens.segment(" A drill is a tool." + CONNECTOR)) + len(
        session.encoder.tokens.segment(" workshop")
    )


def test_a_connector_is_recognised_in_any_spelling() -> None:
    """Letter by letter, which no tokenizer would choose and a student may."""
    encoder = encoder_of()
    session = WalkSession(encoder, [create("cot").form("cot")], items(1)[0].example(), {}, "answer", "free", 99)
    assert session.begin()
    for letter in " A drill." + CONNECTOR:
        (token,) = encoder.tokens.tokenizer.convert_tokens_to_ids([letter.replace(" ", "\u0120")])
        assert session.slot == "rationale"
        assert session.push(Choice(token, token)) == [token]
    assert session.slot == "answer"
    assert session.slots["rationale"] == "A drill."


def test_a_missing_connector_is_forced_or_costs_the_answer() -> None:
    texts = [" A drill is a tool.", " workshop"]
    forced, session = written("cot", texts)
    assert (forced.answer, forced.unprompted, forced.finished) == ("workshop", False, True)
    text = session.encoder.tokens.text(session.context)
    assert text.endswith(" A drill is a tool." + CONNECTOR + " workshop")
    free, session = written("cot", texts, connectors="free")
    assert (free.rationale, free.answer) == ("A drill is a tool.", None)
    assert CONNECTOR not in session.encoder.tokens.text(session.context)


def test_a_rationale_without_end_is_cut_and_said_so() -> None:
    texts = [" A drill is a tool. A tool is found in the workshop.", " workshop"]
    cut, session = written("cot", texts, max_new_tokens=5)
    assert not cut.finished
    assert not cut.unprompted
    tokens = session.encoder.tokens
    assert cut.rationale == tokens.text(tokens.segment(texts[0])[:5]).strip()
    free, _ = written("cot", texts, max_new_tokens=5, connectors="free")
    assert (free.answer, free.finished) == (None, False)


def test_an_answer_before_the_rationale_ends_the_walk() -> None:
    found, _ = written("post-cot", [" workshop"])
    assert (found.answer, found.rationale) == ("workshop", None)
    assert found.unprompted
    explained, _ = written("post-cot", [" workshop", " A drill is a tool."], goal="rationale")
    assert (explained.answer, explained.rationale) == ("workshop", "A drill is a tool.")


def test_cascod_continues_its_own_context_on_a_causal_student() -> None:
    writer = Writer([" A drill is a tool.", " workshop"])
    encoder, strategy = encoder_of(), create("cascod")
    found = walk(writer, encoder, strategy, [items(1)[0].example()])[0]
    assert writer.runs == 1
    assert found.answer == "workshop"
    assert found.asked is not None
    assert (
        found.asked.ids
        == encoder.prompt(strategy.form("answer"), items(1)[0].example(), {"rationale": "A drill is a tool."})[1]
    )
    assert found.forwarded == len(found.asked.ids) + len(encoder.tokens.segment(" workshop"))


def test_cascod_starts_anew_on_an_encoder_decoder() -> None:
    writer = Writer([" A drill is a tool.", " workshop"])
    encoder, strategy = encoder_of("metaspace", seq2seq=True), create("cascod")
    found = walk(writer, encoder, strategy, [items(1)[0].example()])[0]
    assert writer.runs == 2
    assert (found.rationale, found.answer) == ("A drill is a tool.", "workshop")
    assert found.asked is not None
    assert (
        found.asked.source
        == encoder.prompt(strategy.form("answer"), items(1)[0].example(), {"rationale": "A drill is a tool."})[0]
    )


@pytest.mark.parametrize("value", ["A spoon is a tool.", Tokens((70, 71, 72))], ids=["text", "ids"])
def test_a_filled_rationale_is_fed_and_not_generated(value: str | Tokens) -> None:
    found, session = written("cot", [" kitchen"], filled=[{"rationale": value}])
    tokens = session.encoder.tokens
    ids = value.ids if isinstance(value, Tokens) else tokens.segment(" " + value)
    prompt = session.encoder.prompt(create("cot").form("cot"), session.example, {})[1]
    assert session.prompts[0].ids == [*prompt, *ids, *tokens.segment(CONNECTOR)]
    assert found.answer == "kitchen"
    assert found.rationale == (tokens.text(ids).strip() if isinstance(value, Tokens) else value)
    assert found.generated == len(tokens.segment(" kitchen"))


def test_all_slots_filled_leave_nothing_to_decode() -> None:
    writer = Writer([])
    found = walk(
        writer, encoder_of(), create("cot"), [items(1)[0].example()], [{"rationale": "A drill.", "answer": "barn"}]
    )[0]
    assert (found.answer, writer.runs, found.generated) == ("barn", 0, 0)


def test_another_plan_swaps_the_tag() -> None:
    _, session = written("scott", [" kitchen"], filled=[{"rationale": "A drill."}], plan=["counterfactual"])
    text = session.encoder.tokens.text(session.prompts[0].ids)
    assert text.count("[counterfactual]") == 2
    assert "[factual]" not in text


def test_goal_choices_stops_where_the_answer_would_begin() -> None:
    found, session = written("cot", [" A drill."], goal="choices")
    assert found.answer is None
    assert found.asked is not None
    assert session.encoder.tokens.text(found.asked.ids).endswith(" A drill." + CONNECTOR)
    direct = walk(Writer([]), encoder_of(), create("answer-only"), [items(1)[0].example()], goal="choices")[0]
    assert direct.asked is not None
    assert direct.generated == 0


@pytest.mark.parametrize("room", [5, 60, 64])
def test_no_room_is_said_and_never_exceeded(room: int) -> None:
    example = items(1)[0].example()
    length = len(encoder_of().prompt(create("cot").form("cot"), example, {})[1])
    encoder = encoder_of(max_length=room if room == 5 else length + room - 58)
    writer = Writer([" A drill is a tool. A tool is found in the workshop.", " workshop"])
    found = walk(writer, encoder, create("cot"), [example])[0]
    assert not found.finished
    assert found.answer is None
    assert writer.longest <= (encoder.max_length or 0)


def test_a_form_with_neighbouring_slots_ends_without_an_answer() -> None:
    """No literal stands between them, so nothing could be fed: the walk says that it did not finish."""
    form = Form("odd", "{question}\nReason:", (learn(" {rationale}"), learn(" {answer}")))
    strategy = Strategy("odd", "test", (form,), plan=("odd",), explain=("odd",))
    found = walk(Writer([" A drill."]), encoder_of(), strategy, [items(1)[0].example()])[0]
    assert (found.rationale, found.answer, found.finished) == ("A drill.", None, False)


def test_text_is_decoded_only_where_a_connector_may_end(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of()
    script = encoder.tokens.segment(" A drill is a tool. A tool is found in the workshop." + CONNECTOR)
    windows = 0
    text = SegmentTokenizer.text

    def counted(tokens: SegmentTokenizer, ids: Sequence[int]) -> str:
        nonlocal windows
        windows += len(ids) > 1
        return text(tokens, ids)

    monkeypatch.setattr(SegmentTokenizer, "text", counted)
    session = WalkSession(encoder, [create("cot").form("cot")], items(1)[0].example(), {}, "answer", "forced", 99)
    assert session.begin()
    for token in script:
        assert session.slot == "rationale"
        session.push(Choice(token, token))
    assert session.slot == "answer"
    assert windows < len(script) / 2


@pytest.mark.parametrize("decoder", [Decoder, ContinuousDecoder])
def test_walks_of_a_real_student_do_not_depend_on_the_batch(decoder: type) -> None:
    pupil = language_model("llama")
    encoder = pupil.encoder()
    examples = [row.example() for row in items(8)]
    options = {"max_new_tokens": 12}
    for name in ("cot", "cascod", "post-cot", "step-by-step"):
        expected = walk(Decoder(pupil, batch_size=1), encoder, create(name), examples, **options)
        assert walk(decoder(pupil, batch_size=3), encoder, create(name), examples, **options) == expected
        reversed_order = walk(decoder(pupil, batch_size=8), encoder, create(name), examples[::-1], **options)
        assert reversed_order[::-1] == expected


def test_sampled_walks_draw_from_their_own_generators() -> None:
    pupil = student("gpt2")
    encoder = pupil.encoder()
    examples = [row.example() for row in items(6)]

    def walked(batch_size: int) -> list[Walked]:
        decoder = ContinuousDecoder(pupil, Sampling(0.9), batch_size)
        return walk(decoder, encoder, create("cot"), examples, max_new_tokens=8, draws=[Random(at) for at in range(6)])

    assert walked(2) == walked(6)
    assert len({found.rationale for found in walked(6)}) == 6


def test_interventions_on_a_question_share_its_computation() -> None:
    pupil = language_model("llama")
    encoder = pupil.encoder()
    examples = [row.example() for row in items(3) for _ in range(5)]
    filled = [{"rationale": f"A thing {at % 5} is kept there."} for at in range(len(examples))]
    fed = 0

    def count(module: object, args: tuple[object, ...]) -> None:
        nonlocal fed
        fed += args[0].shape[-1]  # type: ignore[attr-defined]

    handle = pupil.model.get_input_embeddings().register_forward_pre_hook(count)
    found = walk(ContinuousDecoder(pupil), encoder, create("cot"), examples, filled, max_new_tokens=1)
    handle.remove()
    assert fed < 0.5 * sum(walked.forwarded for walked in found)


def test_a_given_literal_in_front_of_a_slot_is_part_of_the_prompt() -> None:
    form = Form("tagged", "{question}", (given(" [factual]"), learn(" {answer}")))
    strategy = Strategy("tagged", "test", (form,), plan=("tagged",))
    found = walk(Writer([" barn"]), encoder_of(), strategy, [items(1)[0].example()])[0]
    assert found.asked is not None
    assert encoder_of().tokens.text(found.asked.ids).endswith(" [factual]")
    assert found.answer == "barn"
