"""Plain text of the world that asks nothing: tales, in which colours, owners and places stay true, and songs."""

from __future__ import annotations

from lm.data.synthetic.grammar import Cast, listing
from lm.data.synthetic.names import COLOURS

_TALES = (
    "{a} lives in {place}. {a} has a {colour} {thing}. One day the {thing} is gone. {b} looks for it all day long. "
    'At last {b} finds the {colour} {thing} under a tree and takes it back to {a}. "Thank you, {b}!" says {a}.',
    "It rains in {place}. {a} and {b} sit at home and drink tea. {b} shows {a} a {colour} {thing}. "
    "{a} likes the {thing} so much that {b} gives it to {a}. Now the {colour} {thing} belongs to {a}.",
    '{a} walks from {place} to {town}. On the way {a} finds a {colour} {thing}. "Whose {thing} is this?" asks {a}. '
    'In {town} {b} sees the {colour} {thing} and is happy. "It is my {thing}!" says {b}.',
    "Every morning {a} goes to {place} with a {colour} {thing}. Every evening {a} comes home to {town}. "
    "{b} lives in {town} too, and waits for {a} and the {colour} {thing}.",
    "{b} wants to make a {thing} for {a}. First {b} cuts the wood. Then {b} paints it {colour}. "
    "In the evening {b} takes the {colour} {thing} to {place}, where {a} lives. What a fine {thing} it is!",
    "There is a market in {place} today. {a} sells a {colour} {thing} and {b} sells a {other} {toy}. "
    "{a} buys the {other} {toy} and {b} buys the {colour} {thing}. Both go home to {town} and are happy.",
    '{a} writes a letter to {b}. "Dear {b}, I am in {place}. It is quiet here. I have a {colour} {thing} for you. '
    'Come soon! Your friend {a}." {b} reads the letter in {town} and sets out for {place}.',
    "At night {a} hears a sound. Is it the wind? No, it is {b} with a {colour} {thing}. "
    '"I cannot sleep," says {b}. So {a} and {b} sit by the fire with the {colour} {thing} until the sun '
    "comes up over {place}.",
)


def tale(cast: Cast) -> str:
    """Returns one tale of about 200 to 300 characters."""
    a, b = cast.people(2)
    thing, toy = cast.things(2)
    place, town = cast.places(2)
    colour, other = cast.some(COLOURS, 2)
    return cast.one(_TALES).format(a=a, b=b, thing=thing, toy=toy, place=place, town=town, colour=colour, other=other)


_VERSES = (
    "{a} has a {colour} {thing}",
    "{a}'s {thing} is {colour}",
    "{a} lives in {place}",
    "{a} came to {place} with a {thing}",
)
_REFRAINS = ("Sing it again:", "Once more:", "Now you sing it:")


def song(cast: Cast) -> str:
    """Returns a song of two or three lines and its refrain: a model learns from repetition to look back."""
    n = cast.number(2, 3)
    verse = cast.one(_VERSES)
    rows = zip(cast.people(n), cast.things(n), cast.places(n), cast.some(COLOURS, n), strict=True)
    lines = [verse.format(a=a, thing=thing, place=place, colour=colour) for a, thing, place, colour in rows]
    verses = [lines] + [cast.some(lines, n) for _ in range(4 - n)]  # the longer ones are sung twice, not thrice
    return f" {cast.one(_REFRAINS)} ".join(f"{listing(sung)}." for sung in verses)
