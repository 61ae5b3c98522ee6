"""Training examples by index, evaluation windows in order, and the iterator that prefetches batches.

Every source is cut into windows of T + 1 tokens at a stride of T: T inputs and the T tokens that follow them.
Example i draws from a source by the mixture's weights; the k-th draw of a source is window k of an endless
sequence of epochs, each with its own permutation and its own offset of the cuts. So a batch is a function of
(manifest, seed, example indices) alone. Dims: B batch, T window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lm.common.errors import UserError
from lm.data.shards import order
from lm.data.shards.read import Shards, TokenSource

Batch = dict[str, np.ndarray]
"""tokens, targets, segments (1.. by document within the window; 0 is padding), positions (from 0 in each document),
all int32 [B, T]; loss_mask float32 [B, T], 0 where the target belongs to another document than the input, or to
none; index int32 [B], the low bits of the example's number, -1 for a row of padding. Of evaluation also source,
int32 [B]: the number of the row's source among `shards.sources(split)`."""


@dataclass(frozen=True)
class Stage:
    """A mixture from one example on: a weight per source, and how often each source was drawn before."""

    start: int
    weights_S: tuple[float, ...]
    drawn_S: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Endless training examples, random access; see `training_examples`."""

    sources: tuple[TokenSource, ...]
    seq_len: int
    seed: int
    stages: tuple[Stage, ...]

    def batch(self, first_index: int, size: int, rows_R: np.ndarray | None = None) -> Batch:
        """Returns examples [first_index, first_index + size), or the rows of them that are asked for."""
        index_B = np.arange(first_index, first_index + size, dtype=np.int64)
        index_B = index_B if rows_R is None else index_B[rows_R]
        source_B, start_B = self.locate(index_B)
        return _batch(self.sources, source_B, start_B, index_B, self.seq_len)

    def provenance(self, index: int) -> dict[str, Any]:
        """Returns where an example came from: source, shard file, token offset there, and its documents' ids."""
        (number,), (start,) = self.locate(np.array([index], np.int64))
        source = self.sources[number]
        _, document_BL = source.gather(np.array([start]), self.seq_len + 1)
        shard, offset = source.where(int(start))
        ids = [source.document(int(document))["id"] for document in np.unique(document_BL)]
        return {"index": index, "source": source.name, "shard": shard, "offset": offset, "documents": ids}

    def epochs(self, n_examples: int) -> dict[str, float]:
        """Returns how many times over the first `n_examples` read each source's tokens."""
        stage = self.stages[self._stage(np.array([n_examples]))[0]]
        drawn_S = stage.drawn_S + order.drawn(n_examples - stage.start, stage.weights_S)
        return {s.name: float(n) * self.seq_len / s.n_tokens for s, n in zip(self.sources, drawn_S, strict=True)}

    def locate(self, index_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each example its source's number and its first token in that source's stream, int64 [B] both."""
        source_B, start_B = np.empty_like(index_B), np.empty_like(index_B)
        stage_B = self._stage(index_B)
        for number in np.unique(stage_B):
            rows, stage = np.flatnonzero(stage_B == number), self.stages[number]
            source_B[rows], draw_R = order.interleave(index_B[rows] - stage.start, stage.weights_S)
            draw_R += np.array(stage.drawn_S)[source_B[rows]]
            for source in np.unique(source_B[rows]):
                mine = source_B[rows] == source
                start_B[rows[mine]] = self._window_starts(self.sources[source], draw_R[mine])
        return source_B, start_B

    def _stage(self, index_B: np.ndarray) -> np.ndarray:
        return np.searchsorted([stage.start for stage in self.stages], index_B, side="right") - 1

    def _window_starts(self, source: TokenSource, draw_B: np.ndarray) -> np.ndarray:
        epoch_B, window_B = np.divmod(draw_B, _windows(source, self.seq_len))
        base = np.uint64(order.key_of(self.seed, source.name))
        key_B = order.mix(order.mix(epoch_B.astype(np.uint64)) ^ base)
        window_B = order.permute(window_B, _windows(source, self.seq_len), key_B)
        offset_B = (order.mix(~key_B) % np.uint64(self.seq_len)).astype(np.int64)
        return (offset_B + window_B * self.seq_len) % source.n_tokens


def _windows(source: TokenSource, seq_len: int) -> int:
    """Number of windows of an epoch; a source is a ring, so whatever the offset this many fit without overlap."""
    return source.n_tokens // seq_len


def training_examples(
    shards: Shards,
    split: str,
    *,
    seq_len: int,
    seed: int,
    weights: Mapping[str, float] | None = None,
    stages: Sequence[tuple[int, Mapping[str, float]]] = (),
) -> Examples:
    """Returns a split's training examples in the order that `seed` chooses.

    `weights` give each source's share of the examples, in any unit; a source left out is not used, and None means
    in proportion to size, so that all sources end their epochs together. `stages` are later mixtures, as (first
    example, weights); every source goes on where it was.

    Raises:
        UserError: no such split or source, a useless weight or stage, or a source shorter than one window.
    """
    sources = tuple(shards.sources(split))
    if weights is None:
        weights = {source.name: float(source.n_tokens) for source in sources}
    mixtures: list[Stage] = []
    for start, mixture in [(0, weights), *stages]:
        if mixtures and start <= mixtures[-1].start:
            raise UserError(
                f"data stages: start {start} does not come after {mixtures[-1].start}; give increasing starts"
            )
        weights_S = _weights(mixture, [source.name for source in sources], split)
        drawn_S = (0,) * len(sources)
        if mixtures:
            before = mixtures[-1]
            drawn_S = tuple((before.drawn_S + order.drawn(start - before.start, before.weights_S)).tolist())
        mixtures.append(Stage(start, weights_S, drawn_S))
    for source, weights_of_source in zip(
        sources, zip(*(stage.weights_S for stage in mixtures), strict=True), strict=True
    ):
        if any(weights_of_source) and source.n_tokens < seq_len + 1:
            raise UserError(
                f"{shards.directory}: source {split}/{source.name} has {source.n_tokens} tokens, but a sequence of "
                f"{seq_len} needs {seq_len + 1}; shorten the sequence, add text or leave the source out of the weights"
            )
    return Examples(sources, seq_len, seed, tuple(mixtures))


def _weights(mixture: Mapping[str, float], names: list[str], split: str) -> tuple[float, ...]:
    for name, weight in mixture.items():
        if name not in names:
            raise UserError(f"data weights: no source {name!r} in split {split!r}; it has {', '.join(names)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"data weights: {name}={weight}; give a finite number, 0 or more")
    if not any(mixture.values()):
        raise UserError(f"data weights: no source has a positive weight; choose among {', '.join(names)}")
    return tuple(float(mixture.get(name, 0.0)) for name in names)


def evaluation_batches(
    shards: Shards, split: str, *, seq_len: int, batch_size: int, max_tokens: int = 0
) -> Iterator[Batch]:
    """Yields a split's windows in order, so that every token with a predecessor in its document is predicted once.

    What is left over of the last window of a source and of the last batch is padding. `max_tokens` above 0 bounds
    the number of predictions (rounded up to whole windows): each source then gives its beginning, in proportion.

    Raises:
        UserError: no such split.
    """
    sources = shards.sources(split)
    kept = min(1.0, max_tokens / shards.n_tokens(split)) if max_tokens else 1.0
    windows = [
        (number, start)
        for number, source in enumerate(sources)
        for start in range(0, math.ceil((source.n_tokens - 1) * kept), seq_len)
    ]
    return (
        _evaluation_batch(sources, windows[first : first + batch_size], first, seq_len, batch_size)
        for first in range(0, len(windows), batch_size)
    )


def _evaluation_batch(
    sources: Sequence[TokenSource], windows: list[tuple[int, int]], first: int, seq_len: int, batch_size: int
) -> Batch:
    padding = batch_size - len(windows)
    source_B, start_B = np.array([*windows, *[windows[0]] * padding], np.int64).T
    index_B = np.concatenate([np.arange(first, first + len(windows)), np.full(padding, -1)])
    batch = _batch(sources, source_B, start_B, index_B, seq_len)
    left_B = np.array([source.n_tokens - 1 for source in sources])[source_B] - start_B
    padding_BT = np.arange(seq_len) >= np.where(index_B < 0, 0, left_B)[:, None]
    for values_BT in (values for name, values in batch.items() if name != "index"):
        values_BT[padding_BT] = 0
    return {**batch, "source": source_B.astype(np.int32)}


def _batch(
    sources: Sequence[TokenSource], source_B: np.ndarray, start_B: np.ndarray, index_B: np.ndarray, seq_len: int
) -> Batch:
    """Builds a batch from windows of T + 1 tokens, given each one's source and its first token in there."""
    size = len(index_B)
    token_BL = np.empty((size, seq_len + 1), np.int32)
    document_BL = np.empty((size, seq_len + 1), np.int64)
    for number in np.unique(source_B):
        rows = source_B == number
        token_BL[rows], document_BL[rows] = sources[number].gather(start_B[rows], seq_len + 1)
    same_BT = document_BL[:, 1:] == document_BL[:, :-1]
    column_T = np.arange(seq_len, dtype=np.int32)
    # The first column of each token's document, carried along the row.
    begin_BT = np.zeros((size, seq_len), np.int32)
    np.copyto(begin_BT[:, 1:], column_T[1:], where=~same_BT[:, :-1])
    np.maximum.accumulate(begin_BT, axis=1, out=begin_BT)
    segments_BT = np.ones((size, seq_len), np.int32)
    np.cumsum(~same_BT[:, :-1], axis=1, dtype=np.int32, out=segments_BT[:, 1:])
    segments_BT[:, 1:] += 1
    return {
        "tokens": token_BL[:, :-1].copy(),
        "targets": token_BL[:, 1:].copy(),
        "segments": segments_BT,
        "positions": column_T - begin_BT,
        "loss_mask": same_BT.astype(np.float32),
        "index": index_B.astype(np.int32),
    }


def iterate(
    examples: Examples,
    plan: Iterable[tuple[int, int]],
    *,
    rows: Callable[[int], np.ndarray] | None = None,
    threads: int = 1,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """Yields `examples.batch(first_index, size)` for each entry of a finite plan, made ahead of need by threads.

    `rows` tells which rows of a batch of some size are needed here; all of them if it is left out. Built on grain with
    one element per batch, since grain counts elements in 32 bits.
    """
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    planned = _Planned(examples, np.array(list(plan), np.int64).reshape(-1, 2), rows)
    return iter(grain.MapDataset.source(planned).to_iter_dataset(options))


@dataclass(frozen=True, repr=False)
class _Planned:
    """A plan's batches as a grain source."""

    examples: Examples
    plan_P2: np.ndarray
    rows: Callable[[int], np.ndarray] | None

    def __len__(self) -> int:
        return len(self.plan_P2)

    def __getitem__(self, position: int) -> Batch:
        first_index, size = self.plan_P2[position].tolist()
        return self.examples.batch(first_index, size, None if self.rows is None else self.rows(size))

    def __repr__(self) -> str:
        return f"batches({self.examples.seed}, {len(self)})"
