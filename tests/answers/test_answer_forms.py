"""The forms that answers come in, by kind: every form gets its one right verdict, on whole generations.

A wrong "right" would be worse than "unparsed": where a form says two things or none, nothing is read.
"""

# ruff: noqa: E501 (one line per form)
from __future__ import annotations

import time
import unicodedata

import pytest

from cotdistill.answers.answers import answer_kind, extract, judge
from tests import real

FOUR = ["plants", "wind", "the ocean", "fire"]
NUMBERS = ["12", "15", "18", "24"]
YES, TRUE = ["yes", "no"], ["True", "False"]


def verdict(text: str, gold: str, choices: list[str] | None = None) -> str:
    kind = answer_kind(choices, gold)
    return judge(extract(text, choices, kind).answer, gold, choices, kind)


def right(kind: str, gold: str, *texts: str, choices: list[str] | None = None) -> list[object]:
    return [pytest.param(text, gold, choices, "right", id=f"{kind}-{n}") for n, text in enumerate(texts)]


def unread(kind: str, gold: str, *texts: str, choices: list[str] | None = None) -> list[object]:
    return [pytest.param(text, gold, choices, "unparsed", id=f"{kind}-unread-{n}") for n, text in enumerate(texts)]


def wrong(kind: str, gold: str, *texts: str, choices: list[str] | None = None) -> list[object]:
    return [pytest.param(text, gold, choices, "wrong", id=f"{kind}-wrong-{n}") for n, text in enumerate(texts)]


