"""Sessions over random token ids: what a decoder is tested with when no text is needed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from cotdistill.decoding.decode import Choice, Prompt


@dataclass
class FreeSession:
    """Decodes `length` tokens; after the n-th one the ids `forced[n]` are appended as well."""

    prompts: list[Prompt]
    length: int
    forced: Mapping[int, list[int]] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)
    out: list[int] = field(default_factory=list)

    def push(self, choice: Choice) -> list[int] | None:
        self.out.append(choice.token)
        return None if len(self.out) >= self.length else [choice.token, *self.forced.get(len(self.out), ())]


def free_sessions(
    count: int, contexts: int, prefix: int, vocabulary: int, seed: int = 0, longest: int = 24
) -> list[FreeSession]:
    """Prompts: one shared prefix, a question that a session's contexts share, a few ids of their own."""
    draw = random.Random(seed)

    def ids(least: int, most: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(draw.randint(least, most))]

    shared = ids(prefix, prefix)
    made = []
    for at in range(count):
        question = ids(1, 30)
        prompts = [Prompt([*shared, *question, *ids(1, 5)]) for _ in range(contexts)]
        made.append(FreeSession(prompts, draw.randint(1, longest), {draw.randint(1, 9): ids(1, 6)}, random.Random(at)))
    return made
