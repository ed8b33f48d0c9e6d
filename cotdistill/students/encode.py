"""Forms and records in, token trees with weighted targets out. The loop never hears of strategies.

Targets are (position, token, form, weight), not next-token labels: the EOS that ends CasCoD's rationale is a
second target at a position whose next *input* is the connector of step two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cotdistill.answers.answers import AnswerStyle, render_answer
from cotdistill.data.records import Question
from cotdistill.errors import UsageError
from cotdistill.strategies.forms import Draft, FillContext, Form, Part, Slots, SlotValue, Strategy, Tokens
from cotdistill.strategies.join import Sample
from cotdistill.students.tokens import SegmentTokenizer

Sharing = Literal["none", "chain", "tree"]
Ints = NDArray[np.int32]
BLOCK = 4096  # samples that are tokenised together
SHORTEST_PREFIX = 8  # tokens: a shorter common prefix is not worth a tree's mask


@dataclass(frozen=True, slots=True)
class FormSequence:
    """One form of one example before merging: inputs [T], targets (position, token, weight), encoder input
    [S].
    """

    form: int
    ids: tuple[int, ...]
    targets: tuple[tuple[int, int, float], ...]
    source: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class TokenTree:
    """A token tree: node t holds ids[t] and follows node parent[t] (-1: none); a chain has parent t - 1.

    Target n says: at node positions[n] predict tokens[n]; it belongs to the strategy's learned form forms[n] and weighs
    weights[n] inside it; recorded[n] is its row of the teacher's distributions (-1: none), scored[n] its row of what
    the teacher says of the student's own words. In the trees of an optimizer step (`batches.step_trees`) its weight is
    the coef, what it counts in the loss of the whole step. `source` is the encoder's input (encoder-decoder students),
    else None.
    """

    ids: Ints  # [T]
    parent: Ints  # [T]
    positions: Ints  # [N]
    tokens: Ints  # [N]
    forms: Ints  # [N]
    weights: NDArray[np.float32]  # [N]
    source: Ints | None  # [S]
    recorded: Ints | None = None  # [N]
    scored: Ints | None = None  # [N]

    @property
    def is_chain(self) -> bool:
        """True where every node follows the one before it: plain causal attention is right."""
        return bool((self.parent == np.arange(-1, len(self.ids) - 1)).all())

    @property
    def size(self) -> int:
        """Input positions: those of the decoder, and of the encoder where there is one."""
        return len(self.ids) + (0 if self.source is None else len(self.source))


@dataclass(frozen=True)
class EncodedSet:
    """All samples encoded: `samples[i]` are the trees of sample `ids[i]`; `forms` index the targets."""

    ids: list[str]
    samples: list[list[TokenTree]]
    forms: list[Form]
    dropped: Counter[str]

    def learned_tokens(self) -> dict[str, int]:
        """How many target tokens each form has, over all samples."""
        counts: Counter[int] = Counter()
        for trees in self.samples:
            for tree in trees:
                counts.update(tree.forms.tolist())
        return {form.name: counts[at] for at, form in enumerate(self.forms)}

    def input_tokens(self) -> int:
        """Input positions of one pass over all samples, encoder inputs included."""
        return sum(tree.size for trees in self.samples for tree in trees)


class Encoder:
    """Renders forms for one student: the only place where text becomes ids, in training and in the walk."""

    def __init__(
        self,
        tokens: SegmentTokenizer,
        start: int | None,
        answers: AnswerStyle = "text",
        max_length: int | None = None,
        sharing: Sharing = "chain",
    ) -> None:
        self.tokens = tokens
        self.start = start  # decoder start id: set for encoder-decoder students
        self.answers = answers
        self.max_length = max_length
        self.sharing = sharing

    def encode(self, samples: Sequence[Sample], strategy: Strategy, context: FillContext) -> EncodedSet:
        """Every sample's learned forms as token trees; over-long samples are dropped whole and counted."""
        data = EncodedSet([], [], strategy.learned_forms(), Counter())
        if len(samples) <= BLOCK:
            self._encode(samples, strategy, context, data)
            return data
        for at in range(0, len(samples), BLOCK):  # the segments of all rows take more memory than what is made of them
            with self.tokens.forgetting():
                self._encode(samples[at : at + BLOCK], strategy, context, data)
        return data

    def _encode(self, samples: Sequence[Sample], strategy: Strategy, context: FillContext, data: EncodedSet) -> None:
        """Add some samples to what is encoded."""
        forms = data.forms
        filled = [
            {kind: self.fill(strategy, draft, context) for kind, draft in sample.drafts.items()} for sample in samples
        ]
        self._warm(samples, filled, forms)
        for sample, slots in zip(samples, filled, strict=True):
            sequences = [
                self.sequence(at, form, sample.drafts[form.kind].example, slots[form.kind])
                for at, form in enumerate(forms)
            ]
            if any(self.too_long(s.ids) or self.too_long(s.source or ()) for s in sequences):
                data.dropped["longer than the student's context"] += 1
            elif not all(s.targets for s in sequences):
                data.dropped["a form without a learned token"] += 1
            else:
                data.ids.append(sample.id)
                data.samples.append(merge(sequences, self.sharing))

    def prompt(self, form: Form, example: Question, slots: Slots) -> tuple[list[int] | None, list[int]]:
        """What precedes the form's first target part: (encoder ids or None, decoder ids)."""
        filled = self._question_slots(example, slots)
        source = [*self.tokens.before]
        for at, part in enumerate(form.source_segments()):
            source += self._part_ids(part, filled, at == 0)
        source += self.tokens.after
        return (None, source) if self.start is None else (source, [self.start])

    def target(self, form: Form) -> list[Part]:
        """The parts of a form's target. Behind a chat template the first begins a turn, without its blank."""
        first, *rest = form.target
        return [replace(first, opening=True) if self.tokens.chat else first, *rest]

    def part_ids(self, part: Part, slots: Slots) -> tuple[int, ...]:
        """Ids of a target part whose slot, if any, is filled."""
        return self._part_ids(part, slots, first=part.opening)

    def too_long(self, ids: Sequence[int]) -> bool:
        """Whether a sequence exceeds the student's context (or --max-length)."""
        return self.max_length is not None and len(ids) > self.max_length

    def sequence(self, index: int, form: Form, example: Question, slots: Slots) -> FormSequence:
        """One form with its slots filled; `index`: which of the strategy's learned forms it is."""
        source, ids = self.prompt(form, example, slots)
        targets = self._source_targets(form, ids)
        for part in self.target(form):
            piece = self.part_ids(part, slots)
            weights = _weights(part, slots, len(piece))
            targets += [
                (len(ids) + at - 1, token, weight)
                for at, (token, weight) in enumerate(zip(piece, weights, strict=True))
                if weight != 0
            ]
            ids += piece
        if form.eos and form.target[-1].end_weight != 0:
            targets.append((len(ids) - 1, self.tokens.stop, form.target[-1].end_weight))
        # Inputs behind the last target would be computed for nothing (the last learned token among them).
        used = max((position for position, _, _ in targets), default=-1) + 1
        return FormSequence(index, tuple(ids[:used]), tuple(targets), None if source is None else tuple(source))

    def _source_targets(self, form: Form, ids: Sequence[int]) -> list[tuple[int, int, float]]:
        """The prompt's tokens as targets, where they are learned; the first follows nothing."""
        if not form.source_weight:
            return []
        if self.start is not None:
            raise UsageError(
                "weigh: the prompt of an encoder-decoder student is its encoder's input, which is not learned"
            )
        return [(at - 1, ids[at], form.source_weight) for at in range(1, len(ids))]

    def fill(self, strategy: Strategy, draft: Draft, context: FillContext) -> Slots:
        """The slots that the teacher's side of a sample gives, as the strategy rewrites it and answers are shown."""
        slots = strategy.fill(draft, replace(context, render=self._rendered))
        answer = slots["answer"]
        if isinstance(answer, str):
            answer = self._rendered(replace(draft, answer=answer))
        return {"rationale": slots["rationale"], "answer": answer}

    def _rendered(self, draft: Draft) -> str:
        return render_answer(draft.answer, draft.example.choices, self.answers)

    def _question_slots(self, example: Question, slots: Slots) -> Mapping[Any, SlotValue]:
        return {**slots, "question": example.text()}

    def _part_ids(self, part: Part, slots: Mapping[Any, SlotValue], first: bool) -> tuple[int, ...]:
        text = render(part.text, slots)
        if isinstance(text, Tokens):
            return text.ids
        if part.slot is not None and not text.strip():  # a slot filled with nothing has no blank before it either
            return ()
        return self.tokens.first(text.lstrip() if part.opening else text) if first else self.tokens.segment(text)

    def _warm(self, samples: Sequence[Sample], filled: Sequence[Mapping[Any, Slots]], forms: Sequence[Form]) -> None:
        first: set[str] = set()
        rest: set[str] = set()
        for sample, by_kind in zip(samples, filled, strict=True):
            for form in forms:
                slots = self._question_slots(sample.drafts[form.kind].example, by_kind[form.kind])
                for at, part in enumerate((*form.source_segments(), *self.target(form))):
                    text = render(part.text, slots)
                    if isinstance(text, str):
                        (first if at == 0 or part.opening else rest).add(text.lstrip() if part.opening else text)
        self.tokens.warm(first, rest)


