"""The same questions as tasks of EleutherAI's lm-evaluation-harness, for the run that was evaluated.

    SET-choices  each choice scored after the run's own rationale: the accuracy of --score choices
    SET-walk     free generation, the answer cut out by a pattern: the accuracy of --connectors free

    lm_eval --model hf --model_args pretrained=RUN/student --include_path DIR --tasks cotdistill-SET-choices

The texts are those of the walk, a chat template's turns included (leave --apply_chat_template out); the
harness tokenises prompt and answer together where the walk joins segments, so ids can differ for
tokenizers that merge across a blank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cotdistill.answers.answers import AnswerStyle, render_answer
from cotdistill.config import EvaluateConfig
from cotdistill.console import say, warn, warn_once
from cotdistill.data.files import check_file, write_text
from cotdistill.data.records import Example
from cotdistill.errors import UsageError
from cotdistill.evaluation.inputs import Subject
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.results import Examined
from cotdistill.strategies.description import load_strategy
from cotdistill.strategies.forms import Form, Part, Strategy
from cotdistill.students.encode import render

MADE_BY = "# Written by cotdistill evaluate --export lm-eval\n"  # tells our tasks from other people's


def task_name(subject: Subject, chosen: str) -> str:
    """The name of a subject's tasks on one set, without -choices or -walk."""
    return f"cotdistill-{subject.folder.name}-{chosen}"


def refuse_foreign_tasks(folder: Path, name: str, overwrite: bool) -> None:
    """Raise `UsageError` where the files of the tasks `name` belong to somebody else, `OutputError` if they cannot be
    written. A task is ours when its YAML says so: it is written before the rows."""
    for task in (f"{name}-choices", f"{name}-walk"):
        about, rows = folder / f"{task}.yaml", folder / f"{task}.jsonl"
        for path in (about, rows):
            check_file(path)
            foreign = path.is_file() and path.stat().st_size > 0 and not _is_ours(about)
            if foreign and not overwrite:
                raise UsageError(
                    f"--export lm-eval: {path} holds something this command did not write; name another directory, "
                    "or replace it with --overwrite"
                )


def _is_ours(about: Path) -> bool:
    return about.is_file() and about.read_bytes().startswith(MADE_BY.encode())


def export_harness(folder: Path, config: EvaluateConfig, examined: Examined) -> list[str]:
    """Write the tasks of one run on one set into `folder` and say how to run them; their names.

    Raises `UsageError` where the harness cannot ask as the walk does.
    """
    model, card = examined.subject.model, examined.subject.card
    if model is None:
        raise UsageError(f"--export lm-eval: {examined.subject.name} contains predictions, not a model that can be run")
    strategy = load_strategy(card.strategy, examined.subject.name)
    answers, predictions = card.config["answers"], examined.predictions
    name, form = task_name(examined.subject, examined.name), answering_form(strategy)
    chat = _chat(model, config) if card.config.get("chat") else None
    tasks = []
    # An encoder-decoder of the harness has its prompt in the encoder: nothing can precede the answer.
    if all(p.choices for p in predictions) and not (_before_answer(form) and _is_encoder_decoder(model, config)):
        rows = [_choice_row(p, strategy, answers, chat) for p in predictions if _reached(p, strategy)]
        if len(rows) < len(predictions):
            warn(
                f"{name}: {len(predictions) - len(rows)} questions have no rationale to score choices after; the "
                "harness skips them, here they count as unparsed"
            )
        about = _choice_task(" " if chat is None or _before_answer(form) else "")
        tasks.append(_write(folder, f"{name}-choices", rows, about))
    if len(strategy.plan) == 1:
        rows = [_walk_row(p, form, answers, chat) for p in predictions]
        about = _walk_task(form, config.max_new_tokens, chat)
        tasks.append(_write(folder, f"{name}-walk", rows, about))
    if not tasks:
        raise UsageError(
            f"--export lm-eval: {strategy.name!r} walks {len(strategy.plan)} prompts and {examined.name} "
            "has no choices; the harness generates once per question"
        )
    if config.partial_weights:
        warn_once(f"{model}: the harness draws other random weights than these where some are missing from its files")
    arguments = _model_arguments(model, config)
    say(f"lm_eval --model hf --model_args {arguments} --include_path {folder} --tasks {','.join(tasks)}")
    return tasks


def _model_arguments(model: str, config: EvaluateConfig) -> str:
    """Where the harness finds the model; further settings are named as in from_pretrained."""
    from cotdistill.students.places import locate

    place = locate(model)
    if place.base is not None and place.base.base is not None:
        raise UsageError(
            f"--export lm-eval: {model} is an adapter on an adapter, which the harness cannot load; train "
            "without --no-merge-lora"
        )
    peft = {"peft": place.where} if place.base else {}
    code = {"trust_remote_code": True} if config.trust_remote_code else {}
    given = {"pretrained": place.weights.where, **place.weights.options, **peft, **code}
    return ",".join(f"{name}={value}" for name, value in given.items())


