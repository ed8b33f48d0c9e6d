"""Yes and no, true and false: as a word of any language, or of a statement ("this claim is not true")."""

import re
from collections.abc import Sequence

from cotdistill.answers.plain_text import normal

_YES = {
    "yes", "true", "yeah", "yep", "yup", "affirmative",
    "oui", "vrai", "vraie", "ja", "wahr", "richtig", "sí", "sì", "verdadero", "verdadera", "cierto", "vero", "sim",
    "verdadeiro", "да", "верно", "是", "是的", "对", "對", "正确", "正確", "真", "はい", "正しい", "네", "예", "참",
}  # fmt: skip
_NO = {
    "no", "false", "nope", "nah", "untrue",
    "non", "faux", "fausse", "nein", "falsch", "unwahr", "falso", "falsa", "não", "нет", "неверно", "ложь",
    "否", "不", "不是", "不对", "不對", "错", "錯", "错误", "錯誤", "不正确", "不正確", "假", "いいえ",
    "間違い", "아니요", "거짓",
}  # fmt: skip
WORDS = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
_ENGLISH = r"yes|no|true|false|yeah|yep|yup|nope|nah|affirmative|untrue"
_OTHERS = "|".join(sorted(map(re.escape, set(WORDS) - set(_ENGLISH.split("|"))), key=len, reverse=True))
_LEADING = re.compile(
    rf"(?P<not>(?:(?:definitely|certainly|actually|clearly|probably|really)\s+)?not\s+)?(?P<word>{_ENGLISH})\b(?!-)"
    rf"|(?P<other>{_OTHERS})(?=\s*(?:$|[.,;:!?。，、；！)\]\"'*\n]))",
    re.IGNORECASE,
)
_NOTS = re.compile(r"(?:not\s+){1,4}(true|false)", re.IGNORECASE)
_SURE_NO = re.compile(
    r"(?:definitely|certainly|absolutely|probably|of course|surely)\s+not(?:\s+at\s+all)?", re.IGNORECASE
)

SUBJECTS = ("statement", "claim", "sentence", "assertion", "proposition", "hypothesis", "assumption", "premise", "fact")
_SUBJECT = f"(?:{'|'.join(SUBJECTS)})"
_ADVERB = (
    r"(?:(?:therefore|thus|hence|indeed|clearly|definitely|certainly|actually|in\s+fact|likely|probably|most\s+likely"
    r"|also|simply|obviously|factually|considered|both|completely|entirely|absolutely)\s+)"
)
_JUDGED = re.compile(
    rf"""\b(?P<subject>{_SUBJECT}|this|that|it)
         (?:\s+(?:that|about|in\s+question|above|given|here)\b[^.\n]{{0,160}}?)??
         \s+ (?: (?P<isnt>(?:is|was)\s*n['o]t|cannot\s+be|can't\s+be|can\s+not\s+be)
               | (?:is|was|must\s+be|has\s+to\s+be|(?:would|should)\s+be|(?:appears|seems)(?:\s+to\s+be)?)) \s+
         {_ADVERB}{{0,2}} (?P<not>not\s+)? {_ADVERB}?
         (?P<word>true|false|correct|incorrect|wrong|right|untrue|accurate|inaccurate|valid|invalid)\b
         (?!\s+(?:or|only|if|when|unless|in|for|of|that|to|answer|option|choice)\b|[-/]|\?)""",
    re.VERBOSE | re.IGNORECASE,
)  # fmt: skip
_POSITIVE = {"true", "correct", "right", "accurate", "valid"}
SUBJECTS_ABROAD = ("aussage", "behauptung", "affirmation", "énoncé", "afirmación", "declaración", "enunciado", "说法",
                   "陈述", "命题", "說法", "陳述")  # fmt: skip
