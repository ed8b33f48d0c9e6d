"""How an answer is written in a student's text. Apart, as the command line needs it and none of what reads answers."""

from typing import Literal

AnswerStyle = Literal["text", "letter", "letter-text"]
