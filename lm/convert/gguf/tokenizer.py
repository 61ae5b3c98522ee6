"""Our tokenizers as a GGUF holds them: tokens in order of id, their kinds, and how llama.cpp is to cut text by them.

llama.cpp has three ways that can be ours. `gpt2` is byte-level BPE: text is first cut by one of the regular
expressions that it knows by name, of which none is ours, so the nearest is taken and how often it cuts otherwise is
told. `llama` is sentencepiece's BPE, by scores; a literal `▁` there is a space. `t5` is unigram, which does not spell
in bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.errors import UserError
from lm.convert.hf.tokenizers import samples
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import ids, imported
from lm.data.tokenizer.base import BOS, EOS, PAD, UNK, Tokenizer
from lm.model.config import ModelConfig

_SPACE = "\u2581"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BY_THREES = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_BY_ONES = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST

# llama.cpp's name of a way to cut text into words: the expressions that cut it, one after another, and whether a word
# that is a token is taken whole, before any merge.
WORDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "qwen2": ((_BY_ONES,), False),
    "llama-bpe": ((_BY_THREES,), True),
    "dbrx": ((_BY_THREES,), False),
    "smollm": ((r"\p{N}", _GPT2), False),
    "gpt-2": ((_GPT2,), False),
}


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id with their kinds, as `gguf.TokenType` calls them, and what llama.cpp makes of text.

    Attributes:
        model: llama.cpp's way.
        tokens: what each id is spelt as.
        kinds: NORMAL, UNKNOWN, CONTROL, USER_DEFINED or BYTE, of each id.
        scores: of each id, where pieces have them.
        merges: both parts of each, in order, where they are listed.
        words: the name of the way to cut text into words.
        space_in_front: whether text gets one.
        notes: what a reader should know.
    """

    model: str
    tokens: dict[int, str]
    kinds: dict[int, str]
    scores: dict[int, float] | None = None
    merges: list[tuple[str, str]] | None = None
    words: str = "default"
    space_in_front: bool = False
    notes: tuple[str, ...] = ()


def add(writer: Any, directory: Path | None, cfg: ModelConfig, *, bos: bool) -> list[str]:
    """Adds the tokenizer in `directory` to a `gguf.GGUFWriter`, or that there is none; returns what is to be noted.

    Raises:
        UserError: llama.cpp cannot cut text as the tokenizer does.
    """
    kind = manifest.read(directory, "tokenizer").config["kind"] if directory else ids.KIND
    if directory is None or kind == ids.KIND:
        writer.add_tokenizer_model("none")
        return ["tokenizer: none, since the run's text was token ids"] if directory else []
    tokenizer = tokenizers.load(directory)
    found = read(directory, tokenizer)
    _add_tokens(writer, found, cfg.vocab_size)
    if isinstance(tokenizer, imported.Imported):
        special, bos = _special(tokenizer.facts), tokenizer.facts.bos
        if template := imported.chat_template(directory):
            writer.add_chat_template(template)
    else:
        special = {name[1:-1]: tokenizer.control[name] for name in (BOS, EOS, PAD, UNK)}
    for name, id in special.items():
        if id is not None:
            getattr(writer, f"add_{name}_token_id")(id)
    writer.add_add_bos_token(bos)
    writer.add_add_eos_token(False)
    return list(found.notes)


def _special(facts: imported.Facts) -> dict[str, int | None]:
    """Returns the ids by role; where several tokens end a text, the second is llama.cpp's end of a turn."""
    turn = next((id for id in facts.stops if id != facts.eos_id), None)
    return {"bos": facts.bos_id, "eos": facts.eos_id, "pad": facts.pad_id, "eot": turn}


def read(directory: Path, tokenizer: Tokenizer) -> Vocabulary:
    """Returns the vocabulary of the tokenizer in `directory`.

    Raises:
        UserError: llama.cpp has no such way to cut text.
    """
    payload = (directory / manifest.read(directory, "tokenizer").files[0].name).read_bytes()
    if tokenizer.kind in ("sentencepiece_bpe", "sentencepiece_unigram"):
        return _sentencepiece(payload, tokenizer)
    if tokenizer.kind in ("byte_bpe", imported.KIND):
        raw = json.loads((directory / imported.TOKENIZER).read_bytes() if tokenizer.kind == imported.KIND else payload)
        is_bpe = raw["model"]["type"] == "BPE"
        if is_bpe and "ByteLevel" in json.dumps(raw.get("decoder")):
            return _byte_level(raw, tokenizer)
        if is_bpe and raw["model"].get("byte_fallback"):
            return _by_merges(raw, tokenizer)
    raise UserError(
        f"tokenizer: of kind {tokenizer.kind}, which llama.cpp does not have; --tokenizer=False leaves it out"
    )