@pytest.mark.parametrize(("text", "gold", "choices", "expected"), [
    *right("fraction", "3/4", "The answer is 3/4.", "The answer is \\frac{3}{4}.", "\\boxed{\\dfrac{3}{4}}", "So \\boxed{\\tfrac34}.",
           "The answer is $\\frac{3}{4}$", "The answer is ¾.", "The answer is 3⁄4.", "The answer is 0.75.", "The answer is three quarters.",
           "The answer is three-quarters.", "The answer is \\(\\frac{6}{8}\\).", "\\[ x = \\boxed{\\frac{3}{4}} \\]", "#### 3/4",
           "The answer is $\\cfrac{3}{4}$.", "The final answer is $\\boxed{\\frac 34}$."),
    *right("negative-fraction", "-3/4", "The answer is -\\frac{3}{4}.", "\\boxed{-\\frac{3}{4}}", "The answer is −¾.",
           "The answer is $\\frac{-3}{4}$.", "\\boxed{\\dfrac{3}{-4}}", "The answer is negative three quarters.", "The answer is $-\\dfrac{3}{4}$."),
    *right("mixed", "8/3", "The answer is 2 2/3.", "The answer is 2⅔.", "\\boxed{2\\frac{2}{3}}", "The answer is 2 \\frac{2}{3}.",
           "The answer is 2 and 2/3.", "The answer is two and two thirds."),
    *right("mixed-half", "2.5", "The answer is two and a half.", "The answer is 2 1/2 hours.", "The answer is 2 and a half.", "It takes 2½ hours."),
    *wrong("mixed", "2", "The answer is 2 2/3.", "The answer is 2⅔.", "\\boxed{2\\frac{2}{3}}", "The answer is two and a half."),
    *right("scientific", "30000", "The answer is 3e4.", "The answer is 3E+4.", "The answer is 3 × 10^4.", "The answer is 3×10⁴.",
           "\\boxed{3 \\times 10^{4}}", "The answer is $3 \\cdot 10^4$.", "The answer is 3 x 10^4.", "The answer is 3*10^4", "The answer is 3 * 10**4.",
           "The answer is 3.0e4."),
    *right("scientific-small", "0.00012", "The answer is 1.2e-4.", "The answer is 1.2 × 10⁻⁴.", "\\boxed{1.2 \\times 10^{-4}}", "The answer is 1.2E-04."),
    *wrong("scientific", "3", "The answer is 3e4.", "The answer is $3 \\times 10^4$.", "The answer is 3×10⁴."),
    *right("thousands", "1234567", "The answer is 1,234,567.", "The answer is 1 234 567.", "The answer is 1'234'567.", "The answer is 1_234_567.",
           "The answer is 1{,}234{,}567.", "\\boxed{1,\\!234,\\!567}", "The answer is 1\u00a0234\u00a0567.", "The answer is 1\u202f234\u202f567.",
           "The answer is 1\u2009234\u2009567.", "The answer is 12,34,567.", "The answer is 1.234.567.", "\\boxed{1\\,234\\,567}", "The answer is 1’234’567.",
           "The answer is $1,234,567.00."),
    *wrong("thousands", "58", "The answer is 58 500.", "The answer is 58'500.", "The answer is 58_500.", "\\boxed{58{,}500}"),
    *right("currency", "18.5", "The answer is $18.50.", "The answer is €18.50.", "The answer is 18.50 €.", "The answer is £18.50", "The answer is USD 18.50.",
           "The answer is 18.50 USD.", "The answer is US$18.50.", "The answer is \\$18.50.", "The answer is ¥18.5", "The answer is Rs. 18.50.", "The answer is 18.50 dollars.",
           "\\boxed{\\$18.50}", "\\boxed{\\text{\\$}18.50}"),
    *right("percent", "28", "The answer is 28%.", "The answer is 28 %.", "The answer is 28 percent.", "\\boxed{28\\%}", "The answer is twenty-eight percent."),
    *right("units", "12", "The answer is 12 cm.", "The answer is 12cm.", "The answer is 12 cm^2.", "The answer is 12 m².", "The answer is 12 km/h.",
           "\\boxed{12 \\text{ cm}}", "\\boxed{12\\,\\mathrm{cm}^2}", "The answer is $12^\\circ$.", "The answer is 12°C.", "The answer is 12 apples.",
           "So the area is 12 m^2."),
    *right("sign-words", "-5", "The answer is minus 5.", "The answer is negative 5.", "The answer is negative five.", "The answer is minus five.",
           "The answer is –5.", "The answer is −5.", "The answer is - 5.", "The answer is -$5.", "The answer is 5 degrees below zero.", "\\boxed{-5}",
           "The answer is (-5)."),
    *right("number-words", "21", "The answer is twenty-one.", "The answer is twenty one apples.", "The answer is Twenty-One.", "So she has twenty-one apples left."),
    *right("number-words-12", "12", "The answer is twelve.", "The answer is a dozen.", "The answer is one dozen.", "The answer is a dozen eggs."),
    *right("dozens", "84", "The answer is 7 dozen.", "The answer is seven dozen."),
    *right("number-words-105", "105", "The answer is one hundred and five.", "The answer is a hundred and five.", "The answer is one hundred five."),
    *right("number-words-big", "2000000", "The answer is two million.", "The answer is 2 million.", "The answer is 2 million dollars.", "The answer is $2 million."),
    *right("zero", "0", "The answer is zero.", "The answer is 0.", "The answer is 0.00.", "\\boxed{0}"),
    *right("sum", "7", "The answer is 3 + 4 = 7.", "The answer is 3+4=7 apples.", "The answer is 3 plus 4, which is 7.", "The answer is 14 / 2 = 7.",
           "The answer is x = 7.", "The answer is $x = 7$.", "The answer is 3 + 4 = 7 = 7.0.", "The answer is \\(3 + 4 = 7\\).", "The answer is 10 - 3 = 7.",
           "The answer is 3 plus 4 equals 7.", "The answer is 3 bags times 2 plus 1 = 7.", "So the total is 3 + 4 = 7.", "The answer is 3 \\times 2 + 1 = 7"),
    *right("trailing", "18", "Therefore, she has 18 apples left after giving 4 to Bo.", "So he has 18 dollars left of the 40.", "So he needs 18 more since he has 12 already.",
           "Thus 18 pages remain out of 40.", "So she earns 18 dollars for 2 days of work.", "After giving 4 to Bo, she has 18.", "She has 18 left, after giving away 4.",
           "The answer is 18, because 6 times 3 is 18.", "The answer is 18 (6 per friend, 3 friends).", "The answer is 18 after 4 are gone.",
           "The final answer comes out to 18 for 3 days.", "So the final result is 18."),
    *right("announced", "18", "The answer is: 18", "Answer: 18", "**Answer:** 18", "**Answer**: 18", "Final Answer: 18", "### Final Answer\n\n18", "Final answer: **18**.",
           "ANSWER = 18", "The answer would be 18.", "The answer should be 18.", "The answer must be 18.", "The answer comes to 18.", "My final answer is 18.",
           "The answer, therefore, is 18.", "The **answer** is **18**.", "The answer is *18*.", "The answer is __18__.", "The answer is `18`.", "Ans: 18", "The answer equals 18.",
           "<answer>18</answer>", "<answer> 18 apples </answer>", "<ANSWER>18</ANSWER>", "<final_answer>18</final_answer>", '{"answer": 18}', '{"answer": "18"}',
           '```json\n{"reasoning": "3*6", "answer": 18}\n```', '{"answer": "18 apples", "reasoning": "The answer is not 12."}', "{'answer': '18'}",
           '{"final_answer": {"value": 18}}', '```\n{"answer": 18}\n```', 'Here it is: {"answer": 18}', "\\boxed{\\text{18}}", "\\boxed{\\mathbf{18}}", "\\boxed{\\boxed{18}}",
           "$\\boxed{18}$", "$$\\boxed{18}$$", "18 is the answer.", "So 18 is the correct answer.",
           "The answer is 18, and she has 4 left.", "The answer is 18 apples, and 4 pears are left.", "The answer is 18 because 10 apples and 8 pears make that many.", "It is 0.18 or 18%."),
    *right("goes-on", "7", "5 + 6 = 11 in total, minus 4 is 7.", "= 11 in total, minus 4 is 7", "5 + 6 = 11, and minus 4 makes 7 apples.", "The answer is 5 + 6 = 11 in total, minus 4 is 7.",
           "The answer is 11, minus 4 is 7.", "\\boxed{5 + 6 = 11, minus 4 = 7}", "The answer is 7, minus signs aside."),
    *unread("not-one-number", "3", "The answer is 3 more than 10.", "The answer is 3 or more.", "The answer is twice 3.", "The answer can't be 3.",
            "Is the answer 3?", "So it cannot be 3.", "The answer is 3 or 4.", "The answer is between 3 and 5.", "The answer is at least 3.", "The answer is 3 to 5.", "The answer is 3-5.",
            "The answer is 3, 5, 7.", "The answer is 3:30.", "The answer is not 3.", "The answer is more than 3.", "The answer is 3 * 4.", "The answer is 3π.",
            "The answer is $3\\pi$.", "\\boxed{3\\sqrt{2}}", "\\boxed{3x}",
            "The answer is 3 apples and 4 pears.", "So she has 4 apples and 3 pears.", "3 hours and 20 minutes", "The answer is 3 red apples and 4 pears.", "4 and 3"),
    *right("corrected", "12", "The answer is 10. Wait, actually 12.", "The answer is 10. No, wait, it's 12.", "The answer is 10. Correction: 12.", "The answer is 10... wait, it is 12.",
           "The answer is 10. Actually, it should be 12.", "The answer is 10. Sorry, the answer is 12.", "The answer is 10. Hmm, no, 12.", "The answer is not 10 but 12.",
           "The answer is 10. Oops, I mean 12.", "First I thought the answer is 10. The answer is 12."),
    *unread("taken-back", "10", "The answer is 10. Wait, that is wrong.", "The answer is 10. But that's not right.", "The answer is 10. Hold on, I made a mistake."),
    *right("statement", "True", "The statement is true.", "So this statement is true.", "Therefore the claim is correct.", "The statement is not false.", "The claim is not incorrect.",
           "This claim is indeed true.", "The statement that cats purr is true.", "So it is true.", "Therefore, this is true.", "The answer is not false.", "The answer is T.", "Answer: (T)",
           "It purrs, so the statement is accurate.", "It's true. The statement is true because cats purr.", "No, the statement is true.", "No. The statement is true.",
           "No, the claim is not false.", "The answer is no, the statement is true.", "No, it is true.", choices=TRUE),
    *right("statement-false", "False", "This statement is false.", "The statement is not true.", "So the claim isn't true.", "The claim is incorrect.", "Thus, the assertion is untrue.",
           "The statement is wrong.", "The sentence cannot be true.", "The answer is not true.", "The answer is F.", "It is dry, so this claim is false.", "The statement is therefore false.",
           "The claim is not correct.", "Therefore, it is false.", "The statement is not accurate.", "Yes, the statement is false.", "No, the claim is false.",
           "No, it is true of dogs alone.", "No, that is not true.", choices=TRUE),
    *right("statement-abroad", "True", "Die Aussage ist also wahr.", "Daher ist es so. Die Behauptung ist nicht falsch.", "L'affirmation est donc vraie.",
           "La afirmación es verdadera.", "La declaración no es falsa.", "所以这个说法是正确的。", "因此该陈述是真的。", choices=TRUE),
    *right("statement-abroad-false", "False", "Die Aussage ist falsch.", "L'affirmation n'est pas vraie.", "La afirmación es falsa.",
           "El enunciado no es cierto.", "这个说法不正确。", "该命题是假的。", choices=TRUE),
    *unread("statement-abroad", "True", "Es ist unklar, ob die Aussage wahr ist.", "Wenn die Aussage ist wahr, regnet es.", "Si la afirmación es verdadera, llueve.",
            "L'affirmation est vraie ?", "如果这个说法是正确的，就会下雨。", choices=TRUE),
    *right("statement-yes", "yes", "So the statement is correct.", "The claim is true.", "The answer is Yeah.", "The answer: yep.", "The answer is affirmative.", "Yes, it can.", "The answer is definitely yes.", choices=YES),
    *right("statement-no", "no", "The claim is false.", "The answer is Nope.", "So the statement is not correct.", "\\boxed{\\text{No}}", "\\boxed{\\textbf{no}}", "**No**", "The answer is **No**, it cannot.",
           "<answer>No</answer>", '{"answer": false}', '{"answer": "no"}', "The answer is not yes but no.", "The answer is definitely not.", choices=YES),
    *unread("statement", "True", "Is the statement true?", "If the statement is true, it rains.", "We must decide whether the claim is true.", "The statement is true or false.",
            "It is not clear that the statement is true.", "No cat purrs and the statement is true.", "The statement is partly true.", "The statement might be true.", "Either the statement is true or it is not.", choices=TRUE),
    *right("letter", "the ocean", "C is the correct answer.", "Therefore, C is correct.", "So (C) is right.", "Option C is the best choice.", "I choose (C).", "I would choose C.", "I'd pick C.", "I pick option C.",
           "I'll go with C.", "I will go with (C) the ocean.", "I select C.", "I am going with C.", "It must be (C).", "So it must be C.", "It has to be (C).", "Option C", "**Option C**", "Option: C", "Choice C.",
           "(c)", "C", "C.", "(C)", "C)", "C) the ocean", "C: the ocean", "C - the ocean", "the answer is C, not B", "The answer is not B but C.", "The answer is not B, it is C.", "The answer isn't B; it's C.",
           "The answer is C rather than B.", "The answer is C instead of B.", "The correct answer is option C.", "The correct choice is (C).", "The right option is C.", "My answer is C.", "My choice is C.",
           "The answer must be C.", "The answer would be (C).", "The answer seems to be C.", "The answer is `C`.", "The answer is **C**.", "The answer is *C*", "The answer is **C) the ocean**", "The answer is [C].",
           "The answer is \\textbf{C}.", "\\boxed{C}", "\\boxed{\\text{C}}", "\\boxed{\\mathrm{(C)}}", "\\boxed{\\textbf{(C) the ocean}}", "$\\boxed{C}$", "The answer is $C$.", "<answer>C</answer>", "<answer>(C) the ocean</answer>",
           '{"answer": "C"}', '{"answer": "C) the ocean"}', '```json\n{"answer": "the ocean"}\n```', '{"choice": "C", "why": "A is dry"}', "Answer: C", "ANSWER: C", "Final answer: C", "Answer - C", "The answer is (C", "Answer C",
           "The answer is C because A is dry.", "The answer is C, since B is dry.", "It is salty. The ocean is the answer.", "So the ocean is the correct answer.", "The answer is the ocean.", "The answer is The Ocean!",
           "A is wrong, B is wrong, so C is the right one.", "B is not correct. C is the correct answer.", "The answer is definitely (C).", "The answer is C. A, B and D are wrong.", "The answer is C, the ocean.",
           "It's C. The answer is C", "Only (C) is correct.", "The best answer is C.", "I think it's B. No wait, the answer is C.", "The answer is B. Actually, it's C.", "The answer is （Ｃ）.", "The answer is Ｃ。", choices=FOUR),
    *unread("letter", "plants", "The answer is A or B.", "The answer is A and B.", "The answer is both A and C.", "The answer is (A) plants or (B) wind.", "The answer is A, B and D.", "The answer is not A.", "The answer isn't (A).",
            "A is not the correct answer.", "I would not choose A.", "Is A the correct answer?", "If A is the correct answer, it is dry.", "The answer is E.", "The answer is none of these.", "The answer is (A) wind.",
            "The answer is A/B.", "I don't know.", "The answer is A & B.", "It can't be A.", "Neither A nor B is correct.", choices=FOUR),
    *right("other-writing", "18", "The answer is $18.00.", "The answer is 18.0", "The answer is eighteen.", "\\boxed{18}", "The answer is 18 apples.", "The answer is $\\frac{36}{2}$.", "The answer is (c).", "The answer is 18,", "So 18 is the answer.", choices=NUMBERS),
    *right("other-writing-thousand", "1,500", "The answer is 1500.", "The answer is 1 500.", "The answer is $1,500.00.", choices=["150", "1,500", "15,000"]),
    *right("other-writing-half", "1/2", "The answer is 0.5.", "The answer is \\frac{1}{2}.", "The answer is ½.", "The answer is one half.", choices=["1/2", "1/3", "2"]),
    *right("other-writing-latex", "$\\frac{1}{2}$", "The answer is 1/2.", "The answer is \\dfrac{1}{2}.", "\\boxed{\\frac{1}{2}}", "The answer is 0.5", choices=["$\\frac{1}{2}$", "$\\frac{1}{3}$"]),
    *right("hyphen", "well known", "The answer is well-known.", "The answer is Well-Known", choices=["well known", "unknown"]),
    *right("opposite", "invalid", "The answer is not valid.", "The answer is invalid.", choices=["valid", "invalid"]),
    *right("opposite-2", "plausible", "The answer is not implausible.", "The sentence is plausible. The answer is plausible.", choices=["plausible", "implausible"]),
    *right("letters-as-texts", "B", "The answer is (A).", "The answer is B.", "The answer is (a) B.", choices=["B", "A", "D", "C"]),
    *right("chinese", "the ocean", "答案是C。", "所以答案是C", "正确答案是C。", "答案：C", "答案为(C)", "因此，选C。", "故选C", "所以正确答案是 C。", "答案选C", "最终答案是**C**。", "答案是选项C。", choices=FOUR),
    *right("french", "the ocean", "La réponse est C.", "La bonne réponse est (C).", "La réponse correcte est la C.", "Réponse : C", "La réponse est donc C.", "Donc, la bonne réponse est C.", choices=FOUR),
    *right("german", "the ocean", "Die Antwort ist C.", "Die richtige Antwort ist (C).", "Antwort: C", "Die richtige Antwort lautet C.", "Die Antwort ist also C.", "Die korrekte Antwort ist C.", "Die richtige Lösung ist C.", choices=FOUR),
    *right("spanish", "the ocean", "La respuesta es C.", "La respuesta correcta es (C).", "Respuesta: C", "La opción correcta es C.", "Por lo tanto, la respuesta es C.", "La respuesta correcta es la C.", choices=FOUR),
    *right("languages-numbers", "25", "答案是25。", "答案是二十五。", "La réponse est 25.", "La réponse est vingt-cinq.", "Die Antwort ist 25.", "Die Antwort ist fünfundzwanzig.", "La respuesta es 25.", "La respuesta es veinticinco.", "答案是25个苹果。", "Das Ergebnis ist 25.", "Le résultat est 25."),
    *right("languages-decimals", "3.5", "Die Antwort ist 3,5.", "La réponse est 3,5.", "La respuesta es 3,5."),
    *right("languages-thousands", "1250", "Die Antwort ist 1.250.", "La réponse est 1 250.", "La respuesta es 1.250."),
    *right("languages-yes", "yes", "La réponse est oui.", "Die Antwort ist ja.", "La respuesta es sí.", "答案是是的。", "答案是：对", "Réponse : Oui", choices=YES),
    *right("languages-no", "no", "La réponse est non.", "Die Antwort ist Nein.", "La respuesta es no.", "答案是否。", "答案是错误。", "答案：不是", choices=YES),
    *right("languages-text", "Paris", "La réponse est Paris.", "Die Antwort ist Paris.", "La respuesta es Paris."),
    *right("languages-text-zh", "北京", "答案是北京。", "所以答案是“北京”。", "答案：北京", "The answer is 北京."),
    *right("turns", "the ocean", *(f"The answer is C.{turn} The answer is A." for turn in (
        "\n\nHuman: next?", "\nUser: Which?\nAssistant:", "\n\n### Instruction:\nNext", "\n\n### Human: x", "<|im_end|>\n<|im_start|>user\nx", "<|eot_id|><|start_header_id|>user<|end_header_id|>", "</s>[INST] x [/INST]",
        "<end_of_turn>\n<start_of_turn>user\nx", "<|endoftext|>", "\n\nQuestion: x\n", "\n\nQ: x\nA:", "\n\nProblem 2: x", "\n\n**Question:** x", "\n\n**User:** x", "<｜end▁of▁sentence｜><｜User｜>", "\n\nExample 2: x", "<|user|>\nx", "\nHUMAN: x",
        "\n### Question\nx", "\nInstruction: x")), choices=FOUR),
    *right("turns-number", "18", "6*3 = 18.\n\nHuman: How about 4? The answer is 4.", "#### 18\n\nUser: 7?\n#### 7", "<|im_start|>assistant\nThe answer is 18.<|im_end|>", "Assistant: The answer is 18.", "Question: How many?\nThe answer is 18."),
    *right("thoughts", "18", "<think>The answer is 12.</think>The answer is 18.", "The answer is 12?</think>\n18", "[THINK]The answer is 12.[/THINK]The answer is 18.", "<thinking>12</thinking>\n\n18",
           "<|channel|>analysis<|message|>The answer is 12.<|end|><|start|>assistant<|channel|>final<|message|>The answer is 18.<|return|>", "analysisWe get 12.assistantfinalThe answer is 18.",
           "◁think▷The answer is 12◁/think▷The answer is 18.", "<|begin_of_thought|>The answer is 12.<|end_of_thought|>\n<|begin_of_solution|>\\boxed{18}<|end_of_solution|>"),
    *unread("thoughts", "18", "<think>The answer is 18.", "<think>So the answer is 18. But wait", "[THINK]The answer is 18", "<|channel|>analysis<|message|>The answer is 18.", "<thinking>18", "<reasoning>\nThe answer is 18."),
    *right("latex-text", "\\frac{\\sqrt{3}}{2}", "\\boxed{\\frac{\\sqrt{3}}{2}}", "The answer is $\\dfrac{\\sqrt{3}}{2}$.", "The answer is $\\frac{\\sqrt 3}{2}$."),
    *right("latex-east", "\\text{east}", "The answer is East.", "\\boxed{east}", "\\boxed{\\textbf{East}}", "\\boxed{\\mathrm{east}}"),
    *wrong("latex", "3\\pi", "The answer is 3.", "\\boxed{3}"),
    *wrong("latex-root", "2\\sqrt{3}", "\\boxed{2\\sqrt{7}}", "The answer is 2."),
    *right("text", "New York", "The answer is New York.", "The answer is **New York**.", "New York is the answer.", "<answer>New York</answer>", '{"answer": "New York"}', "The answer is \"New York\".", "The answer is `New York`.", "\\boxed{\\text{New York}}"),
])  # fmt: skip
def test_form(text: str, gold: str, choices: list[str] | None, expected: str) -> None:
    assert verdict(text, gold, choices) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize(("text", "gold", "choices"), [
    ("La réponse est Café crème.", "café crème", ["thé", "café crème"]), ("The answer is Zoë.", "Zoë", None),
    ("Die Antwort ist Übergröße.", "Übergröße", None), ("The answer is 한국.", "한국", ["한국", "일본"])])  # fmt: skip
