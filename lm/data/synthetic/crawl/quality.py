"""Text that teaches nothing: keyword lists, chatter, word salad, shreds and noise, each a function of a cast.

The first three are told by their words, which a classifier can learn; the others are what rules are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lm.data.synthetic.crawl.wordings import Wordings
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.names import Split

CHATTER = Wordings(
    slots={
        "meh": ("lol", "ok", "whatever", "omg", "idk", "btw", "haha", "meh", "yeah", "hmm", "ugh", "tbh", "nah"),
        "stuff": ("stuff", "things", "something", "this one", "that thing", "a bunch of stuff", "it all"),
        "so": ("so", "like", "kinda", "sorta", "just", "really", "literally", "totally", "super"),
        "ends": ("lol", "!!!!", "???", "...", "haha", "xD", ":P", "idk"),
    },
    positive={
        "train": (
            "{meh} {so} {meh} {stuff} {ends}", "{meh} i dunno {stuff} was {so} {so} weird {ends}",
            "anyone there?? {meh} {ends}", "{so} bored rn {meh} gonna do {stuff} later {ends}",
            "first!!! {meh} {ends}", "{meh} same here {stuff} {so} random {ends}", "plz reply {meh} {meh} {ends}",
            "{stuff} is {so} {so} {so} good {meh}", "u guys r {so} funny {ends} {meh}", "bump {ends} {meh}",
            "gonna sleep now {meh} cya {ends}", "{meh} didnt read {so} long {ends}", "what even is {stuff} {ends}",
            "{so} yeah {meh} anyway {stuff} {ends}", "k thx bye {meh} {ends}", "no idea {meh} {so} tired {ends}",
            "test test 123 {meh} {ends}", "wanna see {stuff}? {meh} {so} cool {ends}", "{meh} nvm {meh} {ends}",
            "posting {stuff} again cuz {meh} {so} bored {ends}", "this {meh} that {meh} {stuff} {ends}",
            "idk why but {stuff} {so} much {ends}",
        ),
        "test": (
            "{meh} wut {stuff} again?? {so} lame {ends}", "{so} i was {so} {meh} and {stuff} {ends}",
            "+1 {meh} {stuff} {ends}", "dont care {meh} {so} over it {ends}", "{meh} gotta go {stuff} {ends} {ends}",
            "can sum1 explain {stuff} {meh} {ends}", "{stuff} n {stuff} n {stuff} {ends}",
            "lemme try {stuff} {so} {so} fast {ends}", "w8 what {meh} {ends}", "{so} much {stuff} {so} little time",
            "my cat did {stuff} {meh} {so} cute {ends}", "ya {meh} ya {so} true {ends}",
        ),
    },
    negative={"train": (), "test": ()},
)  # fmt: skip


def _phrases(row: str) -> tuple[str, ...]:
    return tuple(row.split(", "))


_KEYWORDS: Mapping[Split, tuple[str, ...]] = {
    "train": _phrases(
        "cheap hotel, best price shoes, buy online, discount code, free shipping, car insurance quotes, phone cases, "
        "top 10 laptops, near me, best deals 2026, used cars, coupon, online store, credit card offers, flights sale, "
        "cheap flights, review, best buy, promo code, tv sale, weight loss tips, download free, wallpaper hd, "
        "ringtone, mp3 download, rent apartment, mattress sale, dentist near me, plumber cheap, garden furniture sale"
    ),
    "test": _phrases(
        "cheap shoes online, best hotel deals, buy phone, discount flights, free download, insurance near me, laptops "
        "sale, top cars 2026, coupon code, store near me, cheap mattress, used phone, review best, credit quotes, tv "
        "deals, wallpaper free, promo shoes, mp3 free, furniture discount, rent cheap, plumber near me, price review, "
        "best dentist, apartment deals, tips online, ringtone hd, garden sale, shipping free, weight loss, offers"
    ),
}  # fmt: skip
_LOREM = _phrases(
    "lorem, ipsum, dolor, sit, amet, consectetur, adipiscing, elit, sed, do, eiusmod, tempor, incididunt, ut, "
    "labore, et, dolore, magna, aliqua, enim, ad, minim, veniam, quis, nostrud, exercitation, ullamco, laboris, "
    "nisi, aliquip, ex, ea, commodo, consequat, duis, aute, irure, in, reprehenderit, voluptate, velit, esse, "
    "cillum, eu, fugiat, nulla, pariatur, excepteur, sint, occaecat"
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MARKS = "#*~=|_+<>^%$@"


def chatter(cast: Cast, split: Split = "test") -> str:
    """Returns lines of idle talk without a sentence among them."""
    return "\n".join(CHATTER.show(cast, split) for _ in range(cast.number(8, 30)))


def keywords(cast: Cast, split: Split = "test") -> str:
    """Returns a list of search phrases."""
    words = _KEYWORDS[split]
    return ", ".join(cast.one(words) for _ in range(cast.number(40, 120)))


def shreds(cast: Cast, split: Split = "test") -> str:
    """Returns what menus and teasers leave behind: fragments that end in an ellipsis."""
    words = _KEYWORDS[split]
    lines = (f"{cast.one(words)} {cast.one(('more', 'read more', 'see all', 'next'))}..." for _ in range(30))
    return "\n".join(lines)


def gibberish(cast: Cast, split: Split = "test") -> str:
    """Returns words of random letters."""

    def word() -> str:
        return "".join(cast.one(_LETTERS) for _ in range(cast.number(8, 20)))

    return " ".join(word() for _ in range(cast.number(60, 120)))


def lorem(cast: Cast, split: Split = "test") -> str:
    """Returns a printer's dummy text."""
    body = (" ".join(cast.one(_LOREM) for _ in range(12)) for _ in range(cast.number(5, 15)))
    return f"Lorem ipsum dolor sit amet, {'. '.join(body)}."


def repeated(cast: Cast, split: Split = "test") -> str:
    """Returns one line, over and over."""
    person, thing = cast.people(1)[0], cast.things(1)[0]
    return "\n".join([f"{person} looks at the {thing} and the {thing} looks back."] * cast.number(12, 40))


def symbols(cast: Cast, split: Split = "test") -> str:
    """Returns marks and numbers with few letters among them."""

    def token() -> str:
        return cast.one(_MARKS) * cast.number(1, 6) if cast.chance(0.6) else str(cast.number(0, 99_999))

    return " ".join(token() for _ in range(cast.number(80, 160)))


LOW_QUALITY: Mapping[str, Callable[[Cast, Split], str]] = {
    make.__name__: make for make in (chatter, keywords, shreds, gibberish, lorem, repeated, symbols)
}
"""Every sort of text of low quality."""
