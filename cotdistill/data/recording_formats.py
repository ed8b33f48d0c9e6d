"""The formats in which people store a teacher's outputs, recognised by their fields.

| kind | fields | joined to questions by |
|---|---|---|
| recordings | {id, teacher, samples: [{text}]}, {id, text} | id |
| elicited rows | {id, rationales: [{text, answer}]} | id, question |
| OpenAI batch output | {custom_id, response: {body: {choices}}} | id |
| Anthropic batch output | {custom_id, result: {message: {content}}} | id |
| lm-eval samples | {doc, resps, ...} | a text or id of doc |
| open-r1 | {problem, generations} | question |
| chats | {messages: [{role, content}]}, {conversations: [{from, value}]} | the last question |
| SCOTT's code (consistent-CoT-distillation) | {id, answer, question or statement, explanation} | id |
| CasCoD's code, Dolly | {instruction, response, ...} | question |
| EDIT's code | {input, chosen, rejected} | question |
| Alpaca | {instruction, input, output} | instruction and input |
| TRL | {prompt, completion} | prompt |
| Distilling Step-by-Step, CoT collection | {input or source, label or target, rationale} | question |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cotdistill.data.cells import text_of_cell
from cotdistill.data.columns import Columns

Fields = Mapping[str, Any]
_PROMPT = re.compile(r"Task Description:\n.*?\nQ:(?P<question>.*)\n\nA:", re.DOTALL)
ASKING, ANSWERING = ("user", "human", "prompter"), ("assistant", "gpt", "model", "chatgpt", "bot")


@dataclass(frozen=True, slots=True)
class Chain:
    """One text; `supports`: the answer the teacher was told to explain, None where it answered by itself."""

    text: str
    supports: str | None = None


@dataclass(frozen=True, slots=True)
class RecordingLine:
    """One row: its rationales, and what identifies the question (ids, or prompts)."""

    chains: tuple[Chain, ...]
    ids: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    teacher: str | None = None


@dataclass(frozen=True)
class Format:
    """One format of rows. `once`: an id appears once in a file; otherwise several rows of a question are joined."""

    shape: str
    fields: tuple[frozenset[str], ...]  # any of these sets of fields identifies it
    read: Callable[[Fields], RecordingLine]
    once: bool = False

    def recognises(self, row: Any) -> bool:
        """Whether a row has the fields of this format."""
        return isinstance(row, Mapping) and any(fields <= set(row) for fields in self.fields)


def fields_of(*names: str) -> tuple[frozenset[str], ...]:
    """ "id samples", "id text": alternatives."""
    return tuple(frozenset(group.split()) for group in names)


def mapped_format(columns: Columns) -> Format:
    """Rows whose columns a map names: text (one or several), and id or question."""

    def read(row: Fields) -> RecordingLine:
        value = (columns.text or columns.rationale)[0].of(row)
        texts = value if isinstance(value, (list, tuple)) else [value]
        ids = tuple(_word(column.of(row), column.name) for column in columns.id)
        prompt = " ".join(_word(column.of(row), column.name) for column in columns.question)
        return RecordingLine(tuple(Chain(_text(text, "text")) for text in texts), ids, (prompt,) if prompt else ())

    return Format("as --map says", (frozenset(),), read)


def _word(value: Any, name: str) -> str:
    """A field's text. Raises `ValueError` where it holds none."""
    try:
        text = text_of_cell(value)
    except ValueError as error:
        raise ValueError(f"the field {name!r} {error}") from None
    if text is None:
        raise ValueError(f"the field {name!r} contains no text")
    return text


def _text(value: Any, name: str) -> str:
    """What a teacher said, verbatim. Raises `ValueError` where it is not text."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the field {name!r} contains no text")
    return value


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"the field {name!r} is not a list")
    return value


def _mapping(value: Any, name: str) -> Fields:
    if not isinstance(value, Mapping):
        raise ValueError(f"the field {name!r} is not a mapping")
    return value


def content_of(value: Any) -> str | None:
    """A message's content: text, or a list of parts of which only texts count."""
    if isinstance(value, (list, tuple)):
        texts = [
            part if isinstance(part, str) else part.get("text") for part in value if isinstance(part, (str, Mapping))
        ]
        return "\n".join(text for text in texts if isinstance(text, str)) or None
    return value if isinstance(value, str) and value.strip() else None


