"""A strategy of your own in one file.

    cotdistill distill rows.jsonl --plugin examples/rationale_twice.py --strategy rationale-twice

or, installed, through the entry-point group `cotdistill.strategies`. Test yours with `cotdistill.testing`:

    check_strategy(create("rationale-twice"), AutoTokenizer.from_pretrained("your/student"))
"""

from __future__ import annotations

from cotdistill.plugins import strategy
from cotdistill.strategies.forms import Form, Strategy, learn


@strategy("rationale-twice")
def rationale_twice(alpha: float = 0.5) -> Strategy:
    """The rationale before the answer in one task and after it in another.

    Paper: none, an example.
    Loss: (1 - alpha) * L_before + alpha * L_after, each a token mean of its own form.
    """
    before = Form(
        "before",
        "{question}\nReason:",
        (learn(" {rationale}"), learn(" So the answer is"), learn(" {answer}")),
        share=1 - alpha,
    )
    after = Form(
        "after", "{question}\nAnswer:", (learn(" {answer}"), learn(" Because"), learn(" {rationale}")), share=alpha
    )
    return Strategy("rationale-twice", "an example", (before, after), plan=("before",), explain=("before",))
