"""Words agree with spaCy's English rules where text is hard to cut; their own properties hold for any text."""

import random
import re

import pytest

from lm.data.curate.words import datatrove_tokenizer, sentence_starts, split_words, word_spans

# (text, its words joined by a space), as spaCy 3.8 with its blank English pipeline gives them.
SPACY_WORDS = (
    (
        "I don't know; you can't, she won't, they'd've, he's, let's go.",
        "I do n't know ; you ca n't , she wo n't , they 'd 've , he 's , let 's go .",
    ),
    (
        "Dont cannot gonna Gotta wanna ain't shouldn't've y'all",
        "Do nt can not gon na Got ta wanna ai n't should n't 've y' all",
    ),
    (
        "I’m sure it isn’t John’s, they’re “quoted” ‘words’…",
        "I ’m sure it is n’t John ’s , they ’re “ quoted ” ‘ words ’ …",
    ),
    (
        "the dog's bone, the dogs' bones, 'tis rock 'n' roll o'clock",
        "the dog 's bone , the dogs ' bones , ' tis rock ' n ' roll o'clock",
    ),
    (
        "Its well-being were well; ill, hell, shed and Whore stay whole.",
        "Its well - being were well ; ill , hell , shed and Whore stay whole .",
    ),
    (
        "Mr. Smith Jr. met Dr. Who at 8 a.m. on Jan. 3rd, e.g. in Washington D.C., U.S.A., at No. 10.",
        "Mr. Smith Jr. met Dr. Who at 8 a.m. on Jan. 3rd , e.g. in Washington D.C. , U.S.A. , at No . 10 .",
    ),
    (
        "8am 12p.m. 13am 5km 20kg. 30°C. 100% $5.00 US$3 3€ £4m 1,234.56",
        "8 am 12 p.m. 13am 5 km 20 kg . 30 ° C . 100 % $ 5.00 US$ 3 3 € £ 4 m 1,234.56",
    ),
    ("2+2=4 3-4 10^5 6*7 -5 +5 a+b", "2 + 2=4 3 - 4 10 ^ 5 6 * 7 -5 +5 a+b"),
    (
        "well-known state-of-the-art 2019-20 covid-19 A-1 --flag x--y word—word word–word",
        "well - known state - of - the - art 2019 - 20 covid-19 A-1 --flag x -- y word — word word – word",
    ),
    (
        "and/or w/o http/https either/or he/she 1/2 a:b 10:30 key=value a<b <tag>",
        "and/or w/o http / https either / or he / she 1/2 a : b 10:30 key = value a < b < tag >",
    ),
    (
        "See http://example.com/a?b=c, www.example.org. me@example.com and (https://a.b-c.de:80/x).",
        "See http://example.com/a?b=c , www.example.org . me@example.com and ( https://a.b-c.de:80/x ) .",
    ),
    (
        "example.com foo.bar.baz() obj.Method a.b U.N. end.Next end.next 3.14 v1.2.3 192.168.0.1 README.md",
        "example.com foo.bar.baz ( ) obj . Method a.b U.N. end . Next end.next 3.14 v1.2.3 192.168.0.1 README.md",
    ),
    (
        "Wait... what?! No!!! (Really?) [sic] {x} \"Yes,\" he said. 'No.'",
        "Wait ... what ? ! No ! ! ! ( Really ? ) [ sic ] { x } \" Yes , \" he said . ' No . '",
    ),
    (
        ":) :-( ;-) <3 x):y ): :D (8) 8)",
        ":) :-( ;-) <3 x):y ): :D ( 8) 8)",
    ),
    (
        "C++ C# F# #hashtag @user R&D AT&T snake_case _private __init__ a_b",
        "C++ C # F # # hashtag @user R&D AT&T snake_case _ private _ _ init _ _ a_b",
    ),
    (
        "A.B.C. X. y. etc. vs. i.e. (e.g.) Ph.D., St. Louis",
        "A.B.C. X. y. etc . vs. i.e. ( e.g. ) Ph.D. , St. Louis",
    ),
    (
        "====== ----- ***** ~~~~ ......",
        "= = = = = = ----- * * * * * ~~~~ ......",
    ),
    (
        "naïve café Ünïcödé Привет, мир! ¿Qué? ¡Hola! «oui» „ja“ 5² m² x→y ☃ 😀!",
        "naïve café Ünïcödé Привет , мир ! ¿ Qué ? ¡ Hola ! « oui » „ ja “ 5² m² x→y ☃ 😀 !",
    ),
    (
        "don't.\nNew\tline  double   spaces \u00a0 nbsp",
        "do n't . New line double spaces nbsp",
    ),
    (
        "rock'n'roll O'Brien d'Artagnan 90's 1990s' the '80s",
        "rock'n'roll O'Brien d'Artagnan 90 's 1990s ' the ' 80s",
    ),
    (
        "100mph 5GB 3M. 20K 7ft 6in 50/50 24/7 1st 2nd",
        "100 mph 5 GB 3M. 20 K 7 ft 6 in 50/50 24/7 1st 2nd",
    ),
)
# (text, its sentences), as spaCy's sentencizer on the same pipeline gives them.
SPACY_SENTENCES = (
    ("One. Two.", ["One.", "Two."]),
    ("One.", ["One."]),
    ("No end", ["No end"]),
    ("Mr. Smith went. He ran!", ["Mr. Smith went.", "He ran!"]),
    ("What?! Yes.", ["What?!", "Yes."]),
    ('"Yes." He left.', ['"Yes."', "He left."]),
    ("(It did.) Then it stopped.", ["(It did.)", "Then it stopped."]),
    ("Wait... what", ["Wait... what"]),
    ("Wait … what", ["Wait … what"]),
    ("3.14 is pi. So.", ["3.14 is pi.", "So."]),
    ("First.) second", ["First.)", "second"]),
    ("Hi! :) Bye.", ["Hi! :)", "Bye."]),
    ("一。 二。", ["一。", "二。"]),
    ('He said "Stop." and left.', ['He said "Stop."', "and left."]),
    ("e.g. this. vs. that", ["e.g. this.", "vs. that"]),
    ("A.", ["A."]),
    ("...", ["..."]),
    ("One.Two", ["One.", "Two"]),
    ("one.two. three", ["one.two.", "three"]),
    ("Is it ?! ?! Yes", ["Is it ?! ?!", "Yes"]),
)
_PIECES = (
    *"abcXYZ019 .,;:!?'\"()[]{}<>-–—_#*&%$+=/\\~^|@\n\t’“”…°²é",
    "don't ",
    "U.S.",
    "http://a.org/b?c",
    ":)",
    "日本語",
    "ภาษา",
    "...",
    "\u00a0",
    "😀",
    "5km",
    "e.g.",
)


