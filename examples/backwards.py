"""A rewrite of your own in one file: the words of each rationale back to front.

    cotdistill distill rows.jsonl --plugin examples/backwards.py --strategy cot --rewrite backwards
    cotdistill ablate rows.jsonl --plugin examples/backwards.py --strategies cot,cascod --rewrite backwards:sentence

or, installed, through the entry-point group `cotdistill.rewrites`. Values behind the name are the factory's arguments.
"""

from __future__ import annotations

from cotdistill.plugins import rewrite
from cotdistill.strategies.forms import Draft, FillContext
from cotdistill.strategies.rewrites import Rewrite
from cotdistill.strategies.units import Unit, units


@rewrite("backwards")
def backwards(level: Unit = "word") -> Rewrite:
    """The last word, sentence or step comes first."""

    def apply(draft: Draft, context: FillContext) -> str:
        found = units(draft.rationale, level)
        return found.join(found.texts[::-1])

    return Rewrite(apply)
