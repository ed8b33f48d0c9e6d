"""A local teacher: any causal or encoder-decoder language model, decoded by the same decoder that serves students."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cotdistill.config import DEMO
from cotdistill.console import progress
from cotdistill.students.decode import Choice, Decoder, Prompt, Rule, greedy
from cotdistill.students.families import Student, demo_model, load_student
from cotdistill.teachers.calls import Call, Deliver, Reply

BLANK_LINE = re.compile(r"\n[ \t]*\n")
WINDOW = 8  # tokens decoded to look for a blank line: one blank line is never spelled in more
_SAMPLE = 1 << 20  # bytes of each weight file that a revision is taken from


class HuggingFaceTeacher:
    """A model that runs here. Rationales end at a blank line (found in the text), at EOS, or at the token limit."""

    def __init__(self, model: Student, name: str, rule: Rule = greedy, batch_size: int = 16,
                 max_new_tokens: int = 128) -> None:
        self.model, self.name, self.max_new_tokens = model, name, max_new_tokens
        self.decoder = Decoder(model, rule, batch_size)

    def ask(self, calls: Sequence[Call], deliver: Deliver) -> None:
        """Decode every call; a prompt that leaves no room in the model's context is handed back as failed."""
        with progress("elicit", len(calls)) as advance:
            def finish(call: Call, reply: Reply) -> None:
                deliver(call, reply)
                advance(1, "")

            sessions = [TeacherSession(self.model, call, finish, self.max_new_tokens) for call in calls]
            self.decoder.run([session for session in sessions if session.open()])


class TeacherSession:
    """One rationale being decoded: one context, or two that receive the same tokens (contrastive decoding)."""

    def __init__(self, model: Student, call: Call, deliver: Deliver, max_new_tokens: int) -> None:
        self.model, self.call, self.deliver = model, call, deliver
        self.ids: list[int] = []
        self.prompts = [prompt_of(model, text) for text in (call.prompt, call.contrast) if text is not None]
        self.room = max_new_tokens
        if model.context is not None:
            self.room = min(self.room, model.context - max(map(_length, self.prompts)))

    def open(self) -> bool:
        """Whether the prompt leaves room to answer; a call that does not is delivered as failed."""
        if self.room > 0:
            return True
        longest = max(map(_length, self.prompts))
        self.deliver(self.call, Reply("", False, failed=f"the prompt of {longest} tokens leaves no room in the "
                                                        f"teacher's context of {self.model.context}"))
        return False

    def push(self, choice: Choice) -> list[int] | None:
        """Append the chosen token, or end: also where the first context alone would have stopped (SCOTT's rule)."""
        if self._stops(choice.alone) or (choice.token != choice.alone and self._stops(choice.token)):
            self._end(finished=True)
            return None
        self.ids.append(choice.token)
        if len(self.ids) == self.room:
            self._end(finished=False)
            return None
        return [choice.token]

    def _stops(self, token: int) -> bool:
        """Whether this token is EOS or completes a blank line, which a tokenizer may have merged into it."""
        if token == self.model.tokens.stop:
            return True
        tail = self.model.tokens.text([*self.ids[-WINDOW:], token])
        return BLANK_LINE.search(tail) is not None

    def _end(self, finished: bool) -> None:
        text = self.model.tokens.text(self.ids)
        self.deliver(self.call, Reply(text.strip(), finished, sum(map(_length, self.prompts)), len(self.ids)))


def load_teacher(name: str, dtype: str, device: str, trust_remote_code: bool = False) -> tuple[Student, str]:
    """The model, and the name that goes into every row: with the revision of its weights."""
    where = demo_model("teacher") if name == DEMO else Path(name)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = load_student(str(where) if name == DEMO else name, dtype, chosen, trust_remote_code)
    return model, f"{name if name == DEMO or not where.is_dir() else where.name}@{_revision(where, model.model)}"


def prompt_of(model: Student, text: str) -> Prompt:
    """The ids a prompt starts the decoder from, special tokens as the model expects them."""
    ids = [int(token) for token in model.tokenizer(text)["input_ids"]]
    if model.start is not None:
        return Prompt([model.start], ids)
    if ids and ids[-1] == model.tokens.stop and not text.endswith(model.tokens.text([ids[-1]]) or "\0"):
        ids.pop()  # a tokenizer that closes every text with EOS would end the answer before it began
    return Prompt(ids)


def _length(prompt: Prompt) -> int:
    return max(len(prompt.ids), len(prompt.source or ()))


def _revision(folder: Path, model: Any) -> str:
    """The hub's commit, or for a local folder a digest over size, head and tail of every weight file."""
    if not folder.is_dir():
        return str(getattr(model.config, "_commit_hash", None) or "unknown")[:12]
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {file.stat().st_size}".encode() + stream.read(_SAMPLE))
            stream.seek(max(0, file.stat().st_size - _SAMPLE))
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:12]