def _ids(row: Fields, *names: str) -> tuple[str, ...]:
    """The ids a row may have; the first of them that is there."""
    id_ = next((row[name] for name in (*names, "id", "question_id", "uuid") if row.get(name) is not None), None)
    return () if id_ is None else (_word(id_, "id"),)


def _recorded(row: Fields) -> RecordingLine:
    if "samples" not in row:
        return RecordingLine((Chain(_text(row["text"], "text")),), (_word(row["id"], "id"),))
    texts = [sample.get("text") if isinstance(sample, Mapping) else None for sample in _list(row["samples"], "samples")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a sample without text")
    return RecordingLine(tuple(Chain(str(text)) for text in texts), (_word(row["id"], "id"),))


def _elicited(row: Fields) -> RecordingLine:
    stored = [_mapping(rationale, "rationales") for rationale in _list(row["rationales"], "rationales")]
    chains = tuple(
        Chain(_text(rationale.get("text"), "text"), _word(rationale.get("answer"), "answer"))
        for rationale in stored
        if rationale.get("answer") is not None and rationale.get("text")
    )
    names = {rationale["teacher"] for rationale in stored if isinstance(rationale.get("teacher"), str)}
    return RecordingLine(
        chains, _ids(row), (_word(row["question"], "question"),), names.pop() if len(names) == 1 else None
    )


def _openai_batch(row: Fields) -> RecordingLine:
    """A failed request has no text, so its question has no rationale."""
    body = (row.get("response") or {}).get("body") if isinstance(row.get("response"), Mapping) else None
    choices = body.get("choices") if isinstance(body, Mapping) else None
    texts = (
        [
            content_of(_mapping(choice.get("message", {"content": choice.get("text")}), "message").get("content"))
            for choice in (_mapping(entry, "choices") for entry in _list(choices, "choices"))
        ]
        if choices
        else []
    )
    if isinstance(body, Mapping) and isinstance(body.get("output"), list):  # the Responses endpoint
        texts += [content_of(part.get("content")) for part in body["output"] if isinstance(part, Mapping)]
    model = body.get("model") if isinstance(body, Mapping) else None
    return RecordingLine(
        tuple(Chain(text) for text in texts if text),
        (_word(row["custom_id"], "custom_id"),),
        (),
        model if isinstance(model, str) else None,
    )


def _anthropic_batch(row: Fields) -> RecordingLine:
    message = _mapping(row["result"], "result").get("message") or {}
    text, model = content_of(message.get("content")), message.get("model")
    return RecordingLine(
        (Chain(text),) if text else (),
        (_word(row["custom_id"], "custom_id"),),
        (),
        model if isinstance(model, str) else None,
    )


def _lm_eval(row: Fields) -> RecordingLine:
    """Generations only: log-likelihoods of a multiple-choice task hold no text."""
    texts = [
        text
        for response in _list(row["resps"], "resps")
        for text in (response if isinstance(response, list) else [response])
    ]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("the field 'resps' contains log-likelihoods, not texts: evaluate a generative task")
    doc = _mapping(row["doc"], "doc")
    prompts = tuple(value for value in doc.values() if isinstance(value, str) and value.strip())
    return RecordingLine(tuple(map(Chain, texts)), _ids(doc), prompts)


def _open_r1(row: Fields) -> RecordingLine:
    texts = [_text(text, "generations") for text in _list(row["generations"], "generations")]
    return RecordingLine(tuple(map(Chain, texts)), _ids(row), (_word(row["problem"], "problem"),))


def _chat(row: Fields) -> RecordingLine:
    """The last message of the assistant, and what was asked before it."""
    turns = _list(row["messages"] if "messages" in row else row["conversations"], "messages")
    messages = [
        (str(turn.get("role", turn.get("from"))).lower(), content_of(turn.get("content", turn.get("value"))))
        for turn in (_mapping(turn, "messages") for turn in turns)
    ]
    answer = next(
        (at for at in range(len(messages) - 1, -1, -1) if messages[at][0] in ANSWERING and messages[at][1]), None
    )
    question = (
        None if answer is None else next((text for role, text in messages[answer::-1] if role in ASKING and text), None)
    )
    if answer is None or question is None:
        raise ValueError("the messages contain no question and answer")
    return RecordingLine((Chain(str(messages[answer][1])),), _ids(row), (question,))


def _scott(row: Fields) -> RecordingLine:
    if "question" not in row and "statement" not in row:
        raise KeyError("question")
    answer, told = _word(row["answer"], "answer"), row["explanation"]
    texts = told if isinstance(told, list) else [told]
    return RecordingLine(tuple(Chain(_text(text, "explanation"), answer) for text in texts), (_word(row["id"], "id"),))


def _instructed(row: Fields) -> RecordingLine:
    return RecordingLine((Chain(_text(row["response"], "response")),), (), (_word(row["instruction"], "instruction"),))


def _edit(row: Fields) -> RecordingLine:
    prompt = _PROMPT.fullmatch(_text(row["input"], "input"))
    if prompt is None:
        raise ValueError("the field 'input' is not 'Task Description: ... Q: ... A:'")
    return RecordingLine(
        tuple(Chain(_text(row[name], name)) for name in ("chosen", "rejected")), (), (prompt["question"],)
    )


def _alpaca(row: Fields) -> RecordingLine:
    instruction, given = _word(row["instruction"], "instruction"), text_of_cell(row.get("input"))
    prompts = (instruction,) if given is None else (f"{instruction}\n{given}", given)
    return RecordingLine((Chain(_text(row["output"], "output")),), _ids(row), prompts)


def _completed(row: Fields) -> RecordingLine:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return _chat({**row, "messages": [*prompt, *completion]})
    return RecordingLine((Chain(_text(completion, "completion")),), _ids(row), (_word(prompt, "prompt"),))


def _explained(row: Fields) -> RecordingLine:
    """The answer has a field of its own: the teacher's is appended to the rationale and read from there."""
    question = next((row[name] for name in ("input", "source", "question") if name in row), None)
    rationale, own = _text(row["rationale"], "rationale"), text_of_cell(row.get("llm_label"))
    if own is not None:
        chain = Chain(f"{rationale} So the answer is {own}.")
    else:
        chain = Chain(
            rationale, _word(next((row[name] for name in ("label", "target", "answer") if name in row), None), "label")
        )
    return RecordingLine((chain,), _ids(row), () if question is None else (_word(question, "input"),))


FORMATS: tuple[Format, ...] = (
    Format('{"id", "teacher", "samples": [{"text"}]}', fields_of("id samples", "id text"), _recorded, once=True),
    Format(
        '{"id", "question", "rationales"} (elicited rows)', fields_of("id question rationales"), _elicited, once=True
    ),
    Format('{"custom_id", "response"} (OpenAI batch)', fields_of("custom_id response"), _openai_batch),
    Format('{"custom_id", "result"} (Anthropic batch)', fields_of("custom_id result"), _anthropic_batch),
    Format('{"doc", "resps"} (lm-eval samples)', fields_of("doc resps"), _lm_eval),
    Format('{"problem", "generations"} (open-r1)', fields_of("problem generations"), _open_r1),
    Format('{"messages"} or {"conversations"} (chats)', fields_of("messages", "conversations"), _chat),
    Format(
        '{"id", "answer", "question" or "statement", "explanation"} (SCOTT)',
        fields_of("id answer explanation"),
        _scott,
        once=True,
    ),
    Format('{"instruction", "response"} (CasCoD)', fields_of("instruction response"), _instructed),
    Format('{"input", "chosen", "rejected"} (EDIT)', fields_of("input chosen rejected"), _edit),
    Format('{"instruction", "output"} (Alpaca)', fields_of("instruction output"), _alpaca),
    Format('{"prompt", "completion"}', fields_of("prompt completion"), _completed),
    Format(
        '{"input", "label", "rationale"} (Distilling Step-by-Step)',
        fields_of("input label rationale", "source target rationale", "question answer rationale"),
        _explained,
    ),
)
