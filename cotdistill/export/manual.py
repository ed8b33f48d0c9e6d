"""How to ask a student, as its model card says it: with this package, with transformers alone, behind a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cotdistill.answers.answers import render_answer
from cotdistill.data.records import Question
from cotdistill.decoding.text_walk import TextStep, steps_of
from cotdistill.escaping import json_text, markdown_code
from cotdistill.export.snippet import MAX_NEW_TOKENS, MODEL, snippet
from cotdistill.strategies.forms import Form, Strategy
from cotdistill.students.encode import Encoder

EXAMPLE = Question(id="example", question="Where would you put a book?", choices=("the shelf", "the river"))
FOLDER = "student"  # where it is, seen from its card
SERVED = "student"  # the name under which the card's commands serve it


@dataclass(frozen=True)
class Line:
    """A piece of the card; `{0}` is the model: a folder in the run's directory, `there` once it is on the hub."""

    text: str
    there: str = "{0}"

    def here(self) -> str:
        """As the card of a run has it."""
        return self.text.format(FOLDER)

    def on_hub(self, name: str) -> str:
        """As the card of a pushed run has it."""
        return self.text.format(self.there.format(name))


# Read in the sources on 2026-11-27. vLLM: entrypoints/openai/cli_args.py (--lora-modules NAME=PATH, --port),
# engine/arg_utils.py (--served-model-name, --enable-lora), config/lora.py (ranks); completion/protocol.py: a request's
# keys, and that what it leaves out is taken from the model's generation_config.json. llama.cpp: convert_hf_to_gguf.py
# (16 bits unless --outtype f32, --remote), convert_lora_to_gguf.py (--base FOLDER, 32 bits), common/arg.cpp (--lora
# FILE, -m, --port); its server puts BOS before a prompt itself and reads special tokens in it.
VLLM = Line(f"vllm serve {{0}} --served-model-name {SERVED} --port 8000")
VLLM_ADAPTER = Line(f"--lora-modules {SERVED}={{0}} --port 8000")
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # it refuses an adapter above the rank that it is started with
CONVERT = Line("python llama.cpp/convert_hf_to_gguf.py {0} --outfile student.gguf --outtype f32", "--remote {0}")
CONVERT_ADAPTER = Line(  # its converter reads folders only
    "python llama.cpp/convert_lora_to_gguf.py {0} --base BASE --outfile student.gguf", '"$(hf download {0})"'
)
LINES = (Line(MODEL), VLLM, VLLM_ADAPTER, CONVERT, CONVERT_ADAPTER)


def manual(strategy: Strategy, encoder: Encoder, adapter: int | None) -> str:
    """The sections, in Markdown. `encoder`: of the student as it is saved; `adapter`: the rank of adapters that are
    saved alone, None for whole weights."""
    forms = [strategy.form(name) for name in strategy.plan]
    return (
        "## How to ask it\n\n"
        f"{_command()}"
        f"{_transformers(forms, encoder, adapter)}"
        f"{_servers(forms, encoder, adapter)}"
        f"## What it is asked, what it answers\n\n{_question()}{_answer(strategy, encoder)}"
    )


def named(text: str, hub_name: str) -> str:
    """A card's text with its lines for the model's name on the hub."""
    for line in LINES:
        text = text.replace(line.here(), line.on_hub(hub_name))
    return text


def _command() -> str:
    return (
        "### With cotdistill\n\n"
        "In this directory; rows are `{\"id\", \"question\", \"choices\": [...] or null}`, one JSON object a line.\n\n"
        "```sh\n"
        "cotdistill predict . --data questions.jsonl\n"
        "cotdistill predict . --data questions.jsonl --prompts  # what it is asked, word by word\n"
        "```\n\n"
    )  # fmt: skip


def _transformers(forms: Sequence[Form], encoder: Encoder, adapter: int | None) -> str:
    also = ", and peft for its adapters" if adapter else ""
    code = snippet(forms, encoder, EXAMPLE.text(), FOLDER)
    return (
        "### With transformers alone\n\n"
        f"It needs torch and transformers{also}, and gives the answers of `cotdistill predict`: greedy decoding, at "
        f"most {MAX_NEW_TOKENS} tokens per step. Each prompt is tokenised as one text; in training its segments were, "
        f"and where two meet a tokenizer may differ.\n\n```python\n{code}```\n\n"
    )


