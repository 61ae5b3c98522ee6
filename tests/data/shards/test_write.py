from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.readers import Document
from lm.data.readers.tokens import TokenDocument
from lm.data.shards import Shards, encode, write, write_shards, write_token_shards
from lm.data.tokenizer import ids

Make = Callable[..., Shards]
Texts = Callable[..., list[str]]


def everything(shards: Shards, split: str, source: str) -> list[int]:
    stream = shards.source(split, source)
    return stream.gather(np.array([0]), stream.n_tokens)[0][0].tolist()


def contents(shards: Shards) -> dict[str, bytes]:
    """Every listed file's bytes by its name without the attempt."""
    attempt = shards.manifest.counts["splits"]["train"]["a"]["files"][0].rsplit("-", 1)[1]
    return {
        entry.name.replace(attempt, "ATTEMPT"): (shards.directory / entry.name).read_bytes()
        for entry in shards.manifest.files
    }


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("shard_tokens", [1, 100, 10**8])
def test_shards_hold_the_tokens_of_every_document(
    make_shards: Make, random_texts: Texts, bos: bool, eos: bool, shard_tokens: int
) -> None:
    texts = random_texts(1, 40)
    shards = make_shards({"train": {"a": texts}}, bos=bos, eos=eos, shard_tokens=shard_tokens)
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    before, after = [tokenizer.bos_id] * bos, [tokenizer.eos_id] * eos
    expected = [token for text in texts for token in [*before, *tokenizer.encode(text), *after]]
    assert everything(shards, "train", "a") == expected
    counts = shards.manifest.counts
    assert counts["splits"]["train"]["a"] | {"files": None} == {
        "documents": 40,
        "empty": 0,
        "tokens": len(expected),
        "bytes": sum(map(len, texts)),
        "files": None,
    }
    assert (counts["bos"], counts["eos"], counts["dtype"], counts["vocab_size"]) == (
        bos,
        eos,
        "<u2",
        tokenizer.vocab_size,
    )
    sizes = [(shards.directory / f"{stem}.bin").stat().st_size // 2 for stem in counts["splits"]["train"]["a"]["files"]]
    longest = max(map(len, texts)) + 2
    assert all(shard_tokens <= size < shard_tokens + longest for size in sizes[:-1])


def test_bytes_do_not_depend_on_the_number_of_workers(
    make_shards: Make, random_texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "_TASK_CHARACTERS", 1000)
    texts = [*random_texts(1, 500), "x" * 2500, *random_texts(2, 500), ""]
    one, two, four = (
        make_shards({"train": {"a": texts, "b": texts[:9]}}, shard_tokens=5000, workers=n, name=f"{n}")
        for n in (1, 2, 4)
    )
    assert len(one.manifest.counts["splits"]["train"]["a"]["files"]) > 3
    assert contents(one) == contents(two) == contents(four)


def test_much_text_is_spread_over_processes_and_little_is_not(
    make_shards: Make, random_texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "cores", lambda: 2)
    monkeypatch.setattr(encode, "_TASK_CHARACTERS", 1000)
    started = []
    real = encode.ProcessPoolExecutor
    monkeypatch.setattr(encode, "ProcessPoolExecutor", lambda *args: started.append(args) or real(*args))
    texts = random_texts(1, 1000)
    one = make_shards({"train": {"a": texts}}, workers=1, name="one")
    make_shards({"train": {"a": texts[:100]}}, workers=0, name="few")
    assert started == []
    auto = make_shards({"train": {"a": texts}}, workers=0, name="auto")
    assert [args[0] for args in started] == [2]
    assert contents(one) == contents(auto)


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
def test_cut_loses_nothing_and_prefers_newlines(random_texts: Texts, limit: int) -> None:
    for text in ["", "\n", "a" * 1000, "a\n" * 500, "".join(random_texts(1, 100))]:
        parts = list(encode.cut(text, limit))
        assert "".join(parts) == text
        assert all(len(part) <= limit for part in parts)
        for part, following in itertools.pairwise(parts):
            assert part.endswith("\n") or "\n" not in part
            assert following


def test_a_huge_document_is_one_document(make_shards: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_TASK_CHARACTERS", 50)
    text = "some line of text\n" * 100
    shards = make_shards({"train": {"a": ["first", text, "last"]}}, bos=True, shard_tokens=10)
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    source = shards.source("train", "a")
    assert source.n_documents == 3
    assert (source.document(1)["tokens"], source.document(1)["bytes"]) == (len(text) + 2, len(text))
    tokens = everything(shards, "train", "a")
    assert tokenizer.decode(tokens) == "first" + text + "last"
    assert (tokens.count(tokenizer.bos_id), tokens.count(tokenizer.eos_id)) == (3, 3)


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, "<u2"), ((1 << 16) + 1, "<u4")])
def test_tokens_take_32_bits_only_where_the_vocabulary_needs_them(tmp_path: Path, size: int, dtype: str) -> None:
    tokenizer = ids_tokenizer(tmp_path / "tokenizer", size)
    tokens = np.array([0, 1, 255, 256, size - 1])
    documents = [TokenDocument("x", tokens, "made elsewhere")]
    made = write_token_shards({"train": {"a": documents}}, tokenizer, tmp_path / "shards", config={}, inputs={})
    shards = Shards.open(tmp_path / "shards")
    assert (made.counts["dtype"], made.counts["vocab_size"]) == (dtype, size)
    assert everything(shards, "train", "a") == tokens.tolist()
    (stem,) = made.counts["splits"]["train"]["a"]["files"]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "shards" / f"{stem}.bin", dtype), tokens)


