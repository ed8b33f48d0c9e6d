"""What it means for options, keys and records that a student is asked behind a server (`--model openai:NAME`)."""

from __future__ import annotations

from cotdistill.config import EvaluateConfig, StudentOptions
from cotdistill.config.server import PREFIX
from cotdistill.data.files import json_digest
from cotdistill.errors import UsageError
from cotdistill.redaction import redacted


def check_served(config: StudentOptions) -> None:
    """Refuse what a server cannot do, before anything is asked. Raises `UsageError`."""
    if config.model is None:
        return
    if not config.model.startswith(PREFIX):
        raise UsageError(
            f"--model {config.model}: name a served model, openai:NAME; a local one is given as the argument"
        )
    for option, given in (
        ("--score choices", config.score == "choices"),
        ("--think-budget", config.think_budget is not None),
        ("--think-budgets", isinstance(config, EvaluateConfig) and bool(config.think_budgets)),
        ("--connectors free", config.connectors == "free"),
        ("--flip-rate", isinstance(config, EvaluateConfig) and config.flip_rate is not None),
    ):
        if given:
            raise UsageError(
                f"{option}: a server only completes text; omit it, or evaluate the student without --model"
            )


def served_name(config: StudentOptions) -> dict[str, str]:
    """What records say about who was asked; no password."""
    return {"model": str(config.model), "base_url": redacted(config.base_url or "")}


def served_key(config: StudentOptions, key: str) -> str:
    """The key of what was asked: the run's, and the server's name and address where there is one."""
    return key if config.model is None else json_digest([key, served_name(config)])