def _servers(forms: Sequence[Form], encoder: Encoder, adapter: int | None) -> str:
    tokens = encoder.tokens
    steps, end = steps_of(forms, around=tokens.around_prompt), str(tokens.tokenizer.convert_ids_to_tokens(tokens.stop))
    if encoder.start is not None:
        texts = "".join(
            f"{at}. encoder {markdown_code(json_text(step.source))}, decoder {markdown_code(json_text(step.target))}, "
            f"gives `{{{step.fills}}}`{_ended_by(step)}\n"
            for at, step in enumerate(steps, 1)
        )
        return (
            "### Behind a server\n\nIt is an encoder-decoder, which vLLM and llama.cpp's server do not serve. A "
            f"program of your own gives it these texts:\n\n{texts}\n"
        )
    bodies = "".join(
        f"Step {at} gives `{{{step.fills}}}`{_ended_by(step)}:\n\n```json\n{_body(step, end, encoder)}\n```\n\n"
        for at, step in enumerate(steps, 1)
    )
    many = "Requests, in this order" if len(steps) > 1 else "The request"
    return (
        "### Behind vLLM or llama.cpp\n\n"
        f"{_serve(adapter)}"
        f"{many}, to `http://localhost:8000/v1/completions`. Put the question for `{{question}}`"
        f"{', and what came back, stripped, for the other names' if len(steps) > 1 else ''}.\n\n{bodies}"
    )


def _serve(adapter: int | None) -> str:
    if adapter is not None:
        rank = next((one for one in VLLM_RANKS if one >= adapter), adapter)
        vllm = f"vllm serve BASE --enable-lora --max-lora-rank {rank} {VLLM_ADAPTER.here()}"
        convert = CONVERT_ADAPTER.here()
        serve = "llama-server -m BASE.gguf --lora student.gguf --port 8000"
        note = "BASE is the folder of the base model, BASE.gguf the same converted by `convert_hf_to_gguf.py`. "
    else:
        vllm, convert = VLLM.here(), CONVERT.here()
        serve = "llama-server -m student.gguf --port 8000"
        note = ""
    return (
        f"```sh\n{vllm}\n```\n\n"
        "llama.cpp reads GGUF files, which its own converter makes; it knows the tokenizers of published models, not "
        f"those of models made from scratch:\n\n```sh\n{convert}\n{serve}\n```\n\n{note}"
    )


def _ended_by(step: TextStep) -> str:
    return f", which ends at {markdown_code(step.stop)} or with the text" if step.stop else ""


def _body(step: TextStep, end: str, encoder: Encoder) -> str:
    """A request's JSON. `stop_token_ids` and `add_special_tokens` are vLLM's; llama.cpp passes over what it does not
    know, and ends at the tokens that its file names."""
    body = {
        "model": SERVED,
        "prompt": step.prompt,
        "max_tokens": MAX_NEW_TOKENS,
        "temperature": 0,
        "stop": [*([step.stop] if step.stop else []), end],
        "stop_token_ids": sorted(encoder.tokens.stops),
        **({"add_special_tokens": False} if encoder.tokens.adds_to_template else {}),
    }
    return json_text(body)


def _question() -> str:
    return (
        "`{question}` is the question's text. Where it has choices, they follow in lettered lines, but for those "
        "between yes and no or true and false, which are not listed:\n\n"
        f"```text\n{EXAMPLE.text()}\n```\n\n"
    )


def _answer(strategy: Strategy, encoder: Encoder) -> str:
    style, choices, chat = encoder.answers, EXAMPLE.choices or (), encoder.tokens.chat
    shown = markdown_code(render_answer(choices[0], choices, style))
    how = {
        "text": "the text of the choice",
        "letter": "the letter of the choice, in brackets",
        "letter-text": "the letter of the choice in brackets, then its text",
    }[style]
    order = (
        "It gives a rationale first, then an answer that follows from it."
        if strategy.answers_after_rationale
        else "It gives the answer at once; `predict` reports no rationale."
    )
    said = "through the tokenizer's chat template: the prompt is the user's turn" if chat else "in plain text"
    template = (
        "Trained with `--chat`: `apply_chat_template` of the saved tokenizer gives the prompt that it was trained on."
        if chat
        else "Trained without `--chat`: the tokenizer is saved without a chat template, which it has not learned."
    )
    return (
        f"{order} It was trained with `--answers {style}`: an answer is {how}, here {shown}; without choices it is "
        "free text. `predict` reads the choice that is meant, whichever way it is written, and says null where there "
        f"is none to read.\n\nIt is asked {said}. {template}\n\n"
    )