def ids_tokenizer(directory: Path, size: int) -> Path:
    assert ids.write(directory, n_ids=size - 3, end_id=0, inputs={}).vocab_size == size
    return directory


@pytest.mark.parametrize("strange", [-1, 300, 70_000])
def test_tokens_of_another_vocabulary_are_refused(tmp_path: Path, strange: int) -> None:
    tokenizer = ids_tokenizer(tmp_path / "tokenizer", 300)
    documents = [
        TokenDocument("good", np.array([1, 2]), "f.bin"),
        TokenDocument("bad", np.array([1, strange]), "f.bin"),
    ]
    with pytest.raises(UserError, match=rf"f.bin: document bad has token {strange}, but .* knows 0 to 299"):
        write_token_shards({"train": {"a": documents}}, tokenizer, tmp_path / "shards", config={}, inputs={})
    assert list((tmp_path / "shards").iterdir()) == []


def test_documents_without_text_are_counted_and_left_out(make_shards: Make) -> None:
    shards = make_shards({"train": {"a": ["", "abc", "", "d", ""]}}, bos=True)
    counts = shards.manifest.counts["splits"]["train"]["a"]
    assert (counts["documents"], counts["empty"]) == (2, 3)
    assert [shards.source("train", "a").document(n)["id"] for n in range(2)] == ["a:1", "a:3"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": {"a": ["", ""]}}, "train/a: all 2 documents are empty"),
        ({"train": {"a": []}}, "no document in any of them"),
        ({"train": {"a/b": ["x"]}}, "'a/b' cannot name a file"),
        ({"tr-ain": {"a": ["x"]}}, "'tr-ain' cannot name a file"),
        ({"train": {"a": ["good", "b\ud800d"]}}, r"a: document a:1 is not valid Unicode .*U\+D800"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    make_shards: Make, tmp_path: Path, splits: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_shards(splits)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def failing(error: BaseException) -> Iterator[Document]:
    yield Document("0", "abc\n" * 10_000, "a")
    raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError()]
)
def test_a_failed_attempt_leaves_the_finished_one_as_it_was(
    make_shards: Make, char_dir: Path, error: BaseException
) -> None:
    shards = make_shards({"train": {"a": ["the first"]}})
    before = {path: path.read_bytes() for path in shards.directory.rglob("*") if path.is_file()}
    with pytest.raises(type(error)):
        write_shards(
            {"train": {"a": failing(error)}}, char_dir, shards.directory, config={}, inputs={}, bos=False, eos=True
        )
    assert {path: path.read_bytes() for path in shards.directory.rglob("*") if path.is_file()} == before


def test_a_disk_that_takes_no_more_leaves_nothing(make_shards: Make, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            make_shards({"train": {"a": ["small"] * 10, "b": ["words and words\n" * 10_000] * 2}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


KILLED_WRITER = """
import multiprocessing, os, signal, sys
from pathlib import Path
from lm.data.readers import Document
from lm.data.shards import encode, write_shards

encode._TASK_CHARACTERS = 10_000

def documents():
    for number in range(100):
        if number == 50:
            print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        yield Document(str(number), "words and words\\n" * 10_000, "a")

if __name__ == "__main__":
    write_shards({"train": {"a": documents()}}, Path(sys.argv[1]), Path(sys.argv[2]), config={}, inputs={}, bos=False,
                 eos=True, shard_tokens=500_000, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_writer_leaves_nothing_that_reads_or_runs_and_is_cleaned_up_after(
    make_shards: Make, char_dir: Path, tmp_path: Path, workers: int
) -> None:
    output = tmp_path / "shards"
    script = tmp_path / "killed.py"
    script.write_text(KILLED_WRITER)
    root = str(Path(write.__file__).parents[3])
    killed = subprocess.run(  # returns when the output's last holder has ended, so the workers too
        [sys.executable, str(script), str(char_dir), str(output), str(workers)],
        check=False,
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(killed.stdout.split()) == (workers if workers > 1 else 0)
    assert len(list(output.glob("*.bin"))) > 3
    with pytest.raises(UserError, match="no finished stage"):
        Shards.open(output)

    shards = make_shards({"train": {"a": ["abc"]}})
    listed = {output / entry.name for entry in shards.manifest.files} | {output / manifest.NAME}
    assert {path for path in output.rglob("*") if path.is_file()} == listed


def test_a_new_attempt_replaces_the_old_one(make_shards: Make) -> None:
    old = make_shards({"train": {"a": ["old"], "b": ["gone"]}})
    new = make_shards({"train": {"a": ["new and longer"]}})
    assert not {e.name for e in old.manifest.files if "tokenizer" not in e.name} & {e.name for e in new.manifest.files}
    assert {path.name for path in new.directory.glob("*.bin")} == {
        entry.name for entry in new.manifest.files if entry.name.endswith(".bin")
    }
    assert tokenizers.load(new.tokenizer_dir).decode(everything(new, "train", "a")) == "new and longer"
    assert manifest.verify(new.directory) == []
