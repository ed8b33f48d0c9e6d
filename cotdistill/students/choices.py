"""Choices scored by likelihood: a question is computed once, its choices continue it side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cotdistill.students.cascade import SlotCache, slot_attention
from cotdistill.students.decode import Prompt
from cotdistill.students.families import Student
from cotdistill.students.fitness import served_by_slots
from cotdistill.students.slots import Context, StepPlan, prefill, shared_by_all, step_logits

Norm = Literal["sum", "token", "character"]
BUDGET = 1024  # tokens of one forward


@dataclass(frozen=True)
class Candidate:
    """One choice: its text, and the ids that would follow the prompt."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """log P(choice | prompt) in nats, and the lengths it may be divided by."""

    log_likelihood: float
    tokens: int
    characters: int

    def by(self, norm: Norm) -> float:
        """The sum, or the mean per token or per character of the choice's text."""
        return self.log_likelihood / {"sum": 1, "token": self.tokens, "character": max(self.characters, 1)}[norm]


@dataclass(frozen=True)
class Question:
    """A prompt and its candidates, with the place of the question in the order asked."""

    at: int
    prompt: Prompt
    candidates: Sequence[Candidate]

    @property
    def own(self) -> int:
        """Tokens the candidates add to one forward."""
        return sum(len(candidate.ids) - 1 for candidate in self.candidates)


@torch.inference_mode()
def score_choices(student: Student, prompts: Sequence[Prompt],
                  candidates: Sequence[Sequence[Candidate]]) -> list[list[Score]]:
    """The score of every candidate after its prompt, in their order.

    Where slots serve the model, what all prompts begin with is computed once for all of them and each prompt once
    for its candidates. An encoder-decoder runs its encoder once a question. Other models take a row a candidate.
    """
    if not all(candidate.ids for listed in candidates for candidate in listed):
        raise ValueError("a choice without tokens has no likelihood")
    student.model.eval()
    questions = [Question(at, prompt, listed)
                 for at, (prompt, listed) in enumerate(zip(prompts, candidates, strict=True)) if listed]
    if student.encoder_decoder:
        forwards = _after_encoder(student, questions)
    elif served_by_slots(student):
        forwards = _in_slots(student, questions)
    else:
        forwards = _row_by_row(student, questions)
    scores: list[list[Score]] = [[] for _ in prompts]
    for forward in forwards:
        for question, found in zip(forward.questions, forward.scores(), strict=True):
            scores[question.at] = found
    return scores


@dataclass(frozen=True)
class Forward:
    """One forward over some questions: logits [P, V], and for each question and candidate the row of each token."""

    questions: list[Question]
    logits: Tensor
    rows: list[list[list[int]]]

    def scores(self) -> list[list[Score]]:
        """One score a candidate, question by question."""
        rows = [row for asked in self.rows for candidate in asked for row in candidate]
        tokens = [token for question in self.questions for candidate in question.candidates for token in candidate.ids]
        likelihoods = iter((self.logits[rows, tokens] - self.logits.logsumexp(-1)[rows]).tolist())
        return [[Score(sum(next(likelihoods) for _ in candidate.ids), len(candidate.ids), len(candidate.text))
                 for candidate in question.candidates] for question in self.questions]


def _in_slots(student: Student, questions: Sequence[Question]) -> Iterator[Forward]:
    """One slot a candidate: the first one computes the prompt, the others take it over, all in one forward."""
    with slot_attention(student.model):
        shared = shared_by_all([question.prompt.ids for question in questions])
        prefix = prefill(student, questions[0].prompt.ids[:shared]) if shared else None
        for batch in _batches(questions, shared):
            plan = StepPlan(SlotCache(sum(len(question.candidates) for question in batch), prefix))
            wanted: list[int] = []
            rows = [_feed(question, shared, plan, wanted) for question in batch]
            yield Forward(batch, step_logits(student, plan, wanted), rows)


