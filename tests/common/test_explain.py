"""Explanations: the comment beside a key, through sections of other functions, in the order of the source."""

from __future__ import annotations

import inspect

import pytest
from ml_collections import ConfigDict, config_dict

from lm.common import config as configs
from lm.common import explain


def cup() -> ConfigDict:
    return configs.join(
        {
            "size": config_dict.placeholder(int),  # unset: by thirst
        },
        saucer(),
    )


def saucer() -> ConfigDict:
    return ConfigDict({"colour": "white"})  # of the saucer


def tea() -> ConfigDict:
    from tests_of_explain import spoons  # type: ignore[import-not-found]

    return ConfigDict(
        {
            "stage": "tea",  # the command
            "zest": 0.5,  # a "#1" share
            "cup": cup(),
            "spoon": spoons.spoon(),
            "blend": {},  # any NAME
            "steep": {"minutes": 3, "cover": True},  # how long, and whether covered
            "milk": False,
        }
    )


@pytest.fixture(autouse=True)
def spoons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that only a function imports."""
    import sys
    import types

    module = types.ModuleType("tests_of_explain")
    module.__dict__["spoons"] = types.SimpleNamespace(spoon=saucer)
    monkeypatch.setitem(sys.modules, "tests_of_explain", module)


def test_every_key_has_the_comment_of_its_line() -> None:
    assert list(explain.explanations(tea).items()) == [
        ("stage", "the command"),
        ("zest", 'a "#1" share'),
        ("cup", ""),
        ("cup.size", "unset: by thirst"),
        ("cup.colour", "of the saucer"),
        ("spoon", ""),
        ("spoon.colour", "of the saucer"),
        ("blend", "any NAME"),
        ("steep", "how long, and whether covered"),
        ("steep.minutes", "how long, and whether covered"),
        ("steep.cover", "how long, and whether covered"),
        ("milk", ""),
    ]


def test_the_table_has_every_key_but_the_stage_in_sections() -> None:
    assert (
        explain.table(tea, 200)
        == """\
  --config.zest=0.5              a "#1" share

  --config.cup.size=None         unset: by thirst
  --config.cup.colour='white'    of the saucer

  --config.spoon.colour='white'  of the saucer

  --config.blend.…=VALUE         any NAME

  --config.steep.minutes=3       how long, and whether covered
  --config.steep.cover=True      how long, and whether covered

  --config.milk=False"""
    )


def test_a_long_explanation_is_wrapped_beside_its_key() -> None:
    words = " ".join(["word"] * 30)
    first, *rest = explain.row("--key=1", words, 10, 60).splitlines()
    assert first.startswith("  --key=1     word")
    assert all(line.startswith(" " * 14 + "word") for line in rest)
    assert all(len(line) <= 60 for line in (first, *rest))
    assert " ".join([first.removeprefix("  --key=1"), *rest]).split() == words.split()


def test_without_sources_the_keys_are_listed_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(function: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", gone)
    rows = explain.table(saucer, 80).splitlines()
    assert rows == ["  --config.colour='white'"]
