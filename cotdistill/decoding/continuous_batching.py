"""Continuous batching: sessions share one KV cache, and a finished session's lane goes to the next one at once.

A plain batch ends when its longest row does; here every forward is as full as the waiting sessions allow. One
iteration of the loop (`_Run.run`):

    feed     every running context gives what it has pending: one generated token, forced text, the rest of a prompt
    admit    waiting sessions take free lanes; their whole prompts join the same forward (no separate prefill)
    forward  one pass over all those tokens laid end to end, [1, N]
    choose   contexts with nothing pending have reached an open token: the rule chooses from their logits

Prefix sharing at two levels: what *all* prompts begin with is computed once and never copied (`prefill`,
`kv_cache.prefix_attention`); what *two* contexts begin with (probes of one question, SCOTT's two branches) is
computed once and copied from lane to lane, also when both arrive in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cotdistill.decoding.decode import Rule, Session, greedy
from cotdistill.decoding.kv_cache import (
    Attends,
    KeyValues,
    KVCache,
    QueryGroup,
    StepAttention,
    cached_attention,
    common_prefix,
)
from cotdistill.decoding.narrow_products import narrow_products
from cotdistill.students.student import Student

SHORTEST_PREFIX = 32  # tokens all prompts share: fewer are cheaper copied into every lane than attended to apart
SHORTEST_COPY = 8  # tokens two prompts share: fewer are cheaper computed again
CHUNK = 512  # most tokens of one context in one step (chunked prefill): bounds the memory of a forward
BUDGET = 1024  # tokens in a step from which on no further session is admitted to it

Piece = tuple[int, int, int, int]  # a context's new tokens: lane, own position, index in the step, length


@dataclass
class Context:
    """One lane and its tokens behind the shared prefix: `fed` are in the cache, `pending` are not yet."""

    lane: int
    fed: list[int]
    pending: list[int]


@dataclass
class Running:
    """A session that has lanes, and its k contexts."""

    session: Session
    contexts: list[Context] = field(default_factory=list)


@dataclass(frozen=True)
class ContinuousDecoder:
    """Up to `batch_size` sessions at a time, refilled as they finish. Same results as `Decoder`."""

    student: Student
    rule: Rule = greedy
    batch_size: int = 16

    @torch.inference_mode()
    def run(self, sessions: Sequence[Session]) -> None:
        """Advance every session until it is done. All sessions have the same number of contexts."""
        if not sessions:
            return
        self.student.model.eval()
        with cached_attention(self.student.model), narrow_products(self.student.model):
            _Run(self.student, self.rule, self.batch_size, sessions).run()


class _Run:
    """The state of one `run`: the cache, the sessions running and those waiting."""

    def __init__(self, student: Student, rule: Rule, batch_size: int, sessions: Sequence[Session]) -> None:
        self.student, self.rule = student, rule
        self.k = len(sessions[0].prompts)
        prompts = [prompt.ids for session in sessions for prompt in session.prompts]
        self.shared = shared_by_all(prompts)
        prefix = prefill(student, prompts[0][: self.shared]) if self.shared else None
        self.cache = KVCache(min(batch_size, len(sessions)) * self.k, prefix)
        self.cache.reserve(max(map(len, prompts)) - self.shared)
        # Own tokens in each lane. Those that a finished context left stay: the next context that begins like them, a
        # further probe of the same question for instance, takes them over instead of computing them.
        self.held: list[list[int]] = [[] for _ in range(self.cache.lanes)]
        self.free = list(range(self.cache.lanes))
        # In lexical order, so that contexts which begin alike are admitted together. The last one is the next.
        self.waiting = sorted(sessions, key=lambda session: session.prompts[0].ids, reverse=True)
        self.running: list[Running] = []

    def run(self) -> None:
        """Until no session waits and none is running."""
        while self.waiting or self.running:
            builder = StepBuilder(self.cache)
            for running in self.running:
                self._feed(running, builder)
            self._admit(builder)
            ready = [running for running in self.running if not any(context.pending for context in running.contexts)]
            # Only the last token of a ready context is worth the language-model head.
            wanted = [builder.last[context.lane] for running in ready for context in running.contexts]
            logits = step_logits(self.student, builder, wanted)
            for held in self.held:
                del held[self.cache.room :]  # the lanes may have shrunk: what finished contexts left is cut
            if ready:
                self._choose(ready, logits.view(len(ready), self.k, -1))

    def _feed(self, running: Running, builder: StepBuilder) -> None:
        # All contexts of a session must reach their open token in the same step, as the rule compares their logits:
        # while one needs a further chunk, the others keep a token back.
        last = all(len(context.pending) <= CHUNK for context in running.contexts)
        for context in running.contexts:
            builder.feed(context, CHUNK if last else min(CHUNK, len(context.pending) - 1))

    def _admit(self, builder: StepBuilder) -> None:
        """Waiting sessions begin while there are lanes for all their contexts and the step is not too long."""
        while self.waiting and len(self.free) >= self.k and len(builder.tokens) < BUDGET:
            session = self.waiting.pop()
            running = Running(session)
            prompts = [prompt.ids[self.shared :] for prompt in session.prompts]
            last = all(len(ids) <= CHUNK for ids in prompts)
            for ids in prompts:
                context = self._open(ids, builder)
                builder.feed(context, CHUNK if last else min(CHUNK, len(context.pending) - 1))
                running.contexts.append(context)
            self.running.append(running)

    def _open(self, ids: list[int], builder: StepBuilder) -> Context:
        """A lane for a new context; the tokens another lane begins with, too, are taken over from there."""
        source, alike = self._alike(ids[:-1])  # the last token is always computed: its logits are wanted
        # A free lane that begins alike is taken as it is; from one in use the tokens are copied.
        lane = source if source in self.free else self.free[0]
        self.free.remove(lane)
        if alike:
            builder.take_over(source, len(self.held[source]), lane, alike)
        context = Context(lane, ids[:alike], ids[alike:])
        self.held[lane] = context.fed
        return context

    def _alike(self, ids: list[int]) -> tuple[int, int]:
        """The lane that begins with most of `ids`, free ones first, and how many; (-1, 0) if too few."""
        head = ids[:SHORTEST_COPY]
        if len(head) < SHORTEST_COPY:
            return -1, 0
        candidates = [
            (common_prefix([held, ids]), lane in self.free, lane)
            for lane, held in enumerate(self.held)
            if held[:SHORTEST_COPY] == head
        ]
        longest, _, lane = max(candidates, default=(0, False, -1))
        return lane, longest

    def _choose(self, ready: list[Running], logits: Tensor) -> None:
        """Ask the rule, push the choices; finished sessions leave their lanes."""
        choices = self.rule(logits, [running.session for running in ready])
        for running, choice in zip(ready, choices, strict=True):
            appended = running.session.push(choice)
            if appended is None:
                self.running.remove(running)
                self.free += [context.lane for context in running.contexts]
            else:
                for context in running.contexts:
                    context.pending = list(appended)
        if self.free and not self.waiting:
            self._compact()

    def _compact(self) -> None:
        """No session waits: contexts in high lanes move down, so that attention reads no empty lanes."""
        contexts = sorted((c for running in self.running for c in running.contexts), key=lambda context: context.lane)
        self.free.sort()
        while contexts and self.free and contexts[-1].lane > self.free[0]:
            context, lane = contexts.pop(), self.free.pop(0)
            self.cache.copy(context.lane, lane, len(context.fed))
            self.held[lane], context.lane = context.fed, lane


def shared_by_all(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, if it pays to keep them apart; one remains to each."""
    if len(prompts) < 2:
        return 0
    shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
    return shared if shared >= SHORTEST_PREFIX else 0


