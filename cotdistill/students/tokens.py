"""Segment-wise tokenisation: a sequence's ids are its segments' ids joined, never text re-tokenised and sliced.

A segment's ids are those it gets after a fixed neutral prefix, the prefix's ids removed: tokenizers that
prepend a blank (Llama 2) would otherwise split " So" into two. The first segment of a sequence has no prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.console import warn_once
from cotdistill.errors import Unavailable, UsageError

NEUTRAL = "x"
LISTED = re.compile(r"""["']type["']: ["']text["']""")  # a list of parts printed verbatim
TEMPLATES = ("chat_template.jinja", "tokenizer_config.json")  # files that hold a chat template, the newer one first
ASKED, ANSWERED = ("<<asked>>", "<<answered>>")  # placeholders for the two turns while a chat template is taken apart


class SegmentTokenizer:
    """A Hugging Face tokenizer that answers per segment.

    before, after: ids around every source (BOS; EOS after an encoder's input; a chat template's turns).
    stop: the id that ends a target. stops: it and `ends`, the ids that end what is generated.
    pad: any valid id, never attended to. unknown: the id of text that has no token, None where there is none.
    chat: the source is the user's turn of the tokenizer's chat template, the target the assistant's.
    """

    def __init__(self, tokenizer: Any, encoder_decoder: bool, chat: bool = False, ends: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.chat = chat
        bare, full = self._ids([NEUTRAL])[0], tokenizer(NEUTRAL)["input_ids"]
        at = _find(bare, full)
        self.before: list[int] = full[:at]
        self.after: list[int] = full[at + len(bare) :] if encoder_decoder else []
        self._added = "".join(map(str, tokenizer.convert_ids_to_tokens(self.before)))  # before every text, by itself
        if tokenizer.eos_token_id is None:
            raise UsageError("the student's tokenizer has no end-of-sequence token; a target could never end")
        self.stop: int = tokenizer.eos_token_id
        self.pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.stop
        # GPT-2 declares its end of text as the unknown token, but never produces it from text.
        unknown, others = tokenizer.unk_token_id, (tokenizer.eos_token_id, tokenizer.bos_token_id)
        self.unknown: int | None = None if unknown in others else unknown
        self.around: tuple[str, str] = ("", "")  # the chat template's text before and after the user's message
        self._prefix = bare
        self._cache: dict[tuple[bool, str], tuple[int, ...]] = {}
        if chat:
            self._take_template_apart()
        self.stops = frozenset({self.stop, *ends})

    def warm(self, first: Iterable[str], rest: Iterable[str]) -> None:
        """Tokenise many segments in two batches (the fast tokenizers' strength); `segment` then looks them up."""
        for is_first, texts in ((True, first), (False, rest)):
            new = list({text for text in texts if (is_first, text) not in self._cache})
            if new:
                lead = "" if is_first else NEUTRAL
                for text, ids in zip(new, self._ids([lead + text for text in new]), strict=True):
                    self._cache[is_first, text] = tuple(ids if is_first else self._without_prefix(text, ids))

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Segments that are tokenised inside the block are forgotten after it."""
        known = len(self._cache)
        try:
            yield
        finally:
            for new in [*islice(self._cache, known, None)]:
                del self._cache[new]

    def first(self, text: str) -> tuple[int, ...]:
        """Ids of a sequence's first segment, without special tokens."""
        if (True, text) not in self._cache:
            self.warm([text], [])
        return self._cache[True, text]

    def segment(self, text: str) -> tuple[int, ...]:
        """Ids of a later segment; it begins with its blank."""
        if (False, text) not in self._cache:
            self.warm([], [text])
        return self._cache[False, text]

    def text(self, ids: Iterable[int]) -> str:
        """Text of generated ids, special tokens left out, blanks as generated."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @property
    def around_prompt(self) -> tuple[str, str] | None:
        """`around` for whoever tokenises a prompt as this tokenizer does by itself, as servers do: without the special
        tokens (BOS) that it adds. None where there is no chat template."""
        return (self.around[0].removeprefix(self._added), self.around[1]) if self.chat else None

    @property
    def adds_to_template(self) -> bool:
        """Whether the tokenizer by itself puts special tokens before a prompt that the chat template has not."""
        return self.chat and not self.around[0].startswith(self._added)

    def _take_template_apart(self) -> None:
        """before, after and stop from the chat template, verbatim: no marker is added or removed."""
        if not self.tokenizer.chat_template:
            raise UsageError("the student's tokenizer has no chat template; omit --chat")
        turns = [{"role": "user", "content": ASKED}]
        prompt = self._render(turns, add_generation_prompt=True)
        closed = self._render([*turns, {"role": "assistant", "content": ANSWERED}], add_generation_prompt=False)
        if prompt.count(ASKED) != 1 or closed.count(ANSWERED) != 1:
            raise UsageError("the student's chat template changes or repeats its messages; omit --chat")
        head, tail = self.around = prompt.split(ASKED)[0], prompt.split(ASKED)[1]
        if "think" in tail:
            warn_once(f"the chat template opens the answer with {tail.strip()!r}; targets follow it as it is")
        self.before, self.after = self._ids([head])[0] if head else [], self._ids([tail])[0] if tail else []
        # A template may begin the answer on a new line or with its own blank; the target then has
        # none.
        ending = self._ids([closed.split(ANSWERED)[1].lstrip()])[0]
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        self.stop = next((token for token in ending if token in special), self.stop)

    def _render(self, turns: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return render_chat(self.tokenizer, turns, add_generation_prompt, "omit --chat")

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []

    def _without_prefix(self, text: str, ids: list[int]) -> list[int]:
        if ids[: len(self._prefix)] == self._prefix:
            return ids[len(self._prefix) :]
        # The tokenizer merged the prefix into the segment: tokenise it alone.
        return self._ids([text])[0]


def render_chat(tokenizer: Any, turns: Sequence[Mapping[str, Any]], add_generation_prompt: bool, remedy: str) -> str:
    """Turns in the tokenizer's chat template, as text.

    Templates of models that see images want a list of parts as content and silently drop plain text:
    where their output lacks the text, it is given as a part. Raises `Unavailable` where the template
    itself raises, `UsageError` where the messages are lost nevertheless.
    """
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    failure: Exception | None = None
    for chat in (list(turns), parts):
        try:
            rendered = str(
                tokenizer.apply_chat_template(
                    chat, tokenize=False, return_dict=False, add_generation_prompt=add_generation_prompt
                )
            )
        except Exception as error:  # a template is a program and may raise anything
            failure = error if chat is not parts else failure
            continue
        if _holds(rendered, turns) and not (chat is parts and LISTED.search(rendered)):
            return rendered
    if failure is None:
        raise UsageError(f"the chat template of {tokenizer.name_or_path} changes or loses its messages; {remedy}")
    folder = Path(tokenizer.name_or_path)
    file = next((folder / name for name in TEMPLATES if (folder / name).is_file()), folder)
    why = str(failure).strip().splitlines() or [type(failure).__name__]
    raise Unavailable(f"{file}: the chat template fails ({why[0]}); correct it, or {remedy}") from failure


def _holds(text: str, turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a text has the content of every turn; templates may trim it."""
    words = " ".join(text.split())
    return all(" ".join(turn["content"].split()) in words for turn in turns)


def _find(part: list[int], whole: list[int]) -> int:
    for at in range(len(whole) - len(part) + 1):
        if whole[at : at + len(part)] == part:
            return at
    return len(whole)
