"""The protocol: a `Form` is the template of one sequence, a `Strategy` a frozen record of forms.

Training fills a form's slots from the teacher's records; inference walks the *same* forms and lets the
student fill them. There is one text, so train and test prompts cannot drift apart.

    source   what the model is given                 "{question} Answer:"
    target   parts, literal text or one {slot} each  learn(" {answer}")
    learned  a part with weight > 0: its tokens are scored
    given    a part with weight 0: shown, not scored
    share    weight of a form's loss among the forms of its strategy; shares sum to 1
    coef     the final weight of one target token: share * weight / (sum of weights of that form in the step)

Parts begin with their blank (never end with one): byte-BPE and Metaspace tokenizers then give the same ids
to a part tokenised alone as inside the whole sequence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cotdistill.data.records import Example, RationaleKind

Slot = Literal["rationale", "answer"]
SLOTS: tuple[Slot, ...] = ("rationale", "answer")
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Tokens:
    """A slot value given as token ids; `weights` (one per token) override the part's weight where set."""

    ids: tuple[int, ...]
    weights: tuple[float, ...] | None = None


SlotValue = str | Tokens
Slots = Mapping[Slot, SlotValue]


@dataclass(frozen=True)
class Part:
    """Literal text, or a blank and one slot such as " {answer}".

    `weight`: of each of its tokens. `fractions`: (first, last, factor) of the tokens between two fractions of its
    length. `opening`: begins a chat turn, without its blank.
    """

    text: str
    weight: float
    opening: bool = False
    fractions: tuple[tuple[float, float, float], ...] = ()

    @property
    def slot(self) -> Slot | None:
        """The slot this part holds, if it is not literal text."""
        match = _FIELD.search(self.text)
        return match.group(1) if match else None  # type: ignore[return-value]  # checked by Form

    def weights(self, length: int) -> list[float]:
        """The weights of its `length` tokens. Token k lies at (k + 1/2) / length."""
        if not self.fractions:
            return [self.weight] * length
        return [self._weight_at((at + 0.5) / length) for at in range(length)]

    @property
    def end_weight(self) -> float:
        """The weight of what ends it."""
        return self._weight_at(math.nextafter(1.0, 0.0))

    def _weight_at(self, place: float) -> float:
        factors = (factor for first, last, factor in self.fractions if first <= place < last)
        return math.prod(factors, start=self.weight)


def learn(text: str, weight: float = 1.0) -> Part:
    """A part whose tokens are scored."""
    return Part(text, weight)


def given(text: str) -> Part:
    """A part that is shown to the student and not scored."""
    return Part(text, 0.0)


@dataclass(frozen=True)
class Form:
    """The template of one sequence.

    `source` may hold {question} and, where an earlier form of the plan fills it, {rationale}.
    `eos`: the target ends in the model's stop token, scored with the weight of the last part.
    `denominator`: the divisor of the form's loss: the sum of the weights of its tokens in the whole
    optimizer step, or the count of its weighted tokens (where weights may be negative, EDIT's KRSL).
    `source_weight`: of the source's tokens, where a decoder-only student learns them too.
    """

    name: str
    source: str
    target: tuple[Part, ...]
    share: float = 1.0
    kind: RationaleKind = "factual"
    eos: bool = True
    denominator: Literal["weights", "count"] = "weights"
    source_weight: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(_FIELD.findall(self.source)) - {"question", "rationale"}
        if "answer" in _FIELD.findall(self.source):
            raise ValueError(f"form {self.name!r}: the gold answer must not appear in a source")
        if unknown:
            raise ValueError(f"form {self.name!r}: unknown slot {sorted(unknown)} in the source")
        for part in self.target:
            if not all(map(math.isfinite, (part.weight, *(factor for _, _, factor in part.fractions)))):
                raise ValueError(f"form {self.name!r}: the weight of {part.text!r} is {part.weight}, not finite")
            fields = _FIELD.findall(part.text)
            if len(fields) > 1 or set(fields) - set(SLOTS):
                raise ValueError(f"form {self.name!r}: a part holds literal text or one of {SLOTS}: {part.text!r}")
            if fields and part.text.lstrip() != "{" + fields[0] + "}":
                raise ValueError(f"form {self.name!r}: a slot must be alone in its part: {part.text!r}")
            if part.text != part.text.rstrip():
                raise ValueError(f"form {self.name!r}: a part may begin but not end with a space: {part.text!r}")

    def slots(self) -> set[Slot]:
        """Every slot that source and target mention."""
        named = _FIELD.findall(self.source) + [f for part in self.target for f in _FIELD.findall(part.text)]
        return {slot for slot in SLOTS if slot in named}

    def source_slots(self) -> set[str]:
        """The slots of the source ({rationale} or none)."""
        return set(_FIELD.findall(self.source)) - {"question"}

    def source_segments(self) -> list[Part]:
        """The source cut at its {rationale} slot, as given parts (text that is tokenised on its own)."""
        pieces = re.split(r"( ?\{rationale\})", self.source)
        return [given(piece) for piece in pieces if piece]


