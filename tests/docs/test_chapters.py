"""The chapters hang together: what they ask for is made, and what is made is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from lm.common.errors import UserError


def text_of(handbook: SimpleNamespace) -> str:
    files = [*handbook.build.chapters(), handbook.folder / "template.typ", handbook.folder / "handbook.typ"]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_chapter_is_in_the_book_in_order(handbook: SimpleNamespace) -> None:
    included = re.findall(r'#include "chapters/([^"]+)"', (handbook.folder / "handbook.typ").read_text())
    assert included == [path.name for path in handbook.build.chapters()]


def test_every_fact_is_made_and_used(handbook: SimpleNamespace) -> None:
    handbook.facts.check_used(handbook.build.chapters())
    assert set(handbook.facts.USE.findall(text_of(handbook))) == set(handbook.facts.FACTS)


def test_unknown_fact_fails_in_one_line_that_names_it(handbook: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "07-training.typ"
    path.write_text('#fact("run.stpes") steps')
    with pytest.raises(UserError, match=r"^07-training\.typ: fact run\.stpes: [^\n]+$"):
        handbook.facts.check_used([path])


def test_every_figure_is_drawn_and_shown(handbook: SimpleNamespace) -> None:
    assert set(re.findall(r'#plot\("([^"]+)"', text_of(handbook))) == set(handbook.figures.FIGURES)


def test_every_reference_leads_somewhere_and_every_source_is_cited(handbook: SimpleNamespace) -> None:
    text = re.sub(r"`[^`]*`", "", text_of(handbook))
    sources = set(
        re.findall(r"^(\w+):$", (handbook.folder / "references.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    labels = set(re.findall(r"(?<!cite\()<([a-z][\w-]*)>", text)) - sources
    cited = set(re.findall(r"@([a-z][\w-]*)", text)) | set(re.findall(r"cite\(<([\w-]+)>", text))
    assert cited - labels == sources


def test_no_measured_value_is_typed_by_hand(handbook: SimpleNamespace) -> None:
    """Losses, rates and counts of the run come through facts."""
    for path in handbook.build.chapters():
        typed = re.findall(r"\b\d+\.\d+ (?:nats|bits)\b|\b\d[\d.,]*[kM]? (?:parameters|tokens/s)\b", path.read_text())
        assert not typed, f"{path.name}: {typed}"


@pytest.mark.slow
def test_book_is_built_and_the_same_twice(
    handbook: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handbook.build, "QUICKSTART", tmp_path / "none")
    books = []
    for name in ("first.pdf", "second.pdf"):
        handbook.build.build(None, tmp_path / name)
        books.append((tmp_path / name).read_bytes())
    assert books[0].startswith(b"%PDF")
    assert books[0] == books[1]
