"""Configs: every key in the defaults, types held, unknown keys refused with the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict, config_dict

from lm.common import config as configs
from lm.common.errors import UserError


def defaults() -> ConfigDict:
    return ConfigDict(
        {
            "stage": "test",
            "model": {"n_layers": 4, "d_ff": config_dict.placeholder(int), "dtype": config_dict.placeholder(str)},
            "train": {"rate": 0.5, "resume": True, "betas": (0.9, 0.95), "name": "adamw", "tags": ["a"]},
            "data": {"mixture": {}},
        }
    )


def write(path: Path, body: str) -> str:
    path.write_text(f"from ml_collections import ConfigDict\n{body}\n")
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


def test_a_file_is_loaded_with_its_argument(file: Path) -> None:
    spec = write(file, "def get_config(arg=''):\n    return ConfigDict({'stage': 'test', 'arg': arg})")
    assert configs.load(spec).arg == ""
    assert configs.load(f"{spec}:smoke:2").arg == "smoke:2"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "does not run: ZeroDivisionError"),
        ("def get_config(:", "does not run: SyntaxError"),
        ("import nowhere_to_be_found", "does not run: ModuleNotFoundError"),
        ("x = 1", r"defines no get_config\(arg\)"),
        ("def get_config(arg=''):\n    return {'stage': 'test'}", "returned dict, not an ml_collections.ConfigDict"),
        ("def get_config(arg=''):\n    raise KeyError(arg)", "does not run: KeyError"),
        ("def get_config():\n    return ConfigDict()", "does not run: TypeError"),
        (
            "def get_config(arg=''):\n    c = ConfigDict({'n': 1})\n    c.n = 'four'\n    return c",
            "does not run: TypeError",
        ),
    ],
)
def test_a_file_that_makes_no_config_is_blamed_by_name(file: Path, body: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.py.*{message}"):
        configs.load(write(file, body))


def missing(spec: str, flag: str = "--config") -> str:
    with pytest.raises(UserError) as caught:
        configs.load(spec, flag)
    return str(caught.value)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = (
        f"--config=configs/a.py:smoke: no such file in {tmp_path}, where relative paths begin; run from the repository"
    )
    assert missing("configs/a.py:smoke").startswith(here)
    assert missing(f"{tmp_path}/a.py").startswith(f"--config={tmp_path}/a.py: no such file; ")
    assert missing("a.py", "--config.pretrain").startswith("--config.pretrain=a.py: no such file in ")


def test_a_missing_file_is_told_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "pretrain").mkdir(parents=True)
    for name in ("tiny", "quickstart"):
        (tmp_path / "configs" / "pretrain" / f"{name}.py").touch()
    assert missing("configs/pretrain/tinny.py").endswith("; did you mean configs/pretrain/tiny.py?")
    assert missing("tiny").endswith("; did you mean configs/pretrain/tiny.py?")
    both = "; there is configs/pretrain/quickstart.py, configs/pretrain/tiny.py"
    assert missing("xyz").endswith(both)
    assert missing("/xyz").endswith(f"no such file{both}")


def test_a_config_must_be_for_the_stage(file: Path) -> None:
    spec = write(file, "def get_config(arg=''):\n    return ConfigDict({'stage': 'test', 'n': 1})")
    assert configs.load_for("test", spec, ConfigDict({"stage": "test", "n": 2})).n == 1
    with pytest.raises(UserError, match=rf"--config.pretrain={file}: a config for stage 'test', not for `lm brew`"):
        configs.load_for("brew", spec, ConfigDict({"stage": "brew", "n": 2}), "--config.pretrain")
    with pytest.raises(UserError, match=rf"{file}: config\.n: unknown key"):
        configs.load_for("test", spec, ConfigDict({"stage": "test"}))


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not a Python file"):
        configs.load(str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("model.n_layers", "6", 6),
        ("model.n_layers", "1e3", 1000),
        ("model.n_layers", "1_000", 1000),
        ("model.d_ff", "256", 256),
        ("model.d_ff", "None", None),
        ("model.d_ff", "null", None),
        ("model.dtype", "bfloat16", "bfloat16"),
        ("model.dtype", "null", None),
        ("train.rate", "1e-3", 1e-3),
        ("train.rate", "2", 2.0),
        ("train.resume", "False", False),
        ("train.resume", "true", True),
        ("train.betas", "(0.8, 0.9)", (0.8, 0.9)),
        ("train.betas", "[0.8, 0.9]", (0.8, 0.9)),
        ("train.name", "None", "None"),
        ("train.name", "12", "12"),
        ("train.name", "", ""),
        ("train.tags", "['b', 'c']", ["b", "c"]),
    ],
)
def test_text_becomes_the_type_of_the_default(key: str, text: str, value: Any) -> None:
    config = defaults()
    configs.override(config, [(key, text)], defaults())
    actual = dict(configs.flatten(config))[key]
    assert actual == value
    assert type(actual) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("model.n_layers", "2.5", "int"),
        ("model.n_layers", "four", "int"),
        ("model.n_layers", "True", "int"),
        ("model.n_layers", "None", "int"),
        ("model.n_layers", "", "int"),
        ("model.n_layers", "{[]: 1}", "int"),
        ("model.n_layers", "(" * 500, "int"),
        ("model.d_ff", "wide", "int"),
        ("train.rate", "False", "float"),
        ("train.rate", "fast", "float"),
        ("train.resume", "1", "bool"),
        ("train.resume", "yes", "bool"),
        ("train.betas", "0.9", "tuple"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_changes_nothing(key: str, text: str, kind: str) -> None:
    config = defaults()
    with pytest.raises(UserError) as caught:
        configs.override(config, [(key, text)], defaults())
    assert str(caught.value).startswith(f"config.{key}={text}: expected {kind}, got ")
    assert config.to_dict() == defaults().to_dict()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("model.n_layer", "did you mean config.model.n_layers?"),
        ("n_layers", "did you mean config.model.n_layers?"),
        ("data.mixtur.wiki.path", "did you mean config.data.mixture?"),
        ("data.mixture.", "did you mean config.data.mixture?"),
        ("data.mixture..path", "did you mean config.data.mixture?"),
        ("model.n_layers.x", "did you mean config.model.n_layers?"),
        ("xyz", "known: "),
        ("", "known: "),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(key: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        configs.override(defaults(), [(key, "1")], defaults())
    assert f"config.{key}: unknown key; {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("1e3", 1000.0),
        ("-1", -1),
        ("text/wiki", "text/wiki"),
        ("a.b=c", "a.b=c"),
        ("True", "True"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_an_open_dictionary_takes_new_keys_as_numbers_or_text(text: str, value: Any) -> None:
    config = defaults()
    config.lock()
    configs.override(config, [("data.mixture.wiki.path", text), ("data.mixture.books.path", "b")], defaults())
    assert configs.to_dict(config)["data"] == {"mixture": {"wiki": {"path": value}, "books": {"path": "b"}}}
    assert type(config.data.mixture.wiki.path) is type(value)
    configs.check_keys(config, defaults(), "the command line")
    with pytest.raises(UserError, match="unknown key"):  # and so does nothing else
        configs.override(config, [("data.wiki.path", text)], defaults())


def test_a_key_in_an_open_dictionary_is_typed_by_what_it_holds() -> None:
    config = defaults()
    config.data.mixture = {"wiki": {"path": "a", "weight": 1}}
    for key, text, value in (("path", "2024", "2024"), ("weight", "0.5", 0.5), ("weight", "2", 2.0)):
        configs.override(config, [(f"data.mixture.wiki.{key}", text)], defaults())
        assert config.data.mixture.wiki[key] == value
        assert type(config.data.mixture.wiki[key]) is type(value)
    with pytest.raises(UserError, match=r"config\.data\.mixture\.wiki\.weight=lots: expected float, got str"):
        configs.override(config, [("data.mixture.wiki.weight", "lots")], defaults())
    configs.override(config, [("data.mixture.books.weight", "3")], defaults())  # beside what a file has
    assert configs.to_dict(config)["data"]["mixture"]["books"] == {"weight": 3}


def test_sections_and_values_of_an_open_dictionary_are_told_apart() -> None:
    config = defaults()
    config.data.mixture = {"wiki": {"path": "a"}, "n": 3}
    for key in ("data.mixture", "data.mixture.wiki"):
        with pytest.raises(UserError, match=rf"config\.{key}=x: a section, not a value"):
            configs.override(config, [(key, "x")], defaults())
    with pytest.raises(UserError, match=r"config\.data\.mixture\.n\.path: n is set to 3 already, and so has no keys"):
        configs.override(config, [("data.mixture.n.path", "x")], defaults())


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("model.n_layers", True),
        ("data.mixture", True),
        ("data.mixture.wiki", True),
        ("data.mixture.wiki.weight", True),
        ("model.n_layer", False),
        ("model.n_layers.x", False),
        ("model", False),
        ("nothing", False),
        ("data.wiki", False),
        ("data.mixture.", False),
        ("data.mixture..x", False),
    ],
)
def test_a_key_is_known_as_a_leaf_or_in_an_open_dictionary(key: str, known: bool) -> None:
    assert configs.is_known(key, defaults()) is known


def test_a_config_has_the_keys_of_its_stage_and_no_other() -> None:
    config = defaults()
    config.data.mixture.wiki = 0.5
    configs.check_keys(config, defaults(), "mine.py")
    config.train.unlock()
    config.train.rat = 1
    with pytest.raises(UserError, match=r"mine\.py: config\.train\.rat: unknown key; did you mean config\.train\.rate"):
        configs.check_keys(config, defaults(), "mine.py")
    del config.train.rat
    del config.train.betas
    with pytest.raises(UserError, match=r"mine\.py: config\.train\.betas is missing"):
        configs.check_keys(config, defaults(), "mine.py")


def test_sections_are_joined_with_their_types() -> None:
    joined = configs.join({"n": 1}, defaults().model)
    assert configs.to_dict(joined) == {"n": 1, "n_layers": 4, "d_ff": None, "dtype": None}
    configs.override(joined, [("d_ff", "3"), ("dtype", "3")], joined)
    assert (joined.d_ff, joined.dtype) == (3, "3")


def test_to_dict_is_plain_json_in_the_same_order() -> None:
    plain = configs.to_dict(defaults())
    assert plain["train"]["betas"] == [0.9, 0.95]
    assert plain["model"] == {"n_layers": 4, "d_ff": None, "dtype": None}
    assert plain["data"] == {"mixture": {}}
    assert type(plain["model"]) is dict


def test_differences_name_every_leaf_that_changed() -> None:
    old, new = defaults(), defaults()
    assert configs.differences(old, new) == []
    new.model.n_layers = 6
    new.data.mixture.wiki = 0.5
    assert configs.differences(configs.to_dict(old), configs.to_dict(new)) == [
        ("model.n_layers", 4, 6),
        ("data.mixture.wiki", None, 0.5),
    ]
