"""spaCy's rules for English words: the runs of characters it knows, and what it takes off and apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from lm.data.curate.marks import UNSPACED_CLASS, character_class

_LONGEST_SUFFIX = 5  # but for full stops

# Contractions: (what stands before, what may follow), split at "+"; each is also known without its apostrophes.
_PERSONS = "i you he she it we they"
_QUESTIONS = "who what when where why how there"
_CONTRACTIONS = (
    (f"{_PERSONS} {_QUESTIONS} that this these those", "'ll 'd 'll+'ve 'd+'ve"),
    (f"i you we they {_QUESTIONS} these those could might must should would not", "'ve"),
    (f"you we they {_QUESTIONS} these those", "'re"),
    (f"he she it {_QUESTIONS} that this", "'s"),
    ("i", "'m 'm+a"),
    ("ca could do does did had may might must need ought sha should wo would", "n't n't+'ve"),
    ("ai are is was were have has dare", "n't"),
    ("can", "not"),
    ("gon", "na"),
    ("got", "ta"),
)
# The same without an apostrophe is another word.
_AS_WRITTEN = "let+'s Let+'s c'm+on C'm+on y'+all y+all how+'d+'y How+'d+'y"
_NO_CONTRACTIONS = frozenset(("ill", "its", "hell", "shell", "shed", "were", "well", "whore"))
_HOURS = ("am", "a.m.", "pm", "p.m.")
_WHOLE = """
' '' ' 's 'S ‘s ‘S 're 'd 'em 'll 'nuff 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin'
and/or w/o C++ ä. ö. ü. a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. Mr. Mrs. Ms. Messrs. Dr. Prof. Ph.D. Jr. St.
Mt. Adm. Gen. Gov. Rep. Rev. Sen. Bros. co. Co. Corp. Inc. Ltd. D.C. Md. Mo. Mont. Jan. Feb. Mar. Apr. Jun. Jul. Aug.
Sep. Sept. Oct. Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La.
Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash.
Wis.
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v
V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬)
\\t \\n \\") <space> ¯\\(ツ)/¯
"""

_DASHES = "–—"
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = r"(?:US|C|A)\$|[$£€¥฿₠-₿﷼]"
_UNITS = (
    "km[²³]? m[²³]? dm[²³]? cm[²³]? mm[²³]? ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa mbar "
    "mb MB kb KB gb GB tb TB T G M K % км[²³]? м[²³]? дм[²³]? см[²³]? мм[²³]? нм кг г мг м/с км/ч кПа Па мбар Кб КБ кб "
    "Мб МБ мб Гб ГБ гб Тб ТБ тб"
).replace(" ", "|")


class Rules(NamedTuple):
    """How a run of characters without white space becomes words; `known` runs have theirs whatever the rules."""

    known: dict[str, tuple[str, ...]]
    opening: frozenset[str]
    closing: frozenset[str]
    prefix: re.Pattern[str]
    suffix: re.Pattern[str]
    infix: re.Pattern[str]
    address: re.Pattern[str]
    pieces: re.Pattern[str]

    def prefix_of(self, run: str) -> str:
        """Returns what is to be taken off the start of a run, or nothing."""
        if run[0] in self.opening:
            return run[0]
        match = self.prefix.match(run)
        return match.group() if match else ""

    def suffix_of(self, run: str) -> str:
        """Returns what is to be taken off the end of a run, or nothing."""
        if not run or run.isalpha():
            return ""
        if run[-1] in self.closing:
            return run[-1]
        match = self.suffix.search(run, max(0, len(run.rstrip(".")) - _LONGEST_SUFFIX))
        return match.group() if match else ""


@cache
def rules() -> Rules:
    """Returns the compiled rules, made once in a process."""
    plane = [chr(point) for point in range(0x10000)]
    lower = character_class(c for c in plane if c.isalpha() and not c.isupper())
    upper = character_class(c for c in plane if c.isalpha() and not c.islower())
    icons = f"{character_class(c for c in plane if unicodedata.category(c) == 'So')}\U0001f000-\U0001faff"
    quotes, marks = re.escape(_QUOTES), re.escape(_MARKS)
    label = r"[A-Za-z0-9\u00a1-\uffff]"
    letter = r"[^\W\d_]"
    return Rules(
        known=dict(_known()),
        opening=frozenset(_MARKS + _QUOTES + _DASHES + "§%=") - {"…"},
        closing=frozenset(_MARKS + _QUOTES + _DASHES) - {"…"},
        prefix=re.compile(rf"\+(?!\d)|……?|\.\.+|{_CURRENCY}|[{icons}]"),
        suffix=re.compile(
            rf"(?:……?|\.\.+|[{icons}]|['’][sS]|(?<=\d)(?:\+|{_CURRENCY}|{_UNITS})"
            rf"|(?<=[0-9{lower}%²|\-+{marks}{quotes}])\.|(?<=[{upper}][{upper}])\.)\Z"
        ),
        infix=re.compile(
            # The joint's first character stands first and alone, so that the search runs from one to the next.
            rf"[-.…,+*^:<>=/~–—{icons}](?:(?<=\.)\.+|(?<=[…{icons}])|(?<=\d[-+*^])(?=[\d-])|(?<={letter},)(?={letter})"
            rf"|(?<=[{lower}{quotes}]\.)(?=[{upper}{quotes}])"
            rf"|(?:(?<=[^\W_]-)-{{0,2}}|(?<=[^\W_]—)—?|(?<=[^\W_][–~:<>=/]))(?={letter}))"
        ),
        address=re.compile(
            rf"(?:[\w+.-]{{2,}}://)?(?:\S+@)?(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}"
            rf"|(?:{label}(?:[A-Za-z0-9\u00a1-\uffff_-]{{0,62}}{label})?\.)+[{lower}]{{2,63}})(?::\d{{2,5}})?(?:[/?#]\S*)?\Z"
        ),
        pieces=re.compile(f"[{UNSPACED_CLASS}]|[^{UNSPACED_CLASS}]+"),
    )


def _known() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the runs that no rule may touch, with their words; each also with typographic apostrophes."""
    for run, words in _plain_known():
        yield run, words
        yield run.replace("'", "’"), tuple(word.replace("'", "’") for word in words)


def _plain_known() -> Iterator[tuple[str, tuple[str, ...]]]:
    for word in _WHOLE.split():
        yield word, (word,)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        yield f"{letter}.", (f"{letter}.",)
    for stems, endings in _CONTRACTIONS:
        for stem in stems.split():
            for ending in endings.split():
                for start in (stem, stem.title()):
                    for parts in ((start, *ending.split("+")), (start, *ending.replace("'", "").split("+"))):
                        if "".join(parts).lower() not in _NO_CONTRACTIONS:
                            yield "".join(parts), parts
    for written in _AS_WRITTEN.split():
        yield written.replace("+", ""), tuple(written.split("+"))
    for hour in range(1, 13):
        for half in _HOURS:
            yield f"{hour}{half}", (str(hour), half)
    for unit in "cfkCFK":
        yield f"°{unit}.", ("°", unit, ".")