def render(template: str, slots: Mapping[Any, SlotValue]) -> SlotValue:
    """A part's text with its slot filled. The blank before a slot belongs to it; ids stay ids."""
    for name, value in slots.items():
        mark = "{" + name + "}"
        if mark not in template:
            continue
        if isinstance(value, Tokens):
            return value
        template = template.replace(mark, value.strip())
        break  # a value may itself hold braces: one slot a part, replaced once
    return template


def merge(sequences: Sequence[FormSequence], sharing: Sharing) -> list[TokenTree]:
    """Sequences of one example as trees that compute common prefixes once.

    none: one tree a sequence (the plain reference). chain: a sequence that another one continues is merged
    into it. tree: also sequences that branch after a long common prefix (needs ancestor attention).
    """
    groups: list[list[FormSequence]] = []
    for sequence in sorted(sequences, key=lambda s: -len(s.ids)):
        for group in groups:
            if _joins(sequence, group[0], sharing):
                group.append(sequence)
                break
        else:
            groups.append([sequence])
    return [_tree(group) for group in groups]


def _joins(short: FormSequence, long: FormSequence, sharing: Sharing) -> bool:
    if sharing == "none" or short.source != long.source:
        return False
    if _begins(short, long):
        return True
    return sharing == "tree" and short.ids[:SHORTEST_PREFIX] == long.ids[:SHORTEST_PREFIX]


