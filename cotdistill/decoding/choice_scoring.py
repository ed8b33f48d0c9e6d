"""Choices scored by likelihood: a question is computed once, its choices continue it side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cotdistill.decoding.choose_decoder import served_continuously
from cotdistill.decoding.continuous_batching import forward, prefill, shared_by_all
from cotdistill.decoding.decode import Prompt
from cotdistill.decoding.kv_cache import KeyValues, additive, cached_attention, prefix_attention
from cotdistill.students.student import Student

BUDGET = 1024  # tokens of one forward


@dataclass(frozen=True)
class Candidate:
    """One choice: its text, and the ids that would follow the prompt."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """log P(choice | prompt) in nats, and its number of tokens."""

    log_likelihood: float
    tokens: int


@dataclass(frozen=True)
class PromptChoices:
    """A prompt and its candidates, with the place of the question in the order asked."""

    at: int
    prompt: Prompt
    candidates: Sequence[Candidate]

    @property
    def length(self) -> int:
        """Tokens of the prompt, the encoder's included."""
        return len(self.prompt.ids) + len(self.prompt.source or ())

    @property
    def own(self) -> int:
        """Tokens the candidates add to one forward."""
        return sum(len(candidate.ids) - 1 for candidate in self.candidates)


@torch.inference_mode()
def score_choices(
    student: Student, prompts: Sequence[Prompt], candidates: Sequence[Sequence[Candidate]]
) -> list[list[Score]]:
    """The score of every candidate after its prompt, in their order.

    Where continuous batching serves the model, what all prompts begin with is computed once for all of
    them and each prompt once for its candidates. An encoder-decoder runs its encoder once per question.
    Other models take a row per candidate.
    """
    if not all(candidate.ids for listed in candidates for candidate in listed):
        raise ValueError("a choice without tokens has no likelihood")
    student.model.eval()
    questions = [
        PromptChoices(at, prompt, listed)
        for at, (prompt, listed) in enumerate(zip(prompts, candidates, strict=True))
        if listed
    ]
    if student.encoder_decoder:
        forwards = _after_encoder(student, questions)
    elif served_continuously(student):
        forwards = _in_trees(student, questions)
    else:
        forwards = _row_by_row(student, questions)
    scores: list[list[Score]] = [[] for _ in prompts]
    for forward_pass in forwards:
        for question, of_question in zip(forward_pass.questions, forward_pass.scores(), strict=True):
            scores[question.at] = of_question
    return scores


@dataclass(frozen=True)
class Forward:
    """Logits [P, V] of some questions, and for each question and candidate the row of each of its tokens."""

    questions: list[PromptChoices]
    logits: Tensor
    rows: list[list[list[int]]]

    def scores(self) -> list[list[Score]]:
        """One score a candidate, question by question."""
        rows = [row for asked in self.rows for candidate in asked for row in candidate]
        tokens = [token for question in self.questions for candidate in question.candidates for token in candidate.ids]
        likelihoods = iter(self.logits.log_softmax(-1)[rows, tokens].tolist())
        return [
            [
                Score(sum(next(likelihoods) for _ in candidate.ids), len(candidate.ids))
                for candidate in question.candidates
            ]
            for question in self.questions
        ]


