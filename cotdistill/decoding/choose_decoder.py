"""What decodes a model, by start-up trials: plain batches against its generate(), continuous against plain batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cotdistill.console import warn_once
from cotdistill.decoding.contexts import Generated, Prompt, generated
from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.decode import Choice, Decoder, Decodes, Rule, Session, greedy
from cotdistill.students.student import BATCH_DEPENDENT_ROPE, Student

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the logits' norm; other types: HALF
HALF = 5e-2
TRIED = 4  # tokens generated at start-up


def decoder_for(student: Student, rule: Rule = greedy, batch_size: int = 16) -> Decodes:
    """Continuous batching; plain batches for T5 and for a model that it cannot serve; generate() for a model that
    plain batches cannot serve either (said once).
    """
    if not served_in_batches(student):
        return Decoder(student, rule, batch_size, Generated)
    if served_continuously(student):
        return ContinuousDecoder(student, rule, batch_size)
    return Decoder(student, rule, batch_size)


def served_in_batches(student: Student) -> bool:
    """Whether plain batches say what generate() says; where they do not, says so once."""
    reason = student.tried(_differs_from_generate)
    if reason is not None:
        warn_once(f"{type(student.model).__name__}: generate() token by token, much slower, because {reason}")
    return reason is None


def _differs_from_generate(student: Student) -> str | None:
    """A few greedy tokens of two prompts, generated one by one, then decoded as one batch: the logits must agree."""
    student.model.eval()
    prompts = [_as_prompt(student, ids) for ids in _texts(student)]
    try:
        expected = [generated(student, prompt, TRIED) for prompt in prompts]
    except Exception as error:  # a model that generate() does not serve is nothing to compare with
        warn_once(
            f"{type(student.model).__name__}: decoding was not checked, as its own generate() fails "
            f"({type(error).__name__})"
        )
        return None
    record = _Record()
    try:
        Decoder(student, record, len(prompts)).run(
            [
                _Scripted(at, [prompt], [[token] for token in ids[:-1]])
                for at, (prompt, (ids, _)) in enumerate(zip(prompts, expected, strict=True))
            ]
        )
    except Exception as error:  # whatever a forward raises that is called in another way than its own
        reason = (str(error).splitlines() or [""])[0]
        return f"plain batches fail on it ({type(error).__name__}: {reason[:100]})"
    for at, (_, logits) in enumerate(expected):
        distance = _distance(list(logits), record.logits[at], student)
        if distance is not None:
            return f"plain batches differ from it by {distance:.1g} of the logits' size"
    return None


def _texts(student: Student) -> list[list[int]]:
    """Two prompts of unlike lengths."""
    ids = list(student.tokens.first("Ada counts the seven lamps in the long hall, then she walks home. "))
    few = min(len(ids), 24, (student.context or 512) // 4)
    return [ids[:few], ids[few // 3 : few - 2]]


def _as_prompt(student: Student, ids: list[int]) -> Prompt:
    return Prompt([*student.tokens.before, *ids]) if student.start is None else Prompt([student.start], ids)


def _distance(expected: Sequence[Tensor], tried: Sequence[Tensor], student: Student) -> float | None:
    """How far the first logits that differ are apart, as a share of their size; None where all agree."""
    tolerance = TOLERANCE.get(student.model.dtype, HALF)
    for wanted, given in zip(expected, tried, strict=True):
        scale = (wanted - wanted.mean()).norm()
        if not (given - wanted).norm() <= tolerance * scale:  # NaN must fail as well
            return float((given - wanted).norm() / scale)
    return None


def served_continuously(student: Student) -> bool:
    """Whether continuous batching gives what plain batches give; where not, and not by design (T5), says so once."""
    if student.encoder_decoder:
        return False
    reason = _unserved(student.model) or student.tried(_disagreement)
    if reason is not None:
        warn_once(f"{type(student.model).__name__}: plain batches, slower than continuous batching, because {reason}")
    return reason is None


def _unserved(model: Any) -> str | None:
    """What the configuration rules out: effects that the start-up test's texts are too short to show."""
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    unknown = set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS
    if unknown:
        return f"it has layers of type {', '.join(sorted(unknown))}"
    if getattr(config, "use_bidirectional_attention", False):
        return "its attention looks ahead"
    ropes = _rope_types(getattr(config, "rope_parameters", None) or {})
    if ropes & BATCH_DEPENDENT_ROPE:
        return f"its rotary positions ({', '.join(sorted(ropes))}) depend on the longest row of a batch"
    return None


def _rope_types(parameters: dict[str, Any]) -> set[str]:
    """Rope types of all layers; the parameters are given once or per layer type."""
    own = {str(parameters[name]) for name in ("rope_type", "type") if name in parameters}
    return own.union(*(_rope_types(value) for value in parameters.values() if isinstance(value, dict)))


def _disagreement(student: Student) -> str | None:
    """The same sessions through both decoders: shared prefix, shared question, forced chunk, refill."""
    plain, continuous = _Record(), _Record()
    Decoder(student, plain, 2).run(_script(student))
    try:
        ContinuousDecoder(student, continuous, 2).run(_script(student))
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
        return f"continuous batching fails on it ({type(error).__name__}: {str(error).splitlines()[0]})"
    for name, logits in plain.logits.items():
        distance = _distance(logits, continuous.logits[name], student)
        if distance is not None:
            return f"its logits differ by {distance:.1g} of their size"
    return None


@dataclass
class _Scripted:
    """A session whose tokens are known beforehand."""

    name: int
    prompts: list[Prompt]
    chunks: list[list[int]]

    def push(self, choice: Choice) -> list[int] | None:
        return self.chunks.pop(0) if self.chunks else None


@dataclass
class _Record:
    """A rule that keeps the logits it sees."""

    logits: dict[int, list[Tensor]] = field(default_factory=dict)

    def __call__(self, logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
        for row, session in zip(logits, sessions, strict=True):
            assert isinstance(session, _Scripted)
            self.logits.setdefault(session.name, []).append(row[0].clone())
        return [Choice(0, 0)] * len(sessions)


def _script(student: Student) -> list[_Scripted]:
    text = "Ada counts the seven lamps in the long hall, then she walks home. Is it late? No, it is early; "
    ids = list(student.tokens.first(text * 4))
    few = min(36, (student.context or 512) // 4)  # enough to be kept apart, where there is room for it
    shared, rest = ids[:few], ids[few:]
    chunks = [rest[:1], rest[1:4], rest[4:5]]
    prompts = [rest[3:14], rest[3:12] + rest[:4], rest[8:10]]
    begin = [*student.tokens.before, *shared]
    return [
        _Scripted(at, [Prompt([*begin, *own])], [list(chunk) for chunk in chunks[: at + 2]])
        for at, own in enumerate(prompts)
    ]
