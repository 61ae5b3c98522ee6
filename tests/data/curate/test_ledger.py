"""Ledgers named by their content, and receipts that hold only while their files do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.data.curate import ledger
from lm.data.curate.ledger import Ledger, Receipts

RECORDS = [{"id": f"a#{n}", "text": "été 語\u2028\n" * n, "meta": {"n": n, "x": None}} for n in range(50)]


def written(folder: Path, records: list[dict], stem: str = "00000") -> Path:
    made = Ledger(folder, stem)
    for record in records:
        made.write(record)
    path = made.close()
    assert path is not None
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS)
    assert list(ledger.read(path)) == RECORDS
    assert [path] == list(tmp_path.iterdir())


def test_attempts_at_the_same_write_one_file(tmp_path: Path) -> None:
    assert written(tmp_path, RECORDS) == written(tmp_path, RECORDS)
    assert written(tmp_path, RECORDS[1:]) != written(tmp_path, RECORDS)


def test_two_attempts_at_a_time_do_not_meet(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path, "00000"), Ledger(tmp_path, "00000")
    for record in RECORDS:
        one.write(record)
        other.write(record)
    assert one.close() == other.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_written_is_no_file(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "sub", "00000").close() is None
    assert not (tmp_path / "sub").exists()


def test_what_is_abandoned_is_gone(tmp_path: Path) -> None:
    made = Ledger(tmp_path, "00000")
    made.write(RECORDS[1])
    made.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_ledger_is_an_error(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path, RECORDS)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(bytes(raw) if damage == "flipped" else bytes(raw[: len(raw) // 2]))
    with pytest.raises(UserError, match=path.name):
        assert list(ledger.read(path)) == RECORDS


def test_a_receipt_holds_while_its_files_do(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, "prepare")
    assert receipts.find(3) is None
    path = written(tmp_path / "dropped", RECORDS)
    receipts.write(3, {"dropped": path, "quarantined": None}, {"records": 50})
    found = receipts.get(3)
    assert set(found.files) == {"dropped"}
    assert found.files["dropped"].name == f"dropped/{path.name}"
    assert found.counts == {"records": 50}
    path.write_bytes(path.read_bytes()[:-1])
    assert receipts.find(3) is None
    path.unlink()
    assert receipts.find(3) is None