def texts(count: int, length: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(_PIECES, k=length)) for _ in range(count)]


@pytest.mark.parametrize(("text", "words"), SPACY_WORDS)
def test_words_are_those_of_spacy(text: str, words: str) -> None:
    assert split_words(text) == words.split(" ")


@pytest.mark.parametrize("text", texts(300, 60))
def test_words_are_the_text_without_white_space(text: str) -> None:
    words = split_words(text)
    assert "".join(words) == "".join(text.split())
    assert all(words)
    assert [text[start:end] for start, end in word_spans(text, words)] == words


@pytest.mark.parametrize("text", texts(50, 40))
def test_white_space_alone_decides_nothing_else(text: str) -> None:
    assert split_words("\n ".join(text.split())) == split_words(text)
    assert split_words(f"{text} {text}") == 2 * split_words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("日本語です。", ["日", "本", "語", "で", "す", "。"]),
        ("中文abc字", ["中", "文", "abc", "字"]),
        ("ภาษา", ["ภ", "า", "ษ", "า"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("GPU、日本(東京).", ["GPU", "、", "日", "本", "(", "東", "京", ")", "."]),
    ],
)
def test_scripts_without_spaces_give_a_word_a_character(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_very_long_runs_keep_their_characters() -> None:
    run = "=" * 50_000 + "aB3+/" * 50_000 + "):" * 50_000
    assert "".join(split_words(run)) == run
    for ended in ("http://" + "a." * 100, "(" * 250, "'" * 250, "a-" * 120, "@" * 200, "." * 250, "):" * 120):
        assert "".join(split_words(ended)) == ended


def test_a_run_of_full_stops_is_one_word() -> None:
    assert split_words("wait......... so") == ["wait", ".........", "so"]
    assert split_words("." * 200) == ["." * 200]


@pytest.mark.parametrize(("text", "sentences"), SPACY_SENTENCES)
def test_sentences_are_those_of_spacy(text: str, sentences: list[str]) -> None:
    pytest.importorskip("datatrove")
    assert datatrove_tokenizer().sent_tokenize(text) == sentences
    assert len(sentence_starts(split_words(text))) == len(sentences)


def test_no_words_no_sentence() -> None:
    assert split_words(" \n\t") == []
    assert sentence_starts([]) == []


@pytest.mark.parametrize("text", texts(100, 60))
def test_a_sentence_starts_at_0_or_behind_an_end_and_what_closes_it(text: str) -> None:
    words = split_words(text)
    starts = sentence_starts(words)
    assert starts == sorted(set(starts))
    assert starts[:1] == [0][: len(words)]
    for start in starts[1:]:
        assert re.search(r"[.!?。]", "".join(words[:start]))
        assert words[start] not in (".", "!", "?", ",", ")")


def test_datatrove_takes_the_words() -> None:
    pytest.importorskip("datatrove")
    from datatrove.utils.text import split_into_sentences, split_into_words

    tokenizer = datatrove_tokenizer()
    text = "Mr. Smith didn't go.  He stayed."
    assert split_into_words(text, tokenizer) == split_words(text)
    assert [sentence.strip() for sentence in split_into_sentences(text, tokenizer)] == [
        "Mr. Smith didn't go.",
        "He stayed.",
    ]
