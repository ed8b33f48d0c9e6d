"""A walk over text: what a program that completes text is sent at each step, and where it is to stop.

The same forms as `walk`, in the same order, without a tokenizer: each step is a prompt that ends where the next slot
begins. `--prompts` and the model card print these steps, a student behind a server is asked them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cotdistill.decoding.walk import Goal
from cotdistill.strategies.forms import Form, Part, Slot
from cotdistill.students.encode import render


@dataclass(frozen=True)
class TextStep:
    """One completion. `source`: the question's part of the prompt, an encoder-decoder's encoder input; `target`: what
    the target holds so far. `stop`: the text that ends the slot, beside the model's own end of a text."""

    form: str
    source: str
    target: str
    fills: Slot
    stop: str | None

    @property
    def prompt(self) -> str:
        """All of it, for a decoder."""
        return self.source + self.target


class TextWalk:
    """One question on its way through the forms. `around`: a chat template's text before and after the source."""

    def __init__(
        self,
        forms: Sequence[Form],
        question: str,
        around: tuple[str, str] | None = None,
        filled: Mapping[Slot, str] | None = None,
        goal: Goal = "answer",
    ) -> None:
        self.question, self.around, self.goal = question, around, goal
        self.slots: dict[Slot, str] = dict(filled or {})
        self._forms = list(forms)
        self._parts: list[Part] = []
        self._source, self._target = "", ""
        self._form: Form | None = None

    def step(self) -> TextStep | None:
        """What is to be completed next; None where the goal is reached, or nothing is left."""
        while self.goal not in self.slots:
            while self._parts:
                part = self._parts[0]
                if part.slot is not None and part.slot not in self.slots:
                    assert self._form is not None
                    stop = self._parts[1].text.strip() if self._parts[1:] and self._parts[1].slot is None else None
                    return TextStep(self._form.name, self._source, self._target, part.slot, stop)
                self._append(self._rendered([self._parts.pop(0)]))
            if not self._forms:
                return None
            self._begin(self._forms.pop(0))
        return None

    def fill(self, text: str) -> None:
        """The completion of the step's slot, as it was generated."""
        part = self._parts.pop(0)
        slot = part.slot
        assert slot is not None
        if part.text[:1].isspace() and not text[:1].isspace():
            text = " " + text  # a server that decodes a SentencePiece completion by itself loses its first blank
        self.slots[slot] = text.strip()
        kept = text.rstrip()
        if kept != text and self._parts and self._parts[0].slot is None:
            # Blanks at the end come before the literal that stopped it: they are the student's own, as in `walk`.
            self._parts[0] = replace(self._parts[0], text=self._parts[0].text.lstrip())
            kept = text
        self._append(kept)

    def fill_with_name(self) -> None:
        """Fill the step's slot with its own name in braces, for a template."""
        slot = self._parts[0].slot
        self.fill(f"{{{slot}}}" if self._opens else f" {{{slot}}}")

    def _begin(self, form: Form) -> None:
        source = self._rendered(form.source_segments())
        before, after = self.around or ("", "")
        self._form, self._source, self._target = form, before + source + after, ""
        self._parts = list(form.target)

    def _append(self, text: str) -> None:
        self._target += text.lstrip() if self._opens else text

    @property
    def _opens(self) -> bool:
        """Whether what comes next begins a chat turn, and so has no blank before it."""
        return self.around is not None and not self._target

    def _rendered(self, parts: Sequence[Part]) -> str:
        slots: dict[str, str] = {"question": self.question, **{str(name): text for name, text in self.slots.items()}}
        return "".join(str(render(part.text, slots)) for part in parts)


def steps_of(
    forms: Sequence[Form], question: str = "{question}", around: tuple[str, str] | None = None
) -> list[TextStep]:
    """Every step up to the answer, with {rationale} where the student's own will be."""
    walk, steps = TextWalk(forms, question, around), []
    while (step := walk.step()) is not None:
        steps.append(step)
        walk.fill_with_name()
    return steps
