"""Runs at s3:// addresses, where checkpoints are copied like the rest: each is whole there, or not there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from lm.common import buckets
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError

s3fs = pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")
RUN = "s3://bucket/runs/mine"
MakeState = Callable[..., dict[str, Any]]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket of a server that stands in for Amazon's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (variables | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"))  # its state is the process's
    found, _ = buckets.connect(RUN)
    found.mkdir("bucket")
    yield found
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def there(files: Any) -> list[str]:
    """Returns the checkpoints of which anything is in the bucket."""
    return sorted({path.split("/")[4] for path in files.find("bucket/runs/mine/checkpoints")})


def test_checkpoints_come_and_go_with_the_copy(
    files: Any, make_state: MakeState, assert_same: Callable[[Any, Any], None]
) -> None:
    with buckets.at_hand(RUN) as copy, Checkpoints(buckets.checkpoints(copy), keep_last=2, keep_best=0) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make_state(step), {"examples": step})
            checkpoints.wait()
            buckets.push(copy)
        (copy / "checkpoints" / "4.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
        (copy / "checkpoints" / "4.orbax-checkpoint-tmp" / "state" / "half").write_text("half")
    assert there(files) == ["2", "3"]
    with buckets.at_hand(RUN) as copy:
        restored = Checkpoints(buckets.checkpoints(copy)).restore(make_state(0))
        assert (restored.step, restored.extra) == (3, {"examples": 3})
        assert_same(restored.state, make_state(3))


def test_a_checkpoint_that_was_half_sent_is_not_one(files: Any, make_state: MakeState) -> None:
    with buckets.at_hand(RUN) as copy, Checkpoints(buckets.checkpoints(copy)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), {})
    files.rm_file("bucket/runs/mine/checkpoints/2/record/metadata")  # which is sent last
    with buckets.at_hand(RUN) as copy, Checkpoints(buckets.checkpoints(copy)) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(2, make_state(2), {})
    with buckets.at_hand(RUN) as copy:
        assert Checkpoints(buckets.checkpoints(copy)).restore(make_state(0)).step == 2


def test_a_bucket_that_is_not_there_is_one_line(files: Any) -> None:
    def work() -> None:
        with buckets.at_hand("s3://elsewhere/run") as copy:
            (copy / "a").write_text("a")

    with pytest.raises(UserError, match=r"^s3://elsewhere/run/a: failed with FileNotFoundError") as caught:
        work()
    assert "\n" not in str(caught.value)


def test_records_are_sent_after_what_they_speak_of(files: Any, tmp_path: Path, make_state: MakeState) -> None:
    sent: list[str] = []
    with buckets.at_hand(RUN) as copy, Checkpoints(buckets.checkpoints(copy)) as checkpoints:
        checkpoints.save(1, make_state(1), {})
        checkpoints.wait()
        (copy / "manifest.json").write_text("{}")
        (copy / "a.txt").write_text("a")
        names = [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()]
        sent = sorted((name for name in names if name[0] != "."), key=buckets.turn)
    assert sent[-2:] == ["checkpoints/1/record/metadata", "manifest.json"]
