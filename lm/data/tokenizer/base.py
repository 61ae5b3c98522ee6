"""What a tokenizer is to the rest of the code, and what all of ours share: control tokens and tables of bytes.

Dims: V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np

from lm.common.errors import UserError
from lm.data.tokenizer.passages import passages

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"


class Tokenizer(Protocol):
    """Text to token ids and back.

    `encode` never yields an id of `control`, whatever the text spells, except `<unk>` in the kinds that have
    no byte fallback: control tokens are put in by id, never by text. Text that is no valid Unicode, with half a
    surrogate pair in it, raises UserError.
    """

    @property
    def kind(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def control(self) -> dict[str, int]: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a text: `eos_id`, and with it what else ends a turn in models made elsewhere."""

    @property
    def lossless(self) -> bool:
        """Whether `decode(encode(text)) == text` for every text."""

    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes many texts, int32 ids each, on all cores unless the environment has TOKENIZERS_PARALLELISM=false."""

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text; control ids are dropped, and bytes that are no UTF-8 become U+FFFD."""

    def token_bytes(self) -> np.ndarray:
        """Returns int32 [V], the UTF-8 bytes each token stands for; 0 for control tokens.

        In a lossless kind the sum over `encode(text)` is exactly `len(text.encode())`.
        """

    def piece(self, id: int) -> str:
        """Returns a token in printable form."""


@dataclass(frozen=True)
class Spec:
    """What a kind needs to know to be trained and opened; `vocab_size` counts control tokens too.

    `limit` is how many tokens there may be; a kind makes fewer where the text supports no more.
    """

    kind: str
    limit: int
    byte_fallback: bool
    split_digits: bool
    reserved: int

    def control(self) -> dict[str, int]:
        """Returns the control tokens, which in every trained kind take the lowest ids."""
        names = (PAD, BOS, EOS, UNK, *(f"<reserved_{n}>" for n in range(self.reserved)))
        return {name: id for id, name in enumerate(names)}

    def check_room(self, smallest: int, what: str) -> None:
        """Raises UserError if there may be fewer than `smallest` tokens, which `what` says the need for."""
        if self.limit < smallest:
            raise UserError(
                f"tokenizer.vocab_size={self.limit}: no room for {what} in kind {self.kind};"
                f" use {smallest} or more, or leave it unset"
            )


class Base(ABC):
    """What every kind shares; a kind adds how to encode."""

    def __init__(self, kind: str, control: dict[str, int], pieces: Sequence[bytes], *, lossless: bool) -> None:
        """`pieces` holds the bytes of every token, in order of id; those of control tokens are ignored."""
        self.kind = kind
        self.control = control
        self.lossless = lossless
        self.vocab_size = len(pieces)
        self._names = {id: name for name, id in control.items()}
        self._pieces = [b"" if id in self._names else piece for id, piece in enumerate(pieces)]

    @property
    def bos_id(self) -> int:
        return self.control[BOS]

    @property
    def eos_id(self) -> int:
        return self.control[EOS]

    @property
    def pad_id(self) -> int:
        return self.control[PAD]

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset({self.eos_id})

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes many texts, int32 ids each."""

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0].tolist()

    def decode(self, ids: Iterable[int]) -> str:
        """Joins the tokens' bytes; a sequence that splits a character shows U+FFFD there."""
        return b"".join([self._pieces[id] for id in ids]).decode("utf-8", errors="replace")

    def token_bytes(self) -> np.ndarray:
        """Returns int32 [V], the UTF-8 bytes each token stands for."""
        return np.array([len(piece) for piece in self._pieces], np.int32)

    def piece(self, id: int) -> str:
        """Returns a token in printable form: control tokens by name, odd bytes as `\\x..`."""
        if id in self._names:
            return self._names[id]
        text = self._pieces[id].decode("utf-8", errors="backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def by_passage(texts: Sequence[str], encode: Callable[[list[str]], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Encodes texts cut into passages, so that long ones cost no more per byte and occupy all cores.

    Raises:
        UserError: a text with half a surrogate pair.
    """
    for text in texts:
        check_unicode(text)
    cut = [list(passages(text)) for text in texts]
    encoded = iter(encode(list(chain.from_iterable(cut))))
    parts = [[next(encoded) for _ in passages_] for passages_ in cut]
    return [part[0] if len(part) == 1 else np.concatenate([np.zeros(0, np.int32), *part]) for part in parts]


def check_unicode(text: str) -> None:
    """Raises UserError for text with half a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        near = ascii(text[max(0, error.start - 20) : error.end])
        raise UserError(f"text to encode: half a surrogate pair, which is no character, in {near}; drop it") from error
