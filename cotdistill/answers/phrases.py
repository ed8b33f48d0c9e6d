"""How answers are announced: the words of each language, the tags and fields of each format, the turns of others.

Everything here is data: patterns and the words that lead to them. `statements` says what they mean.
"""

# ruff: noqa: E501 (one pattern per line)
import re

# ---------------------------------------------------------------------------------------------- English

LEADS_IN = re.compile(  # in lower case, as all that follows: what belongs to the sentence that states an answer
    r"\b(?:so|thus|hence|therefore|consequently|finally|overall|in\s+conclusion)\b,?\s+(?:then,?\s+)?\Z"
)
DETERMINED = re.compile(r"\b(?:the|my|our)\s+(?:[\w'*-]+\s+){0,4}[*_`\"'(\[]{0,3}\Z")
BEFORE_OPTION = re.compile(r"\b(?:the|my)\s+[*_]{0,3}(?:most\s+\w+|correct|right|best|closest|final|only\s+\w+)\s+\Z")
NOT_AN_ANSWER = re.compile(r"\b(?:wrong|incorrect|no|other|any|every|each|which)\s+\Z", re.IGNORECASE)
IS_NOT = r"is\s*n['o]t|is\s+(?:[a-z]+ly\s+)?not|cannot\s+be|can't\s+be"
WEAK = (  # said of what the answer would be: counts only where an answer follows
    r"(?:would|should|must|will|could|has\s+to|ought\s+to|can\s+only|seems\s+to|appears\s+to|turns\s+out\s+to)\s+be"
    r"|(?:comes?|came|works?|turns?)\s+out\s+(?:to\s+be|to|as|at)|comes?\s+to|equals|becomes"
    r"|(?:therefore|then|thus|here|now|still|always|simply)\s+is"
)
AFTER_ANSWER = re.compile(
    rf"""(?:\s+(?:choice|option|letter|key))? [*_`"')\]]{{0,4}}
         (?: \s+(?:to|for|that|which|of)\s+[^.,:;\n]{{0,60}}? | \s*\([^()\n]{{0,40}}\) )?
         (?: \s+(?P<is_not>{IS_NOT})\s+
           | \s+is\b(?!n't|\s+not\b) \s*:?
           | \s+(?P<weak>{WEAK})\b \s*:?
           | \s*[*_`]{{0,3}}\s*[:=→⇒]
           | \s+(?:[-–—]\s*)?(?=[(\[]?[A-Z][)\]]?\W*(?:\n|\Z))
           | (?P<header>[*_]{{0,3}}\s*\n)(?=\s*\S) )""",
    re.VERBOSE | re.IGNORECASE,
)
AFTER_OPTION = re.compile(r"[*_]{0,3}\s+is\b(?!n't|\s+not\b)\s*:?", re.IGNORECASE)
TO_ANSWER = re.compile(r"to\s+answer\s+(?:the|this|your)\s+question,?", re.IGNORECASE)
LABEL = re.compile(  # "Option C", "Choice: C", as the last line
    r"(?:\s*\**\s*:\s*\**|\s+)(?=[(\[]?[A-Z][)\]]?\**\s*(?:[.:)][^\n]{0,80})?\s*\Z)", re.IGNORECASE
)
AT_LINE_START = re.compile(
    r"(?:\A|\n|[.!?:]\s)[\s>#*_-]*(?:(?:correct|final|selected|chosen|best)\s+)?\Z", re.IGNORECASE
)

CHOICE_VERBS = ("choos", "chose", "pick", "select", "opt for", "go with", "going with", "went with", "vote", "settle", "i say", "d say", "i answer", "conclude",
                "my choice", "my guess", "my final choice")  # fmt: skip