def prefill(student: Student, ids: Sequence[int]) -> dict[int, KeyValues]:
    """Keys and values of the tokens that all prompts begin with."""
    cache = KVCache(1)
    context = Context(0, [], list(ids))
    while context.pending:
        builder = StepBuilder(cache)
        builder.feed(context, CHUNK)
        step_logits(student, builder, [])
    return cache.as_prefix(len(ids))


def step_logits(student: Student, builder: StepBuilder, wanted: list[int]) -> Tensor:
    """Run one step; logits float32 of the wanted tokens of it, [len(wanted), V]."""
    return forward(student, builder.tokens, builder.positions, builder.step(student.device), wanted)


def forward(student: Student, tokens: list[int], positions: list[int], step: Attends, wanted: list[int]) -> Tensor:
    """The model over tokens laid end to end that attend as `step` says; logits float32 [len(wanted), V]."""
    ids, places, selected = (
        torch.tensor(values, dtype=torch.long, device=student.device) for values in ([tokens], [positions], wanted)
    )
    out = student.model(input_ids=ids, position_ids=places, use_cache=False, step=step, logits_to_keep=selected)
    logits: Tensor = out.logits[0].float()
    return logits


class StepBuilder:
    """What one step feeds, gathered context by context, and the `StepAttention` that its layers follow."""

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.last: dict[int, int] = {}  # lane -> its last token in this step
        self.pieces: list[Piece] = []
        self.writes: list[tuple[int, int, int]] = []  # taken over inside this step: token, lane, own position
        # lane -> own tokens cached before this step, and where in the step each later one is computed
        self.origin: dict[int, tuple[int, list[int]]] = {}

    def feed(self, context: Context, most: int) -> None:
        """Take up to `most` pending tokens of a context into this step."""
        piece, context.pending = context.pending[:most], context.pending[most:]
        if not piece:
            return
        at, first = len(context.fed), len(self.tokens)
        self.pieces.append((context.lane, at, first, len(piece)))
        self.tokens += piece
        self.positions += range(self.cache.start + at, self.cache.start + at + len(piece))
        self.origin.setdefault(context.lane, (at, []))[1].extend(range(first, first + len(piece)))
        self.last[context.lane] = len(self.tokens) - 1
        context.fed += piece

    def take_over(self, source: int, held: int, target: int, length: int) -> None:
        """Lane `target` begins with the first `length` of the `held` tokens in lane `source`."""
        # What the source held before this step is in the cache and is copied now. What it computes in this step is not
        # there yet: the forward writes those keys and values twice, into both lanes.
        cached, computed = self.origin.get(source, (held, []))
        copied = min(length, cached)
        if copied and source != target:
            self.cache.copy(source, target, copied)
        taken = computed[: length - copied]
        self.writes += [(token, target, copied + at) for at, token in enumerate(taken)]
        self.origin[target] = (copied, list(taken))

    def step(self, device: torch.device) -> StepAttention:
        """Tensors for attention. Single tokens attend together over all lanes, longer pieces by length."""
        self.cache.reserve(max(at + length for _, at, _, length in self.pieces))
        lanes: list[int] = []
        ats: list[int] = []
        for lane, at, _, length in self.pieces:
            lanes += [lane] * length
            ats += range(at, at + length)
        source = None
        if self.writes:
            tokens, takers, taken_ats = map(list, zip(*self.writes, strict=True))
            source = torch.tensor([*range(len(lanes)), *tokens], device=device)
            lanes, ats = lanes + takers, ats + taken_ats
        # Pieces of like length attend together, those between two powers of two: at most half of it is padding.
        by_length: dict[int, list[Piece]] = {}
        for piece in self.pieces:
            by_length.setdefault((piece[3] - 1).bit_length(), []).append(piece)
        singles = by_length.pop(0, [])
        # Single tokens read the lanes' whole room, though less may be filled: memory read without gaps is read twice as
        # fast on a CPU.
        groups = [_singles(singles, not by_length, self.cache.room, device)] if singles else []
        groups += [_chunks(pieces, device) for pieces in by_length.values()]
        to, places = torch.tensor(lanes, device=device), torch.tensor(ats, device=device)
        return StepAttention(self.cache, source, to, places, groups)


