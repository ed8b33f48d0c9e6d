"""A student behind a server: its plan is walked over the completions endpoint, text in and text out.

Every slot of a form is one request: the prompt so far, and the text that ends the slot as a stop string. What comes
back fills the slot, and the next request goes on from there. A server returns no likelihoods of choices that it was
not asked to generate, so confidence and calibration are left out; whatever needs them is refused before it is asked.

Answers are those in process up to tokenisation: a server tokenises each prompt as one text, a walk in process its
segments (where two segments meet, the tokens may differ).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cotdistill.answers.answers import AnswerStyle
from cotdistill.config import EvaluateConfig, StudentOptions
from cotdistill.config.server import PREFIX
from cotdistill.console import warn_once
from cotdistill.data.records import Question
from cotdistill.decoding.text_walk import TextStep, TextWalk
from cotdistill.decoding.walk import Goal, Walked
from cotdistill.errors import Unavailable, UsageError
from cotdistill.evaluation.asked_student import AskedStudent, ScoredChoices
from cotdistill.evaluation.asking import Walker
from cotdistill.evaluation.inputs import Subject
from cotdistill.evaluation.probes import READ, chosen
from cotdistill.seeds import derive
from cotdistill.strategies.description import load_strategy
from cotdistill.strategies.forms import Slot, SlotValue, Strategy, Tokens
from cotdistill.students.load import config_of, load_tokenizer
from cotdistill.students.places import locate
from cotdistill.students.tokens import SegmentTokenizer
from cotdistill.teachers.client import Client
from cotdistill.teachers.dialect import OLD_LIMIT
from cotdistill.teachers.faults import Fault
from cotdistill.teachers.replies import Completion, read_completion
from cotdistill.teachers.server import Abandoned, Server, shared_until

GREEDY = {"temperature": 0.0}
IGNORED = 1  # words behind a stop string that the token which completed it may hold; more: it was ignored


class ServedStudent(AskedStudent):
    """`--model openai:NAME`, walked by one strategy. `tokens`: its tokenizer, where the run has it (for `--chat`)."""

    def __init__(
        self,
        server: Server,
        strategy: Strategy,
        answers: AnswerStyle,
        config: StudentOptions,
        tokens: SegmentTokenizer | None,
    ) -> None:
        super().__init__(_nobody, strategy, answers, config)
        self.server, self.known_tokens = server, tokens
        self.around = None if tokens is None else tokens.around_prompt

    @property
    def tokens(self) -> SegmentTokenizer:
        """Its tokenizer. Raises `UsageError` where it is not known here."""
        if self.known_tokens is None:
            raise UsageError("a student behind a server has no tokenizer here; give the run it was trained in")
        return self.known_tokens

    def notes(self) -> dict[str, float]:
        """Nothing is known of the model's cost."""
        return {}

    def warn_unknown(self, questions: Sequence[Question]) -> None:
        """Which characters its tokenizer cannot read is known where the tokenizer is."""
        if self.known_tokens is not None:
            super().warn_unknown(questions)

    def walk(
        self,
        questions: Sequence[Question],
        filled: Sequence[Mapping[Slot, SlotValue]] | None = None,
        goal: Goal = "answer",
        *,
        limit: int | None = None,
        plan: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[Walked]:
        """As in process, one request for each slot that is to be filled."""
        names = plan or (self.strategy.explain if goal == "rationale" else self.strategy.plan)
        assert names is not None
        forms = [self.strategy.form(name) for name in names]
        walks = [
            TextWalk(forms, question.text(), self.around, self._texts(slots), goal)
            for question, slots in zip(questions, filled or [{}] * len(questions), strict=True)
        ]
        return self._walked(walks, [GREEDY] * len(walks), limit or self.asking.max_new_tokens)

    def walk_samples(self, questions: Sequence[Question], count: int) -> list[list[Walked]]:
        """`count` sampled walks of every question; the server draws, from a seed that depends on the question alone."""
        config = self.asking
        sampling = {"temperature": config.temperature, "top_p": config.top_p}
        asked = [(question, at) for question in questions for at in range(count)]
        forms = [self.strategy.form(name) for name in self.strategy.plan]
        walks = [TextWalk(forms, question.text(), self.around) for question, _ in asked]
        drawn = [
            {**sampling, "seed": derive(config.seed, "evaluate-sample", question.id, at) % 2**31}
            for question, at in asked
        ]
        walked = self._walked(walks, drawn, config.max_new_tokens)
        return [walked[at * count : (at + 1) * count] for at in range(len(questions))]

    def _likelihoods(self, questions: Sequence[Question], walked: Sequence[Walked]) -> list[ScoredChoices | None]:
        if self.asking.calibrate:
            warn_once(f"{PREFIX}{self.server.model}: no confidence and no calibration, a server scores no choices")
        return [None] * len(questions)

    def _texts(self, slots: Mapping[Slot, SlotValue]) -> dict[Slot, str]:
        return {
            slot: self.tokens.text(value.ids).strip() if isinstance(value, Tokens) else value
            for slot, value in slots.items()
        }

    def _walked(self, walks: Sequence[TextWalk], rules: Sequence[Mapping[str, Any]], limit: int) -> list[Walked]:
        return asyncio.run(self._all(walks, rules, limit))

    async def _all(self, walks: Sequence[TextWalk], rules: Sequence[Mapping[str, Any]], limit: int) -> list[Walked]:
        """Every walk to its end, `--concurrency` at once. Raises `Unavailable` for the first that cannot go on, after
        the requests under way."""
        walked: dict[int, Walked] = {}
        failed: list[Unavailable] = []
        self.server.over = over = lambda: bool(failed)
        waiting = iter(range(len(walks)))
        async with self.server.client() as client:

            async def work() -> None:
                for at in shared_until(waiting, over):
                    try:
                        walked[at] = await self._walk(client, walks[at], rules[at], limit)
                    except Abandoned:
                        return
                    except Fault as fault:
                        failed.append(
                            Unavailable(f"the server failed on a question: {fault}; run the same command again")
                        )
                    except Unavailable as error:
                        failed.append(error)

            await asyncio.gather(*(work() for _ in range(min(self.asking.concurrency, len(walks)))))
        if failed:
            raise failed[0]
        return [walked[at] for at in range(len(walks))]

    async def _walk(self, client: Client, walk: TextWalk, rule: Mapping[str, Any], limit: int) -> Walked:
        finished, generated, forwarded = True, 0, 0
        while (step := walk.step()) is not None:
            completion = await self._complete(client, step, rule, limit)
            finished &= completion.finished
            generated += completion.tokens
            forwarded += completion.prompt_tokens + completion.tokens
            walk.fill(completion.text)
        slots = walk.slots
        return Walked(slots.get("rationale"), slots.get("answer"), finished, generated, forwarded)

    async def _complete(self, client: Client, step: TextStep, rule: Mapping[str, Any], limit: int) -> Completion:
        """One slot. Raises `Unavailable` for a server that goes on behind the stop string."""
        request = {**self.server.named, "prompt": step.prompt, OLD_LIMIT: limit, **rule}
        if step.stop:
            request["stop"] = [step.stop]
        if self.known_tokens is not None and self.known_tokens.adds_to_template:
            request["add_special_tokens"] = False
        completion, _ = await self.server.asked(client, "completion", request, read_completion)
        if step.stop is None or step.stop not in completion.text:
            return completion
        text, _, behind = completion.text.partition(step.stop)
        if len(behind.split()) > IGNORED:
            raise Unavailable(
                f"the server ignores stop strings: it went on after {step.stop!r}; serve the student with one that "
                "honours 'stop' on /v1/completions (vLLM, llama.cpp, transformers serve)"
            )
        return Completion(text, True, completion.prompt_tokens, completion.tokens)


class ServedWalker(ServedStudent, Walker):
    """A student behind a server under evaluation: what it answers is judged, explained and probed."""


def served(config: StudentOptions, subject: Subject) -> ServedStudent:
    """The student of `subject` behind `--model`, for `predict`; for `evaluate` a `ServedWalker`."""
    assert config.model is not None
    card = subject.card
    chat, tokens = bool(card.config.get("chat", False)), _tokens(config, subject)
    if chat and tokens is None:
        raise UsageError("--chat: a plain model's template is known to its server alone; give the run, or omit --chat")
    if isinstance(config, EvaluateConfig) and tokens is None and set(chosen(config.probe)) - set(READ):
        raise UsageError("--probe needs the student's tokenizer; give the run that was trained here, with its student")
    kind = ServedWalker if isinstance(config, EvaluateConfig) else ServedStudent
    strategy = load_strategy(card.strategy, subject.name)
    server = Server("--model", config.model, config, config.seed)
    return kind(server, strategy, card.config["answers"], config, tokens)


def _tokens(config: StudentOptions, subject: Subject) -> SegmentTokenizer | None:
    """The tokenizer of a run's student; None for a plain model, or where the run has lost it.

    Raises `UsageError` for an encoder-decoder, which no completions endpoint serves.
    """
    place = Path(str(subject.model))
    if not (place / "config.json").is_file() or not (subject.folder / "run.json").is_file():
        return None
    if config_of(str(place), config.trust_remote_code).is_encoder_decoder:
        raise UsageError(f"{subject.name} is an encoder-decoder, which no completions endpoint serves")
    words = load_tokenizer(locate(str(place)), str(place), config.trust_remote_code)
    return SegmentTokenizer(words, False, bool(subject.card.config.get("chat", False)))


def _nobody() -> NoReturn:
    raise AssertionError("a student behind a server is not loaded")