def _is_encoder_decoder(model: str, config: EvaluateConfig) -> bool:
    from cotdistill.students.load import config_of

    return bool(config_of(model, config.trust_remote_code).is_encoder_decoder)


@dataclass(frozen=True)
class Chat:
    """A chat template around the question, and the text that ends the assistant's turn."""

    before: str
    after: str
    end: str


def _chat(model: str, config: EvaluateConfig) -> Chat:
    from cotdistill.students.load import load_tokenizer
    from cotdistill.students.places import locate
    from cotdistill.students.tokens import SegmentTokenizer

    words = load_tokenizer(locate(model), model, config.trust_remote_code)
    tokens = SegmentTokenizer(words, _is_encoder_decoder(model, config), chat=True)
    return Chat(*tokens.around, str(words.convert_ids_to_tokens(tokens.stop)))


def answering_form(strategy: Strategy) -> Form:
    """The form of the plan in which the answer is given."""
    forms = [strategy.form(name) for name in strategy.plan]
    return next(form for form in forms if any(part.slot == "answer" for part in form.target))


def prompt_before_answer(form: Form, example: Example, rationale: str | None, chat: Chat | None = None) -> str:
    """The walk's text up to where the answer begins."""
    source = _source(form, example, chat, rationale)
    shown = _rendered(_before_answer(form), example, rationale)
    return source + (shown if chat is None else shown.lstrip())  # a turn begins without its blank


def _rendered(parts: Sequence[Part], example: Example, rationale: str | None) -> str:
    slots: dict[str, str] = {"question": example.text(), "rationale": rationale or ""}
    return "".join(str(render(part.text, dict(slots))) for part in parts)


def _source(form: Form, example: Example, chat: Chat | None, rationale: str | None = None) -> str:
    text = _rendered(form.source_segments(), example, rationale)
    return text if chat is None else chat.before + text + chat.after


def _before_answer(form: Form) -> list[Part]:
    at = next(at for at, part in enumerate(form.target) if part.slot == "answer")
    return list(form.target[:at])


def _reached(p: Prediction, strategy: Strategy) -> bool:
    return p.rationale is not None or not strategy.answers_after_rationale


def _example(p: Prediction) -> Example:
    return Example(id=p.id, question=p.question, choices=p.choices, answer=p.gold, task=p.task)


def _choice_row(p: Prediction, strategy: Strategy, answers: AnswerStyle, chat: Chat | None) -> dict[str, Any]:
    assert p.choices is not None
    return {
        "id": p.id,
        "prompt": prompt_before_answer(answering_form(strategy), _example(p), p.rationale, chat),
        "choices": [render_answer(choice, p.choices, answers) for choice in p.choices],
        "gold": p.choices.index(p.gold),
    }


def _walk_row(p: Prediction, form: Form, answers: AnswerStyle, chat: Chat | None) -> dict[str, Any]:
    return {"id": p.id, "prompt": _source(form, _example(p), chat), "gold": render_answer(p.gold, p.choices, answers)}


def _choice_task(delimiter: str) -> dict[str, Any]:
    return {
        "target_delimiter": delimiter,
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
        ],
    }


def _walk_task(form: Form, max_new_tokens: int, chat: Chat | None) -> dict[str, Any]:
    """Generation up to the stop token; the answer is what comes between the connector and what follows it."""
    before = [part.text.strip() for part in _before_answer(form) if part.slot is None]
    after = [part.text.strip() for part in form.target[len(_before_answer(form)) + 1 :] if part.slot is None]
    ends = [] if chat is None else [chat.end]
    slots = 1 + any(part.slot is not None for part in _before_answer(form))
    # The longest run of texts that the walk would have stopped at; nothing to wait for where the answer comes
    # first.
    pattern = r"(?s)" + "".join(rf".*?{re.escape(text)}" for text in before[-1:]) + r"\s*(.*?)\s*"
    pattern += rf"(?:{re.escape(after[0])}.*)?$" if after else "$"
    return {
        "output_type": "generate_until",
        "doc_to_target": "gold",
        "generation_kwargs": {"until": after[:1] + ends, "do_sample": False, "max_gen_toks": slots * max_new_tokens},
        "filter_list": [
            {
                "name": "answer",
                "filter": [
                    {"function": "regex", "regex_pattern": pattern, "fallback": "[no answer]"},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "ignore_case": True,
                "ignore_punctuation": False,
            }
        ],
    }


def _write(folder: Path, task: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    data = folder / f"{task}.jsonl"
    config = {
        "task": task,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": " ",
        **about,
        "metadata": {"version": 1},
    }
    write_text(folder / f"{task}.yaml", MADE_BY + yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_text(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return task
