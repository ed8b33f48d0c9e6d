"""The code of a model card that asks a student with transformers alone: ten lines for a plan of two steps.

One line a step of `decoding.text_walk`: its prompt as an f-string, and the text that ends it. The texts are those that
a server is sent, so the answers are those of `predict` wherever tokens at the borders of segments are the same in the
joined text (`students.tokens`) and the student writes words in the tokens that its tokenizer gives them. Two more lines
are needed for an encoder-decoder, whose target begins with tokens of its own, and one for each further step of a plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotdistill.config import PredictConfig
from cotdistill.decoding.text_walk import TextStep, steps_of
from cotdistill.strategies.forms import SLOTS, Form
from cotdistill.students.encode import Encoder

MAX_NEW_TOKENS = PredictConfig.model_fields["max_new_tokens"].default
# How the code says where the student is.
MODEL = 'words, model = AutoTokenizer.from_pretrained("{0}"), AutoModel.from_pretrained("{0}", dtype="float32")'
_PLACES = re.compile(f"({'|'.join(re.escape(f'{{{name}}}') for name in ('question', *SLOTS))})")
_DECODER = """\
from transformers import AutoModelForCausalLM as AutoModel, AutoTokenizer

{model}

def write(prompt, until={end}):
    ids = words(prompt, return_tensors="pt"{plain}, return_token_type_ids=False)
    made = model.generate(**ids, max_new_tokens={limit}, stop_strings=until, tokenizer=words)[0]
    return words.decode(made[ids.input_ids.shape[1]:], skip_special_tokens=True{as_it_is}).split(until)[0].strip()

"""
_ENCODER_DECODER = """\
import torch
from transformers import AutoModelForSeq2SeqLM as AutoModel, AutoTokenizer

{model}

def write(source, target, until={end}):
    ids = words(source, return_tensors="pt", return_token_type_ids=False)
    head = torch.tensor([[{start}, *words(target, add_special_tokens=False).input_ids]])
    made = model.generate(**ids, decoder_input_ids=head, max_new_tokens={limit}, stop_strings=until, tokenizer=words)[0]
    return words.decode(made[head.shape[1]:], skip_special_tokens=True{as_it_is}).split(until)[0].strip()

"""


def snippet(forms: Sequence[Form], encoder: Encoder, question: str, folder: str) -> str:
    """Python that asks a student one question; `forms`: those of the plan, `folder`: where the student is.

    It names what each step fills (`rationale`, `answer`), and prints it.
    """
    tokens = encoder.tokens
    steps = steps_of(forms, around=tokens.around_prompt)
    head = (_DECODER if encoder.start is None else _ENCODER_DECODER).format(
        model=MODEL.format(folder),
        end=repr(str(tokens.tokenizer.convert_ids_to_tokens(tokens.stop))),
        plain=", add_special_tokens=False" if tokens.adds_to_template else "",
        as_it_is=", clean_up_tokenization_spaces=False" if tokens.tokenizer.clean_up_tokenization_spaces else "",
        limit=MAX_NEW_TOKENS,
        start=encoder.start,
    )
    asked = "".join(f"{step.fills} = write({_texts(step, encoder)})\n" for step in steps)
    shown = ", ".join(f'"{step.fills}": {step.fills}' for step in steps)
    return f"{head}question = {question!r}\n{asked}print({{{shown}}})\n"


def _texts(step: TextStep, encoder: Encoder) -> str:
    texts = [step.prompt] if encoder.start is None else [step.source, step.target]
    return ", ".join([*map(_template, texts), *([repr(step.stop)] if step.stop else [])])


def _template(text: str) -> str:
    """A step's text as Python writes it: an f-string where it has slots."""
    pieces = _PLACES.split(text)
    if len(pieces) == 1:
        return repr(text)
    escaped = [piece if at % 2 else piece.replace("{", "{{").replace("}", "}}") for at, piece in enumerate(pieces)]
    return "f" + repr("".join(escaped))
