"""The walk: what is asked is what was trained on, and every token of a context is accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from cotdistill.strategies.forms import FillContext, Form, Slot, SlotValue, Strategy, Tokens, given, learn
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create, entries
from cotdistill.students import walk as walking
from cotdistill.students.decode import Choice, Decoder, Prompt, Session
from cotdistill.students.encode import Encoder
from cotdistill.students.families import Student
from cotdistill.students.sampling import Sampling
from cotdistill.students.slots import SlotDecoder
from cotdistill.students.tokens import SegmentTokenizer
from cotdistill.students.walk import Walked, WalkSession, walk
from tests.models import items, student, tokenizer

STRATEGIES = [entry.name for entry in entries() if entry.factory is not None]
TOKENIZERS = ["byte-bpe", "metaspace", "prepend"]


def encoder_of(kind: str, seq2seq: bool = False, **options: object) -> Encoder:
    """An encoder without a model."""
    tokens = SegmentTokenizer(tokenizer(kind), seq2seq)
    return Encoder(tokens, tokens.pad if seq2seq else None, **options)


@dataclass
class Scripted:
    """A decoder that writes given texts, each ended by the stop token, in place of a model."""

    student: Student | None
    texts: list[str]
    fed: list[list[int]] = field(default_factory=list)  # what each session's model saw, prompt first

    def run(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            assert isinstance(session, WalkSession)
            tokens = session.encoder.tokens
            seen = list(session.prompts[0].ids)
            script = [token for text in self.texts for token in [*tokens.segment(text), tokens.stop]]
            if session.restarts is False and self.fed and self.texts:
                pass
            while (pushed := session.push(Choice(script[0], script[0]))) is not None:
                script.pop(0)
                assert pushed
                seen += pushed
                if pushed[-len(pushed)] != script and not script:
                    break
            self.fed.append(seen)
