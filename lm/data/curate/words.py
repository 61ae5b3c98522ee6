"""Words, as the published thresholds of curation count them.

The limits of Gopher, C4 and FineWeb are used with the words of spaCy's English rules (Honnibal & Montani, 2017):
punctuation marks are words of their own, contractions are two words (`do` `n't`), abbreviations keep their full stop,
and words joined by a hyphen are three. Here are the same rules, applied once to each distinct run of characters
between white space: text repeats its runs, so that most cost one look-up.

Scripts written without spaces (Han, kana, Thai, Lao, Burmese, Khmer) give one word a character; spaCy's English rules
would take a whole sentence of them for a word.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datatrove.utils.word_tokenizers import WordTokenizer

_CACHED_RUNS = 1 << 17
# Rules look at a run again for each mark they take off; longer ones (encoded data, ruled lines) are cut plainly.
_LONGEST_RUN = 256
# The most words that a known one, such as an emoticon, is cut into.
_LONGEST_KNOWN = 6
_LONGEST_SUFFIX = 5  # but for full stops
_PLAIN = re.compile(r"\w+|[^\w\s]")

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
_UNSPACED += "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

# What ends a sentence where it is a word of its own: the full stops and marks of the scripts that have them.
_ENDS = frozenset(
    ".!?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡。"
)

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
_NO_CONTRACTIONS = frozenset("ill its hell shell shed were well whore".split())
_HOURS = ("am", "a.m.", "pm", "p.m.")
_WHOLE = """
' '' ' 's 'S ‘s ‘S 're 'd 'em 'll 'nuff 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin'
and/or w/o C++ ä. ö. ü. a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. Mr. Mrs. Ms. Messrs. Dr. Prof. Ph.D. Jr. St. Mt.
Adm. Gen. Gov. Rep. Rev. Sen. Bros. co. Co. Corp. Inc. Ltd. D.C. Md. Mo. Mont. Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep.
Sept. Oct. Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass.
Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis.
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
    "mb|MB|kb|KB|gb|GB|tb|TB T G M K % км[²³]? м[²³]? дм[²³]? см[²³]? мм[²³]? нм кг г мг м/с км/ч кПа Па мбар [КМГТ]б [кмгт]б"
).replace(" ", "|")


def split_words(text: str) -> list[str]:
    """Splits text into words and punctuation marks; their characters are those of the text without white space."""
    return list(chain.from_iterable(map(_split_run, text.split())))


def sentence_starts(words: Sequence[str]) -> list[int]:
    """Returns the index of each sentence's first word: 0, and the word behind a full stop and what closes with it."""
    if not words:
        return []
    starts, count = [0], len(words)
    for place, word in enumerate(words):
        if word in _ENDS:
            following = place + 1
            while following < count and _is_closing(words[following]):
                following += 1
            if following < count and words[following] not in _ENDS:
                starts.append(following)
    return starts