CHOSEN = re.compile(  # in lower case
    r"""(?: (?P<verb>choos(?:e|ing)|chosen?|pick(?:ed|ing)?|select(?:ed|ing)?|opt(?:ed|ing)?\s+for|go(?:ing)?\s+with|went\s+with
              |vote\s+for|settle\s+(?:on|for)|say|answer(?:ed)?|conclude) \s+(?:that\s+(?:it\s+is|the\s+answer\s+is)\s+)?:?
          | (?P<noun>choice|pick|vote|selection|guess)\s+(?:is|would\s+be)\b:? )""",
    re.VERBOSE,
)
WHO = re.compile(
    r"\b(?:i|we|let's|let\s+us|i'm|i\s+am)(?:'d|'ll|\s+would|\s+will|\s+should|\s+must|\s+have\s+to|\s+therefore|\s+am|\s+thus)*"
    r"\s+(?:have\s+)?\Z"
)
MINE = re.compile(r"\bmy\s+(?:final\s+|best\s+)?\Z")
MUST = re.compile(r"\b(?:it|that|this|which|so)\s+(?:must|has\s+to|can\s+only|should|would)\Z")  # before "be"
ORDER = re.compile(r"(?:\n|\A|[.!]\s+)\Z")  # "Choose (B)."
DENIED = re.compile(
    r"\b(?:if|not|n't|never|why|when|whether|unless|had|before|cannot|suppose)\b[^.!?\n]{0,40}\Z", re.IGNORECASE
)
LINKS = (" is ", " be ", " was ", " seems ")
AFTER_LINK = re.compile(
    r"(?:(?:the|my|our|an?|therefore|thus|then|clearly|definitely|likely|probably|most|only|best|correct|right|final|logical|appropriate"
    r"|accurate|suitable|obvious|indeed|also|certainly|single|plausible|reasonable)\s+){0,4}?(?P<noun>answer|option|choice|correct|right|best|one)\b"
)
SUBJECT_LEAD = re.compile(
    r".*(?:,|:|\bthat|\bthen|\bso|\btherefore|\bthus|\bhence|\band|\bconclude|\bbecause)\s+|\A\s*(?:so|therefore|thus|hence|only|clearly|then)\s+",
    re.IGNORECASE | re.DOTALL,
)
CORRECTIONS = ("wait", "actually", "sorry", "correction", "oops", "hold on", "hmm", "i mean", "scratch", "mistake",
               "thought", "no,", "no ")  # fmt: skip
CORRECTED = re.compile(
    r"""\b(?:wait|actually|sorry|correction|oops|hold\s+on|hmm|i\s+mean(?:t)?|scratch\s+that|my\s+mistake|on\s+second\s+thou?ghts?
        |no(?=\s*[,—–-]))[\s,.:;!…—–-]+
        (?:(?:no|wait|actually|sorry|hmm|that(?:'s|\s+is|\s+was)\s+(?:wrong|incorrect|not\s+(?:right|correct)))\b[\s,.:;!—–-]+){0,3}
        (?:(?:it|that|this|the\s+(?:correct\s+|right\s+|final\s+)?answer)(?:'s|\s+is|\s+should\s+be|\s+must\s+be|\s+would\s+be)\s+)?
        (?:actually\s+|really\s+|rather\s+|in\s+fact\s+)?""",
    re.VERBOSE | re.IGNORECASE,
)
RETRACTED = re.compile(
    r"\b(?:wait|hold\s+on|oops|scratch\s+that|on\s+second\s+thoughts?|correction|i\s+made\s+an?\s+(?:mistake|error)|my\s+mistake"
    r"|that(?:'s|\s+is|\s+was|\s+can't\s+be|\s+cannot\s+be)\s+(?:wrong|incorrect|not\s+(?:right|correct)|right\?)|that\s+isn't\s+(?:right|correct)"
    r"|this\s+is\s+(?:wrong|incorrect)|let\s+me\s+re(?:do|consider|calculate|compute|think))\b",
    re.IGNORECASE,
)

# --------------------------------------------------------------------------------------- other languages