def _add_tokens(writer: Any, found: Vocabulary, size: int) -> None:
    """Adds a token for each of the model's `size` ids; those of no token are unused ones."""
    import gguf

    taken = {*found.tokens.values()}
    spare = (name for n in range(2 * size) if (name := f"[PAD{n}]") not in taken)
    unused = gguf.TokenType.UNUSED
    writer.add_tokenizer_model(found.model)
    writer.add_tokenizer_pre(found.words)
    writer.add_token_list([found.tokens[id] if id in found.tokens else next(spare) for id in range(size)])
    writer.add_token_types([gguf.TokenType[found.kinds[id]] if id in found.kinds else unused for id in range(size)])
    if found.scores is not None:
        writer.add_token_scores([found.scores.get(id, 0.0) for id in range(size)])
        writer.add_add_space_prefix(found.space_in_front)
        writer.add_remove_extra_whitespaces(False)
    if found.merges is not None:
        writer.add_token_merges([" ".join(pair) for pair in found.merges])


def _sentencepiece(payload: bytes, tokenizer: Tokenizer) -> Vocabulary:
    from sentencepiece import SentencePieceProcessor

    library = SentencePieceProcessor(model_proto=payload)
    each = range(library.vocab_size())
    asked = {"UNKNOWN": library.is_unknown, "CONTROL": library.is_control, "BYTE": library.is_byte}
    kinds = {id: next((kind for kind, is_it in asked.items() if is_it(id)), "NORMAL") for id in each}
    unigram = tokenizer.kind == "sentencepiece_unigram"
    note = "tokenizer: llama.cpp does not spell in bytes here: a character that no piece holds becomes <unk>"
    return Vocabulary(
        model="t5" if unigram else "llama",
        tokens={id: library.id_to_piece(id) for id in each},
        kinds=kinds,
        scores={id: library.get_score(id) for id in each},
        notes=(note,) if unigram else (),
    )


def _tokens(raw: dict[str, Any]) -> tuple[dict[int, str], dict[int, str]]:
    """Returns tokens and kinds of a tokenizer.json."""
    tokens = {id: token for token, id in raw["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, "NORMAL")
    for token in raw.get("added_tokens", []):
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = "CONTROL" if token["special"] else "USER_DEFINED"
    return tokens, kinds


def _merges(raw: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the merges of a tokenizer.json, which has each as a pair or, in older files, in one string."""
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in raw["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _byte_level(raw: dict[str, Any], tokenizer: Tokenizer) -> Vocabulary:
    texts = samples(tokenizer)
    ours = [tokenizer.encode(text) for text in texts]
    apart = {name: _differ(raw, name, texts, ours) for name in WORDS}
    whole = raw["model"].get("ignore_merges", False)
    nearest = min(apart, key=lambda name: (apart[name], WORDS[name][1] != whole))
    told = f"tokenizer: llama.cpp's nearest way to cut words, {nearest}, gives other tokens in "
    tokens, kinds = _tokens(raw)
    notes = (f"{told}{apart[nearest]} of {len(texts)} sample texts, of the same bytes",) if apart[nearest] else ()
    return Vocabulary("gpt2", tokens, kinds, merges=_merges(raw), words=nearest, notes=notes)


def _differ(raw: dict[str, Any], name: str, texts: Sequence[str], ours: Sequence[Sequence[int]]) -> int:
    """Returns how many texts get other tokens when cut as llama.cpp does under that name."""
    from tokenizers import Tokenizer as Library

    patterns, whole = WORDS[name]
    cuts = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in patterns]
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    steps = {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]}
    model = {**raw["model"], "ignore_merges": whole}
    theirs = Library.from_str(
        json.dumps({**raw, "normalizer": None, "pre_tokenizer": steps, "model": model, "added_tokens": []})
    )
    found = theirs.encode_batch(list(texts), add_special_tokens=False)
    return sum(encoding.ids != list(mine) for encoding, mine in zip(found, ours, strict=True))


def _by_merges(raw: dict[str, Any], tokenizer: Tokenizer) -> Vocabulary:
    """A sentencepiece BPE that came as merges: a piece's score is the higher the earlier it is merged."""
    tokens, kinds = _tokens(raw)
    rank: dict[str, int] = {}
    for n, (left, right) in enumerate(_merges(raw)):
        rank.setdefault(left + right, n)
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    unknown = raw["model"].get("unk_token")
    for id, token in tokens.items():
        kinds[id] = "UNKNOWN" if token == unknown else "BYTE" if token in bytes_ else kinds[id]
    return Vocabulary(
        model="llama",
        tokens=tokens,
        kinds=kinds,
        scores={id: -float(rank.get(token, 0)) for id, token in tokens.items()},
        space_in_front=tokens[tokenizer.encode("a")[0]].startswith(_SPACE),
    )
