"""A run as one object: which shards are its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.study import record
from lm.train import run as runs

Edit = Callable[[Path, Callable[[Any], Any]], None]


def point_at(edit_json: Edit, run: Path, path: Path) -> None:
    def name(config: Any) -> Any:
        return {**config, "data": {**config["data"], "path": str(path)}}

    edit_json(run / runs.CONFIG, name)


def test_a_run_s_own_shards_come_first(run: Path) -> None:
    found = record.read(run)
    assert found.shards == run / runs.SHARDS
    assert found.data is not None
    assert found.data.stage == "shard"


def test_shards_made_by_the_command_are_found_where_the_config_says(run: Path, edit_json: Edit) -> None:
    elsewhere = run.parent / "shards"
    (run / runs.SHARDS).rename(elsewhere)
    point_at(edit_json, run, elsewhere)
    assert record.read(run).shards == elsewhere


@pytest.mark.parametrize(
    "found", [{"name": "a browser extension"}, {"stage": "tokenizer"}, ["a", "list"], "no JSON", None]
)
def test_a_folder_of_text_is_no_shards_whatever_else_it_holds(run: Path, edit_json: Edit, found: Any) -> None:
    """Before the run has shards of its own: killed while the tokenizer was being learnt, or with them removed."""
    shutil.rmtree(run / runs.SHARDS)
    folder = run.parent / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("some text")
    if found is not None:
        (folder / "manifest.json").write_text(found if isinstance(found, str) else json.dumps(found))
    point_at(edit_json, run, folder)
    seen = record.read(run)
    assert (seen.shards, seen.data) == (None, None)


def test_shards_that_are_half_written_are_none_yet(run: Path) -> None:
    (run / runs.SHARDS / "manifest.json").unlink()
    assert record.read(run).shards is None
