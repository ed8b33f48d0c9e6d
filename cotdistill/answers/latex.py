"""LaTeX in plain characters: \\frac{1}{2} is 1/2, \\text{east} is east, 10,\\!080 is 10,080."""

import re

_WRAPPER = re.compile(  # commands that only format text
    r"\\(?:text[a-z]*|math(?:rm|bf|it|sf|tt|bb|cal|normal|frak)|[mhf]box|boxed|operatorname\*?|emph|underline|ensuremath"
    r"|bm|boldsymbol|overline|bold|(?:textcolor|color)\s*\{\w*\})\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"(?<![\\\w])?\\[dtcx]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\w))")
_NEGATIVE = re.compile(r"\A\s*-\s*(\d[\d.,]*)\s*\Z")  # above or below a stroke, the sign is the fraction's
_ROOT = re.compile(r"\\sqrt\s*(?:\[([^][{}]*)\])?\s*(?:\{([^{}]*)\}|(\w))")
_SCRIPT = re.compile(r"([\^_])\s*\{([^{}]*)\}")
_PAIR = re.compile(r"\$\$?([^$\n]*)\$\$?")
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)\s?|(.))", re.DOTALL)
_SYMBOLS = {
    "times": "×", "cdot": "×", "ast": "×", "div": "÷", "pm": "±", "mp": "∓", "pi": "π", "infty": "∞", "degree": "°",
    "circ": "°", "approx": "≈", "sim": "≈", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠",
    "cup": "∪", "cap": "∩", "in": "∈", "ldots": "...", "dots": "...", "lbrace": "{", "rbrace": "}", "to": "→",
    "rightarrow": "→", "implies": "⇒", "Rightarrow": "⇒", "therefore": "∴", "quad": " ", "qquad": " ",
    "pounds": "£", "euro": "€", "percent": "%", "minus": "-", "bf": "", "rm": "", "it": "", "displaystyle": "",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "boxed": "", "fbox": "", "textstyle": "",
}  # fmt: skip
_CHARACTERS = {",": " ", ";": " ", ":": " ", " ": " ", "!": "", "(": "", ")": "", "[": "", "]": "", "\\": "\n"}
_DEPTH = 8  # levels of nested commands that are followed


def unlatex(text: str) -> str:
    """`text` with LaTeX in plain characters; unknown commands stay."""
    if "\\" not in text and "$" not in text and "{" not in text:
        return text
    text = text.replace("{,}", ",").replace("\\!", "")
    for _ in range(_DEPTH if "{" in text or "\\" in text else 0):
        before = text
        text = _WRAPPER.sub(r"\1", text)
        text = _SCRIPT.sub(_script, text)
        text = _ROOT.sub(_root, text)
        text = _FRACTION.sub(_fraction, text)
        if text == before:
            break
    text = _COMMAND.sub(_command, text.replace("\\$", "$")) if "\\" in text else text
    text = _PAIR.sub(r"\1", text)
    return text.replace("^°", "°").replace("{", "").replace("}", "")


def _command(match: re.Match[str]) -> str:
    if match[1] is not None:
        return _SYMBOLS.get(match[1], match[0])
    return _CHARACTERS.get(match[2], match[2])


def _group(text: str) -> str:
    """A part in brackets, unless it is one term."""
    text = text.strip()
    return text if re.fullmatch(r"\w*[\d.,]*|√\w+", text) else f"({text})"


def _fraction(match: re.Match[str]) -> str:
    over, under = match[1] if match[1] is not None else match[2], match[3] if match[3] is not None else match[4]
    sign = "-" if bool(_NEGATIVE.match(over)) != bool(_NEGATIVE.match(under)) else ""
    over, under = (_NEGATIVE.sub(r"\1", part) for part in (over, under))
    return f" {sign}{_group(over)}/{_group(under)}"  # the blank makes 2\frac{1}{2} the mixed number 2 1/2


def _root(match: re.Match[str]) -> str:
    degree = match[1].strip() if match[1] else ""
    return f"{degree if degree != '2' else ''}√{_group(match[2] if match[2] is not None else match[3])}"


def _script(match: re.Match[str]) -> str:
    inside = match[2].strip()
    return match[1] + (inside if re.fullmatch(r"-?\w+|\\circ|\\degree", inside) else f"({inside})")
