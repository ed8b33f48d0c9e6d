"""stow: four features are shown in other words, the question decides which two of them choose the place.

    Ann has a thing near the door. It is hot, muffled, knobby and massive. Where is it stowed?
    It is heavy and dull. Things that are heavy and dull go in the cellar.

In the manner of commonsense classification from few examples: the rationale names the latent features. Ten
words a feature value, of which the `new` split alone uses the last three. No cue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import ClassVar, Self

from cotdistill.plugins.checkers import Step
from cotdistill.world.clocks import NAMES
from cotdistill.world.problem import Argument, Problem, reader

WORDS: dict[str, tuple[str, ...]] = {
    "heavy": ("massive", "weighty", "hefty", "leaden", "bulky", "ponderous", "hulking", "stout", "solid", "dense"),
    "light": ("feathery", "airy", "weightless", "flimsy", "wispy", "fluffy", "papery", "gauzy", "floaty", "downy"),
    "loud": (
        "noisy",
        "booming",
        "blaring",
        "roaring",
        "shrill",
        "rattling",
        "ringing",
        "deafening",
        "clanging",
        "thunderous",
    ),
    "dull": (
        "muffled",
        "hushed",
        "muted",
        "silent",
        "faint",
        "quiet",
        "soundless",
        "whispering",
        "noiseless",
        "murmuring",
    ),
    "warm": ("hot", "boiling", "scalding", "toasty", "sizzling", "steaming", "heated", "roasting", "blazing", "fiery"),
    "cold": ("icy", "frozen", "chilly", "frosty", "freezing", "snowy", "wintry", "chilled", "arctic", "polar"),
    "rough": ("knobby", "bumpy", "jagged", "scratchy", "coarse", "gritty", "rugged", "bristly", "craggy", "prickly"),
    "smooth": ("silky", "polished", "sleek", "glassy", "velvety", "slick", "satiny", "glossy", "slippery", "waxed"),
}
VALUE_OF = {word: value for value, words in WORDS.items() for word in words}
KNOWN = 7  # of ten words a value; the others (second lines above) are new
FEATURES = (("heavy", "light"), ("loud", "dull"), ("warm", "cold"), ("rough", "smooth"))
SPOTS = {"door": (0, 1), "window": (2, 3)}  # which two features choose the place of a thing found there
PLACES = ("attic", "cellar", "drawer", "basket", "cupboard", "chest", "closet", "locker")
# (value, value) -> place; the rules of one spot hold four places, those of the other the other four.
_PAIRS = [pair for first, second in SPOTS.values() for pair in product(FEATURES[first], FEATURES[second])]
RULES = dict(zip(_PAIRS, PLACES, strict=True))
QUESTION = "{} has a thing near the {}. It is {}, {}, {} and {}. Where is it stowed?"
LOOKS = "It is {} and {}."
GOES = "Things that are {} and {} go in the {}."


@dataclass(frozen=True)
class Stow(Problem):
    """A thing near a spot; `words`: one for each feature, in the order shown."""

    name: str
    spot: str
    words: tuple[str, ...]

    far: ClassVar[str] = "new"
    wordings: ClassVar[tuple[tuple[str, str], ...]] = (
        (LOOKS, "The thing is {0} and {1}."),
        (GOES, "A thing that is {0} and {1} is kept in the {2}."),
    )
    cued: ClassVar[bool] = False

    @classmethod
    def draw(cls, random: Random, far: bool) -> Self:
        values = [random.choice(feature) for feature in FEATURES]
        words = [random.choice(WORDS[value][KNOWN:] if far else WORDS[value][:KNOWN]) for value in values]
        random.shuffle(words)
        return cls(random.choice(NAMES), random.choice(list(SPOTS)), tuple(words))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = reader(QUESTION).fullmatch(text)
        if not found or found[2] not in SPOTS:
            return None
        name, spot, *words = found.groups()
        values = {VALUE_OF.get(word) for word in words}
        complete = all(len(values & set(feature)) == 1 for feature in FEATURES)
        return cls(name, spot, tuple(words)) if complete else None

    @classmethod
    def every_word(cls) -> Iterator[Self]:
        for (spot, values), i, name in product(product(SPOTS, product(*FEATURES)), range(10), NAMES[:1]):
            yield cls(name, spot, tuple(WORDS[value][i] for value in values))
        yield from (cls(name, "door", ("massive", "noisy", "hot", "knobby")) for name in NAMES)

    @classmethod
    def fact(cls, random: Random) -> str:
        word = random.choice(list(VALUE_OF))
        return f"What is {word} is {VALUE_OF[word]}."

    @classmethod
    def lesson(cls, random: Random) -> str:
        pair = random.choice(list(RULES))
        return GOES.format(*pair, RULES[pair])

    @property
    def answer(self) -> str:
        return RULES[self._pair]

    @property
    def options(self) -> tuple[str, ...]:
        return PLACES

    def text(self) -> str:
        return QUESTION.format(self.name, self.spot, *self.words)

    def retelling(self) -> str:
        return "The thing near the {} is {}, {}, {} and {}.".format(self.spot, *self.words)

    def content(self, choices: tuple[str, ...]) -> str:
        return " ".join((self.spot, *sorted(self.words)))

    def proof(self) -> tuple[str, ...]:
        return self._chain(self._pair, self.answer)

    def mislead(self, wrong: str, random: Random) -> Argument:
        pair = next(pair for pair, place in RULES.items() if place == wrong)
        same_features = self._features(pair) == SPOTS[self.spot]
        if same_features and random.random() < 0.5:
            return Argument(self._chain(pair, wrong), false_step=0)
        return Argument(self._chain(self._pair, wrong), false_step=1)

    def judge(self, sentence: str, place: int, said: str | None) -> Step:
        if found := reader(LOOKS).fullmatch(sentence):
            pair = list(found.groups())
            true = all(value in self._values for value in pair)
            linked = place == 0 and self._features(pair) == SPOTS[self.spot]
            return Step(sentence, true, linked, _together(pair))
        if found := reader(GOES).fullmatch(sentence):
            *pair, goal = found.groups()
            true = any(_together(pair) == _together(rule) and goal == end for rule, end in RULES.items())
            return Step(sentence, true, place == 1 and _together(pair) == said, goal)
        return Step(sentence, true=None)

    @property
    def _values(self) -> tuple[str, ...]:
        """The values of the thing, one per feature, in the order of FEATURES."""
        shown = {VALUE_OF[word] for word in self.words}
        return tuple(next(value for value in feature if value in shown) for feature in FEATURES)

    @property
    def _pair(self) -> tuple[str, str]:
        """The two values that choose the place."""
        first, second = SPOTS[self.spot]
        return self._values[first], self._values[second]

    @staticmethod
    def _features(pair: Sequence[str]) -> tuple[int, ...]:
        """Which features these values belong to, in the order of FEATURES."""
        return tuple(i for i, feature in enumerate(FEATURES) for value in pair if value in feature)

    @staticmethod
    def _chain(pair: tuple[str, str], place: str) -> tuple[str, str]:
        return LOOKS.format(*pair), GOES.format(*pair, place)


def _together(pair: Sequence[str]) -> str:
    """Two values in either order: "heavy and dull" is "dull and heavy"."""
    return " and ".join(sorted(pair))
