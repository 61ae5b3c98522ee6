"""A run whose directory and shards are in a bucket, which may fail, and processes, which may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from benchmarks import jobs
from lm.common import buckets
from lm.common.checkpoint import Checkpoints
from tests.common.object_store import ObjectStore, serving

RUN, SHARDS = "gs://bucket/runs/mine", "gs://bucket/data/shards"
KEYS = {"train.steps": 8, "train.checkpoint_every": 3, "sample.prompts": "('ab',)"}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """An empty store that the commands are led to."""
    found = ObjectStore()
    with serving(found) as variables:
        for name, value in (variables | {"LM_CACHE": str(tmp_path / "cache")}).items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Shards, and a run over them in a directory on one device."""
    folder = tmp_path_factory.mktemp("alone")
    text = jobs.write_text(folder / "text.txt")
    lm("shard", f"--config.data.path={text}", "--config.tokenizer.vocab_size=304", f"--workdir={folder / 'shards'}")
    jobs.run(folder / "shards", folder / "run", KEYS)
    return folder / "shards", folder / "run"


def lm(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command, on a CPU."""
    done = subprocess.run(
        [sys.executable, "-m", "lm.cli", *map(str, arguments)],
        cwd=jobs.ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(jobs.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def upload(store: ObjectStore, directory: Path, address: str) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            name = f"{address.removeprefix('gs://bucket/')}/{path.relative_to(directory)}"
            store.objects["bucket", name] = 1, path.read_bytes()


def download(store: ObjectStore, address: str, directory: Path) -> Path:
    """Writes what is in the bucket under an address to a directory."""
    prefix = address.removeprefix("gs://bucket/") + "/"
    for name in store.names("bucket"):
        if name.startswith(prefix):
            path = directory / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.objects["bucket", name][1])
    return directory


def steps(store: ObjectStore) -> list[int]:
    """Returns the checkpoints that are whole."""
    names = [name.removeprefix("runs/mine/checkpoints/").split("/") for name in store.names("bucket")]
    return sorted(int(step) for step, *rest in names if rest == ["commit_success.txt"])


@pytest.mark.slow
def test_a_run_in_a_bucket_is_the_run_of_a_directory(
    alone: tuple[Path, Path], store: ObjectStore, tmp_path: Path
) -> None:
    shards, wanted = alone
    upload(store, shards, SHARDS)
    jobs.run(SHARDS, RUN, KEYS)
    found = download(store, RUN, tmp_path / "found")
    jobs.assert_same_training(found, wanted)
    assert json.loads((found / "config.json").read_text())["data"]["path"] == SHARDS
    assert (found / "report.html").is_file()
    assert (found / "manifest.json").is_file()
    assert not (found / "shards").exists()
    assert steps(store)[-1] == 8
    again = jobs.run(SHARDS, RUN, KEYS)
    assert "finished already" in again[0]
    assert lm("sample", f"--run={RUN}", "--prompt=ab", "--max_new_tokens=8").stdout
    written = dict(store.objects)
    lm("report", f"--run={RUN}")
    assert {name for name in written if written[name] != store.objects[name]} == {("bucket", "runs/mine/report.html")}


@pytest.mark.slow
def test_a_bucket_that_fails_one_call_in_five_changes_nothing(
    alone: tuple[Path, Path], store: ObjectStore, tmp_path: Path
) -> None:
    shards, wanted = alone
    upload(store, shards, SHARDS)
    store.every = 5
    jobs.run(SHARDS, RUN, KEYS | {"train.checkpoint_every": 0})  # clients' pauses add up
    assert store.failed > 20
    assert steps(store) == [8]
    jobs.assert_same_training(download(store, RUN, tmp_path / "found"), wanted)


@pytest.mark.slow
def test_a_run_killed_over_a_bucket_goes_on_from_what_is_whole_there(
    alone: tuple[Path, Path], store: ObjectStore, tmp_path: Path
) -> None:
    """Two processes are killed while the second checkpoint is written; one with other devices goes on."""
    shards, wanted = alone
    upload(store, shards, SHARDS)
    processes = jobs.start(SHARDS, RUN, KEYS | {"mesh.fsdp": 2}, processes=2, devices=2)
    deadline = time.monotonic() + jobs.WAIT_SECONDS
    while not any(name.startswith("runs/mine/checkpoints/6/") for name in store.names("bucket")):
        assert all(process.poll() is None for process in processes), jobs.finish(processes)
        assert time.monotonic() < deadline
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert steps(store) == [3]
    again = jobs.run(SHARDS, RUN, KEYS | {"mesh.data": 2}, devices=2)
    assert "resuming at step 3" in again[0]
    jobs.assert_same_training(download(store, RUN, tmp_path / "found"), wanted)
    assert steps(store) == [6, 8]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a bucket of a server that stands in for Amazon's."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
    urlopen(Request(f"http://{host}:{port}/bucket", method="PUT"))
    variables = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (variables | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(name, value)
    yield "s3://bucket/runs/mine"
    server.stop()


@pytest.mark.slow
def test_a_run_killed_over_s3_goes_on_from_what_was_sent(alone: tuple[Path, Path], s3: str, tmp_path: Path) -> None:
    shards, wanted = alone
    (process,) = jobs.start(shards, s3, KEYS)
    files, root = buckets.connect(s3)
    deadline = time.monotonic() + jobs.WAIT_SECONDS
    while not files.exists(f"{root}/checkpoints/3/record/metadata"):  # sent before the next one is written
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "resuming at step 3" in jobs.run(shards, s3, KEYS)[0]
    assert "finished already" in jobs.run(shards, s3, KEYS)[0]
    with buckets.at_hand(s3) as found:
        jobs.assert_same_training(found, wanted)
        assert Checkpoints(buckets.checkpoints(found)).steps() == [6, 8]


@pytest.mark.slow
def test_several_processes_over_s3_are_refused(alone: tuple[Path, Path], s3: str) -> None:
    processes = jobs.start(alone[0], s3, KEYS, processes=2, devices=2)
    outputs = [process.communicate(timeout=jobs.WAIT_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert all(f"lm pretrain: --workdir={s3}: Orbax does not write there" in output for output in outputs)


def test_a_bucket_that_refuses_is_one_line_and_nothing_is_lost(
    alone: tuple[Path, Path], store: ObjectStore, tmp_path: Path
) -> None:
    shards, wanted = alone
    store.refused = True
    (process,) = jobs.start(shards, RUN, KEYS)
    output = process.communicate(timeout=jobs.WAIT_SECONDS)[0]
    assert process.returncode == 2, output
    assert "lm pretrain: gs://bucket/runs/mine" in output
    assert "Traceback" not in output
    store.refused = False
    jobs.run(shards, RUN, KEYS)
    jobs.assert_same_training(download(store, RUN, tmp_path / "found"), wanted)
