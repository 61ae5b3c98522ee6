"""What workers say of how far they are, added up."""

from __future__ import annotations

from pathlib import Path

from lm.data.curate import progress
from lm.data.curate.progress import Beat


def test_tasks_of_a_process_and_files_of_others_add_up(tmp_path: Path) -> None:
    assert progress.total(tmp_path, "prepare") == {"records": 0, "kept": 0, "bytes": 0}
    for records in (10, 20):
        Beat(tmp_path, "prepare").finish(records, records // 2, 100)
    (own,) = (tmp_path / "work" / "progress" / "prepare").iterdir()
    own.with_name("elsewhere-1.json").write_bytes(own.read_bytes())
    assert progress.total(tmp_path, "prepare") == {"records": 60, "kept": 30, "bytes": 400}
    assert progress.total(tmp_path, "finish")["records"] == 0
    progress.clear(tmp_path)
    assert progress.total(tmp_path, "prepare")["records"] == 0


def test_a_task_that_is_said_twice_counts_once(tmp_path: Path) -> None:
    beat = Beat(tmp_path, "finish")
    beat.finish(5, 5, 0)
    beat.finish(9, 8, 7)
    assert progress.total(tmp_path, "finish") == {"records": 9, "kept": 8, "bytes": 7}
