"""`cotdistill predict`: question rows in, a student's rationales and answers out, one line as each is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from cotdistill.config import PredictConfig
from cotdistill.console import progress, say
from cotdistill.data.files import check_file, json_digest
from cotdistill.data.lock import locked_file
from cotdistill.data.records import Question
from cotdistill.data.tasks import load_questions
from cotdistill.decoding.text_walk import steps_of
from cotdistill.errors import UsageError
from cotdistill.evaluation.asked_server import check_served, served_key
from cotdistill.evaluation.asked_student import AskedStudent
from cotdistill.evaluation.inputs import Subject, kept_student, subject_of
from cotdistill.evaluation.responses import Response, ResponseFile, response, voted
from cotdistill.run_key import student_digest
from cotdistill.served_student import served
from cotdistill.strategies.description import load_strategy
from cotdistill.students.devices import device_of
from cotdistill.students.load import config_of, load_student, load_tokenizer
from cotdistill.students.places import at_revision, locate
from cotdistill.students.student import Student
from cotdistill.students.tokens import SegmentTokenizer

CHUNK = 2  # batches asked before their answers go out


def predict(config: PredictConfig, name: str) -> Iterator[Response]:
    """The responses to every question row, in the order of the rows, each as soon as its batch is done.

    With --out they go to that file, too: finished batches to FILE.partial at once, all rows to FILE at the end; what
    either holds already is not asked again. Raises `UsageError`, `DataError` or `Unavailable` with one clear line.
    """
    if config.out is not None:
        check_file(config.out)
    subject = asked_subject(config, name)
    questions = _questions(config)
    asked = _asked(config, subject)
    settings = _settings(config, subject)
    keys = {one.id: json_digest([settings, one.id, one.question, one.choices])[:16] for one in questions}
    with locked_file(config.out) if config.out is not None else nullcontext():
        stored = ResponseFile(config.out, config.repair, config.overwrite)
        stored.refuse_losing(keys)
        done = {key: one for key, one in stored.read().items() if keys.get(one.id) == key}
        if done:
            say(f"{len(done)} of {len(questions)} questions are already answered")
        try:
            yield from _answers(config, asked, questions, keys, done, stored)
        except KeyboardInterrupt:
            kept = "; the same command goes on from there" if config.out is not None else ""
            say(f"{len(done)} of {len(questions)} questions answered{kept}")
            raise
        stored.finish([done[keys[question.id]] for question in questions])


def prompts(config: PredictConfig, name: str) -> Iterator[dict[str, Any]]:
    """What would be asked of every question, and where each step ends; no weights are loaded."""
    subject = asked_subject(config, name)
    strategy = load_strategy(subject.card.strategy, subject.name)
    forms = [strategy.form(one) for one in strategy.plan]
    assert subject.model is not None
    if subject.served_alone:
        raise UsageError("--prompts needs the student's tokenizer; give the run, or a local model with --strategy")
    encoder_decoder = bool(config_of(subject.model, config.trust_remote_code).is_encoder_decoder)
    words = load_tokenizer(locate(subject.model), subject.model, config.trust_remote_code)
    chat = bool(subject.card.config.get("chat", False))
    tokens = SegmentTokenizer(words, encoder_decoder, chat)
    end = str(words.convert_ids_to_tokens(tokens.stop))
    for question in _questions(config):
        steps = steps_of(forms, question.text(), tokens.around_prompt)
        yield {
            "id": question.id,
            "steps": [
                {
                    **(
                        {"prompt": step.source, "decoder_prompt": step.target}
                        if encoder_decoder
                        else {"prompt": step.prompt}
                    ),
                    "fills": step.fills,
                    "stop": [*([step.stop] if step.stop else []), end],
                    "max_new_tokens": config.max_new_tokens,
                }
                for step in steps
            ],
        }


def asked_subject(config: PredictConfig, name: str) -> Subject:
    """A run whose student was kept, or a plain model. Raises `UsageError` for a file of predictions."""
    check_served(config)
    subject = subject_of(at_revision(name, config.revision), config, student_digest)
    if subject.model is None:
        raise UsageError(f"{name} is a file, not a run or a model; give a run directory, or a model with --strategy")
    return subject if config.model is not None else kept_student(subject)


def _questions(config: PredictConfig) -> list[Question]:
    return load_questions(config.data, config.split, config.limit, config.data_seed, config.map, config)


def _asked(config: PredictConfig, subject: Subject) -> AskedStudent:
    if config.model is not None:
        return served(config, subject)
    strategy, card = load_strategy(subject.card.strategy, subject.name), subject.card.config

    def load() -> Student:
        return load_student(
            str(subject.model),
            config.dtype,
            device_of(config.device),
            config.trust_remote_code,
            chat=bool(card.get("chat", False)),
            partial_weights=config.partial_weights,
        )

    return AskedStudent(load, strategy, card["answers"], config)


def _settings(config: PredictConfig, subject: Subject) -> str:
    """The digest of what decides a response beside its question."""
    sampled = [config.samples, config.temperature, config.top_p, config.seed] if config.samples else None
    decoding = [config.connectors, config.max_new_tokens, config.score, config.calibrate, config.dtype]
    decoding += [] if config.think_budget is None else [config.think_budget]
    return json_digest([served_key(config, subject.card.key), decoding, sampled])


def _answers(
    config: PredictConfig,
    asked: AskedStudent,
    questions: Sequence[Question],
    keys: dict[str, str],
    done: dict[str, Response],
    stored: ResponseFile,
) -> Iterator[Response]:
    """Every response in the order of the questions; what is not in `done` is asked and put there."""
    waiting = [question for question in questions if keys[question.id] not in done]
    size = CHUNK * config.batch_size
    streamed = 0
    with progress("predict", len(waiting)) as advance:
        for at in range(0, len(waiting) or 1, size):
            chunk = waiting[at : at + size]
            responses = _ask(config, asked, chunk, keys) if chunk else []
            stored.add(responses)
            done |= {one.key: one for one in responses}
            advance(len(responses), "")
            while streamed < len(questions) and keys[questions[streamed].id] in done:
                yield done[keys[questions[streamed].id]]
                streamed += 1


def _ask(
    config: PredictConfig, asked: AskedStudent, questions: Sequence[Question], keys: dict[str, str]
) -> list[Response]:
    if config.samples:
        asked.warn_unknown(questions)
        samples = asked.walk_samples(questions, config.samples)
        return [voted(question, walked, keys[question.id]) for question, walked in zip(questions, samples, strict=True)]
    by_likelihood = config.score == "choices"
    return [
        response(question, walked, scored, keys[question.id], by_likelihood)
        for question, (walked, scored) in zip(questions, asked.answer(questions), strict=True)
    ]