def word_spans(text: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yields where in `text` each of its words stands, as (start, end) in characters."""
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def datatrove_tokenizer() -> WordTokenizer:
    """Returns this module's words and sentences as what datatrove's blocks take for `language`."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Words(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return split_words(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return [text[start:end].strip() for start, end in self.span_tokenize(text)]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            words = split_words(text)
            places = list(word_spans(text, words))
            bounds = [places[start][0] for start in sentence_starts(words)]
            return list(zip(bounds, [*bounds[1:], len(text)], strict=True))

    return Words()


@lru_cache(_CACHED_RUNS)
def _split_run(run: str) -> tuple[str, ...]:
    """Splits a run of characters without white space."""
    rules = _rules()
    if run in rules.known:
        return rules.known[run]
    if run.isascii():
        if run.isalpha():
            return (sys.intern(run),)
    elif len(pieces := rules.pieces.findall(run)) > 1:
        return tuple(chain.from_iterable(map(_split_run, pieces)))
    if len(run) > _LONGEST_RUN:
        return tuple(_PLAIN.findall(run))
    return tuple(map(sys.intern, _rejoined(_split_affixes(run, rules), rules.known)))


def _split_affixes(run: str, rules: _Rules) -> list[str]:
    """Takes off what opens and closes a run, mark by mark, until a known word or nothing more is left to take."""
    opening: list[str] = []
    closing: list[str] = []
    while run and run not in rules.known:
        prefix = rules.prefix_of(run)
        rest = run[len(prefix) :]
        if prefix and rest in rules.known:
            opening.append(prefix)
            run = rest
            break
        suffix = rules.suffix_of(rest)
        if suffix and run[: -len(suffix)] in rules.known:
            closing.append(suffix)
            run = run[: -len(suffix)]
            break
        if not prefix and not suffix:
            break
        if prefix:
            opening.append(prefix)
        if suffix:
            closing.append(suffix)
        run = run[len(prefix) : len(run) - len(suffix)]
    return [*opening, *_split_core(run, rules), *reversed(closing)]


def _split_core(core: str, rules: _Rules) -> Sequence[str]:
    """Splits what stands between affixes at what joins its words; an address stays whole."""
    if core in rules.known:
        return rules.known[core]
    if core.isalnum() or ("." in core and rules.address.match(core)):
        return (core,)
    words, start = [], 0
    for joint in rules.infix.finditer(core):
        if joint.start() > 0:  # what comes first joins nothing
            words += [core[start : joint.start()], joint.group()]
            start = joint.end()
    return [word for word in (*words, core[start:]) if word]


def _rejoined(words: list[str], known: dict[str, tuple[str, ...]]) -> list[str]:
    """Puts known words together again that the rules cut up."""
    kept: list[str] = []
    start = 0
    while start < len(words):
        for end in range(min(start + _LONGEST_KNOWN, len(words)), start + 1, -1):
            if (whole := "".join(words[start:end])) in known:
                kept += known[whole]
                start = end
                break
        else:
            kept.append(words[start])
            start += 1
    return kept


@lru_cache(_CACHED_RUNS)
def _is_closing(word: str) -> bool:
    """Whether a word is punctuation that does not itself end a sentence."""
    return word not in _ENDS and all(unicodedata.category(character)[0] == "P" for character in word)


class _Rules(NamedTuple):
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
def _rules() -> _Rules:
    plane = [chr(point) for point in range(0x10000)]
    lower = _class(c for c in plane if c.isalpha() and not c.isupper())
    upper = _class(c for c in plane if c.isalpha() and not c.islower())
    icon = f"[{_class(c for c in plane if unicodedata.category(c) == 'So')}\U0001f000-\U0001faff]"
    quotes, marks = re.escape(_QUOTES), re.escape(_MARKS)
    label = r"[A-Za-z0-9\u00a1-\uffff]"
    letter = r"[^\W\d_]"
    return _Rules(
        known=dict(_known()),
        opening=frozenset(_MARKS + _QUOTES + _DASHES + "§%=") - {"…"},
        closing=frozenset(_MARKS + _QUOTES + _DASHES) - {"…"},
        prefix=re.compile(rf"\+(?!\d)|……?|\.\.+|{_CURRENCY}|{icon}"),
        suffix=re.compile(
            rf"(?:……?|\.\.+|{icon}|['’][sS]|(?<=\d)(?:\+|{_CURRENCY}|{_UNITS})"
            rf"|(?<=[0-9{lower}%²\-+{marks}{quotes}])\.|(?<=[{upper}][{upper}])\.)\Z"
        ),
        infix=re.compile(
            rf"\.\.+|…|{icon}|(?<=\d)[-+*^](?=[\d-])|(?<=[{lower}{quotes}])\.(?=[{upper}{quotes}])"
            rf"|(?<={letter}),(?={letter})|(?<=[^\W_])(?:-{{1,3}}|–|—{{1,2}}|~)(?={letter})|(?<=[^\W_])[:<>=/](?={letter})"
        ),
        address=re.compile(
            rf"(?:[\w+.-]{{2,}}://)?(?:\S+@)?(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}"
            rf"|(?:{label}(?:[A-Za-z0-9\u00a1-\uffff_-]{{0,62}}{label})?\.)+[{lower}]{{2,63}})(?::\d{{2,5}})?(?:[/?#]\S*)?\Z"
        ),
        pieces=re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+"),
    )


def _class(characters: Iterable[str]) -> str:
    """Returns ascending characters as the ranges of a regular expression's class."""
    ranges: list[list[int]] = []
    for point in map(ord, characters):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ranges)


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
