"""The code of a model card that asks a student with transformers alone, step by step as the walk does.

A strategy's plan is unrolled: one line builds a prompt, one completes it up to the stop token or the next literal
part, which is appended where the student did not write it. Segments are tokenised apart as in training
(`students.tokens`) and what the student generated stays ids, so the answers are those of `predict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cotdistill.config import PredictConfig
from cotdistill.strategies.forms import Form, Part, Slot
from cotdistill.students.encode import Encoder
from cotdistill.students.tokens import NEUTRAL

MAX_NEW_TOKENS = PredictConfig.model_fields["max_new_tokens"].default
MODEL = 'MODEL, STOPS = "{}"'  # how the code says where the student is
_ENCODE = """
def encode(text):
    return words(text, add_special_tokens=False).input_ids
"""
_SEGMENT = f"""
def segment(text):  # the ids of a text that follows another
    lead, ids = encode("{NEUTRAL}"), encode("{NEUTRAL}" + text)
    return ids[len(lead):] if ids[:len(lead)] == lead else encode(text)
"""
_TEXT = """
def text(ids, until=None):
    whole = words.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return (whole.split(until)[0] if until else whole).strip()
"""
_COMPLETE = """
def complete({arguments}, until=""):  # up to its end or `until`, which is appended where it is missing
    ids, stop = torch.tensor([prompt]), until.strip()
    met = lambda ids, _: torch.tensor([bool(stop) and stop in text(ids[0, len(prompt):])])
    made = model.generate({given}, stopping_criteria=[met])[0, len(prompt):].tolist()
    made = made[:-1] if made[-1] in STOPS else made
    return made if not stop or stop in text(made) else made + {segment}(until)
"""
_DECODER = "ids, attention_mask=torch.ones_like(ids)"
_ENCODER_DECODER = "torch.tensor([source]), decoder_input_ids=ids"


def snippet(forms: Sequence[Form], encoder: Encoder, question: str, folder: str) -> str:
    """Python that asks a student one question; `forms`: those of the plan, `folder`: where the student is.

    It defines `ask(question)`, which gives {slot: text} of the slots that the plan fills, and prints an answer.
    """
    ask = Unrolled(encoder)
    lines = ask.lines(forms)
    both = encoder.start is not None
    limit, segment = MAX_NEW_TOKENS, "segment" if ask.needs_segments else "encode"
    starts = "" if not both else f", decoder_start_token_id={encoder.start}"
    stops = sorted(encoder.tokens.stops, key=lambda stop: stop != encoder.tokens.stop)
    complete = _COMPLETE.format(
        arguments="source, prompt" if both else "prompt", given=_ENCODER_DECODER if both else _DECODER, segment=segment
    )
    head = f"""import torch
from transformers import AutoModelFor{"Seq2SeqLM" if both else "CausalLM"} as AutoModel, AutoTokenizer, GenerationConfig

{MODEL.format(folder)}, {stops}
words, model = AutoTokenizer.from_pretrained(MODEL), AutoModel.from_pretrained(MODEL, dtype="float32")
model.generation_config = GenerationConfig(max_new_tokens={limit}, eos_token_id=STOPS, pad_token_id=STOPS[0]{starts})
"""
    body = "".join(f"    {line}\n" for line in lines)
    parts = [head, _ENCODE, *([_SEGMENT] if ask.needs_segments else []), _TEXT, complete]
    return "\n".join([*parts, f"\ndef ask(question):\n{body}", f"\nprint(ask({question!r}))\n"])


class Unrolled:
    """The body of `ask`. `needs_segments`: a text that follows another has other ids than it has alone."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.tokens = encoder, encoder.tokens
        self.filled: dict[Slot, str] = {}  # the text that ended it, empty where the stop token did
        self.needs_segments = False

    def lines(self, forms: Sequence[Form]) -> list[str]:
        """Statements up to the answer, and the one that returns it."""
        lines = ["question = question.strip()"]
        for form in forms:
            if "answer" not in self.filled:
                lines += self._form(form)
        shown = ", ".join(f'"{slot}": text({slot}{self._until(slot)})' for slot in self.filled)
        return [*lines, f"return {{{shown}}}"]

    def _form(self, form: Form) -> list[str]:
        lines, both = [], []
        prompt = self._source(form)  # expressions to be joined
        if self.encoder.start is not None:
            lines, both = [f"source = {_joined(prompt)}"], ["source"]
            prompt = [f"[{self.encoder.start}]"]
        parts = self.encoder.target(form)
        while parts and "answer" not in self.filled:
            part = parts.pop(0)
            if part.slot is None or part.slot in self.filled:
                prompt.append(self._part(part, part.opening))
                continue
            until = parts.pop(0).text if parts and parts[0].slot is None else ""
            if prompt[0] != "prompt":
                lines.append(f"prompt = {_joined(prompt)}")
                prompt = ["prompt"]
            given = [*both, _joined(prompt), *([repr(until)] if until else [])]
            lines.append(f"{part.slot} = complete({', '.join(given)})")
            self.filled[part.slot] = until
            if until:
                self._literal(until, first=False)
            prompt.append(part.slot)
        return lines

    def _source(self, form: Form) -> list[str]:
        """What a prompt is made of, as expressions."""
        before, after = self.tokens.around if self.tokens.chat else ("", "")
        parts = [self._part(part, at == 0) for at, part in enumerate(form.source_segments())]
        head = [f"encode({before!r})"] if before else [] if self.tokens.chat else _ids(self.tokens.before)
        tail = [f"encode({after!r})"] if after else [] if self.tokens.chat else _ids(self.tokens.after)
        return [*head, *parts, *tail]

    def _part(self, part: Part, first: bool) -> str:
        text = part.text.lstrip() if part.opening else part.text
        if part.slot in self.filled:
            # Ids as they were generated, unless a literal part ended them.
            if not self.filled[part.slot]:
                return part.slot
            self.needs_segments |= not first
            return f'{"encode" if first else "segment"}(" " + text({part.slot}{self._until(part.slot)}))'
        if "{question}" not in text:
            return self._literal(text, first)
        pieces = [repr(piece) for piece in text.split("{question}")]
        joined = " + question + ".join(pieces).removeprefix("'' + ").removesuffix(" + ''")
        self.needs_segments |= not first
        return f"{'encode' if first else 'segment'}({joined})"

    def _literal(self, text: str, first: bool) -> str:
        alone = first or self.tokens.segment(text) == self.tokens.first(text)
        self.needs_segments |= not alone
        return f"{'encode' if alone else 'segment'}({text!r})"

    def _until(self, slot: Slot) -> str:
        return f", {self.filled[slot].strip()!r}" if self.filled[slot] else ""


def _ids(ids: Sequence[int]) -> list[str]:
    return [str(list(ids))] if ids else []


def _joined(expressions: Iterable[str]) -> str:
    return " + ".join(expressions)
