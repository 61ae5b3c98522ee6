"""Tokenizes documents in order, over all cores where there is enough text to pay for starting processes.

What comes out depends neither on the number of processes nor on their speed.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.readers import Document

# A task is what one process tokenizes at a time: long enough to hide the cost of handing it over.
_TASK_CHARACTERS = 1 << 20
# Up to this many tasks are done in this process, in less time than others would take to start.
_SMALL_TASKS = 8


@dataclass(frozen=True)
class Piece:
    """Consecutive tokens of one document, without control tokens; `last` ends the document."""

    id: str
    source: str
    tokens: np.ndarray
    bytes: int
    last: bool


@dataclass(frozen=True)
class _Text:
    """What becomes a Piece: a document's text, or a part of it."""

    id: str
    source: str
    text: str
    last: bool


def cut(text: str, limit: int) -> Iterator[str]:
    """Yields parts of at most `limit` characters that join to `text`, cut after a newline where there is one."""
    start = 0
    while len(text) - start > limit:
        newline = text.rfind("\n", start, start + limit)
        end = newline + 1 if newline >= 0 else start + limit
        yield text[start:end]
        start = end
    yield text[start:]


def _tasks(documents: Iterable[Document]) -> Iterator[list[_Text]]:
    task: list[_Text] = []
    characters = 0
    for document in documents:
        parts = list(cut(document.text, _TASK_CHARACTERS))
        for number, part in enumerate(parts, 1):
            task.append(_Text(document.id, document.source, part, number == len(parts)))
            characters += len(part)
            if characters >= _TASK_CHARACTERS:
                yield task
                task, characters = [], 0
    if task:
        yield task


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Encoder:
    """A tokenizer on `workers` processes (0: all cores, and none for little text); use as a context manager."""

    def __init__(self, tokenizer_dir: Path, workers: int = 0) -> None:
        self.tokenizer = tokenizers.load(tokenizer_dir)
        self._directory, self._auto, self._workers = tokenizer_dir, workers == 0, workers or cores()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def encode(self, documents: Iterable[Document]) -> Iterator[Piece]:
        """Yields every document's pieces, in order.

        Raises:
            UserError: a document's text is not valid Unicode.
        """
        tasks = _tasks(documents)
        if self._auto and self._pool is None:
            few = list(itertools.islice(tasks, _SMALL_TASKS + 1))
            tasks = itertools.chain(few, tasks)
            here = len(few) <= _SMALL_TASKS
        else:
            here = False
        if here or self._workers == 1:
            for task in tasks:
                sizes = _utf8_sizes(task)
                yield from _pieces(task, sizes, self.tokenizer.encode_batch([part.text for part in task]))
        else:
            yield from self._encode_in_pool(tasks)

    def _encode_in_pool(self, tasks: Iterator[list[_Text]]) -> Iterator[Piece]:
        if self._pool is None:
            # Spawned, not forked: the same on every system, and safe beside threads.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, _start_worker, (self._directory,))
        waiting: deque[tuple[list[_Text], list[int], Future[list[np.ndarray]]]] = deque()
        for task in tasks:
            sizes = _utf8_sizes(task)
            waiting.append((task, sizes, self._pool.submit(_encode_in_worker, [part.text for part in task])))
            if len(waiting) > 2 * self._workers:  # what is under way stays bounded, however fast the reader
                done, done_sizes, future = waiting.popleft()
                yield from _pieces(done, done_sizes, future.result())
        while waiting:
            done, done_sizes, future = waiting.popleft()
            yield from _pieces(done, done_sizes, future.result())


def _utf8_sizes(task: list[_Text]) -> list[int]:
    sizes = []
    for part in task:
        try:
            sizes.append(len(part.text.encode()))
        except UnicodeEncodeError as error:
            raise UserError(
                f"{part.source}: document {part.id} is not valid Unicode (it holds the lone surrogate "
                f"U+{ord(part.text[error.start]):04X}); clean the text first"
            ) from error
    return sizes


def _pieces(task: list[_Text], sizes: list[int], tokens: list[np.ndarray]) -> Iterator[Piece]:
    for part, size, ids in zip(task, sizes, tokens, strict=True):
        yield Piece(part.id, part.source, np.asarray(ids), size, part.last)


_worker: tokenizers.Tokenizer  # in worker processes alone, where the pool's initializer sets it


def _start_worker(directory: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread a process: the processes are the parallelism
    os.environ["RAYON_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = tokenizers.load(directory)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone; a pool's worker would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encode_in_worker(texts: list[str]) -> list[np.ndarray]:
    return _worker.encode_batch(texts)
