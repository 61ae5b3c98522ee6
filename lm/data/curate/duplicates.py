"""Deduplication as a part of a job: keys of every unit, survivors among all of them, and a verdict on each document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate import ledger
from lm.data.curate.dedup import DropCommon, Lines, MinHash, common_lines, deduplicate, exact_keys, hash_words, scoped
from lm.data.curate.dedup.lines import COUNTS
from lm.data.curate.dedup.stages import Cluster, Exchange, FindPairs, Sign
from lm.data.curate.document import Document, Dropped
from lm.data.curate.executors import Phase
from lm.data.curate.ledger import Receipts

By = Literal["line", "paragraph"]
SCOPES = ("all", "snapshot")
BACKENDS = ("memory", "datatrove")
# What `prefer` may name, and whether more of it is better; the empty name is length.
PREFERENCES = {"": 1, "quality": 1, "perplexity": -1}
_BOUNDS = "bounds.npy"
_BATCH_TEXTS = 1000
_BATCH_CHARACTERS = 1 << 20  # texts whose keys are made at a time


def defaults() -> dict[str, Any]:
    """Returns the keys of the `dedup` section."""
    return {
        "exact": True,  # documents of the same words
        "preset": "fineweb",  # of MinHash: fineweb, refinedweb, dclm, or "" for bands and rows; rows=0 is none
        "bands": 14,  # documents are linked where all rows of one band agree
        "rows": 8,  # of a band
        "ngram": 5,  # words of a shingle
        "seed": 0,  # of the hashes
        "scope": "all",  # or snapshot: documents are compared within their own snapshot only
        "prefer": "",  # which copy stays: the best by quality or perplexity, steps that stand before; "" is the longest
        "max_line_documents": 0,  # a line that stands in more documents goes from all of them; 0 keeps every line
        "max_paragraph_documents": 0,  # the same of paragraphs
        "backend": "memory",  # or datatrove: the same clusters by its four stages, across machines
    }


@dataclass(frozen=True)
class Dedup:
    """What counts as a duplicate, and where they are looked for.

    In memory, a document takes 8 bytes for each band and about 40 more; the datatrove backend keeps the bands on disk.
    """

    exact: bool
    minhash: MinHash | None
    scope: str
    prefer: str
    max_documents: Mapping[By, int]  # of a line or paragraph
    backend: str

    @classmethod
    def from_config(cls, section: Any) -> Dedup:
        """Makes it from the `dedup` section.

        Raises:
            UserError: a value that is unknown or out of range, or a section that asks for nothing.
        """
        for key, known in (("scope", SCOPES), ("backend", BACKENDS)):
            if section[key] not in known:
                raise UserError(f"config.dedup.{key}={section[key]}: unknown; choose {' or '.join(known)}")
        limits: dict[By, int] = {"line": section.max_line_documents, "paragraph": section.max_paragraph_documents}
        for by, limit in limits.items():
            if limit < 0:
                raise UserError(f"config.dedup.max_{by}_documents={limit}: must be 0 (off) or more")
        if section.prefer not in PREFERENCES:
            names = ", ".join(name for name in PREFERENCES if name)
            raise UserError(f"config.dedup.prefer={section.prefer}: no measure of a document; one of {names}, or ''")
        near = section.preset or section.rows
        if not (section.exact or near or any(limits.values())):
            raise UserError("config.dedup: looks for nothing; set exact, preset or max_line_documents")
        return cls(
            exact=section.exact,
            minhash=MinHash.from_config(section) if near else None,
            scope=section.scope,
            prefer=section.prefer,
            max_documents={by: limit for by, limit in limits.items() if limit},
            backend=section.backend,
        )

    @property
    def columns(self) -> int:
        """Keys of a document: the exact one, if that is asked for, and one a band."""
        return self.exact + (self.minhash.bands if self.minhash else 0)

    def keys(self) -> Keys:
        """Returns an empty collection of keys for one unit."""
        return Keys(self)

    def phases(self, output: Path, n_units: int) -> list[Phase]:
        """Returns the passes that find the survivors among all units."""
        lines = [
            Phase("dedup-lines", CountLines(self, output), n_units),
            Phase("dedup-common", FindCommon(self, output, n_units), 1),
        ]
        return [*self._cluster(output, n_units), *(lines if self.max_documents else ())]

    def _cluster(self, output: Path, n_units: int) -> list[Phase]:
        if self.backend == "memory" or not self.columns:
            return [Phase("dedup", InMemory(self, output, n_units), 1)]
        exchange = Exchange(str(_folder(output)), self.columns)
        keys, quality = (_paths(output, n_units, role) for role in ("keys", "quality"))
        return [
            Phase("dedup-sign", Sign(exchange, keys), n_units),
            Phase("dedup-pairs", FindPairs(exchange), self.columns),
            Phase("dedup-cluster", Cluster(exchange, quality), 1),
            Phase("dedup-bounds", Bounds(output, n_units), 1),
        ]

    def common(self, output: Path) -> tuple[DropCommonOrAll, ...]:
        """Returns the steps that take common lines and paragraphs out of survivors."""
        return tuple(
            DropCommonOrAll(DropCommon(Lines(by), str(_folder(output) / f"common_{by}.npy")))
            for by in sorted(self.max_documents)
        )

    def verdicts(self, output: Path, rank: int) -> Verdicts:
        """Returns what became of each document of a unit."""
        return Verdicts.load(self, output, rank)

    def among(self, keys: Keys) -> Verdicts:
        """Returns what would become of documents that are all there is."""
        made = keys.arrays()
        (labels,) = deduplicate([made["keys"]], [made["quality"]])
        return Verdicts(labels, 0, made["exact"], made["exact"][labels], made["ids"][labels])

    def count(self, texts: Iterable[str]) -> dict[By, np.ndarray]:
        """Returns in how many of the texts each line or paragraph stands, as far as they are looked for."""
        counts: dict[By, list[np.ndarray]] = {by: [np.zeros(0, COUNTS)] for by in self.max_documents}
        remaining = iter(texts)
        while batch := list(islice(remaining, _BATCH_TEXTS)):
            for by, found in counts.items():
                found.append(Lines(by).count(batch))
        return {by: _merged(found) for by, found in counts.items()}

    def write_common(self, output: Path, counts: Sequence[Mapping[By, np.ndarray]]) -> None:
        """Writes the tables of common lines that the steps of `common` read, from the counts of every unit."""
        _folder(output).mkdir(parents=True, exist_ok=True)
        for by, limit in self.max_documents.items():
            _save(_folder(output) / f"common_{by}.npy", common_lines([unit[by] for unit in counts], limit))


def _folder(output: Path) -> Path:
    return output / "work" / "dedup"


def _paths(output: Path, n_units: int, role: str) -> tuple[str, ...]:
    return tuple(str(output / "work" / "prepared" / f"{unit:05d}-{role}.npy") for unit in range(n_units))


class Keys:
    """The keys, qualities, ids and lines of a unit's documents, made in batches."""

    def __init__(self, dedup: Dedup) -> None:
        self._dedup = dedup
        self._texts: list[str] = []
        self._scopes: list[str] = []
        self._waiting = 0
        self._keys: list[np.ndarray] = []
        self._quality: list[np.ndarray] = []
        self._exact: list[np.ndarray] = []
        self._ids: list[bytes] = []

    def add(self, document: Document) -> None:
        """Adds a document."""
        if self._dedup.scope == "snapshot" and "snapshot" not in document.meta:
            raise UserError(f"{document.id}: of no known snapshot, but config.dedup.scope=snapshot; set it to all")
        self._texts.append(document.text)
        self._scopes.append(str(document.meta.get("snapshot", "")))
        if prefer := self._dedup.prefer:
            self._quality.append(np.array([PREFERENCES[prefer] * document.meta["scores"][prefer]]))
        self._ids.append(document.id.encode())
        self._waiting += len(document.text)
        if self._waiting >= _BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if not self._texts:
            return
        words = hash_words(self._texts)
        exact = exact_keys(words)
        if not self._dedup.prefer:
            self._quality.append(words.counts.astype(np.float64))
        columns = [np.zeros((len(exact), 0), np.uint64)]
        if self._dedup.exact:
            columns.append(exact[:, None])
        if self._dedup.minhash:
            columns.append(self._dedup.minhash.band_keys(words))
        keys = np.concatenate(columns, axis=1)
        self._keys.append(scoped(keys, self._scopes) if self._dedup.scope == "snapshot" else keys)
        self._exact.append(exact)
        self._texts, self._scopes, self._waiting = [], [], 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns keys [n, columns] and exact [n] uint64, quality [n] float64, and ids [n] in UTF-8."""
        self._flush()
        return {
            "keys": np.concatenate([np.zeros((0, self._dedup.columns), np.uint64), *self._keys]),
            "quality": np.concatenate([np.zeros(0), *self._quality]),
            "ids": np.array(self._ids, np.bytes_) if self._ids else np.zeros(0, "S1"),
            "exact": np.concatenate([np.zeros(0, np.uint64), *self._exact]),
        }

    def write(self, folder: Path, stem: str) -> dict[str, Path]:
        """Writes the arrays as `STEM-ROLE.npy` and returns their paths by role."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for role, array in self.arrays().items():
            paths[role] = folder / f"{stem}-{role}.npy"
            _save(paths[role], array)
        return paths