def _feed(question: Question, shared: int, plan: StepPlan, wanted: list[int]) -> list[list[int]]:
    """Put a question and its candidates into the step; the rows of `wanted` that tell each candidate's tokens."""
    prompt = question.prompt.ids[shared:]
    first, asked = len(plan.origin), len(wanted)  # its first slot, and the row of the prompt's last token
    rows = []
    for slot, candidate in enumerate(question.candidates, first):
        behind = list(candidate.ids[:-1])
        if slot == first:
            plan.feed(Context(slot, [], prompt + behind), len(prompt) + len(behind))
            wanted.append(plan.last[slot] - len(behind))
        else:
            plan.take_over(first, len(prompt), slot, len(prompt))
            plan.feed(Context(slot, list(prompt), behind), len(behind))
        rows.append([asked, *range(len(wanted), len(wanted) + len(behind))])
        wanted += range(len(plan.tokens) - len(behind), len(plan.tokens))
    return rows


def _after_encoder(student: Student, questions: Sequence[Question]) -> Iterator[Forward]:
    """One encoder row a question, one decoder row a candidate."""
    for batch in _batches(questions):
        sources = [question.prompt.source or [] for question in batch]
        ids, mask = _padded(sources, student)
        encoded = student.model.get_encoder()(input_ids=ids, attention_mask=mask)
        counts = torch.tensor([len(question.candidates) for question in batch], device=student.device)
        encoded.last_hidden_state = encoded.last_hidden_state.repeat_interleave(counts, 0)
        decoder_ids, _ = _padded(_sequences(batch), student)
        logits = student.model(encoder_outputs=encoded, attention_mask=mask.repeat_interleave(counts, 0),
                               decoder_input_ids=decoder_ids, use_cache=False).logits
        yield _read(batch, logits)


def _row_by_row(student: Student, questions: Sequence[Question]) -> Iterator[Forward]:
    """One row a candidate, prompt included, padded on the right."""
    for batch in _batches(questions, rows=True):
        ids, mask = _padded(_sequences(batch), student)
        yield _read(batch, student.model(input_ids=ids, attention_mask=mask, use_cache=False).logits)


def _sequences(batch: Sequence[Question]) -> list[list[int]]:
    return [[*question.prompt.ids, *candidate.ids[:-1]] for question in batch for candidate in question.candidates]


def _padded(sequences: Sequence[Sequence[int]], student: Student) -> tuple[Tensor, Tensor]:
    width = max(map(len, sequences))
    ids = [[*sequence, *[student.tokens.pad] * (width - len(sequence))] for sequence in sequences]
    mask = [[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in sequences]
    return torch.tensor(ids, device=student.device), torch.tensor(mask, device=student.device)


def _read(batch: list[Question], logits: Tensor) -> Forward:
    """The needed rows of full logits [candidates, T, V]."""
    at: list[tuple[int, int]] = []
    rows: list[list[list[int]]] = []
    row = 0
    for question in batch:
        rows.append([])
        for candidate in question.candidates:
            rows[-1].append(list(range(len(at), len(at) + len(candidate.ids))))
            begin = len(question.prompt.ids) - 1
            at += [(row, begin + step) for step in range(len(candidate.ids))]
            row += 1
    first, second = map(list, zip(*at, strict=True))
    return Forward(batch, logits[first, second].float(), rows)


def _batches(questions: Sequence[Question], shared: int = 0, rows: bool = False) -> Iterator[list[Question]]:
    """Questions sorted by length, as many as fit the budget at a time; `rows`: prompts count once a candidate."""
    batch: list[Question] = []
    used = 0
    for question in sorted(questions, key=lambda asked: -len(asked.prompt.ids) - len(asked.prompt.source or ())):
        prompts = len(question.candidates) if rows else 1
        size = prompts * (len(question.prompt.ids) + len(question.prompt.source or ()) - shared) + question.own
        if batch and used + size > BUDGET:
            yield batch
            batch, used = [], 0
        batch.append(question)
        used += size
    if batch:
        yield batch
