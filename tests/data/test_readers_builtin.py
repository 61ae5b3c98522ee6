"""Built-in text and hub datasets: found on every machine, the same every time; no test needs a network."""

from __future__ import annotations

import ast
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lm.common.errors import UserError
from lm.data.readers import open_documents


@pytest.fixture(scope="module")
def stdlib():
    return list(open_documents("builtin:stdlib"))


def test_stdlib_holds_the_library_as_it_lies_there(stdlib):
    texts = {document.id: document.text for document in stdlib}
    assert texts["json/decoder.py"] == Path(sysconfig.get_path("stdlib"), "json", "decoder.py").read_bytes().decode()
    assert len(texts) == len(stdlib)
    assert 3e6 < sum(map(len, texts.values())) < 3e7


def test_stdlib_leaves_out_tests_other_peoples_packages_and_build_settings(stdlib):
    unwanted = {"test", "tests", "idlelib", "lib2to3", "site-packages", "turtledemo", "__pycache__"}
    assert not [d.id for d in stdlib if unwanted & set(d.id.split("/")) or d.id.startswith("_sysconfigdata")]


def test_stdlib_is_in_one_order_and_the_same_every_time(stdlib):
    again = open_documents("builtin:stdlib")
    assert list(again) == stdlib
    files = list(dict.fromkeys(document.id.split(":")[0] for document in stdlib))
    assert files == sorted(files)
    assert again.fingerprint() == open_documents("builtin:stdlib").fingerprint()
    assert again.size_bytes() > 3e6


def test_the_language_reference_is_prose_by_topic(stdlib):
    topics = {d.id.split(":")[1]: d.text for d in stdlib if d.id.startswith("pydoc_data/topics.py:")}
    assert topics["while"].lstrip().startswith('The "while" statement')
    with pytest.raises(SyntaxError):
        ast.parse(topics["while"])


def test_an_interpreter_without_sources_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "python311.zip"))
    with pytest.raises(UserError, match=r"builtin:stdlib: this interpreter has no library sources in .*python311\.zip"):
        open_documents("builtin:stdlib")


def test_the_world_comes_with_its_parameters():
    documents = open_documents("builtin:world?n=30&seed=1")
    found = list(documents)
    assert len(found) == 30 == len({document.id for document in found})
    assert list(documents) == found
    assert {document.source for document in found} == {"builtin:world?n=30&seed=1"}
    assert documents.size_bytes() == 0
    fewer = list(open_documents("builtin:world?n=10&seed=1"))
    assert [document.text for document in fewer] == [document.text for document in found[:10]]


def test_other_parameters_are_another_world():
    variants = ["n=20", "n=21", "n=20&seed=1", "n=20&split=test"]
    opened = [open_documents(f"builtin:world?{variant}") for variant in variants]
    assert len({documents.fingerprint() for documents in opened}) == len(variants)
    assert len({tuple(document.text for document in documents) for documents in opened}) == len(variants)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("builtin:moon", "use builtin:stdlib or builtin:world"),
        ("builtin:stdlib?n=1", "use builtin:stdlib or builtin:world"),
        ("builtin:world?size=3", "unknown parameter 'size'; known: n, seed, split"),
        ("builtin:world?n=many", "n=many is not a whole number"),
        ("builtin:world?seed=-1", "seed=-1 is not a whole number"),
        ("builtin:world?n=0", "n=0 documents"),
        ("builtin:world?split=dev", "split=dev"),
        ("hf://spaces/x", "expected hf://datasets/NAME"),
        ("hf://datasets/", "expected hf://datasets/NAME"),
        ("hf://datasets/x?subset=y", "expected hf://datasets/NAME"),
    ],
)
def test_a_wrong_builtin_or_hub_path_says_what_is_right(path, expected):
    with pytest.raises(UserError) as caught:
        open_documents(path)
    assert path in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("path", "format"), [("builtin:stdlib", "txt"), ("hf://datasets/x", "builtin"), ("a.txt", "hf")]
)
def test_a_format_that_does_not_fit_the_path_is_an_error(path, format):
    with pytest.raises(UserError, match=f"format={format} does not fit this path"):
        open_documents(path, format=format)


@pytest.fixture
def hub(monkeypatch):
    """Stands in for the two libraries; holds the calls it got, the rows it gives, and the error it raises."""
    state = SimpleNamespace(calls=[], rows=[], error=None, commit="c0ffee")

    def load_dataset(*args, **options):
        state.calls.append((*args, options))
        if state.error:
            raise state.error
        return iter(state.rows)

    def dataset_info(self, name, revision):
        if state.error:
            raise state.error
        return SimpleNamespace(sha=state.commit)

    datasets, hub_module = ModuleType("datasets"), ModuleType("huggingface_hub")
    datasets.load_dataset = load_dataset
    hub_module.HfApi = type("HfApi", (), {"dataset_info": dataset_info})
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub_module)
    return state


def test_a_hub_dataset_is_streamed(hub):
    hub.rows = [{"body": "a"}, {"body": ""}, {"body": "c"}]
    documents = open_documents("hf://datasets/someone/corpus:test?config=small&revision=v2", text_key="body")
    assert [(document.id, document.text) for document in documents] == [
        ("test:0", "a"),
        ("test:1", ""),
        ("test:2", "c"),
    ]
    assert hub.calls == [("someone/corpus", "small", {"split": "test", "revision": "v2", "streaming": True})]


def test_a_hub_dataset_is_its_train_split_unless_told_otherwise(hub):
    hub.rows = [{"text": "a"}]
    assert [document.id for document in open_documents("hf://datasets/corpus")] == ["train:0"]
    assert hub.calls == [("corpus", None, {"split": "train", "revision": None, "streaming": True})]


def test_a_new_commit_on_the_hub_changes_the_fingerprint(hub):
    documents = open_documents("hf://datasets/corpus")
    before = documents.fingerprint()
    assert documents.fingerprint() == before
    hub.commit = "decaf"
    assert documents.fingerprint() != before


@pytest.mark.parametrize(
    ("row", "expected"), [({"body": "a"}, "'text' is not there; columns: body"), ({"text": 1}, "is int, not a string")]
)
def test_a_hub_row_without_text_is_named(hub, row, expected):
    hub.rows = [{"text": "fine"}, row]
    with pytest.raises(UserError, match=f"row train:1: .*{expected}"):
        list(open_documents("hf://datasets/corpus"))


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ValueError("Unknown split"), RuntimeError()])
def test_what_the_hub_says_is_one_line(hub, error):
    hub.error = error
    documents = open_documents("hf://datasets/corpus")
    for action in (lambda: list(documents), documents.fingerprint):
        with pytest.raises(UserError, match="hf://datasets/corpus: ") as caught:
            action()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "file", "extra"),
    [("pyarrow", "a.parquet", "data"), ("zstandard", "a.jsonl.zst", "data"), ("datasets", "", "hub")],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, file, extra):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / file
    if file:
        path.write_bytes(b"anything")
    with pytest.raises(UserError, match=rf"needs {module}; pip install 'lm\[{extra}\]'"):
        list(open_documents(str(path) if file else "hf://datasets/corpus"))