def _save(path: Path, array: np.ndarray) -> None:
    """Writes a whole array or nothing, so that another attempt at the same unit may be read meanwhile."""
    temporary = path.with_name(f"{path.name}.{manifest.attempt_id()}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, array)
    temporary.replace(path)


def _merged(counts: Sequence[np.ndarray]) -> np.ndarray:
    """Adds the counts of batches, by key."""
    everything = np.concatenate(counts)
    keys, places = np.unique(everything["key"], return_inverse=True)
    merged = np.empty(len(keys), COUNTS)
    merged["key"] = keys
    merged["documents"] = np.bincount(places, weights=everything["documents"], minlength=len(keys))
    return merged


@dataclass(frozen=True)
class InMemory:
    """Finds the survivors among all units in one process."""

    dedup: Dedup
    output: Path
    n_units: int

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        exchange = Exchange(str(_folder(self.output)), self.dedup.columns)
        keys = _joined(_paths(self.output, self.n_units, "keys"), _folder(self.output) / "keys.npy")
        quality = [np.load(path) for path in _paths(self.output, self.n_units, "quality")]
        exchange.labels(0).parent.mkdir(parents=True, exist_ok=True)
        for unit, labels in enumerate(deduplicate(keys, quality)):
            _save(exchange.labels(unit), labels)
        Bounds(self.output, self.n_units)(data, rank, world_size)


def _joined(paths: Sequence[str], path: Path) -> list[np.ndarray]:
    """Returns the arrays of many files as views of one memory-mapped file: a process may not hold thousands open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = [_shape(part) for part in paths]
    bounds = np.cumsum([0, *(shape[0] for shape in shapes)])
    if not bounds[-1]:
        return [np.load(part) for part in paths]
    whole = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.load(paths[0]).dtype, shape=(int(bounds[-1]), *shapes[0][1:])
    )
    for part, start, stop in zip(paths, bounds, bounds[1:], strict=False):
        whole[start:stop] = np.load(part)
    return np.split(whole, bounds[1:-1])


def _shape(path: str) -> tuple[int, ...]:
    with open(path, "rb") as stream:
        np.lib.format.read_magic(stream)
        return np.lib.format.read_array_header_1_0(stream)[0]


@dataclass(frozen=True)
class Bounds:
    """Notes where each unit's documents begin among all."""

    output: Path
    n_units: int

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        sizes = [_shape(path)[0] for path in _paths(self.output, self.n_units, "quality")]
        _save(_folder(self.output) / _BOUNDS, np.cumsum([0, *sizes], dtype=np.int64))


@dataclass(frozen=True)
class CountLines:
    """Counts the lines and paragraphs of a unit's survivors: copies that go do not make a line common."""

    dedup: Dedup
    output: Path

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        entry = Receipts(self.output, "prepare").get(rank).files.get("prepared")
        records = ledger.read(self.output / entry.name) if entry else iter(())
        verdicts = self.dedup.verdicts(self.output, rank)
        kept = (record["text"] for index, record in enumerate(records) if verdicts.of(index) is None)
        for by, counts in self.dedup.count(kept).items():
            _save(Path(_paths(self.output, world_size, by)[rank]), counts)


@dataclass(frozen=True)
class FindCommon:
    """Finds the lines and paragraphs that stand in too many survivors of all units."""

    dedup: Dedup
    output: Path
    n_units: int

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        counts = {
            by: _joined(_paths(self.output, self.n_units, by), _folder(self.output) / f"{by}.npy")
            for by in self.dedup.max_documents
        }
        self.dedup.write_common(
            self.output, [{by: units[unit] for by, units in counts.items()} for unit in range(self.n_units)]
        )


@dataclass(frozen=True)
class DropCommonOrAll:
    """Takes out common lines; a document of nothing else goes."""

    common: DropCommon

    @property
    def name(self) -> str:
        """`line_dedup` or `paragraph_dedup`."""
        return self.common.name

    def __call__(self, document: Document) -> Document | Dropped:
        rest = self.common(document)
        if rest is not document and not rest.text.strip():
            return Dropped(f"{self.name}.nothing_left", 0, 1)
        return rest


@dataclass(frozen=True)
class Verdicts:
    """For each document of a unit its label, its exact key, and the exact key and id of the one that stays for it."""

    labels: np.ndarray
    first: int
    exact: np.ndarray
    survivor_exact: np.ndarray
    survivor_ids: np.ndarray

    def of(self, index: int) -> Dropped | None:
        """Returns None for a survivor; else the rule that found it, and whose duplicate it is."""
        if self.labels[index] == self.first + index:
            return None
        same = self.exact[index] == self.survivor_exact[index]
        return Dropped("dedup.exact" if same else "dedup.minhash", self.survivor_ids[index].decode(), "")

    @classmethod
    def load(cls, dedup: Dedup, output: Path, rank: int) -> Verdicts:
        """Reads the verdicts on a unit, and of other units what its labels point to."""
        exchange = Exchange(str(_folder(output)), dedup.columns)
        bounds = np.load(_folder(output) / _BOUNDS)
        labels = np.load(exchange.labels(rank))
        keys, ids = (_paths(output, len(bounds) - 1, role) for role in ("exact", "ids"))
        exact = np.load(keys[rank])
        survivor_exact, survivor_ids = np.zeros(len(labels), np.uint64), np.zeros(len(labels), object)
        owners = np.searchsorted(bounds, labels, side="right") - 1
        for unit in np.unique(owners):
            rows = np.flatnonzero(owners == unit)
            local = labels[rows] - bounds[unit]
            survivor_exact[rows] = np.load(keys[unit], mmap_mode="r")[local]
            survivor_ids[rows] = np.load(ids[unit], mmap_mode="r")[local]
        return cls(labels, int(bounds[rank]), exact, survivor_exact, survivor_ids)
