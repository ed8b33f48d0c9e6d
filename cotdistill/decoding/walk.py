"""Inference: the strategy's forms are walked, and the student fills the slots that are not filled yet.

An intervention (oracle, corrupted or counterfactual rationale) is a walk with some slots already filled. Give
all interventions on a question to one call: they share the question's computation. A slot ends at the stop
token or where the generated text reaches the next literal part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

from cotdistill.data.records import Question
from cotdistill.decoding.decode import Choice, Decodes, Prompt
from cotdistill.strategies.forms import Form, Part, Slot, SlotValue, Strategy, Tokens
from cotdistill.students.encode import Encoder
from cotdistill.students.tokens import SegmentTokenizer

Connectors = Literal["forced", "free"]
Goal = Literal["answer", "rationale", "choices", "all"]


@dataclass(frozen=True)
class Walked:
    """What a walk found. `answer` is None where the student never reached it (free connectors, no room left).

    `asked` is what the student had been given when its answer was to begin: where choices are scored.
    """

    rationale: str | None
    answer: str | None
    finished: bool  # every generated slot ended by itself, within max_new_tokens
    generated: int  # tokens the student generated
    forwarded: int  # tokens that went through the student, prompts included (shared ones counted every time)
    unprompted: bool = True  # it wrote every connector itself: free connectors would have given the same
    asked: Prompt | None = None


def walk(
    decoder: Decodes,
    encoder: Encoder,
    strategy: Strategy,
    examples: Sequence[Question],
    filled: Sequence[Mapping[Slot, SlotValue]] | None = None,
    goal: Goal = "answer",
    connectors: Connectors = "forced",
    max_new_tokens: int = 160,
    draws: Sequence[Random] | None = None,
    plan: Sequence[str] | None = None,
    think_budget: int | None = None,
) -> list[Walked]:
    """Walk `plan` (the strategy's own where None) until {answer} is known, for every example.

    goal "rationale": the strategy's `explain` until {rationale} is known; goal "choices": the plan up to
    where the answer would begin; goal "all": every slot of the plan. `draws`: one generator per example, for a decoder
    whose rule samples. `think_budget`: tokens after which a rationale is cut, on purpose: what follows it is put in,
    connectors forced or not, and the walk counts as finished.
    """
    names = plan or (strategy.explain if goal == "rationale" else strategy.plan)
    if names is None:
        raise ValueError(f"the strategy {strategy.name!r} gives no rationale")
    forms = [strategy.form(name) for name in names]
    sessions = [
        WalkSession(encoder, forms, example, slots, goal, connectors, max_new_tokens, think_budget)
        for example, slots in zip(examples, filled or [{}] * len(examples), strict=True)
    ]
    for session, draw in zip(sessions, draws or (), strict=draws is not None):
        session.random = draw
    running = [session for session in sessions if session.begin()]
    while running:
        decoder.run(running)
        running = [session for session in running if session.restarts and session.begin()]
    return [session.result() for session in sessions]


class WalkSession:
    """One example on its way through the forms; `prompts` is what the decoder starts from."""

    random: Random  # set where the decoder's rule samples

    def __init__(
        self,
        encoder: Encoder,
        forms: Sequence[Form],
        example: Question,
        filled: Mapping[Slot, SlotValue],
        goal: Goal,
        connectors: Connectors,
        max_new_tokens: int,
        think_budget: int | None = None,
    ) -> None:
        self.encoder, self.example, self.goal, self.connectors = encoder, example, goal, connectors
        self.max_new_tokens, self.think_budget = max_new_tokens, think_budget
        self.slots: dict[Slot, SlotValue] = dict(filled)
        self.forms = list(forms)
        self.parts: list[Part] = []
        self.slot: Slot | None = None
        self.ids: list[int] = []  # generated for the open slot
        self.context: list[int] = []  # everything the decoder has been fed, or is about to be
        self.source: list[int] | None = None
        self.prompts: list[Prompt] = []
        self.asked: Prompt | None = None
        self.restarts = False
        self.finished = self.unprompted = True
        self.generated = self.forwarded = 0

    def begin(self) -> bool:
        """Open the next form that has a slot to fill; False when nothing is left to decode."""
        self.restarts = False
        while self.forms and not self._arrived():
            form = self.forms.pop(0)
            self.source, prompt = self.encoder.prompt(form, self.example, self.slots)
            self.parts = self.encoder.target(form)
            self.context = [*prompt, *self._advance()]
            if self.slot is None:
                continue
            if not self._has_room() or self.encoder.too_long(self.source or ()):
                self.finished, self.slot = False, None
                self.forms.clear()
                return False
            self._open()
            if self._arrived():
                return False
            self.prompts = [Prompt(list(self.context), self.source)]
            self.forwarded += len(self.context) + len(self.source or ())
            return True
        return False

    def push(self, choice: Choice) -> list[int] | None:
        """One generated token: what to append in its place, or None when this form (or the walk) is done."""
        fed: list[int] = []
        reached = cut = False
        if choice.token not in self.encoder.tokens.stops:
            fed.append(choice.token)
            self.ids.append(choice.token)
            self.context.append(choice.token)
            self.generated += 1
            reached, cut = self._reached(), self._thought_enough()
            if not reached and self._has_room():
                self.forwarded += 1
                return fed
            self.finished &= reached or cut
        forcing = not reached and self.slot != self.goal and any(part.slot is not None for part in self.parts)
        self.unprompted &= not forcing
        self._close(reached)
        if forcing and self.connectors == "free" and not cut:
            return None  # the student ended, or was cut off, before its connector: there is no answer
        return self._onward(fed)

    def result(self) -> Walked:
        """The slots found, as text."""
        return Walked(
            self._text("rationale"),
            self._text("answer"),
            self.finished,
            self.generated,
            self.forwarded,
            self.unprompted,
            self.asked,
        )

    def _onward(self, fed: list[int]) -> list[int] | None:
        """Feed what leads to the next open slot, in this form or in a next one that continues the context."""
        while not self._arrived():
            lead = self._advance()
            fed += lead
            self.context += lead
            if self.slot is not None:
                if not fed or not self._has_room():
                    self.finished = False
                    return None
                self._open()
                if self._arrived():
                    return None
                self.forwarded += len(fed)
                return fed
            if not self.forms:
                return None
            source, ids = self.encoder.prompt(self.forms[0], self.example, self.slots)
            if source is not None or ids[: len(self.context)] != self.context:
                self.restarts = True  # another prompt, not a continuation: decoded in the next round
                return None
            fed += ids[len(self.context) :]
            self.context = ids
            self.parts = self.encoder.target(self.forms.pop(0))
        return None

    def _advance(self) -> list[int]:
        """Ids of literal parts and filled slots up to the next open `self.slot` (None at the form's end)."""
        ids: list[int] = []
        self.slot, self.ids = None, []
        while self.parts and self.slot is None:
            part = self.parts.pop(0)
            if part.slot is not None and part.slot not in self.slots:
                self.slot = part.slot
            else:
                ids += self.encoder.part_ids(part, self.slots)
        return ids

    def _open(self) -> None:
        """The student is about to fill `self.slot`."""
        if self.slot == "answer":
            self.asked = Prompt(list(self.context), self.source)

    def _arrived(self) -> bool:
        """Whether the walk's goal is reached."""
        if self.goal == "choices":
            return self.asked is not None or "answer" in self.slots
        return self.goal in self.slots

    def _reached(self) -> bool:
        """Whether the newest token has completed the next literal part, however it is spelled."""
        literal = self._literal()
        if literal is None or not _may_end(self.encoder.tokens, literal, self.ids[-1]):
            return False
        window = len(literal.encode()) + 1  # a token holds at least one byte
        return literal in self.encoder.tokens.text(self.ids[-window:])

    def _literal(self) -> str | None:
        return self.parts[0].text.strip() if self.parts and self.parts[0].slot is None else None

    def _close(self, reached: bool) -> None:
        """The open slot gets its value; a reached literal is in the context already and is not fed again."""
        assert self.slot is not None
        if reached:
            literal = self.parts.pop(0).text.strip()
            self.slots[self.slot] = self.encoder.tokens.text(self.ids).split(literal)[0].strip()
        else:
            self.slots[self.slot] = Tokens(tuple(self.ids))

    def _has_room(self) -> bool:
        """Whether one more token may be generated for the open slot."""
        return (
            len(self.ids) < self.max_new_tokens
            and not self._thought_enough()
            and not self.encoder.too_long(range(len(self.context) + 1))
        )

    def _thought_enough(self) -> bool:
        """Whether the open slot is a rationale that has used its budget up."""
        return self.slot == "rationale" and self.think_budget is not None and len(self.ids) >= self.think_budget

    def _text(self, slot: Slot) -> str | None:
        value = self.slots.get(slot)
        return self.encoder.tokens.text(value.ids).strip() if isinstance(value, Tokens) else value


@lru_cache(maxsize=1 << 16)
def _may_end(tokens: SegmentTokenizer, literal: str, token: int) -> bool:
    """Whether a token can be the one that completes `literal`: text is decoded for those only.

    Nearly every token fails, so a walk decodes text a few times per question instead of at every token.
    """
    text = tokens.text([token])
    if "\N{REPLACEMENT CHARACTER}" in text:
        return True  # part of a character: only the text before it can tell
    return any(literal.endswith(text[:end]) or literal in text[:end] for end in range(1, len(text) + 1))
