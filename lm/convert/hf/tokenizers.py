"""Our tokenizers as the files that `AutoTokenizer` reads, each held against the original before it counts."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lm.common import manifest
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import ids, imported
from lm.data.tokenizer.base import BOS, EOS, PAD, UNK, Tokenizer
from lm.model.config import ModelConfig

_N_SAMPLES, _SAMPLE_TOKENS = 200, 40
_SPACE = "\u2581"
_BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
_AWKWARD = (
    "",
    " ",
    "  two  spaces, and three   ",
    " leading",
    "tab\tnew\nline\r\n\n\nlines \n \n",
    "The year 1984, 3.14159e-10 and 00 12 345 6789",
    "don't we'll I'M it’s naïve café cafe\u0301",
    "東京タワー 한국어 العربية עברית ไทย",
    "👩‍👩‍👧‍👦 🇫🇷 \U0001f600",
    "\u2581▁ ▁literal▁ \u00a0\u2003\u200b\ufeff",
    "<bos><eos> <pad> <unk> <0x41> <|endoftext|> [UNK] ##ing",
    "def f(x):\n    return {'a': x[0] ** 2}  # ok\n",
    "\x00\x01\x7f\x80\x9f \ue000 \U0010ffff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
)


class Files(NamedTuple):
    """The tokenizer's files by name, the ids that the model's configs repeat, and what a reader should know."""

    contents: dict[str, bytes]
    ids: dict[str, int | list[int]]
    notes: list[str]


def files(directory: Path, cfg: ModelConfig, *, bos: bool) -> Files:
    """Returns the files of the tokenizer in `directory`; with `bos` it puts `<bos>` in front of a text.

    One that was imported goes back as it came. The others treat text that spells a control token as text, as ours do.

    Raises:
        UserError: the format cannot reproduce the tokenizer; a text on which it fails is named.
    """
    made = manifest.read(directory, "tokenizer")
    tokenizer = tokenizers.load(directory)
    kind = made.config["kind"]
    if kind == imported.KIND:
        contents = {entry.name: (directory / entry.name).read_bytes() for entry in made.files}
        known = _imported_ids(imported.Facts(**made.config))
        if imported.GENERATION in contents:  # which may leave to the model's config what ends a text
            generation = known | json.loads(contents[imported.GENERATION])
            contents[imported.GENERATION] = (json.dumps(generation, indent=2) + "\n").encode()
        return Files(contents, known, [])
    if kind == ids.KIND:
        return Files({}, {"eos_token_id": tokenizer.eos_id}, ["tokenizer: none, since the run's text was token ids"])
    raw = _CONVERSIONS[kind]((directory / made.files[0].name).read_bytes(), tokenizer)
    raw["added_tokens"] = [_added(name, id) for name, id in tokenizer.control.items()]
    if bos:
        raw["post_processor"] = _in_front(tokenizer.bos_id)
    notes = _verify(raw, tokenizer)
    payload = json.dumps(raw, ensure_ascii=False).encode()
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name[1:-1]}_token": name for name in (BOS, EOS, PAD, UNK)},
        "model_max_length": cfg.max_seq_len,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    return Files(
        {imported.TOKENIZER: payload, imported.SETTINGS: (json.dumps(settings, indent=2) + "\n").encode()},
        {f"{name[1:-1]}_token_id": tokenizer.control[name] for name in (BOS, EOS, PAD)},
        notes,
    )


def _imported_ids(facts: imported.Facts) -> dict[str, int | list[int]]:
    named = {"bos_token_id": facts.bos_id, "eos_token_id": facts.eos_id, "pad_token_id": facts.pad_id}
    found: dict[str, int | list[int]] = {name: id for name, id in named.items() if id is not None}
    return found | ({"eos_token_id": facts.stops} if len(facts.stops) > 1 else {})


def _added(name: str, id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": name, **flags}


def _in_front(bos_id: int) -> dict[str, Any]:
    bos, text = {"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, second],
        "special_tokens": {BOS: {"id": BOS, "ids": [bos_id], "tokens": [BOS]}},
    }


def _verify(raw: dict[str, Any], tokenizer: Tokenizer) -> list[str]:
    """Encodes awkward text and random runs of the vocabulary's own tokens by both; returns what is to be noted.

    Unigram pieces may cut a text in two ways of one probability, between which rounding decides, in float32 there and
    in float64 here; that is noted, and nothing else let pass.

    Raises:
        UserError: they differ.
    """
    from tokenizers import Tokenizer as Library

    library = Library.from_str(json.dumps(raw))
    library.encode_special_tokens = True
    ties = 0
    texts = samples(tokenizer)
    for text in texts:
        theirs, ours = library.encode(text, add_special_tokens=False).ids, tokenizer.encode(text)
        if theirs == ours:
            continue
        if not _is_tie(raw["model"], theirs, ours):
            raise UserError(
                f"tokenizer: of kind {tokenizer.kind}, which tokenizer.json cannot reproduce: {text[:40]!r} would be "
                "encoded otherwise; --tokenizer=False leaves it out"
            )
        ties += 1
    if not ties:
        return []
    return [f"tokenizer: in {ties} of {len(texts)} sample texts it cuts otherwise, between ways of equal probability"]


def _is_tie(model: dict[str, Any], theirs: list[int], ours: list[int]) -> bool:
    """Says whether two ways to cut a text are of one probability, as far as float32 can tell."""
    if model["type"] != "Unigram":
        return False
    scores = [math.fsum(model["vocab"][id][1] for id in ids) for ids in (theirs, ours)]
    return math.isclose(*scores, rel_tol=1e-6)


def samples(tokenizer: Tokenizer) -> list[str]:
    """Returns texts that two tokenizers may cut otherwise: awkward ones, and random runs of `tokenizer`'s tokens."""
    draw, each = random.Random(0), range(tokenizer.vocab_size)
    runs = [tokenizer.decode(draw.choices(each, k=_SAMPLE_TOKENS)).replace("\ufffd", "") for _ in range(_N_SAMPLES)]
    return [*_AWKWARD, *runs]


