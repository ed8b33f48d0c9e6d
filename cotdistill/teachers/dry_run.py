"""`elicit --dry-run`: the calls that would be made, their number and their cost."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import ElicitConfig
from cotdistill.console import emit, say, show
from cotdistill.teachers.calls import Call, Teacher
from cotdistill.teachers.yields import dollars, money


def report_dry_run(config: ElicitConfig, teacher: Teacher, calls: Sequence[Call]) -> None:
    """One rendered prompt and the totals: for people on stderr, as one JSON line on stdout.

    Completions are counted at their limit, `--max-new-tokens`: the cost is an upper bound.
    """
    prompts = sum(teacher.count(call.prompt) + (teacher.count(call.contrast) if call.contrast else 0) for call in calls)
    completions = len(calls) * config.max_new_tokens * (config.samples if config.decode == "rerank" else 1)
    cost = money(prompts, completions, config.price_in, config.price_out)
    rows = len({call.example.id for call in calls})
    show(calls[0].prompt)
    say(
        f"{rows} rows, {len(calls)} calls to {teacher.name}, {prompts} prompt tokens, at most {completions} "
        f"completion tokens{f', at most {dollars(cost)}' if cost is not None else ''}"
    )
    emit(
        {
            "dry_run": {
                "rows": rows,
                "calls": len(calls),
                "teacher": teacher.name,
                "prompt_tokens": prompts,
                "completion_tokens_at_most": completions,
                "cost_at_most": cost,
                "prompt": calls[0].prompt,
                "decoding": dict(calls[0].decoding),
            }
        }
    )
