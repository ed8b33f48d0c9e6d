"""Prompts for teachers: templates shipped as files, rendered strictly.

The completion prompt is SCOTT's (arXiv 2305.01879): demonstrations, then the question, then, where the
teacher is to explain an answer, that answer; a blank line ends a rationale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.data.records import Example
from cotdistill.errors import UsageError

FOLDER = Path(__file__).parent / "prompts"


@dataclass(frozen=True)
class Shot:
    """One demonstration: a question as `Example.text` shows it, its rationale and its answer."""

    text: str
    rationale: str
    answer: str
    subject: str = "The answer"


class PromptTemplate:
    """A Jinja2 template of prompts; an undefined variable is an error.

    Variables: text (the question with its lettered choices), question, choices, task, shots, subject ("The answer", or
    "The statement" for true/false), hint (the answer to explain, "" for SCOTT's empty one, none: no hint).
    """

    def __init__(self, file: Path | None = None, name: str = "completion") -> None:
        from jinja2 import StrictUndefined  # who replays recorded rationales needs no prompt
        from jinja2.sandbox import SandboxedEnvironment

        self.file = file or FOLDER / f"{name}.j2"
        environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "is not UTF-8"
            raise UsageError(f"--prompt {self.file}: {why}") from None
        except Exception as error:  # nested too deeply, too large a constant: a template is foreign code
            line = getattr(error, "lineno", None)
            raise UsageError(f"--prompt {self.file}{f':{line}' if line else ''}: {_said(error)}") from None

    def render(self, example: Example, hint: str | None = None, shots: Sequence[Shot] = ()) -> str:
        """The prompt of one question. Raises `UsageError` for an unknown variable or any error of the template."""
        from jinja2 import UndefinedError

        try:
            prompt = self._template.render(
                text=example.text(),
                question=example.question,
                choices=example.choices,
                task=example.task,
                hint=hint,
                shots=shots,
                subject=subject_words(example),
            )
            prompt.encode()  # half a surrogate pair cannot be sent
            return prompt
        except UndefinedError as error:
            raise UsageError(
                f"--prompt {self.file}: {error}; available: text, question, choices, task, hint, shots and subject"
            ) from None
        except Exception as error:
            raise UsageError(f"--prompt {self.file}: {_said(error)}, in the prompt of {example.id!r}") from None


def _said(error: Exception) -> str:
    from jinja2 import TemplateError

    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"


def subject_words(example: Example) -> str:
    """Statements are true or false, questions have an answer (SCOTT's wording for CREAK)."""
    return "The statement" if example.kind_of_answer == "truefalse" else "The answer"