_JUDGED_ABROAD = re.compile(  # German, French, Spanish, Chinese
    r"""\b(?:aussage|behauptung)\s+ist\s+(?:also\s+|daher\s+|somit\s+)?(?P<not_de>nicht\s+)?
             (?:(?P<true_de>wahr|richtig|korrekt)|falsch|unwahr)\b
      | \b(?:affirmation|énoncé)\s+(?:est|(?P<not_fr>n'est\s+pas))\s+(?:donc\s+)?
             (?:(?P<true_fr>vraie?|correcte?|exacte?)|fausse|faux|incorrecte?)\b
      | \b(?:afirmación|declaración|enunciado)\s+(?P<not_es>no\s+)?es\s+(?:por\s+(?:lo\s+)?tanto\s+)?
             (?:(?P<true_es>(?:verdader|ciert|correct)[ao])|(?:fals|incorrect)[ao])\b
      | (?:说法|陈述|命题|說法|陳述)是?(?P<not_zh>不)?(?:(?P<true_zh>正确|正確|对|對|真)|错误|錯誤|错|錯|假)""",
    re.VERBOSE | re.IGNORECASE,
)
_UNSETTLED_ABROAD = re.compile(
    r"\b(?:ob|wenn|falls|nicht|si|pas|no|cuando)\b|如果|是否|若|不能", re.IGNORECASE
)  # as below, in these languages
_UNSETTLED = re.compile(  # before a statement in its sentence: weighed, quoted or denied, as after "No, " it is not
    r"\b(?:if|whether|suppose|assume|assuming|unless|not|\w+n't|never|might|could|may|would|says?|said|claims?\s+that|think|whenever"
    r"|neither|no(?!\s*[,;:—–])|when|either|until|check|determine|decide|verify|know|see|show|prove|unclear|doubt\w*)\b",
    re.IGNORECASE,
)


def leading(slot: str) -> tuple[bool, int] | None:
    """The polarity of the word that `slot` begins with, and where it ends: "not true" is negative."""
    match = _LEADING.match(slot)
    if match is None:
        return None
    word = (match["word"] or match["other"]).lower()
    value = WORDS[word]
    if match["not"] and word not in ("true", "false"):
        return None  # "not yes" decides little
    return value != bool(match["not"]), match.end()


def nots(slot: str) -> bool | None:
    """A whole slot of negations: "not not false", "definitely not"; None for anything else."""
    bare = slot.strip(" .!")
    if match := _NOTS.fullmatch(bare):
        return (match[1].lower() == "true") == (bare.lower().count("not ") % 2 == 0)
    return False if _SURE_NO.fullmatch(bare) else None


def stated_polarity(sentence: str, anything: bool = False) -> tuple[bool, int, int] | None:
    """What `sentence` says of a statement, "so the claim is not true", and where: (polarity, begin, end).

    `anything`: of "it" and "this" as well. None where the sentence weighs, asks, quotes or denies it.
    """
    last = None
    for match in _JUDGED.finditer(sentence):
        if match["subject"].lower() in ("this", "that", "it") and not anything:
            continue
        if not _UNSETTLED.search(sentence, 0, match.start()):
            positive = match["word"].lower() in _POSITIVE
            last = (positive != (bool(match["isnt"]) ^ bool(match["not"])), match.start(), match.end())
    for match in _JUDGED_ABROAD.finditer(sentence) if _abroad(sentence) else ():
        if not _UNSETTLED_ABROAD.search(sentence, 0, match.start()):
            said = {name.partition("_")[0] for name, text in match.groupdict().items() if text}
            last = (("true" in said) != ("not" in said), match.start(), match.end())
    return last if sentence.rstrip()[-1:] not in ("?", "？") else None


def _abroad(sentence: str) -> bool:
    lower = sentence.lower()
    return any(word in lower for word in SUBJECTS_ABROAD)


def in_words(positive: bool, choices: Sequence[str] | None, kind: str) -> str:
    """A polarity in the words of the choices, else in those of `kind`."""
    words = choices or (("yes", "no") if kind == "yesno" else ("true", "false"))
    return next((word for word in words if WORDS.get(normal(word)) == positive), words[0 if positive else -1])
