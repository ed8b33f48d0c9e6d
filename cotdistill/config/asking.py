"""`cotdistill elicit`: how a teacher is asked for rationales."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cotdistill.config.common import DEMO, BadRows, Config, ForeignRows, Options
from cotdistill.config.option import Most, option
from cotdistill.config.server import JsonObject, ServerUrl

QUESTIONS, PROMPT, DECODING = "Teacher and questions", "Prompt", "Decoding"
SERVER, OUTPUT = "Server (openai:MODEL)", "Output"


class AskingOptions(Options):
    """How each question is put to the teacher."""

    hint: Literal["none", "gold"] | None = option(
        None, "none: the teacher answers by itself; gold: it explains the gold answer", PROMPT,
        shown="gold for contrastive decoding, else none")
    shots: int | None = option(None, "Demonstrations in the prompt", PROMPT, shown="as many as fit", ge=0, le=Most)
    prompt: Path | None = option(None, "Your own Jinja2 prompt template", PROMPT)
    chat: Literal["auto", "on", "off"] = option("auto", "Apply the teacher's chat template", PROMPT)
    reasoning: Literal["drop", "rationale"] = option(
        "drop", "Thinking spans of a reasoning model: drop them, or take them as the rationale", PROMPT)
    reasoning_marker: tuple[str, ...] = option(
        (), "'OPEN CLOSE': what opens and closes thinking spans, beside the known markers (repeatable)", PROMPT,
        repeated=True)
    contrast: Literal["wrong", "empty"] = option("wrong", "The answer that is contrasted with", DECODING)
    lambda_: float = option(0.5, "Weight of the contrast", DECODING, ge=0, le=Most)
    plausibility: float | None = option(None, "Mask tokens below this share of the likeliest token's probability",
                                        DECODING, gt=0, le=1)
    temperature: float = option(1.0, "Sampling temperature", DECODING, gt=0, le=Most)
    top_p: float = option(1.0, "Nucleus sampling: smallest set of tokens with this probability", DECODING, gt=0, le=1)
    wrong: Literal["random", "hardest", "all"] = option(
        "random", "Which wrong answers counterfactual rationales argue for", DECODING)
    samples: int = option(1, "Rationales per question (needs --decode sample or rerank)", DECODING, gt=0, le=Most)
    max_new_tokens: int = option(128, "Most tokens generated per rationale", DECODING, gt=0, le=Most)
    batch_size: int = option(16, "Questions decoded at once", DECODING, gt=0, le=Most)
    base_url: ServerUrl | None = option(None, "URL of the server; the key is read from OPENAI_API_KEY only", SERVER)
    endpoint: Literal["chat", "completion"] = option("chat", "Which endpoint is asked", SERVER)
    extra_body: JsonObject | None = option(
        None, """JSON object of further parameters for every request, e.g. '{"top_k": 20}'""", SERVER)
    concurrency: int = option(8, "Requests in flight", SERVER, key=False, gt=0, le=10_000)
    retries: int = option(6, "Times a failed request is repeated", SERVER, key=False, ge=0, le=1000)
    timeout: float = option(120.0, "Seconds a request may take", SERVER, key=False, gt=0, le=Most)
    price_in: float | None = option(None, "Dollars per million prompt tokens, for the bill", SERVER, key=False, ge=0,
                                    le=Most)
    price_out: float | None = option(None, "Dollars per million completion tokens, for the bill", SERVER, key=False,
                                     ge=0, le=Most)
    keep: Literal["right", "all"] = option("right", "Which rationales are labelled for training", OUTPUT)


class ElicitConfig(AskingOptions, ForeignRows, BadRows, Config):
    """`cotdistill elicit`: question rows in, teacher rationales out."""

    teacher: str = option(DEMO, "demo, a local path or hub name, openai:MODEL, recorded:FILE, or rows", QUESTIONS,
                          files=True)
    revision: str | None = option(None, "Of a hub model: branch, tag or commit, short for NAME@REVISION", QUESTIONS,
                                  key=False)
    data: str = option(DEMO, "demo, a file (JSON, CSV or Parquet), - for stdin, or hf:NAME", QUESTIONS, key=False,
                       files=True)
    split: str | None = option(None, "Split of the data set", QUESTIONS, shown="train")
    shard: str | None = option(None, "I/N: only part I of N consecutive parts of the rows", QUESTIONS)
    decode: Literal["greedy", "sample", "contrastive", "rerank"] = option(
        "greedy", "How rationales are decoded", DECODING)
    counterfactual: bool = option(False, "Also elicit a rationale for a wrong answer", DECODING)
    only: Literal["factual", "counterfactual"] | None = option(
        None, "Elicit this kind of rationale alone; with --mix, beside what --out holds", DECODING)
    for_: str | None = option(None, "Elicit what this strategy needs", DECODING)
    mix: bool = option(False, "Keep rationales in --out that were made under other settings", OUTPUT, key=False)
    retry_failed: bool = option(False, "Ask again where an earlier run failed", OUTPUT, key=False)
    out: Path | None = option(None, "File to write; the same command resumes it", OUTPUT, key=False,
                              names=("--out", "-o"), shown="stdout")

    @property
    def hinted(self) -> bool:
        """Whether the teacher is told the answer it explains; contrasting two answers implies the gold hint."""
        return self.hint == "gold" or (self.hint is None and self.contrasts)

    @property
    def contrasts(self) -> bool:
        """Whether a second prompt, with another answer, takes part."""
        return self.decode in ("contrastive", "rerank")
