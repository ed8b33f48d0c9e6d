"""A server's tokens as a tokenizer's ids, and its log probabilities along a rationale as `distill --kd` learns them.

A server tells tokens by their text (or by id). Texts are looked up among those that the tokenizer named by --tokenizer
gives its ids; a likeliest token that has none there counts for the rest. What the server generated is laid beside the
rationale as students tokenise it, and the longest stretch in which both agree is recorded: a chat's first word has no
blank before it, and the last token may hold more than the rationale does.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cached_property

import numpy as np

from cotdistill.data.distributions import Recorded, vocabulary_digest
from cotdistill.data.said import Said
from cotdistill.errors import Unavailable, UsageError
from cotdistill.students.load import load_tokenizer
from cotdistill.students.places import locate
from cotdistill.students.tokens import NEUTRAL, SegmentTokenizer

BROKEN = "\ufffd"  # what a piece of a character decodes to
UNKNOWN = -2  # id of a token that the vocabulary does not have; -1 fills up


class ServedTokens:
    """The tokenizer of `--tokenizer`, for `--logprobs k`."""

    def __init__(self, name: str, k: int, trust_remote_code: bool) -> None:
        self.name, self.k = name, k
        self.tokens = SegmentTokenizer(load_tokenizer(locate(name), name, trust_remote_code), encoder_decoder=False)
        self.agreed = False

    @property
    def vocabulary(self) -> str:
        """Digest of its vocabulary."""
        return vocabulary_digest(self.tokens.tokenizer.get_vocab())

    @cached_property
    def ids(self) -> dict[str, int]:
        """{text: id}, as each stands behind other text; of several with one text the one that it is tokenised to."""
        tokenizer = self.tokens.tokenizer
        before = self.tokens.first(NEUTRAL)
        cut = len(tokenizer.decode(list(before), clean_up_tokenization_spaces=False))
        found: dict[str, int] = {}
        for id_ in sorted(tokenizer.get_vocab().values()):
            text = tokenizer.decode([*before, id_], clean_up_tokenization_spaces=False)[cut:]
            if not text or BROKEN in text:
                continue
            if text in found:
                (found[text],) = alone if len(alone := self.tokens.segment(text)) == 1 else (found[text],)
            else:
                found[text] = id_
        return found

    def id_of(self, token: str | int) -> int:
        """A server's token as an id; UNKNOWN where there is none."""
        if isinstance(token, int):
            return token if 0 <= token < len(self.tokens.tokenizer) else UNKNOWN
        return self.ids.get(token, UNKNOWN)

    def along(self, text: str, said: Sequence[Said]) -> Recorded:
        """The k likeliest tokens along a rationale, where server and tokenizer cut it alike: [t] of its tokens."""
        own = self.tokens.segment(" " + text.strip()) if text.strip() else ()
        given = [self.id_of(one.token) for one in said]
        same = SequenceMatcher(None, own, given, autojunk=False).find_longest_match()
        size = same.size if 2 * same.size >= len(own) else 0
        known = [self._known(one) for one in said[same.b : same.b + size]]
        size = next((at for at, likeliest in enumerate(known) if not likeliest), size)
        ids, logprobs = np.full((size, self.k), -1, np.int32), np.full((size, self.k), -np.inf, np.float16)
        for row, likeliest in enumerate(known[:size]):
            for at, (id_, value) in enumerate(likeliest):
                ids[row, at], logprobs[row, at] = id_, value
        return Recorded(np.array(own[same.a : same.a + size], np.int32), ids, logprobs)

    def _known(self, said: Said) -> list[tuple[int, float]]:
        """The k likeliest tokens at a place that the vocabulary has, each once."""
        found: dict[int, float] = {}
        for token, value in said.top:
            found.setdefault(self.id_of(token), value)
        found.pop(UNKNOWN, None)
        return list(found.items())[: self.k]

    def check(self, text: str, said: Sequence[Said]) -> None:
        """Refuse what cannot be stored, at the first reply.

        Raises `Unavailable` where the server told nothing, `UsageError` where it told fewer than k or other tokens.
        """
        if self.agreed or not text.strip():
            return
        if not any(one.top for one in said):
            raise Unavailable(
                "the server returns no log probabilities; omit --logprobs, or use a server or model that gives them"
            )
        most = max(len(one.top) for one in said)
        if most < self.k:
            raise UsageError(f"--logprobs {self.k}: the server tells {most} of each token; take --logprobs {most}")
        if not len(self.along(text, said).tokens):
            raise UsageError(
                f"--tokenizer {self.name}: the server cuts {text.strip()[:40]!r} into other tokens; name the tokenizer "
                "of the model that it serves, or omit --logprobs"
            )
        self.agreed = True
