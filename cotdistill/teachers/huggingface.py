"""A local teacher: any causal or encoder-decoder model, decoded by the same decoder as students."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from cotdistill.config import DEMO, Config, ElicitConfig
from cotdistill.console import console
from cotdistill.data.distributions import Recorded, vocabulary_digest
from cotdistill.data.journal import FinishedCall
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Choice, Prompt, Rule, greedy
from cotdistill.decoding.sampling import Sampling
from cotdistill.errors import UsageError
from cotdistill.seeds import rng
from cotdistill.students.devices import in_float64
from cotdistill.students.load import load_configured, outline_student
from cotdistill.students.places import Place, locate, teacher_model
from cotdistill.students.student import Student
from cotdistill.students.tokens import render_chat
from cotdistill.teachers.blank_line import has_blank_line
from cotdistill.teachers.calls import Call, Deliver, Reply
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.prompts import Shot
from cotdistill.teachers.reasoning import split_reasoning
from cotdistill.teachers.rerank import best_of
from cotdistill.teachers.scoring import score

WINDOW = 8  # tokens decoded to look for a blank line, which never takes more
WEIGHT_SAMPLE = 1 << 20  # bytes at head and tail of each weight file that name a local model's revision


class HuggingFaceTeacher:
    """A model on this machine.

    Rationales end at EOS, at the token limit or, after a completion prompt, at a blank line, which is looked
    for in the text: a tokenizer may have merged it into another token.
    """

    def __init__(self, config: ElicitConfig, weights: bool = True) -> None:
        self.config = config
        self.model, self.name = load_teacher(config.teacher, config, weights)
        template = self.model.tokenizer.chat_template
        if config.chat == "on" and not template:
            raise UsageError(f"--chat on: {config.teacher} has no chat template; omit --chat")
        self.style = "chat" if template and config.chat != "off" else "completion"
        size = len(self.model.tokenizer)
        if config.logprobs is not None and config.logprobs >= size:
            raise UsageError(f"--logprobs {config.logprobs}: the teacher's vocabulary has {size} tokens; take fewer")
        self.settings: Mapping[str, Any] = {"dtype": config.dtype}

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may have together."""
        return self.model.context

    def wrap(self, prompt: str) -> str:
        """The prompt, in a chat as the only user message."""
        if self.style == "completion":
            return prompt
        chat = [{"role": "user", "content": prompt}]
        return render_chat(self.model.tokenizer, chat, True, "use --chat off")

    def count(self, text: str) -> int:
        """Tokens of a prompt, special ones included."""
        return _length(self.encode(text))

    def encode(self, text: str) -> Prompt:
        """The ids that decoding starts from. A chat template has its special tokens already."""
        words = self.model.tokenizer(text, add_special_tokens=self.style == "completion")
        ids = [int(token) for token in words["input_ids"]]
        if self.model.start is not None:
            return Prompt([self.model.start], ids)
        if self.style == "completion" and ids and ids[-1] == self.model.tokens.stop:
            ids.pop()  # a tokenizer that closes every text with EOS would end the answer before it began
        return Prompt(ids)

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Decode every call; a prompt that leaves no room in the model's context is handed back as failed."""
        # The common beginning of all prompts of a decoder's run is computed once: one run per set of demonstrations.
        together: dict[tuple[Shot, ...], list[Call]] = {}
        for call in calls:
            together.setdefault(call.shots, []).append(call)
        for alike in together.values():
            if self.config.decode == "rerank":
                self._ask_for_candidates(alike, deliver, drain)
            else:
                desk = Desk(drain)
                self._decode([self._session(call, desk, partial(deliver, call)) for call in alike])

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation of a prompt, float."""
        start = self.encode(prompt)
        if start.source is not None:
            raise UsageError("--wrong hardest and --decode rerank need a decoder-only teacher")
        return log_probabilities(self.model, start.ids, [self.encode(prompt + text).ids for text in continuations])

    @property
    def vocabulary(self) -> str:
        """Digest of its tokenizer's vocabulary."""
        return vocabulary_digest(self.model.tokenizer.get_vocab())

    def along(self, call: Call, entry: FinishedCall, k: int) -> Recorded:
        """What it says along a rationale, after the prompt that it answered: see `teachers.scoring`."""
        return score(self.model, self.encode(call.prompt), entry.rationale.text if entry.rationale else "", k)

    def _ask_for_candidates(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Sample K rationales per call and deliver the best, a batch of calls at a time: ranking needs the
        model, too, and what is ranked is safe in the journal."""
        for at in range(0, len(calls), self.config.batch_size):
            desk = Desk(drain)
            batch = calls[at : at + self.config.batch_size]
            replies: dict[tuple[int, int], Reply] = {}
            self._decode(
                [
                    self._session(call, desk, partial(replies.__setitem__, (n, candidate)), candidate)
                    for n, call in enumerate(batch)
                    for candidate in range(self.config.samples)
                ]
            )
            for n, call in enumerate(batch):
                candidates = [replies[n, k] for k in range(self.config.samples) if (n, k) in replies]
                if len(candidates) == self.config.samples:  # Ctrl-C may have left some out
                    deliver(call, best_of(call, candidates, self.rank, self.config.lambda_))

    def _decode(self, sessions: Sequence[TeacherSession]) -> None:
        with suppress(Drained):
            ready = [session for session in sessions if session.open()]
            decoder_for(self.model, self._rule(), self.config.batch_size).run(ready)

    def _session(self, call: Call, desk: Desk, done: Callable[[Reply], None], candidate: int = 0) -> TeacherSession:
        texts = [call.prompt, call.contrast] if self.config.decode == "contrastive" else [call.prompt]
        prompts = [self.encode(text) for text in texts if text is not None]
        draws = rng(
            self.config.seed,
            "sample",
            call.example.id,
            call.kind,
            call.supports,
            call.decoding.get("sample", candidate),
        )
        return TeacherSession(
            self.model, prompts, self.config.max_new_tokens, self.style == "completion", desk, draws, done
        )

    def _rule(self) -> Rule:
        if self.config.decode == "contrastive":
            return Contrast(self.config.lambda_, self.config.temperature, self.config.plausibility)
        if self.config.decode in ("sample", "rerank"):
            return Sampling(self.config.temperature, self.config.top_p)
        return greedy


class Drained(Exception):
    """Raised when everything under way is finished and nothing new may begin."""


class Desk:
    """Counts the rationales under way; after Ctrl-C no other is admitted."""

    def __init__(self, drain: Drain) -> None:
        self.drain, self.under_way = drain, 0

    def admit(self) -> bool:
        """Whether a session may begin. Raises `Drained` where none is under way any more."""
        if not self.drain.asked:
            self.under_way += 1
            return True
        if not self.under_way:
            raise Drained
        return False

    def leave(self) -> None:
        """A session has finished. Raises `Drained` after the last."""
        self.under_way -= 1
        if self.drain.asked and not self.under_way:
            raise Drained


class TeacherSession:
    """One rationale being decoded: one context, or two that receive the same tokens (contrast)."""

    def __init__(
        self,
        model: Student,
        prompts: list[Prompt],
        max_new_tokens: int,
        until_blank_line: bool,
        desk: Desk,
        draws: random.Random,
        done: Callable[[Reply], None],
    ) -> None:
        self.model, self.prompts, self.desk, self.random, self.done = model, prompts, desk, draws, done
        self.until_blank_line = until_blank_line
        self.ids: list[int] = []
        self.stops = model.tokens.stops
        self.room = max_new_tokens
        if model.context is not None:
            self.room = min(self.room, model.context - max(map(_length, prompts)))

    def open(self) -> bool:
        """Whether the prompt leaves room to answer; one that does not is a failed call."""
        if self.room > 0:
            return True
        longest = max(map(_length, self.prompts))
        self.done(
            Reply(
                "",
                failed=f"the prompt of {longest} tokens leaves no room in the teacher's "
                f"context of {self.model.context}",
            )
        )
        return False

    def push(self, choice: Choice) -> list[int] | None:
        """Append the chosen token, or end: as in SCOTT, also where the first context alone would end."""
        if not self.ids and not self.desk.admit():
            return None
        if self._stops_at(choice.alone) or (choice.token != choice.alone and self._stops_at(choice.token)):
            self._end(finished=True)
            return None
        self.ids.append(choice.token)
        if len(self.ids) == self.room:
            self._end(finished=False)
            return None
        return [choice.token]

    def _stops_at(self, token: int) -> bool:
        if token in self.stops:
            return True
        return self.until_blank_line and has_blank_line(self.model.tokens.text([*self.ids[-WINDOW:], token]))

    def _end(self, finished: bool) -> None:
        thoughts, text = split_reasoning(self.model.tokens.text(self.ids))
        self.done(Reply(text.strip(), thoughts, finished, sum(map(_length, self.prompts)), len(self.ids)))
        self.desk.leave()


@torch.inference_mode()
def log_probabilities(model: Student, start: list[int], sequences: Sequence[list[int]]) -> list[float]:
    """Log probability of each of R continuations [<= T] of `start`, in one padded batch."""
    common = next(
        (at for at, tokens in enumerate(zip(start, *sequences, strict=False)) if len(set(tokens)) > 1),
        min(len(start), *map(len, sequences)),
    )
    common = min(common, min(map(len, sequences)) - 1)
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), model.tokens.pad, device=model.device)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence, device=model.device)
    lengths = torch.tensor([[len(sequence)] for sequence in sequences], device=model.device)
    mask = torch.arange(width, device=model.device) < lengths
    positions = torch.arange(common - 1, width - 1, device=model.device)
    logits = model.model(input_ids=ids, attention_mask=mask.long(), logits_to_keep=positions, use_cache=False).logits
    steps = logits.float().log_softmax(-1).gather(-1, ids[:, common:, None])[..., 0]  # [R, T - common]
    return [float(total) for total in in_float64(steps.masked_fill(~mask[:, common:], 0.0)).sum(-1)]


def load_teacher(teacher: str, config: Config, weights: bool = True) -> tuple[Student, str]:
    """The model that `--teacher` names, and the name that goes into every row: with the revision of its weights.

    Without weights (a dry run) the model is on the meta device: its tokenizer and its limits are real.
    """
    if not console.is_terminal:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    name = teacher_model(teacher)
    model = load_configured(name, config) if weights else outline_student(name, config.trust_remote_code)
    place = locate(name)
    shown = DEMO if teacher == DEMO else place.where if place.commit else Path(name).name
    return model, f"{shown}@{_revision(place)}"


def _length(prompt: Prompt) -> int:
    return max(len(prompt.ids), len(prompt.source or ()))


def _revision(place: Place) -> str:
    """The hub's commit, or for a local model a digest over size, head and tail of every weight file."""
    if place.commit is not None:
        return place.commit[:12]
    digest = hashlib.sha256()
    for file in [place.file] if place.file else sorted(Path(place.where).glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {file.stat().st_size}".encode() + stream.read(WEIGHT_SAMPLE))
            stream.seek(max(0, file.stat().st_size - WEIGHT_SAMPLE))
            digest.update(stream.read(WEIGHT_SAMPLE))
    return digest.hexdigest()[:12]
