"""sentencepiece BPE and unigram, made lossless.

sentencepiece writes a space as `▁` (U+2581), so a `▁` that was in the text comes back as a space. Here it
never sees one: text is cut at every `▁`, which is spelt by its three byte tokens. Decoding joins the bytes
that tokens stand for. Everything else that alters text (normalisation, trimming, a space put in front) is off.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lm.data.tokenizer.base import BOS, EOS, PAD, UNK, Base, Spec, by_passage

_SPACE = "\u2581"
_SYMBOLS = ("\n", "\t")  # one token each; left to the library, a line end is a byte token
_NOT_LEARNT = "\0\n\t" + _SPACE  # symbols above, and what the library skips lines for or cannot tell apart
_BYTES = 256
_COVERAGE = 0.9995  # of the text's characters; the rarer ones are spelt in bytes
_SMALLEST = 16  # tokens to learn, so that the library has something to do
_LINE_CHARS = {"bpe": 4000, "unigram": 100}  # longer lines are cut for training: the library drops what is too long
_WORD = re.compile(" *[^ ]+")
_THREADS = 16  # fixed: the sums of unigram training depend on it


class SentencePiece(Base):
    """A sentencepiece model with byte fallback."""

    def __init__(self, payload: bytes, spec: Spec) -> None:
        """`payload` is a sentencepiece .model file."""
        from sentencepiece import SentencePieceProcessor

        self._library = SentencePieceProcessor(model_proto=payload)
        ids = range(self._library.vocab_size())
        control = {self._library.id_to_piece(id): id for id in ids if self._is_control(id)}
        super().__init__(spec.kind, control, [self._bytes_of(id) for id in ids], lossless=True)
        self._byte_ids = np.array([self._library.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE.encode()], np.int32)

    def _is_control(self, id: int) -> bool:
        return self._library.is_control(id) or self._library.is_unknown(id)

    def _bytes_of(self, id: int) -> bytes:
        piece = self._library.id_to_piece(id)
        if self._library.is_byte(id):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(_SPACE, " ").encode()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return by_passage(texts, self._encode_passages)

    def _encode_passages(self, passages: list[str]) -> list[np.ndarray]:
        cut = [passage.split(_SPACE) for passage in passages]
        threads = 1 if os.environ.get("TOKENIZERS_PARALLELISM") == "false" else -1
        encoded = iter(self._library.encode(list(chain.from_iterable(cut)), num_threads=threads))
        return [self._join([np.array(next(encoded), np.int32) for _ in parts]) for parts in cut]

    def _join(self, parts: list[np.ndarray]) -> np.ndarray:
        """Joins what stood between literal `▁`, with the bytes of one between each two."""
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([parts[0], *chain.from_iterable((self._byte_ids, part) for part in parts[1:])])


def fit(spec: Spec, sample: Iterable[str]) -> bytes:
    """Trains a model of at most `spec.limit` tokens and returns its .model file.

    Raises:
        UserError: the vocabulary has no room for the bytes and the commonest characters.
    """
    from sentencepiece import SentencePieceTrainer

    control = spec.control()
    fixed = len(control) + len(_SYMBOLS) + _BYTES
    spec.check_room(fixed + _SMALLEST, f"{len(control)} control tokens, 256 bytes and some characters")
    output = io.BytesIO()
    options: dict[str, Any] = {
        "vocab_size": spec.limit,
        "hard_vocab_limit": False,  # makes what the text supports; the caller compares
        "character_coverage": 1.0,  # of the characters left in the lines
        "byte_fallback": True,
        "split_digits": spec.split_digits,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "allow_whitespace_only_pieces": True,
        "user_defined_symbols": list(_SYMBOLS),
        "control_symbols": [name for name in control if name not in (PAD, BOS, EOS, UNK)],
        **{f"{name[1:-1]}_piece": name for name in (PAD, BOS, EOS, UNK)},
        **{f"{name[1:-1]}_id": control[name] for name in (PAD, BOS, EOS, UNK)},
        "max_sentence_length": 8 * max(_LINE_CHARS.values()),  # bytes
        "num_threads": _THREADS,
        "minloglevel": 2,
    }
    model_type = spec.kind.removeprefix("sentencepiece_")
    lines = _lines(sample, _commonest(sample, (spec.limit - fixed) // 2))
    if model_type == "unigram":
        lines = _after_first_words(lines)
    width = _LINE_CHARS[model_type]
    cut = (line[start : start + width] for line in lines for start in range(0, len(line), width))
    SentencePieceTrainer.train(sentence_iterator=cut, model_writer=output, model_type=model_type, **options)
    return output.getvalue()


def _commonest(sample: Iterable[str], most: int) -> set[str]:
    """Returns the characters to have tokens of their own: at most `most`, and no more than coverage asks for."""
    counts: Counter[str] = Counter()
    for text in sample:
        counts.update(text)
    for char in _NOT_LEARNT:
        counts.pop(char, None)
    wanted = _COVERAGE * counts.total()
    kept: set[str] = set()
    for char, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]:
        if wanted <= 0:
            break
        kept.add(char)
        wanted -= count
    return kept


def _lines(sample: Iterable[str], kept: set[str]) -> Iterator[str]:
    """Yields lines to train on, cut at every character that is not kept."""
    cuts = {ord(char): "\n" for text in sample for char in set(text) - kept}
    for text in sample:
        yield from text.translate(cuts).split("\n")


def _after_first_words(lines: Iterable[str]) -> Iterator[str]:
    """Cuts lines after the first occurrence of every word.

    Unigram training takes as candidates what is followed by two different things. In text where a word is
    always followed by a space it would never see that word: on WikiText, this and the short lines raise
    bytes per token from 2.67 to 3.36; elsewhere they change nothing.
    """
    seen: set[str] = set()
    for line in lines:
        start = 0
        for match in _WORD.finditer(line):
            if match.group() not in seen:
                seen.add(match.group())
                yield line[start : match.end()]
                start = match.end()
        yield line[start:]
