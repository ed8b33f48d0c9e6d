"""Thinking spans of reasoning models: the markers of every family, and the text outside them.

The table is data: another family is another line, or a user's option. Sources are the models' chat
templates and the reasoning parsers that inference servers carry for them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple


class Marker(NamedTuple):
    """The opening and closing marker of a family's thoughts.

    `prose`: made of ordinary words, so that it counts at the head of a text only; `glued`: what is left of
    special tokens that were dropped, with the next word right behind it.
    """

    open: str
    close: str
    prose: bool = False
    glued: bool = False


MARKERS = (
    Marker("<think>", "</think>"),  # DeepSeek, Qwen, GLM, Nemotron, Phi-4, EXAONE 4, Granite 3.3, MiniMax, Hunyuan, ...
    Marker("<thinking>", "</thinking>"),
    Marker("<thought>", "</thought>"),  # EXAONE Deep
    Marker("<thoughts>", "</thoughts>"),
    Marker("<reasoning>", "</reasoning>"),  # Reka, SFT sets in R1's manner
    Marker("<reason>", "</reason>"),
    Marker("<reflection>", "</reflection>"),
    Marker("<analysis>", "</analysis>"),
    Marker("<scratchpad>", "</scratchpad>"),
    Marker("<inner_monologue>", "</inner_monologue>"),
    Marker("<longcat_think>", "</longcat_think>"),  # LongCat
    Marker("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marker("<mm:think>", "</mm:think>"),  # MiniMax M3
    Marker("◁think▷", "◁/think▷"),  # Kimi-VL, Kimi K2 Thinking
    Marker("[THINK]", "[/THINK]"),  # Magistral
    Marker("[unused16]", "[unused17]"),  # Pangu
    Marker("<unused94>", "<unused95>"),  # MedGemma
    Marker("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # harmony: gpt-oss
    Marker("<|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
    Marker("<|channel>", "<channel|>"),  # Gemma 4
    Marker("analysis", "assistantfinal", prose=True, glued=True),  # harmony without its special tokens
    Marker("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThoughts, Sky-T1
    Marker("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    Marker("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marker("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>"),  # PLaMo 3
    Marker("<|think_start|>", "<|think_end|>"),
    Marker("Here is my thought process:", "Here is my response:", prose=True),  # Granite 3.2
    Marker("Here's my thought process:", "Here's my response:", prose=True),
)
_STEMS = tuple({word.lower() for marker in MARKERS for word in (marker.open, marker.close)})
_AROUND_ANSWERS = (  # markers of the answer in the same families; dropped with the thoughts
    "<|begin_of_solution|>", "<|end_of_solution|>", "<response>", "</response>", "<|START_RESPONSE|>",
    "<|END_RESPONSE|>", "<|start|>assistant", "<|start|>", "<|end|>", "<|return|>", "<|im_end|>",
    "<|channel|>final<|message|>",
)  # fmt: skip
_UNKNOWN = re.compile(
    r"<\|?/?[\w:-]{0,20}(?:think|thought|reason|reflect|monologue|scratchpad)[\w:-]{0,20}\|?>"
    r"|\[/?[A-Z_]{0,12}(?:THINK|THOUGHT|REASON)[A-Z_]{0,12}\]|◁/?\w{1,24}▷",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Span:
    """text[start:end] are thoughts with their markers, text[inner:close] without; `open`: they did not end."""

    start: int
    inner: int
    close: int
    end: int
    open: bool


def spans(text: str, markers: tuple[Marker, ...] = MARKERS) -> list[Span]:
    """Every span of thoughts in order.

    A chat template may open the span in the prompt, so that only its end is generated: what comes before
    the first closing marker is thoughts then.
    """
    clues, pattern, opens, closes = _tokens(markers)
    thoughts: list[Span] = []
    if not any(map(text.__contains__, clues)):
        return thoughts
    marker: Marker | None = None
    start = inner = 0
    for match in pattern.finditer(text):
        token = match[0].strip().lower()
        if marker is None:
            opened = opens.get(token)
            if opened is not None and _counts(opened, text, match):
                marker, start, inner = opened, match.start(), match.end()
            elif token in closes and not thoughts and not closes[token].prose:
                thoughts.append(Span(0, 0, match.start(), match.end(), open=False))
        elif token == marker.close.lower():
            thoughts.append(Span(start, inner, match.start(), match.end(), open=False))
            marker = None
    if marker is not None:
        thoughts.append(Span(start, inner, len(text), len(text), open=True))
    return thoughts


def split_thoughts(text: str, markers: tuple[Marker, ...] = MARKERS) -> tuple[str | None, str]:
    """(the thoughts, the text outside them); None where there are none. Thoughts without an end have no answer."""
    blocks = spans(text, markers)
    if not blocks:
        return None, text
    outside, at = [], 0
    for span in blocks:
        outside.append(text[at : span.start])
        at = span.end
    outside.append(text[at:])
    thoughts = "\n".join(_bare(text[span.inner : span.close]) for span in blocks)
    return thoughts.strip(), "\n".join(filter(None, map(_bare, outside)))


def parse_marker(text: str) -> Marker:
    """A marker given as "OPEN CLOSE". Raises `ValueError` for anything but two different words."""
    words = text.split()
    if len(words) != 2 or words[0] == words[1]:
        raise ValueError("takes 'OPEN CLOSE', two different words")
    return Marker(words[0], words[1])


def answer_region(text: str) -> tuple[int, int]:
    """Where the answer may be, (begin, end): after the last thoughts that ended, before any that did not."""
    if not ("<" in text or "[" in text or "◁" in text or text.lstrip().startswith(("analysis", "Here"))):
        return 0, len(text)
    lower = text.lower()
    thoughts = spans(text) if any(word in lower for word in _STEMS) else []
    ended = [span.end for span in thoughts if not span.open]
    return ended[-1] if ended else 0, thoughts[-1].start if thoughts and thoughts[-1].open else len(text)


def unknown_marker(text: str, markers: tuple[Marker, ...] = MARKERS) -> str | None:
    """The first thing in `text` that looks like a thinking marker and is not in the table."""
    if not ("<" in text or "[" in text or "◁" in text):
        return None
    known = {word.lower() for marker in markers for word in (marker.open, marker.close)}
    return next((match[0] for match in _UNKNOWN.finditer(text) if match[0].lower() not in known), None)


def _bare(text: str) -> str:
    for mark in _AROUND_ANSWERS:
        text = text.replace(mark, "\n" if mark.startswith("<|channel") else "")
    return text.strip()


def _counts(marker: Marker, text: str, match: re.Match[str]) -> bool:
    """Whether ordinary words are a marker here: at the head, and where glued before a capital or closed later."""
    if marker.prose and text[: match.start()].strip():
        return False
    return not marker.glued or text[match.end() : match.end() + 1].isupper() or marker.close in text


@lru_cache(maxsize=16)
def _tokens(
    markers: tuple[Marker, ...],
) -> tuple[tuple[str, ...], re.Pattern[str], dict[str, Marker], dict[str, Marker]]:
    """What a text with any marker holds one of, a pattern for every marker, and whose opening or closing one each is.

    A marker's first two characters tell, or all of it where it is made of letters: most texts have none, and to look
    for a few words in them takes a fiftieth of the pattern's time.
    """
    words = {form for marker in markers for word in (marker.open, marker.close)
             for form in (word, word.lower(), word.upper(), word.title())}  # fmt: skip
    glued = {marker.open for marker in markers if marker.glued}
    alternatives = [re.escape(word) for word in sorted(words - glued, key=len, reverse=True)
                    if word.lower() not in glued]  # fmt: skip
    alternatives += [rf"\A\s*{re.escape(word)}" for word in sorted(glued)]
    clues = {word if word[0].isalnum() else word[:2] for word in words}
    openings = {marker.open.lower(): marker for marker in markers}
    closings = {marker.close.lower(): marker for marker in reversed(markers)}
    return tuple(sorted(clues)), re.compile("|".join(alternatives)), openings, closings