OTHER_LANGUAGES = (  # (language, the word that must occur, the statement)
    ("zh", "答案", r"(?:最终|最後|最后|正确|正確|标准)?的?答案(?:应该|应当|應該|应|就|显然|只能)?\s*(?:不是[^，,。]{1,20}[，,]\s*而?)?(?:是|为|為|選|选|:)\s*:?"),
    ("zh", "选", r"(?:应该|应当|应|故|所以|因此|我|正确)?(?:选择|选项是|选)\s*:?\s*(?=[(\[]?[A-Za-z])"),
    ("zh", "選", r"(?:應該|應|故|所以|因此|我)?(?:選擇|選)\s*:?\s*(?=[(\[]?[A-Za-z])"),
    ("zh", "结果", r"(?:最终|最后)?结果(?:是|为|:)\s*:?"),
    ("ja", "答え", r"(?:正しい|最終的な)?答えは?\s*:?"),
    ("ja", "正解", r"正解は\s*:?"),
    ("ko", "답", r"(?:정답|답)(?:은|:)\s*:?"),
    ("fr", "réponse", r"\b(?:la\s+|ma\s+|une\s+)?(?:bonne\s+|seule\s+)?réponse(?:\s+(?:correcte|finale|exacte|juste|attendue))?(?:\s+(?:est|serait)(?:\s+(?:donc|bien|alors))?\b|\s*:)\s*:?"),
    ("fr", "résultat", r"\ble\s+résultat(?:\s+final)?\s+est(?:\s+donc)?\b\s*:?"),
    ("fr", "choix", r"\b(?:le\s+bon|mon)\s+choix\s+est(?:\s+donc)?\b\s*:?"),
    ("fr", "option", r"\b(?:l'option|la\s+bonne\s+option)(?:\s+correcte)?\s+est\b\s*:?"),
    ("de", "antwort", r"\b(?:die\s+|meine\s+)?(?:(?:richtige|korrekte|endgültige|finale)\s+)?antwort(?:\s+(?:ist|lautet|wäre)(?:\s+(?:also|daher|somit|damit|demnach))?\b|\s*:)\s*:?"),
    ("de", "ergebnis", r"\b(?:das\s+)?ergebnis(?:\s+(?:ist|lautet|beträgt)(?:\s+(?:also|daher|somit))?\b|\s*:)\s*:?"),
    ("de", "lösung", r"\b(?:die\s+)?(?:richtige\s+)?lösung(?:\s+(?:ist|lautet)(?:\s+(?:also|daher))?\b|\s*:)\s*:?"),
    ("es", "respuesta", r"\b(?:la\s+|mi\s+)?respuesta(?:\s+(?:correcta|final))?(?:\s+(?:es|sería)(?:\s+(?:entonces|pues))?\b|\s*:)\s*:?"),
    ("es", "opción", r"\bla\s+opción\s+correcta\s+es\b\s*:?"),
    ("es", "resultado", r"\bel\s+resultado(?:\s+final)?\s+es\b\s*:?"),
    ("it", "risposta", r"\b(?:la\s+)?risposta(?:\s+(?:corretta|giusta|finale))?(?:\s+è(?:\s+quindi)?|\s*:)\s*:?"),
    ("pt", "resposta", r"\b(?:a\s+)?resposta(?:\s+(?:correta|certa|final))?(?:\s+é\b|\s*:)\s*:?"),
    ("ru", "ответ", r"\b(?:правильный\s+)?ответ(?:\s*[:—–-]|\s+это)\s*:?"),
)  # fmt: skip
FOREIGN = tuple((language, word, re.compile(pattern, re.IGNORECASE)) for language, word, pattern in OTHER_LANGUAGES)
FOREIGN_IN_ASCII = tuple(form for form in FOREIGN if form[1].isascii())

# ------------------------------------------------------------------------------------ formats and turns

TAGS = re.compile(r"<(?P<tag>(?:final_?|correct_?)?answer|solution)>(?P<slot>.*?)(?:</(?P=tag)>|\Z)|\[ANSWER\](?P<square>.*?)(?:\[/ANSWER\]|\Z)",
                  re.IGNORECASE | re.DOTALL)  # fmt: skip
FIELDS = ("final_answer", "finalanswer", "final answer", "correct_answer", "correct answer", "answer", "answer_choice",
          "correct_option", "correct_choice", "selected_option", "selected_answer", "choice", "option", "selection",
          "prediction", "label", "result", "solution", "value", "text", "letter")  # fmt: skip
FIELD = re.compile(
    rf"""["'](?:{"|".join(FIELDS[:-3])})["']\s*:\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^'\n]*)'|(?P<bare>[^,}}\n]*))""",
    re.IGNORECASE,
)
TURN = re.compile(  # in lower case: what begins another turn; a question may be the model's way of working
    r"""\n[ \t]*(?: (?:\#{1,6}\s*)?\**(?:human|user|instruction|assistant)\**\s*\d*\s*\**:
               | \#{1,6}\s*(?:instructions?|human|user|question|input|problem|task|assistant)\b
               | (?P<question>(?:\*\*)?(?:q|question|problem|exercise|next\s+question|example)\s*\d*\s*[:.]) )
      | <(?: \|im_(?:start|end)\|> | \|(?:user|human|assistant|system|return|endoftext|turn)\|?> | \|start_header_id\|>
           | \|(?:eot|eom|start|end)_?(?:id|of_text)?\|> | \|begin_of_text\|> | /s> | eos> | (?:start|end)_of_turn>
           | [｜|](?:user|assistant|end▁of▁sentence|begin▁of▁sentence)[｜|]> | \|(?:start|end)_of_turn_token\|> | extra_id_\d+> )
      | \[/?(?:inst|user|system_prompt)\]""",
    re.VERBOSE,
)