@dataclass
class Trees:
    """Attention of one forward in which every question is a tree: its prompt, and the candidates branching off it.

    R questions of up to T tokens. take: each token's index in the forward [R, T] (padding: any). give: which of the R *
    T are real. branch: 0 in the prompt, n in candidate n [R, T]. depth: position behind the prefix [R, T].
    """

    prefix: dict[int, KeyValues]
    take: Tensor
    give: Tensor
    branch: Tensor
    depth: Tensor
    masks: dict[int | None, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        softcap: float | None,
        window: int | None,
    ) -> Tensor:
        """query [1, H, N, D], key and value [1, G, N, D] -> [1, N, H, D]."""
        if window not in self.masks:
            self.masks[window] = self._mask(window, query.shape[1] // key.shape[1], query.dtype)
        mask, before = self.masks[window]
        queries, keys, values = (
            states[0].transpose(0, 1)[self.take].transpose(1, 2)  # [R, H or G, T, D]
            for states in (query, key, value)
        )
        attended = prefix_attention(queries, keys, values, mask, self.prefix.get(layer), before, scaling, softcap)
        return attended.transpose(1, 2).flatten(0, 1)[self.give][None]

    def _mask(self, window: int | None, groups: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """A token sees what precedes it in its prompt and in its own branch."""
        size = self.take.shape[1]
        earlier = torch.ones(size, size, dtype=torch.bool, device=self.take.device).tril()
        here, there = self.branch[:, :, None], self.branch[:, None, :]
        allowed = earlier & ((there == 0) | (there == here))
        before = None
        if window is not None:
            allowed &= self.depth[:, None, :] > self.depth[:, :, None] - window
            if self.prefix:
                start = next(iter(self.prefix.values())).keys.shape[1]
                first = torch.arange(-start, 0, device=self.take.device)
                before = additive(first > self.depth[..., None] - window, groups, dtype)
        return additive(allowed, groups, dtype), before


def _in_trees(student: Student, questions: Sequence[PromptChoices]) -> Iterator[Forward]:
    """One tree per question, laid end to end; what all prompts begin with is computed before."""
    with cached_attention(student.model):
        shared = shared_by_all([question.prompt.ids for question in questions])
        prefix = prefill(student, questions[0].prompt.ids[:shared]) if shared else {}
        for batch in _batches(questions, shared):
            tokens: list[int] = []
            branch: list[list[int]] = []
            depth: list[list[int]] = []
            wanted: list[int] = []
            rows: list[list[list[int]]] = []
            for question in batch:
                rows.append(_plant(question, shared, tokens, branch, depth, wanted))
            trees = _trees(prefix, branch, depth, student.device)
            positions = [shared + at for tree in depth for at in tree]
            yield Forward(batch, forward(student, tokens, positions, trees, wanted), rows)


def _plant(
    question: PromptChoices,
    shared: int,
    tokens: list[int],
    branch: list[list[int]],
    depth: list[list[int]],
    wanted: list[int],
) -> list[list[int]]:
    """Append a question's tree; the rows of `wanted` that tell each candidate's tokens."""
    prompt = question.prompt.ids[shared:]
    tokens += prompt
    branch.append([0] * len(prompt))
    depth.append(list(range(len(prompt))))
    first = len(wanted)  # the prompt's last token tells the first one of every candidate
    wanted.append(len(tokens) - 1)
    rows = []
    for number, candidate in enumerate(question.candidates, 1):
        behind = candidate.ids[:-1]
        rows.append([first, *range(len(wanted), len(wanted) + len(behind))])
        wanted += range(len(tokens), len(tokens) + len(behind))
        tokens += behind
        branch[-1] += [number] * len(behind)
        depth[-1] += range(len(prompt), len(prompt) + len(behind))
    return rows


def _trees(
    prefix: dict[int, KeyValues], branch: list[list[int]], depth: list[list[int]], device: torch.device
) -> Trees:
    sizes = torch.tensor([len(tree) for tree in branch])[:, None]
    width = int(sizes.max())
    steps = torch.arange(width)
    take = sizes.cumsum(0) - sizes + steps.clamp(max=sizes - 1)  # padding repeats a tree's last token
    give = (steps < sizes).flatten().nonzero()[:, 0]
    branches, depths = (
        torch.tensor([tree + [0] * (width - len(tree)) for tree in trees], device=device) for trees in (branch, depth)
    )
    return Trees(prefix, take.to(device), give.to(device), branches, depths)


def _after_encoder(student: Student, questions: Sequence[PromptChoices]) -> Iterator[Forward]:
    """One encoder row per question, one decoder row per candidate."""
    for batch in _batches(questions):
        sources = [question.prompt.source or [] for question in batch]
        ids, mask = _padded(sources, student)
        encoded = student.model.get_encoder()(input_ids=ids, attention_mask=mask)
        counts = torch.tensor([len(question.candidates) for question in batch], device=student.device)
        encoded.last_hidden_state = encoded.last_hidden_state.repeat_interleave(counts, 0)
        decoder_ids, _ = _padded(_sequences(batch), student)
        logits = student.model(
            encoder_outputs=encoded,
            attention_mask=mask.repeat_interleave(counts, 0),
            decoder_input_ids=decoder_ids,
            use_cache=False,
        ).logits
        yield _read(batch, logits)


def _row_by_row(student: Student, questions: Sequence[PromptChoices]) -> Iterator[Forward]:
    """One row per candidate, prompt included, padded on the right."""
    for batch in _batches(questions, rows=True):
        ids, mask = _padded(_sequences(batch), student)
        yield _read(batch, student.model(input_ids=ids, attention_mask=mask, use_cache=False).logits)


def _sequences(batch: Sequence[PromptChoices]) -> list[list[int]]:
    return [[*question.prompt.ids, *candidate.ids[:-1]] for question in batch for candidate in question.candidates]


def _padded(sequences: Sequence[Sequence[int]], student: Student) -> tuple[Tensor, Tensor]:
    width = max(map(len, sequences))
    ids = [[*sequence, *[student.tokens.pad] * (width - len(sequence))] for sequence in sequences]
    mask = [[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in sequences]
    return torch.tensor(ids, device=student.device), torch.tensor(mask, device=student.device)


def _read(batch: list[PromptChoices], logits: Tensor) -> Forward:
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


def _batches(questions: Sequence[PromptChoices], shared: int = 0, rows: bool = False) -> Iterator[list[PromptChoices]]:
    """Questions by length, as many as fit the budget at a time; `rows`: a prompt counts once per candidate."""
    batch: list[PromptChoices] = []
    used = 0
    for question in sorted(questions, key=lambda asked: -asked.length):
        size = (len(question.candidates) if rows else 1) * (question.length - shared) + question.own
        if batch and used + size > BUDGET:
            yield batch
            batch, used = [], 0
        batch.append(question)
        used += size
    if batch:
        yield batch
