"""`cotdistill elicit`: how a teacher is asked for rationales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from cotdistill.config.common import DEMO, BadRows, Config, ForeignRows
from cotdistill.config.option import Most, option
from cotdistill.config.server import SERVED, SERVER, ServerOptions

QUESTIONS, PROMPT, DECODING = "Teacher and questions", "Prompt", "Decoding"
OUTPUT = "Output"
# What options mean something with; the second half is what a grid has in place of the first.
SAMPLED = "decode=sample|rerank"
CONTRASTED = "decode=contrastive|rerank teacher_decoding=contrastive study"


def _checked(text: str) -> str:
    from cotdistill.answers.thoughts import parse_marker  # its patterns take a while to compile

    parse_marker(text)
    return text


MarkerPair = Annotated[str, AfterValidator(_checked)]


class AskingOptions(ServerOptions):
    """How each question is put to the teacher."""

    hint: Literal["none", "gold"] | None = option(
        None,
        "none: the teacher answers by itself; gold: it explains the gold answer",
        PROMPT,
        shown="gold for contrastive decoding, else none",
    )
    shots: int | None = option(None, "Demonstrations in the prompt", PROMPT, shown="as many as fit", ge=0, le=Most)
    prompt: Path | None = option(None, "Your own Jinja2 prompt template", PROMPT)
    chat: Literal["auto", "on", "off"] = option("auto", "Apply the teacher's chat template", PROMPT)
    reasoning: Literal["drop", "rationale"] = option(
        "drop", "Thinking spans of a reasoning model: drop them, or use them as the rationale", PROMPT
    )
    reasoning_marker: tuple[MarkerPair, ...] = option(
        (),
        "'OPEN CLOSE': further markers around thinking spans, in addition to the known ones (repeatable)",
        PROMPT,
        repeated=True,
    )
    contrast: Literal["wrong", "empty"] = option("wrong", "The answer to contrast with", DECODING, needs=CONTRASTED)
    lambda_: float = option(0.5, "Weight of the contrast", DECODING, ge=0, le=Most, needs=CONTRASTED)
    plausibility: float | None = option(
        None,
        "Mask tokens below this share of the likeliest token's probability",
        DECODING,
        gt=0,
        le=1,
        needs="decode=contrastive teacher_decoding=contrastive study",
    )
    temperature: float = option(1.0, "Sampling temperature", DECODING, gt=0, le=Most, needs=f"{SAMPLED} {CONTRASTED}")
    top_p: float = option(
        1.0, "Nucleus sampling: smallest set of tokens with this probability", DECODING, gt=0, le=1, needs=SAMPLED
    )
    wrong: Literal["random", "hardest", "all"] = option(
        "random", "Wrong answers that counterfactual rationales argue for", DECODING
    )
    samples: int = option(1, "Rationales per question (needs --decode sample or rerank)", DECODING, gt=0, le=Most)
    max_new_tokens: int = option(128, "Maximum tokens generated per rationale", DECODING, gt=0, le=Most)
    batch_size: int = option(16, "Questions decoded at once", DECODING, gt=0, le=Most)
    logprobs: int | None = option(
        None,
        "Store the teacher's K likeliest tokens along each rationale beside the rows, for --kd",
        DECODING,
        key=False,
        gt=0,
        le=1000,
    )
    endpoint: Literal["chat", "completion"] = option("chat", "Endpoint to call", SERVER, needs=SERVED)
    tokenizer: str | None = option(
        None,
        "The served model's tokenizer, a local path or hub name, whose ids --logprobs stores",
        SERVER,
        key=False,
        files=True,
        needs=SERVED,
    )
    price_in: float | None = option(
        None, "Price in dollars per million prompt tokens", SERVER, key=False, ge=0, le=Most
    )
    price_out: float | None = option(
        None, "Price in dollars per million completion tokens", SERVER, key=False, ge=0, le=Most
    )
    keep: Literal["right", "all"] = option("right", "Rationales labelled keep: right answers only, or all", OUTPUT)


class ElicitConfig(AskingOptions, ForeignRows, BadRows, Config):
    """`cotdistill elicit`: question rows in, teacher rationales out."""

    teacher: str = option(
        DEMO, "demo, a local path or hub name, openai:MODEL, recorded:FILE, rows, or a plug-in's", QUESTIONS, files=True
    )
    revision: str | None = option(
        None, "Branch, tag or commit of a hub model; the same as NAME@REVISION", QUESTIONS, key=False
    )
    data: str = option(
        DEMO,
        "demo, a file (JSON, CSV, Parquet), - for stdin, hf:NAME, or a plug-in's",
        QUESTIONS,
        key=False,
        files=True,
    )
    split: str | None = option(None, "Split of the data set", QUESTIONS, shown="train")
    shard: str | None = option(None, "I/N: process only the I-th of N consecutive parts of the rows", QUESTIONS)
    decode: Literal["greedy", "sample", "contrastive", "rerank"] = option(
        "greedy", "How rationales are decoded", DECODING
    )
    counterfactual: bool = option(False, "Also elicit a rationale for a wrong answer", DECODING)
    only: Literal["factual", "counterfactual"] | None = option(
        None, "Elicit only this kind of rationale; with --mix, in addition to those in --out", DECODING
    )
    for_: str | None = option(None, "Elicit the rationales that this strategy needs", DECODING)
    mix: bool = option(False, "Keep rationales in --out that were elicited with other settings", OUTPUT, key=False)
    retry_failed: bool = option(False, "Repeat the calls that failed in an earlier run", OUTPUT, key=False)
    out: Path | None = option(
        None, "Output file; the same command resumes it", OUTPUT, key=False, names=("--out", "-o"), shown="stdout"
    )

    @property
    def hinted(self) -> bool:
        """Whether the teacher is told the answer it explains; contrasting two answers implies the gold hint."""
        return self.hint == "gold" or (self.hint is None and self.contrasts)

    @property
    def contrasts(self) -> bool:
        """Whether a second prompt, with another answer, takes part."""
        return self.decode in ("contrastive", "rerank")