def _as_stored(payload: bytes, tokenizer: Tokenizer) -> dict[str, Any]:
    return json.loads(payload)


def _tokenizer_json(model: dict[str, Any]) -> dict[str, Any]:
    """Returns a tokenizer.json that applies `model` to the bare text and joins bytes and pieces on the way back."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model,
    }


def _bpe(vocabulary: dict[str, int], merges: list[list[str]], *, byte_fallback: bool) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": UNK,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": byte_fallback,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": merges,
    }


def _char(payload: bytes, tokenizer: Tokenizer) -> dict[str, Any]:
    """Characters are a byte-fallback BPE that has nothing to merge."""
    chars = json.loads(payload)["chars"]
    spelt = _BYTE_TOKENS if tokenizer.lossless else []
    vocabulary = {token: id for id, token in enumerate([*tokenizer.control, *spelt, *chars])}
    return _tokenizer_json(_bpe(vocabulary, [], byte_fallback=tokenizer.lossless))


def _pieces(payload: bytes) -> list[tuple[str, float]]:
    """Returns pieces and scores of a sentencepiece model, with a space for the library's `▁`.

    So a literal `▁` is no piece and falls back to its bytes, as in ours.
    """
    from sentencepiece import SentencePieceProcessor

    library = SentencePieceProcessor(model_proto=payload)
    ids_ = range(library.vocab_size())
    return [(library.id_to_piece(id).replace(_SPACE, " "), library.get_score(id)) for id in ids_]


def _sentencepiece_bpe(payload: bytes, tokenizer: Tokenizer) -> dict[str, Any]:
    """Every way to put a piece together from two others is a merge, as early as the piece's score is high."""
    pieces = _pieces(payload)
    vocabulary = {piece: id for id, (piece, _) in enumerate(pieces)}
    special = {*tokenizer.control, *_BYTE_TOKENS}
    learnt = sorted((piece for piece in vocabulary if piece not in special), key=lambda p: -pieces[vocabulary[p]][1])
    parts = vocabulary.keys() - special
    merges = [
        [piece[:cut], piece[cut:]]
        for piece in learnt
        for cut in range(1, len(piece))
        if piece[:cut] in parts and piece[cut:] in parts
    ]
    return _tokenizer_json(_bpe(vocabulary, merges, byte_fallback=True))


def _sentencepiece_unigram(payload: bytes, tokenizer: Tokenizer) -> dict[str, Any]:
    """The pieces with their scores; text is cut so that none which spells a byte or control token is taken for it."""
    pieces = _pieces(payload)
    special = [*tokenizer.control, *_BYTE_TOKENS]
    cuts = _cuts(special, {piece for piece, _ in pieces} - {*special})
    pattern = "|".join(f"{re.escape(pair[0])}(?={re.escape(pair[1])})" for pair in cuts)
    raw = _tokenizer_json(
        {
            "type": "Unigram",
            "unk_id": tokenizer.control[UNK],
            "byte_fallback": True,
            "vocab": [[piece, score] for piece, score in pieces],
        }
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "MergedWithPrevious", "invert": False}
    return {**raw, "pre_tokenizer": split}


def _cuts(special: Sequence[str], learnt: set[str]) -> list[str]:
    """Returns two neighbouring characters of each special token that stand together in no learnt piece.

    To cut text between the two changes nothing else, since no piece crosses the cut.

    Raises:
        UserError: every such pair is in a piece.
    """
    joined = {piece[i : i + 2] for piece in learnt for i in range(len(piece) - 1)}
    found = []
    for token in special:
        free = [token[i : i + 2] for i in range(len(token) - 1) if token[i : i + 2] not in joined]
        if not free:
            raise UserError(f"tokenizer: its pieces can spell {token}, which tokenizer.json would take for the token")
        found.append(free[0])
    return list(dict.fromkeys(found))


_CONVERSIONS: dict[str, Callable[[bytes, Tokenizer], dict[str, Any]]] = {
    "byte_bpe": _as_stored,
    "wordpiece": _as_stored,
    "char": _char,
    "sentencepiece_bpe": _sentencepiece_bpe,
    "sentencepiece_unigram": _sentencepiece_unigram,
}
