"""Configs: one ml-collections file a run, every key in the defaults, overrides on the command line.

A config file defines `get_config(arg="")` and returns a `ConfigDict` whose `stage` names the command it
is for. Overrides may set existing keys only, with the type the default has; a key whose default is a typed
placeholder (shown as null) may stay unset, and is then derived by the stage. A dictionary that is empty by default
is open: keys may be made in it.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FieldReference

from lm.common.errors import UserError


def load_for(stage: str, spec: str, defaults: ConfigDict, flag: str = "--config") -> ConfigDict:
    """Loads the config that `flag=spec` names, and checks that it is one for `stage`.

    Raises:
        UserError: as `load` and `check_keys`; or the config is for another stage.
    """
    config = load(spec, flag)
    if (made_for := config.get("stage", "")) != stage:
        raise UserError(f"{flag}={spec}: a config for stage {made_for!r}, not for `lm {stage}`")
    check_keys(config, defaults, spec)
    return config


def load(spec: str, flag: str = "--config") -> ConfigDict:
    """Loads `FILE` or `FILE:arg`, given by a command-line flag, by calling the file's `get_config(arg)`.

    Raises:
        UserError: the file is missing, does not run, or has no `get_config` that takes `arg` and makes a config.
    """
    name, _, arg = spec.partition(":")
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{flag}={spec}: no such file{_whereabouts(path)}")
    module_spec = importlib.util.spec_from_file_location(f"lm_config_{path.stem}", path)
    if path.suffix != ".py" or module_spec is None or module_spec.loader is None:
        raise UserError(f"{flag}={spec}: not a Python file; give one with get_config()")
    module = importlib.util.module_from_spec(module_spec)
    with _blamed_on(f"{flag}={spec}"):
        module_spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: defines no get_config(arg); see configs/pretrain/tiny.py")
    with _blamed_on(f"{flag}={spec}"):
        config = module.get_config(arg)
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not an ml_collections.ConfigDict")
    return config


def _whereabouts(path: Path) -> str:
    """Returns where a missing file was looked for, and those under `configs` there: of like names, or some."""
    there = {file.name: file.as_posix() for file in sorted(Path("configs").rglob("*.py"))}
    place = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths begin"
    if near := difflib.get_close_matches(path.name, there, 3):
        return f"{place}; did you mean {' or '.join(there[name] for name in near)}?"
    if there:
        return f"{place}; there is {', '.join(list(there.values())[:8])}"
    return f"{place}; run from the repository, which holds configs/, or give the whole path of a file with get_config()"


@contextmanager
def _blamed_on(file: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever a user's file raises is about that file
        raise UserError(f"{file}: the config does not run: {type(error).__name__}: {error}") from error


def check_keys(config: ConfigDict, defaults: ConfigDict, source: str) -> None:
    """Checks that a config from `source` has the keys of its stage's `defaults`, all of them and no other.

    Raises:
        UserError: an unknown key (with the nearest known one) or a missing one.
    """
    for key, _ in flatten(config):
        if not is_known(key, defaults):
            raise UserError(f"{source}: config.{key}: unknown key{_nearest(key, leaves(defaults))}")
    if missing := [key for key, _ in flatten(defaults) if key not in dict(flatten(config))]:
        raise UserError(
            f"{source}: config.{missing[0]} is missing; begin with the stage's defaults, as in configs/pretrain/tiny.py"
        )


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `(dotted.key, value)` for every leaf, in the config's order."""
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def join(*sections: Mapping[str, Any] | ConfigDict) -> ConfigDict:
    """Returns one section with the keys of several."""
    joined = ConfigDict()
    for section in sections:
        joined.update(ConfigDict(section))
    return joined


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yields the dotted key of every leaf and of every empty dictionary, in the config's order."""
    for key, value in config.items():
        if isinstance(value, ConfigDict) and len(value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def override(config: ConfigDict, assignments: Iterable[tuple[str, str]], defaults: ConfigDict) -> None:
    """Sets keys from text, in place: existing ones to the type they have, new ones in `defaults`' open dictionaries.

    What is new is a number if it reads as one, and text otherwise.

    Raises:
        UserError: an unknown key (with the nearest known one), a whole section, or a value of the wrong type.
    """
    fixed = set(leaves(defaults))
    for key, text in assignments:
        if not is_known(key, defaults):
            raise UserError(f"config.{key}: unknown key{_nearest(key, fixed)}")
        parent, leaf = _parent(config, key), key.rpartition(".")[2]
        if isinstance(parent.get(leaf), ConfigDict):
            raise UserError(f"config.{key}={text}: a section, not a value; set a key in it")
        if leaf not in parent:
            with parent.unlocked():
                parent[leaf] = _number_or_text(text)
        elif key in fixed:
            field = dict(parent.items(preserve_field_references=True))[leaf]
            unset = isinstance(field, FieldReference) and text in ("None", "null")
            parent[leaf] = None if unset else _parse(key, text, parent.get_type(leaf))
        else:  # in an open dictionary, where 1 is as good a number as 0.5
            kind = parent.get_type(leaf)
            with parent.ignore_type():
                parent[leaf] = _parse(key, text, float if kind is int else kind)


def _parent(config: ConfigDict, key: str) -> ConfigDict:
    """Returns the section that holds `key`, made where there is none."""
    for section in key.split(".")[:-1]:
        if section not in config:
            with config.unlocked():
                config[section] = ConfigDict()
        config = config[section]
        if not isinstance(config, ConfigDict):
            raise UserError(f"config.{key}: {section} is set to {config!r} already, and so has no keys")
    return config


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    match = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    if not match:  # the right leaf under the wrong parent
        leaf = key.rsplit(".", 1)[-1]
        match = [name for name in names if name.rsplit(".", 1)[-1] == leaf]
    return f"; did you mean config.{match[0]}?" if match else f"; known: {', '.join(sorted(names))}"


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parse(key: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that literal_eval raises
        value = text
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # so that 1e6 is a number of tokens
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if kind is object:  # a key of several types, checked by whoever takes it
        return value
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise UserError(f"config.{key}={text}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """Returns plain nested JSON-able data (tuples become lists, references their values)."""
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if isinstance(value, FieldReference):
        return _plain(value.get())
    if isinstance(value, Mapping | ConfigDict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns `(dotted.key, old, new)` for every leaf that differs; a key on one side only has None on the other."""
    before, after = dict(flatten(old)), dict(flatten(new))
    keys = [*before, *(key for key in after if key not in before)]
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def is_known(key: str, defaults: ConfigDict) -> bool:
    """Says whether `key` is a leaf of `defaults`, or lies in a dictionary that is open (empty by default)."""
    node: Any = defaults
    for part in (parts := key.split(".")):
        if not isinstance(node, ConfigDict) or part not in node:
            return isinstance(node, ConfigDict) and len(node) == 0 and all(parts)
        node = node[part]
    return not isinstance(node, ConfigDict) or len(node) == 0