def _begins(short: FormSequence, long: FormSequence) -> bool:
    return long.ids[: len(short.ids)] == short.ids


def _tree(group: Sequence[FormSequence]) -> TokenTree:
    """The tree of sequences, the longest first; a chain is made without looking for branches."""
    longest = group[0]
    if not all(_begins(sequence, longest) for sequence in group) or any(t[0] < 0 for s in group for t in s.targets):
        return _branching(group)
    targets = [(position, token, s.form, weight) for s in group for position, token, weight in s.targets]
    return _made(longest.ids, np.arange(-1, len(longest.ids) - 1), targets, longest.source)


def _branching(group: Sequence[FormSequence]) -> TokenTree:
    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parent: list[int] = []
    targets: list[tuple[int, int, int, float]] = []
    for sequence in group:
        node, nodes = -1, []
        for token in sequence.ids:
            child = children.get((node, token))
            if child is None:
                child = children[node, token] = len(ids)
                ids.append(token)
                parent.append(node)
            node = child
            nodes.append(node)
        targets += [(nodes[position], token, sequence.form, weight) for position, token, weight in sequence.targets]
    return _made(ids, parent, targets, group[0].source)


def _made(
    ids: Sequence[int],
    parent: Sequence[int] | NDArray[np.int64],
    targets: list[tuple[int, int, int, float]],
    source: tuple[int, ...] | None,
) -> TokenTree:
    targets.sort(key=itemgetter(0))
    positions, tokens, forms, weights = zip(*targets, strict=True)
    return TokenTree(
        np.array(ids, np.int32),
        np.array(parent, np.int32),
        np.array(positions, np.int32),
        np.array(tokens, np.int32),
        np.array(forms, np.int32),
        np.array(weights, np.float32),
        None if source is None else np.array(source, np.int32),
    )


def _weights(part: Part, slots: Slots, length: int) -> Sequence[float]:
    value = slots.get(part.slot) if part.slot else None
    if part.weight != 0 and isinstance(value, Tokens) and value.weights is not None:
        return value.weights
    return part.weights(length)
