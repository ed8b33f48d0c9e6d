"""kinds: two hops of knowledge, from a thing to its kind and from the kind to what is asked.

    Where would you find a drill?
    A drill is a tool. A tool is found in the workshop.

64 things of 8 kinds, 4 relations, 2 wordings each. One relation a thing is held out: a quarter of the
(thing, relation) pairs is asked in the `hard` split only, while each of the two hops is met in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from cotdistill.plugins.checkers import Step
from cotdistill.world.problem import Argument, Problem, reader

# Every noun begins with a consonant, so that "a" is always right.
THINGS: dict[str, tuple[str, ...]] = {
    "tool": ("drill", "hammer", "wrench", "chisel", "saw", "spanner", "mallet", "rasp"),
    "bird": ("robin", "sparrow", "finch", "heron", "magpie", "pigeon", "raven", "thrush"),
    "fish": ("trout", "salmon", "carp", "herring", "perch", "pike", "cod", "mackerel"),
    "fruit": ("pear", "plum", "cherry", "peach", "melon", "mango", "banana", "lemon"),
    "garment": ("coat", "shirt", "skirt", "jacket", "sweater", "vest", "cloak", "scarf"),
    "vehicle": ("van", "truck", "tractor", "bus", "car", "lorry", "cab", "scooter"),
    "toy": ("doll", "kite", "puzzle", "marble", "rattle", "teddy", "puppet", "balloon"),
    "tree": ("pine", "birch", "maple", "cedar", "willow", "poplar", "beech", "spruce"),
}
KIND_OF = {thing: kind for kind, things in THINGS.items() for thing in things}
IS_A = "A {} is a {}."


@dataclass(frozen=True)
class Relation:
    """What can be asked of a thing: two wordings, the sentence that states it of a kind, one value a kind."""

    wordings: tuple[str, str]
    states: str
    restates: str  # the same in other words
    values: tuple[str, ...]  # in the order of THINGS

    def of(self, kind: str) -> str:
        """The value of this relation for a kind."""
        return self.values[list(THINGS).index(kind)]

    def kind_with(self, value: str) -> str:
        """The one kind that has this value."""
        return list(THINGS)[self.values.index(value)]


RELATIONS: dict[str, Relation] = {
    "place": Relation(
        ("Where would you find a {}?", "In which place is a {} kept?"),
        "A {} is found in the {}.",
        "A {0} is kept in the {1}.",
        ("workshop", "meadow", "river", "orchard", "wardrobe", "garage", "nursery", "forest"),
    ),
    "keeper": Relation(
        ("Who handles a {}?", "Who works with a {}?"),
        "A {} is handled by the {}.",
        "The {1} handles a {0}.",
        ("carpenter", "falconer", "angler", "grocer", "tailor", "mechanic", "toddler", "lumberjack"),
    ),
    "need": Relation(
        ("What does a {} need?", "What must a {} have?"),
        "A {} needs {}.",
        "A {0} must have {1}.",
        ("oil", "seeds", "water", "sunshine", "soap", "petrol", "company", "rain"),
    ),
    "sound": Relation(
        ("What sound does a {} make?", "What do you hear from a {}?"),
        "A {} makes a {}.",
        "What you hear from a {0} is a {1}.",
        ("clang", "chirp", "splash", "crunch", "rustle", "rumble", "squeak", "creak"),
    ),
}


def held_out(thing: str) -> str:
    """The one relation that training never asks of a thing; every kind holds out each relation twice."""
    return list(RELATIONS)[THINGS[KIND_OF[thing]].index(thing) % len(RELATIONS)]


@dataclass(frozen=True)
class Kinds(Problem):
    """One relation asked of one thing, in one of two wordings (0 or 1)."""

    thing: str
    relation: str
    wording: int

    far: ClassVar[str] = "hard"
    wordings: ClassVar[tuple[tuple[str, str], ...]] = (
        (IS_A, "A thing that is a {0} is a {1}."),
        *((relation.states, relation.restates) for relation in RELATIONS.values()),
    )

    @classmethod
    def draw(cls, random: Random, far: bool) -> Self:
        thing = random.choice(list(KIND_OF))
        asked = [name for name in RELATIONS if (name == held_out(thing)) == far]
        return cls(thing, random.choice(asked), random.randrange(2))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        for name, relation in RELATIONS.items():
            for wording, template in enumerate(relation.wordings):
                found = reader(template).fullmatch(text)
                if found and found[1] in KIND_OF:
                    return cls(found[1], name, wording)
        return None

    @classmethod
    def every_word(cls) -> Iterator[Self]:
        return (cls(thing, name, wording) for thing in KIND_OF for name in RELATIONS for wording in range(2))

    @classmethod
    def fact(cls, random: Random) -> str:
        kind, relation = random.choice(list(THINGS)), random.choice(list(RELATIONS.values()))
        return relation.states.format(kind, relation.of(kind))

    @classmethod
    def lesson(cls, random: Random) -> str:
        thing = random.choice(list(KIND_OF))
        return IS_A.format(thing, KIND_OF[thing])

    @property
    def answer(self) -> str:
        return self._relation.of(KIND_OF[self.thing])

    @property
    def options(self) -> tuple[str, ...]:
        return self._relation.values

    def text(self) -> str:
        return self._relation.wordings[self.wording].format(self.thing)

    def retelling(self) -> str:
        return f"The question is about a {self.thing}. It asks for the {self.relation}."

    def content(self, choices: tuple[str, ...]) -> str:
        return " ".join((self.text(), *sorted(choices)))

    def proof(self) -> tuple[str, ...]:
        return self._chain(KIND_OF[self.thing], self.answer)

    def mislead(self, wrong: str, random: Random) -> Argument:
        if random.random() < 0.5:
            return Argument(self._chain(self._relation.kind_with(wrong), wrong), false_step=0)
        return Argument(self._chain(KIND_OF[self.thing], wrong), false_step=1)

    def judge(self, sentence: str, place: int, said: str | None) -> Step:
        if found := reader(IS_A).fullmatch(sentence):
            subject, kind = found.groups()
            return Step(sentence, KIND_OF.get(subject) == kind, place == 0 and subject == self.thing, kind)
        for name, relation in RELATIONS.items():
            if found := reader(relation.states).fullmatch(sentence):
                subject, value = found.groups()
                kind = KIND_OF.get(subject, subject)
                true = kind in THINGS and relation.of(kind) == value
                return Step(sentence, true, place == 1 and subject == said and name == self.relation, value)
        return Step(sentence, true=None)

    @property
    def _relation(self) -> Relation:
        return RELATIONS[self.relation]

    def _chain(self, kind: str, value: str) -> tuple[str, str]:
        return IS_A.format(self.thing, kind), self._relation.states.format(kind, value)
