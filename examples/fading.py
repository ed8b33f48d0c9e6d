"""A schedule of your own in one file: words of the rationale are masked, more of them the further training is.

    cotdistill distill rows.jsonl --plugin examples/fading.py --strategy cot --rewrite fading
    cotdistill preview rows.jsonl --plugin examples/fading.py --rewrite fading:0.8 --progress 0.5

`progressive` has the rows encoded anew in each pass over them, with the pass's `context.epoch` and `context.progress`.
"""

from __future__ import annotations

from cotdistill.plugins import rewrite
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Draft, FillContext
from cotdistill.strategies.rewrites import PLACEHOLDER, Rewrite
from cotdistill.strategies.units import words


@rewrite("fading")
def fading(most: float = 1.0) -> Rewrite:
    """A word is masked once training has come as far as the word's own draw says, up to a share `most` of the words."""

    def apply(draft: Draft, context: FillContext) -> str:
        draw = rng(context.seed, "fading", draft.example.id, draft.index)
        return " ".join(
            PLACEHOLDER if draw.random() < most * context.progress else word for word in words(draft.rationale)
        )

    return Rewrite(apply, progressive=True)