def _singles(pieces: list[Piece], alone: bool, room: int, device: torch.device) -> QueryGroup:
    """One token each: attention reads lanes 0 to the highest in place; lanes without a token give nothing."""
    width = max(lane for lane, *_ in pieces) + 1
    # The common step: token n belongs to lane n. Queries need no gathering and results no scattering.
    if alone and [(lane, first) for lane, _, first, _ in pieces] == [(at, at) for at in range(width)]:
        ats = torch.tensor([[at] for _, at, _, _ in pieces], device=device)
        return QueryGroup(slice(0, width), None, ats, room)
    take, own = [[0]] * width, [[0]] * width
    for lane, at, first, _ in pieces:
        take[lane], own[lane] = [first], [at]
    return QueryGroup(
        slice(0, width),
        torch.tensor(take, device=device),
        torch.tensor(own, device=device),
        room,
        torch.tensor([lane for lane, *_ in pieces], device=device),
        torch.tensor([first for _, _, first, _ in pieces], device=device),
    )


def _chunks(pieces: list[Piece], device: torch.device) -> QueryGroup:
    """Several tokens each, padded to the longest piece inside attention only."""
    width = max(length for *_, length in pieces)
    steps = torch.arange(width, device=device)
    _, at, first, length = torch.tensor(pieces, device=device).T[..., None]
    inside = steps.clamp(max=length - 1)  # padding repeats a piece's last token
    take = first + inside
    give = (steps < length).flatten().nonzero()[:, 0]
    return QueryGroup(
        torch.tensor([lane for lane, *_ in pieces], device=device),
        take,
        at + inside,
        max(at + length for _, at, _, length in pieces),
        give,
        take.flatten()[give],
    )
