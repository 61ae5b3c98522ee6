"""A tokenizer made elsewhere, kept as the files that came with it: `tokenizer.json` and what stands beside it.

Its control tokens have names and ids of their own, and which of them begins, ends or pads a text is said in several
files, of which any may be missing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.tokenizer.base import Base, check_unicode
from lm.data.tokenizer.huggingface import byte_of

KIND = "imported"
TOKENIZER, SETTINGS, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
GENERATION, TEMPLATE = "generation_config.json", "chat_template.jinja"
_BESIDE = (SETTINGS, SPECIAL, GENERATION, TEMPLATE, "added_tokens.json")
_SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Facts:
    """What is known of a tokenizer beyond its file.

    `bos_id` and `pad_id` are None where there is no such token; `bos` says whether text begins with it.
    """

    kind: str
    vocab_size: int
    bos_id: int | None
    eos_id: int
    pad_id: int | None
    stops: list[int]
    bos: bool


class Imported(Base):
    """A `tokenizers.Tokenizer` as it came; special tokens are not looked for in text."""

    def __init__(self, payload: bytes, facts: Facts) -> None:
        """`payload` is a tokenizer.json."""
        self.facts = facts
        self._library, raw = _open(payload), json.loads(payload)
        added = {token["id"]: token for token in raw.get("added_tokens", [])}
        control = {token["content"]: id for id, token in added.items() if token["special"] and id < facts.vocab_size}
        self._byte_level = _mentions(raw.get("decoder"), "ByteLevel")
        to_bytes = _spelling(raw, self._byte_level)
        pieces = [b""] * facts.vocab_size
        for token, id in self._library.get_vocab(with_added_tokens=True).items():
            if id < facts.vocab_size:
                pieces[id] = token.encode() if id in added else to_bytes(token)
        exact = self._byte_level and raw.get("normalizer") is None and not _mentions_true(raw, "add_prefix_space")
        super().__init__(KIND, control, pieces, lossless=exact)

    @property
    def bos_id(self) -> int:
        """The token that begins a text.

        Raises:
            UserError: there is none.
        """
        if self.facts.bos_id is None:
            raise UserError("tokenizer: this model's has no token that begins a text; leave data.bos=False")
        return self.facts.bos_id

    @property
    def eos_id(self) -> int:
        return self.facts.eos_id

    @property
    def pad_id(self) -> int:
        return self.facts.eos_id if self.facts.pad_id is None else self.facts.pad_id

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset({self.eos_id, *self.facts.stops})

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        for text in texts:
            check_unicode(text)
        encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text, put together as the tokenizer's own decoder does."""
        if self._byte_level:
            return super().decode(ids)
        return self._library.decode([id for id in ids if id not in self._names], skip_special_tokens=False)


def adopt(source: Path, output: Path, *, vocab_size: int, config: dict[str, Any], inputs: dict[str, str]) -> Imported:
    """Copies a tokenizer made elsewhere into a directory of its own, and returns it.

    Args:
        source: the directory that holds `tokenizer.json`.
        output: where to.
        vocab_size: how many ids the model knows.
        config: the model's `config.json`, which may name ids too.
        inputs: what it was made from, for the manifest.

    Raises:
        UserError: no `tokenizer.json`, one that does not open, one with more tokens than the model, or one whose end
            token cannot be told.
    """
    path = source / TOKENIZER
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it by AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)")
    try:
        tokenizer = Imported(path.read_bytes(), facts := _facts(source, vocab_size, config))
    except UserError:
        raise
    except Exception as error:  # the library raises this very class for whatever it cannot read
        raise UserError(f"{path}: not a tokenizer that can be read ({error}); copy it again") from error
    output.mkdir(parents=True, exist_ok=True)
    kept = [name for name in (TOKENIZER, *_BESIDE) if (source / name).is_file()]
    for name in kept:
        shutil.copyfile(source / name, output / name)
    manifest.write(
        output,
        stage="tokenizer",
        config=asdict(facts),
        inputs=inputs,
        counts={"control": tokenizer.control, "lossless": tokenizer.lossless},
        files=[output / name for name in kept],
    )
    return tokenizer


