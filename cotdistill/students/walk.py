"""Inference: the strategy's forms are walked, and the student fills the slots that are not filled yet.

An intervention (oracle, corrupted or counterfactual rationale) is a walk with some slots already filled.
A slot ends at the stop token or where the generated text reaches the next literal part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from cotdistill.data.records import Example
from cotdistill.strategies.forms import Form, Part, Slot, SlotValue, Strategy, Tokens
from cotdistill.students.decode import Choice, Decodes, Prompt
from cotdistill.students.encode import Encoder

Connectors = Literal["forced", "free"]


@dataclass(frozen=True)
class Walked:
    """What a walk found. `answer` is None where the student never reached it (free connectors, no room left)."""

    rationale: str | None
    answer: str | None
    finished: bool  # every generated slot ended by itself, within max_new_tokens
    generated: int  # tokens the student generated
    forwarded: int  # tokens that went through the student, prompts included
    unprompted: bool = True  # it wrote every connector itself: free connectors would have given the same


def walk(decoder: Decodes, encoder: Encoder, strategy: Strategy, examples: Sequence[Example],
         filled: Sequence[Mapping[Slot, SlotValue]] | None = None, goal: Slot = "answer",
         connectors: Connectors = "forced", max_new_tokens: int = 160,
         draws: Sequence[Random] | None = None) -> list[Walked]:
    """Walk `plan` until {answer} is known (goal "rationale": `explain` until {rationale} is), for every example.

    `draws`: one generator an example, for a decoder whose rule samples.
    """
    plan = strategy.plan if goal == "answer" else strategy.explain
    if plan is None:
        raise ValueError(f"the strategy {strategy.name!r} gives no rationale")
    forms = [strategy.form(name) for name in plan]
    sessions = [WalkSession(encoder, forms, example, slots, goal, connectors, max_new_tokens)
                for example, slots in zip(examples, filled or [{}] * len(examples), strict=True)]
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

    def __init__(self, encoder: Encoder, forms: Sequence[Form], example: Example, filled: Mapping[Slot, SlotValue],
                 goal: Slot, connectors: Connectors, max_new_tokens: int) -> None:
        self.encoder, self.example, self.goal, self.connectors = encoder, example, goal, connectors
        self.max_new_tokens = max_new_tokens
        self.slots: dict[Slot, SlotValue] = dict(filled)
        self.forms = list(forms)
        self.parts: list[Part] = []
        self.slot: Slot | None = None
        self.ids: list[int] = []  # generated for the open slot
        self.context: list[int] = []  # everything the decoder has been fed, or is about to be
        self.prompts: list[Prompt] = []
        self.restarts = False
        self.finished = self.unprompted = True
        self.generated = self.forwarded = 0

    def begin(self) -> bool:
        """Open the next form that has a slot to fill; False when nothing is left to decode."""
        self.restarts = False
        while self.forms and self.goal not in self.slots:
            form = self.forms.pop(0)
            prompt = self.encoder.prompt(form, self.example, self.slots)
            self.parts = list(form.target)
            ids = [*prompt[1], *self._advance()]
            if self.slot is None:
                continue
            if self.encoder.too_long(ids) or self.encoder.too_long(prompt[0] or ()):
                self.finished, self.forms, self.slot = False, [], None
                return False
            self.context, self.prompts = ids, [Prompt(ids, prompt[0])]
            self.forwarded += len(ids) + len(prompt[0] or ())
            return True
        return False

    def push(self, choice: Choice) -> list[int] | None:
        """One generated token: what to append in its place, or None when this form (or the walk) is done."""
        fed: list[int] = []
        reached = False
        if choice.token != self.encoder.tokens.stop:
            fed = [choice.token]
            self.ids.append(choice.token)
            self.context.append(choice.token)
            self.generated += 1
            reached = self._reached()
            if not reached and self._has_room():
                self.forwarded += 1
                return fed
            self.finished &= reached
        if not reached and self.slot != self.goal and any(part.slot is not None for part in self.parts):
            self.unprompted = False
            if self.connectors == "free":
                self._close(reached)
                return None  # the student ended before its connector: there is no answer
        self._close(reached)
        return self._onward(fed)

    def result(self) -> Walked:
        """The slots found, as text."""
        return Walked(self._text("rationale"), self._text("answer"), self.finished, self.generated, self.forwarded,
                      self.unprompted)

    def _onward(self, fed: list[int]) -> list[int] | None:
        """Feed what leads to the next open slot, in this form or, where its prompt continues the context, the next."""
        while self.goal not in self.slots:
            lead = self._advance()
            fed += lead
            self.context += lead
            if self.slot is not None:
                if not fed or not self._has_room():
                    self.finished = False
                    return None
                self.forwarded += len(fed)
                return fed
            if not self.forms:
                return None
            source, ids = self.encoder.prompt(self.forms[0], self.example, self.slots)
            if source is not None or ids[: len(self.context)] != self.context:
                self.restarts = True  # another prompt, not a continuation: decoded in the next round
                return None
            fed += ids[len(self.context):]
            self.context = ids
            self.parts = list(self.forms.pop(0).target)
        return None

    def _advance(self) -> list[int]:
        """Ids of literal parts and filled slots up to the next open slot (`self.slot`; None: the form is over)."""
        ids: list[int] = []
        self.slot, self.ids = None, []
        while self.parts and self.slot is None:
            part = self.parts.pop(0)
            if part.slot is not None and part.slot not in self.slots:
                self.slot = part.slot
            else:
                ids += self.encoder.part_ids(part, self.slots)
        return ids

    def _reached(self) -> bool:
        """Whether the generated text has just come to the next literal part."""
        literal = self._literal()
        if literal is None:
            return False
        window = len(self.encoder.tokens.segment(literal)) + 4  # a few more: it may be spelled in other tokens
        return literal.strip() in self.encoder.tokens.text(self.ids[-window:])

    def _literal(self) -> str | None:
        return self.parts[0].text if self.parts and self.parts[0].slot is None else None

    def _close(self, reached: bool) -> None:
        """The open slot gets its value; a reached literal is part of the context already and is not fed again."""
        assert self.slot is not None
        if reached:
            literal = self.parts.pop(0).text.strip()
            self.slots[self.slot] = self.encoder.tokens.text(self.ids).split(literal)[0].strip()
        else:
            self.slots[self.slot] = Tokens(tuple(self.ids))

    def _has_room(self) -> bool:
        return not self.encoder.too_long([*self.context, 0]) and len(self.ids) < self.max_new_tokens

    def _text(self, slot: Slot) -> str | None:
        value = self.slots.get(slot)
        return self.encoder.tokens.text(value.ids).strip() if isinstance(value, Tokens) else value
