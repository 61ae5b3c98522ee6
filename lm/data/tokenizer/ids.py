"""The stand-in where token files were made elsewhere and no tokenizer came with them: text is numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.tokenizer.base import BOS, EOS, PAD, UNK, Base

KIND = "ids"


class Ids(Base):
    """Text is ids, written in decimal and parted by white space; nothing is known of what they stand for."""

    def __init__(self, payload: bytes) -> None:
        """`payload` is JSON: {"n_ids": ids that the files may hold, "end_id": the one that ends a document or null}.

        Control tokens that the files do not have take ids above theirs.
        """
        raw = json.loads(payload)
        control = {} if raw["end_id"] is None else {EOS: raw["end_id"]}
        missing = [name for name in (PAD, BOS, EOS, UNK) if name not in control]
        control |= {name: raw["n_ids"] + n for n, name in enumerate(missing)}
        super().__init__(KIND, control, [b""] * (raw["n_ids"] + len(missing)), lossless=False)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Reads the numbers.

        Raises:
            UserError: a word that is no id of text.
        """
        return [np.array(self._read(text), np.int32) for text in texts]

    def _read(self, text: str) -> list[int]:
        ids = []
        for word in text.split():
            id = int(word) if word.isascii() and word.isdigit() else -1
            if not 0 <= id < self.vocab_size or id in self._names:
                raise UserError(
                    f"tokenizer of kind ids: {word!r} is not a token id of text; give numbers below {self.vocab_size}"
                    f" other than {', '.join(map(str, sorted(self._names)))} (control tokens)"
                )
            ids.append(id)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Writes the numbers, parted by spaces."""
        return " ".join(str(id) for id in ids if id not in self._names)

    def piece(self, id: int) -> str:
        """Returns the number, or a control token's name."""
        return self._names.get(id, str(id))


def write(output: Path, *, n_ids: int, end_id: int | None, inputs: dict[str, str]) -> Ids:
    """Writes the tokenizer of token files whose ids are all below `n_ids`, and returns it.

    Raises:
        UserError: the end id is not among the ids.
    """
    if end_id is not None and not 0 <= end_id < n_ids:
        raise UserError(
            f"end_id={end_id}: not an id of the token files, which are 0 to {n_ids - 1}; use one of them or none"
        )
    payload = json.dumps({"n_ids": n_ids, "end_id": end_id}).encode()
    tokenizer = Ids(payload)
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"tokenizer-{manifest.attempt_id()}.json"
    file.write_bytes(payload)
    manifest.write(
        output,
        stage="tokenizer",
        config={"kind": KIND, "n_ids": n_ids, "end_id": end_id},
        inputs=inputs,
        counts={"vocab_size": tokenizer.vocab_size, "control": tokenizer.control, "lossless": tokenizer.lossless},
        files=[file],
    )
    return tokenizer
