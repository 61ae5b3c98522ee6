"""Languages are told apart, and only those asked for are kept."""

from __future__ import annotations

import pickle
from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped
from lm.data.curate.language import Automaton, Language, identify

SENTENCES = {
    "en": "The children walked along the river until it grew dark, and then they went home to their parents.",
    "de": "Die Kinder gingen am Fluss entlang, bis es dunkel wurde, und dann liefen sie nach Hause zu ihren Eltern.",
    "fr": "Les enfants ont marché le long de la rivière jusqu'à la nuit, puis ils sont rentrés chez leurs parents.",
    "es": "Los niños caminaron junto al río hasta que oscureció, y luego volvieron a casa con sus padres.",
    "it": "I bambini camminarono lungo il fiume finché non si fece buio, e poi tornarono a casa dai loro genitori.",
    "pt": "As crianças caminharam ao longo do rio até escurecer, e depois voltaram para casa com os seus pais.",
    "nl": "De kinderen liepen langs de rivier totdat het donker werd, en daarna gingen ze naar huis naar hun ouders.",
    "sv": "Barnen gick längs floden tills det blev mörkt, och sedan gick de hem till sina föräldrar.",
    "fi": "Lapset kävelivät joen rantaa pitkin, kunnes tuli pimeä, ja sitten he menivät kotiin vanhempiensa luo.",
    "pl": "Dzieci szły wzdłuż rzeki, aż zrobiło się ciemno, a potem wróciły do domu do swoich rodziców.",
    "cs": "Děti šly podél řeky, dokud se nesetmělo, a potom se vrátily domů ke svým rodičům.",
    "hu": "A gyerekek a folyó mentén sétáltak, amíg be nem sötétedett, aztán hazamentek a szüleikhez.",
    "tr": "Çocuklar hava kararana kadar nehir boyunca yürüdüler ve sonra evlerine, anne babalarının yanına gittiler.",
    "ru": "Дети шли вдоль реки, пока не стемнело, а потом пошли домой к своим родителям.",
    "uk": "Діти йшли вздовж річки, поки не стемніло, а потім пішли додому до своїх батьків.",
    "el": "Τα παιδιά περπάτησαν δίπλα στο ποτάμι μέχρι να νυχτώσει και μετά πήγαν σπίτι στους γονείς τους.",
    "ar": "مشى الأطفال على طول النهر حتى حل الظلام، ثم عادوا إلى البيت عند والديهم.",
    "he": "הילדים הלכו לאורך הנהר עד שהחשיך, ואז חזרו הביתה אל הוריהם.",
    "hi": "बच्चे अँधेरा होने तक नदी के किनारे चलते रहे और फिर अपने माता-पिता के पास घर चले गए।",
    "zh": "孩子们沿着河边一直走到天黑，然后回家去找他们的父母。",
    "ja": "子供たちは暗くなるまで川に沿って歩き、それから両親のいる家に帰りました。",
    "ko": "아이들은 어두워질 때까지 강을 따라 걷다가 부모님이 계신 집으로 돌아갔습니다.",
    "vi": "Bọn trẻ đi dọc theo bờ sông cho đến khi trời tối, rồi về nhà với cha mẹ của chúng.",
}


def _document(text: str) -> Document:
    return Document("a#0", text, "test")


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_known_for_its_language(language: str) -> None:
    result = Language()(_document(SENTENCES[language]))
    assert isinstance(result, Document)
    assert result.meta["language"] == language
    assert 0.65 <= result.meta["language_probability"] <= 1
    assert result.text == SENTENCES[language]


def test_only_the_languages_asked_for_are_kept() -> None:
    step = Language(keep=("en", "fr"))
    kept = {language for language, text in SENTENCES.items() if isinstance(step(_document(text)), Document)}
    assert kept == {"en", "fr"}
    assert step(_document(SENTENCES["de"])) == Dropped("language.keep", "de", "en fr")


def test_the_probability_is_a_limit() -> None:
    mixed = _document("the house is das Haus ist la maison est")
    _, probability = identify(mixed.text)
    assert 0 < probability < 1
    assert Language(min_probability=1.0)(mixed) == Dropped("language.min_probability", probability, 1.0)
    assert isinstance(Language(min_probability=probability)(mixed), Document)


@pytest.mark.parametrize("text", ["", " \n", "1234 5678", "?!…", "★ ☆ 12:30"])
def test_text_without_letters_has_no_language(text: str) -> None:
    assert identify(text) == ("und", 0.0)
    assert Language()(_document(text)) == Dropped("language.min_probability", 0.0, 0.65)
    assert Language(keep=("en",))(_document(text)) == Dropped("language.keep", "und", "en")
    result = Language(min_probability=0)(_document(text))
    assert isinstance(result, Document)
    assert result.meta == {"language": "und", "language_probability": 0.0}


@pytest.mark.parametrize("text", ["Hi", "Hallo", "OK"])
def test_a_word_or_two_is_never_sure(text: str) -> None:
    assert identify(text)[1] < 0.65


def test_a_long_text_is_judged_by_more_than_its_beginning() -> None:
    boilerplate, body = SENTENCES["en"] * 4, SENTENCES["de"] * 40
    assert identify(boilerplate + body)[0] == "de"
    assert identify(body + boilerplate)[0] == "de"


def test_threads_agree() -> None:
    texts = list(SENTENCES.values()) * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(identify, texts)) == list(map(identify, texts))


def test_scores_are_those_of_the_library() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [sentence[:length] for sentence in SENTENCES.values() for length in (20, 33, 200)]
    found = map(library.classify, texts)
    assert list(map(identify, texts)) == [(language, round(probability, 4)) for language, probability in found]


@pytest.mark.parametrize("length", [1, 7, 15, 16, 17, 64, 100])
def test_lanes_meet_what_one_walk_meets(length: int) -> None:
    rows = array("H", [code % 3 for code in range(256)])  # the state is told by the last byte
    automaton = Automaton(rows, [0, 0, 0], [-1, 5, 6])
    text = bytes(code * code % 251 for code in range(length))
    features = automaton.features(text)
    assert features is not None
    assert features.tolist() == [4 + code % 3 for code in text if code % 3]


def test_an_automaton_that_never_forgets_is_not_trusted() -> None:
    rows = array("H", [*[0] * 256, *[1] * 256])
    rows[ord("a")], rows[256 + ord("a")] = 1, 0  # the state is told by how many there were
    automaton = Automaton(rows, [0, 1], [-1, 7])
    assert automaton.features(b"a" + b"b" * 100) is None


def test_a_mistaken_limit_is_named() -> None:
    with pytest.raises(UserError, match=r"language\.keep='english'.*\ben\b"):
        Language(keep=("de", "english"))
    with pytest.raises(UserError, match="between 0 and 1"):
        Language(min_probability=65)


def test_the_step_can_be_sent_to_a_worker() -> None:
    step = Language(keep=("en",))
    assert pickle.loads(pickle.dumps(step)) == step