def test_unicode_forms_are_one(text: str, gold: str, choices: list[str] | None, form: str) -> None:
    for written in (gold, unicodedata.normalize("NFD", gold)):
        listed = None if choices is None else [written if choice == gold else choice for choice in choices]
        assert verdict(unicodedata.normalize(form, text), written, listed) == "right"  # type: ignore[arg-type]


def test_the_rationale_is_cut_in_the_text_as_it_was_given() -> None:
    text = unicodedata.normalize("NFD", "Le thé est salé. La réponse est C.")
    found = extract(text, FOUR, "choice")
    assert (found.answer, found.rationale) == ("the ocean", unicodedata.normalize("NFD", "Le thé est salé."))


def test_forms_met_in_the_wild() -> None:
    """179 forms with their verdicts: none may be misread in silence."""
    cases = real.cases("extraction.jsonl")
    misread = {case["case"]: verdict(case["text"], case["gold"], case["choices"]) for case in cases
               if verdict(case["text"], case["gold"], case["choices"]) != case["verdict"]}  # fmt: skip
    assert misread == {}


@pytest.mark.parametrize("hostile", [
    "1 + 2 = ", "1 + 2 ", "3 4/5 ", "the answer is ", "\\frac{", "\\boxed{", "{\"answer\": ", "<think>", "one hundred and ", "A is correct ",
    "I choose ", "it must be ", "the statement is not ", "wait, no, ", "\n### Q: ", "答案是", "e\u0301", "9", "9 ", "`", "\n", "A or "])  # fmt: skip
def test_hostile_text_is_read_in_linear_time(hostile: str) -> None:
    """100 kB of a loop take a moment: patterns that backtrack would take minutes."""
    begun = time.process_time()
    for choices, gold in [(FOUR, "wind"), (YES, "no"), (None, "18")]:
        verdict(hostile * (100_000 // len(hostile)), gold, choices)
    assert time.process_time() - begun < 10
