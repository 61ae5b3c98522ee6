"""The scenes of the world, each written from tables of wordings; whatever is asked has its answer in the story alone.

Adding a wording is adding a line to a table; adding a skill is adding a scene to `SCENES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lm.data.synthetic.grammar import Ask, Cast, Scene, amount, listing, yes_no
from lm.data.synthetic.names import COLOURS, NUMBERS

# --- who has what, and of which colour -------------------------------------------------------------------------

_HAS_COLOURED = (
    "{person} has a {colour} {thing}.",
    "{person}'s {thing} is {colour}.",
    "The {colour} {thing} belongs to {person}.",
)
_WHICH_COLOUR = (
    "What colour is {person}'s {thing}?",
    "What colour is the {thing}?",
    "{person} has a {thing}. What colour is it?",
)
_WHOSE = ("Who has the {thing}?", "Who has the {colour} {thing}?", "Whose {thing} is {colour}?")
_IS_IT = ("Is {person}'s {thing} {colour}?", "Is the {thing} {colour}?")


def possessions(cast: Cast) -> Scene:
    """Two or three people each have a thing of their own colour."""
    n = cast.number(2, 3)
    people, things, colours = cast.people(n), cast.things(n), cast.some(COLOURS, n)
    owned = [{"person": p, "thing": t, "colour": c} for p, t, c in zip(people, things, colours, strict=True)]
    asks = []
    for mine in owned:
        truth = mine["colour"]
        doubted = truth if cast.chance(0.5) else cast.one([colour for colour in colours if colour != truth])
        asks += [
            Ask("colour", cast.one(_WHICH_COLOUR).format(**mine), truth, colours),
            Ask("owner", cast.one(_WHOSE).format(**mine), mine["person"], people),
            yes_no(cast.one(_IS_IT).format(**{**mine, "colour": doubted}), doubted == truth),
        ]
    return Scene(" ".join(cast.one(_HAS_COLOURED).format(**mine) for mine in owned), asks)


# --- who lives where, who is where -----------------------------------------------------------------------------

_LIVES = ("{person} lives in {place}.", "{person}'s house is in {place}.", "The home of {person} is in {place}.")
_WHERE_LIVES = ("Where does {person} live?", "Where is {person}'s house?", "In which town does {person} live?")
_WHO_LIVES = ("Who lives in {place}?", "Whose house is in {place}?")
_DOES_LIVE = ("Does {person} live in {place}?", "Is {person}'s house in {place}?")


def homes(cast: Cast) -> Scene:
    """Two or three people each live in a town of their own."""
    n = cast.number(2, 3)
    people, places = cast.people(n), cast.places(n)
    lines, asks = [], []
    for person, place in zip(people, places, strict=True):
        lines.append(cast.one(_LIVES).format(person=person, place=place))
        doubted = place if cast.chance(0.5) else cast.one([other for other in places if other != place])
        asks += [
            Ask("home", cast.one(_WHERE_LIVES).format(person=person), place, places),
            Ask("owner", cast.one(_WHO_LIVES).format(place=place), person, people),
            yes_no(cast.one(_DOES_LIVE).format(person=person, place=doubted), doubted == place),
        ]
    return Scene(" ".join(lines), asks)


_IS_AT = ("{person} is in {place}.", "{person} wakes up in {place}.")
_MOVES = ("{person} goes to {place}.", "{person} walks to {place}.", "Then {person} goes to {place}.")
_WHERE_NOW = ("Where is {person} now?", "Where is {person}?", "In which town is {person} now?")
_WHERE_BEFORE = ("Where was {person} before?", "Where was {person} at first?")


def journeys(cast: Cast) -> Scene:
    """Two people are in two towns; one or both go somewhere else. Every town named is the answer to one question."""
    people, places = cast.people(2), cast.places(4)
    at = dict(zip(people, places[:2], strict=True))
    lines = [cast.one(_IS_AT).format(person=person, place=at[person]) for person in people]
    movers = cast.some(people, cast.number(1, 2))
    named = places[: 2 + len(movers)]
    asks = []
    for person, place in zip(movers, named[2:], strict=True):
        lines.append(cast.one(_MOVES).format(person=person, place=place))
        asks.append(Ask("move", cast.one(_WHERE_BEFORE).format(person=person), at[person], named))
        at[person] = place
    asks += [Ask("move", cast.one(_WHERE_NOW).format(person=person), at[person], named) for person in people]
    return Scene(" ".join(lines), asks)


_HAS_ONE = ("{person} has a {thing}.", "{person} owns a {thing}.")
_HAS_TWO = ("{person} has a {thing} and a {other}.", "{person} owns a {thing} and a {other}.")
_GIVES = ("{person} gives the {thing} to {friend}.", "{person} hands the {thing} to {friend}.")
_WHO_NOW = ("Who has the {thing} now?", "Who has the {thing}?", "Who holds the {thing} now?")


def gifts(cast: Cast) -> Scene:
    """Of three people, one keeps a thing, one gives one of two away, and one gets it: each has one in the end."""
    giver, keeper, friend = people = cast.people(3)
    given, left, kept = cast.things(3)
    first, second = cast.some((given, left), 2)
    lines = [
        cast.one(_HAS_TWO).format(person=giver, thing=first, other=second),
        cast.one(_HAS_ONE).format(person=keeper, thing=kept),
    ]
    if cast.chance(0.5):
        lines.reverse()
    lines.append(cast.one(_GIVES).format(person=giver, thing=given, friend=friend))
    holders = ((given, friend), (left, giver), (kept, keeper))
    return Scene(
        " ".join(lines),
        [Ask("holder", cast.one(_WHO_NOW).format(thing=thing), holder, people) for thing, holder in holders],
    )


# --- numbers ---------------------------------------------------------------------------------------------------

_GAINS = (
    ("{a} has {start}. {b} gives {a} {n} more.", "How many {thing}s does {a} have now?"),
    ("{a} finds {start} and then {n} more.", "How many {thing}s does {a} have?"),
    ("There are {start} on the table. {a} puts {n} more there.", "How many {thing}s are on the table now?"),
)
_LOSSES = (
    ("{a} has {start}. {a} gives {n} to {b}.", "How many {thing}s does {a} have left?"),
    ("{a} has {start} and loses {n}.", "How many {thing}s does {a} have left?"),
    ("There are {start} on the table. {a} takes {n} away.", "How many {thing}s are left on the table?"),
)
_SUMS, _REMAINDERS = NUMBERS[3:], NUMBERS[1:8]


def gains(cast: Cast) -> Scene:
    """Someone gets more of a thing: a single-digit sum."""
    total = cast.number(3, 9)
    start = cast.number(2, total - 1)
    return _change(cast, _GAINS, start, total - start, Ask("sum", "", NUMBERS[total], _SUMS))


def losses(cast: Cast) -> Scene:
    """Someone has less of a thing afterwards: a single-digit difference."""
    left = cast.number(1, 7)
    start = cast.number(max(2, left + 1), 9)
    return _change(cast, _LOSSES, start, start - left, Ask("difference", "", NUMBERS[left], _REMAINDERS))


def _change(cast: Cast, wordings: Sequence[tuple[str, str]], start: int, n: int, ask: Ask) -> Scene:
    (a, b), (thing,) = cast.people(2), cast.things(1)
    story, question = cast.one(wordings)
    story = story.format(a=a, b=b, start=amount(start, thing), n=NUMBERS[n])
    return Scene(story, [ask._replace(question=question.format(a=a, thing=thing))])


_PLUS = ("What is {a} plus {b}?", "How much is {a} and {b}?")
_MINUS = ("What is {a} minus {b}?", "How much is {a} less {b}?")


def drill(cast: Cast) -> Scene:
    """Bare sums and differences, with no story and nobody in them."""
    asks = []
    for _ in range(4):
        total = cast.number(2, 9)
        part = cast.number(1, total - 1)
        a, b, rest = NUMBERS[total], NUMBERS[part], NUMBERS[total - part]
        if cast.chance(0.5):
            asks.append(Ask("sum", cast.one(_PLUS).format(a=b, b=rest), a, _SUMS))
        else:
            asks.append(Ask("difference", cast.one(_MINUS).format(a=a, b=b), rest, _REMAINDERS))
    return Scene("", list(dict.fromkeys(asks)))


_HAS_AMOUNT = ("{person} has {amount}.", "{person} owns {amount}.")
_MORE = ("Who has more {thing}s?", "Of the two, who has more {thing}s?")
_FEWER = ("Who has fewer {thing}s?", "Of the two, who has fewer {thing}s?")


def amounts(cast: Cast) -> Scene:
    """Two people have different numbers of the same thing."""
    people, (thing,) = cast.people(2), cast.things(1)
    n = [NUMBERS.index(number) for number in cast.some(NUMBERS[1:], 2)]
    story = " ".join(
        cast.one(_HAS_AMOUNT).format(person=person, amount=amount(k, thing))
        for person, k in zip(people, n, strict=True)
    )
    more, fewer = people if n[0] > n[1] else reversed(people)
    return Scene(
        story,
        [
            Ask("compare", cast.one(_MORE).format(thing=thing), more, people),
            Ask("compare", cast.one(_FEWER).format(thing=thing), fewer, people),
        ],
    )


_COUNTS = NUMBERS[2:6]
_COLLECTS = (
    ("{person} has {list}.", "How many things does {person} have?"),
    ("In the basket there are {list}.", "How many things are in the basket?"),
)
_MEETS = (
    ("{list} are in {place}.", "How many people are in {place}?"),
    ("{list} meet in {place}.", "How many people meet in {place}?"),
)


def crowds(cast: Cast) -> Scene:
    """Two to five things, or people, are listed."""
    n = cast.number(2, 5)
    (person,), (place,) = cast.people(1), cast.places(1)
    if cast.chance(0.5):
        wordings, items = _COLLECTS, [f"a {thing}" for thing in cast.things(n)]
    else:
        wordings, items = _MEETS, list(cast.people(n))
    story, question = (text.format(person=person, place=place, list=listing(items)) for text in cast.one(wordings))
    return Scene(story, [Ask("count", question, NUMBERS[n], _COUNTS)])


# --- order -----------------------------------------------------------------------------------------------------

_ORDINALS = ("first", "second", "third")
_PLACED = ("{person} came {ordinal}.", "{person} was {ordinal}.")
_FIRST = ("Who won the race?", "Who came first?")
_SECOND = ("Who came second?", "Who was second?")
_LAST = ("Who came last?", "Who was last?")


def races(cast: Cast) -> Scene:
    """Three people finish a race, told in any order."""
    people = cast.people(3)
    lines = [cast.one(_PLACED).format(person=people[int(i)], ordinal=_ORDINALS[int(i)]) for i in cast.some("012", 3)]
    asks = [
        Ask("order", cast.one(wordings).format(), person, people)
        for wordings, person in zip((_FIRST, _SECOND, _LAST), people, strict=True)
    ]
    return Scene("There was a race. " + " ".join(lines), asks)


_SCALES = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("stronger", "weaker", "strongest", "weakest"),
)


def scales(cast: Cast) -> Scene:
    """Of three people, each neighbouring pair is compared; who is first, in between and last follows."""
    top, middle, bottom = people = cast.people(3)
    above, below, most, least = cast.one(_SCALES)
    lines = [
        f"{high} is {above} than {low}." if cast.chance(0.75) else f"{low} is {below} than {high}."
        for high, low in ((top, middle), (middle, bottom))
    ]
    if cast.chance(0.5):
        lines.reverse()
    questions = (f"Who is the {most}?", f"Who is neither the {most} nor the {least}?", f"Who is the {least}?")
    asks = [Ask("rank", question, person, people) for question, person in zip(questions, people, strict=True)]
    return Scene(" ".join(lines), asks)


SCENES: dict[Callable[[Cast], Scene], tuple[str, ...]] = {
    possessions: ("colour", "owner", "yes_no"),
    homes: ("home", "owner", "yes_no"),
    journeys: ("move",),
    gifts: ("holder",),
    gains: ("sum",),
    losses: ("difference",),
    amounts: ("compare",),
    crowds: ("count",),
    races: ("order",),
    scales: ("rank",),
}
"""Every scene with entities in it, and the kinds of question that it can ask."""

KINDS: tuple[str, ...] = tuple(dict.fromkeys(kind for kinds in SCENES.values() for kind in kinds))