def chat_template(directory: Path) -> str | None:
    """Returns the chat template that came with a tokenizer, None where none did."""
    if (path := directory / TEMPLATE).is_file():
        return path.read_text(encoding="utf-8")
    found = _read(directory / SETTINGS).get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    return found


def _facts(source: Path, vocab_size: int, config: dict[str, Any]) -> Facts:
    library = _open((source / TOKENIZER).read_bytes())
    special = {id for id, token in library.get_added_tokens_decoder().items() if token.special}
    vocabulary = library.get_vocab(with_added_tokens=True)
    beyond = sorted(token for token, id in vocabulary.items() if id >= vocab_size and id not in special)
    if beyond:
        raise UserError(
            f"{source / TOKENIZER}: {len(beyond)} tokens, such as {beyond[0]!r}, have ids beyond the model's "
            f"vocabulary of {vocab_size}; take the tokenizer from where the weights are from"
        )
    settings, generation = _read(source / SETTINGS), _read(source / GENERATION)
    names = {**_read(source / SPECIAL), **settings}

    def find(what: str) -> list[int]:
        """Returns the ids a role has, what the tokenizer says first."""
        token = names.get(f"{what}_token")
        token = token.get("content") if isinstance(token, dict) else token
        ids = [vocabulary[token]] if token in vocabulary else []
        for said in (generation.get(f"{what}_token_id"), config.get(f"{what}_token_id")):
            ids += said if isinstance(said, list) else [] if said is None else [said]
        return [id for id in dict.fromkeys(ids) if isinstance(id, int) and 0 <= id < vocab_size]

    bos, eos, pad = find("bos"), find("eos"), find("pad")
    if not eos:
        raise UserError(f"{source / SETTINGS}: names no eos_token, and {GENERATION} no eos_token_id; add one")
    in_front = library.encode("", add_special_tokens=True).ids[:1]
    adds = settings.get("add_bos_token")
    return Facts(
        kind=KIND,
        vocab_size=min(vocab_size, max(vocabulary.values()) + 1),
        bos_id=bos[0] if bos else None,
        eos_id=eos[0],
        pad_id=pad[0] if pad else None,
        stops=eos,
        bos=bool(bos) and (in_front == bos[:1] if adds is None else bool(adds)),
    )


def _open(payload: bytes) -> Any:
    from tokenizers import Tokenizer

    library = Tokenizer.from_str(payload.decode("utf-8"))
    library.no_padding()
    library.no_truncation()
    library.encode_special_tokens = True  # special tokens are spelt like any text
    return library


def _spelling(raw: dict[str, Any], byte_level: bool) -> Callable[[str], bytes]:
    """Returns the function from a token of the vocabulary to the bytes of text it stands for."""
    if byte_level:
        table = byte_of()
        return lambda token: b"".join(bytes([table[c]]) if c in table else c.encode() for c in token)
    prefix = (raw["model"].get("continuing_subword_prefix") or "") if raw["model"].get("type") == "WordPiece" else ""

    def spell(token: str) -> bytes:
        if match := _BYTE.fullmatch(token):
            return bytes([int(match[1], 16)])
        return token.removeprefix(prefix).replace(_SPACE, " ").encode()

    return spell


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """Yields every dictionary inside a part of a tokenizer.json."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _steps(inner)


def _mentions(part: Any, kind: str) -> bool:
    return any(step.get("type") == kind for step in _steps(part))


def _mentions_true(raw: dict[str, Any], key: str) -> bool:
    return any(step.get(key) is True for step in _steps(raw.get("pre_tokenizer")))


def _read(path: Path) -> dict[str, Any]:
    """Reads a JSON object; a file that is not there says nothing."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy it again from where it is from") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: a JSON object is expected; copy it again from where it is from")
    return values