@dataclass(frozen=True)
class FillContext:
    """What a rewriting may use in addition to the text: all draws come from (seed, purpose, id).

    `epoch`: complete passes over the rows, and `progress`: the share of training that is done (0 <= progress < 1), both
    when the current pass began; they stay 0 unless the strategy is `progressive`.
    `tokenize` gives the student's ids of a text; `scores` gives one importance per word of a rationale; `render`
    gives a draft's answer as the run shows answers (text, letter or both).
    """

    seed: int
    tokenize: Callable[[str], tuple[int, ...]]
    scores: Callable[[str, str, str], list[float]] | None = None
    render: Callable[[Draft], str] = lambda draft: draft.answer
    epoch: int = 0
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class Draft:
    """The teacher's side of one sequence before a rewriting: an example, one rationale and its answer."""

    example: Example
    rationale: str
    answer: str
    index: int = 0  # which of the example's rationales this is
    kind: RationaleKind = "factual"
    dual: Draft | None = None  # the draft of the other kind, where the strategy reads both


Fill = Callable[[Draft, FillContext], Slots]
Reweight = Callable[[Any, Any], Any]  # (coef, nll) -> coef, arrays over targets; no gradient flows through it


def default_fill(draft: Draft, context: FillContext) -> Slots:
    """The unchanged rationale and answer."""
    return {"rationale": draft.rationale, "answer": draft.answer}


@dataclass(frozen=True)
class Strategy:
    """A frozen record of forms, their loss shares, and the order in which they are walked.

    `plan`: forms walked until {answer} is known. `explain`: forms walked until {rationale} is known, after or
    instead of the answer; None means the strategy gives no rationale and probes say "not applicable".
    `needs_scores`: the name of the word scores that `fill` reads ("tfidf", ...), made before encoding.
    `reweight`: changes coefs once the nll is known, e.g. EDIT's gate.
    `progressive`: `fill` reads the context's epoch or progress, so that rows are encoded anew in each pass over them.
    `resets_optimizer`: its moments begin anew in each pass, too. `fills_tokens`: `fill` gives rationales as token
    ids.
    `after`: the strategy that the student is trained with first, from whose weights this one goes on, at the share
    `pace` of the learning rate.
    `code`: digest of a plug-in's code, which defines a result as parameters do; None for this package's strategies.
    """

    name: str
    paper: str
    forms: tuple[Form, ...]
    plan: tuple[str, ...]
    explain: tuple[str, ...] | None = None
    fill: Fill = default_fill
    params: Mapping[str, Any] = field(default_factory=dict)
    needs_scores: str | None = None
    reweight: Reweight | None = None
    progressive: bool = False
    resets_optimizer: bool = False
    fills_tokens: bool = False
    after: str | None = None
    pace: float = 1.0
    code: str | None = None

    def __post_init__(self) -> None:
        names = [form.name for form in self.forms]
        if len(set(names)) != len(names):
            raise ValueError(f"strategy {self.name!r}: form names must differ: {names}")
        total = sum(form.share for form in self.forms)
        if not abs(total - 1.0) <= 1e-9 or not all(form.share >= 0 for form in self.forms):  # NaN is neither
            raise ValueError(f"strategy {self.name!r}: shares must be >= 0 and sum to 1, not {total:g}")
        for name in (*self.plan, *(self.explain or ())):
            if name not in names:
                raise ValueError(f"strategy {self.name!r}: plan names an unknown form {name!r}")
        for walked, slot in ((self.plan, "answer"), (self.explain, "rationale")):
            if walked is not None and not any(part.slot == slot for name in walked for part in self.form(name).target):
                raise ValueError(f"strategy {self.name!r}: no form of its plan gives the {slot}")

    def form(self, name: str) -> Form:
        """The form of that name."""
        return next(form for form in self.forms if form.name == name)

    def learned_forms(self) -> list[Form]:
        """The forms with a share: one with share 0 is never encoded, its rationales never read."""
        return [form for form in self.forms if form.share > 0]

    def needs(self) -> set[tuple[RationaleKind, Slot]]:
        """The slots that training reads, by kind of rationale."""
        return {(form.kind, slot) for form in self.learned_forms() for slot in form.slots()}

    @property
    def needs_sidecar(self) -> bool:
        """True where the word scores are an attribution's, made beforehand by a model."""
        return self.needs_scores not in (None, "tfidf")

    @property
    def answers_after_rationale(self) -> bool:
        """True where the answer is walked after the student's own rationale: such runs can be probed."""
        for form in map(self.form, self.plan):
            order = [slot for part in form.target if (slot := part.slot)]
            if "answer" in order:
                return "rationale" in form.source_slots() or "rationale" in order[: order.index("answer")]
        return False
