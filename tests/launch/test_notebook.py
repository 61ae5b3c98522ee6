"""The notebook: it is one, holds no outputs, and its cells, run in order, give the commands it speaks of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import pytest

from lm.common import config as configs
from lm.stages import pretrain

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "launch" / "colab_tpu.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["metadata"]["accelerator"]) == (4, "TPU")
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert len("".join(cell["source"]).splitlines()) <= 16
        else:
            assert set(cell) == {"cell_type", "id", "metadata", "source"}


def test_it_fits_the_format() -> None:
    nbformat.validate(nbformat.from_dict(NOTEBOOK))


def test_its_cells_run_in_order(place: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    display = ModuleType("IPython.display")
    display.HTML = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    names: dict[str, Any] = {}
    for number, code in enumerate(CODE):
        exec(compile(code, f"cell {number}", "exec"), names)
        if number == 0:
            names |= {"SOURCE": str(ROOT), "WORKDIR": "my drive/run"}
    assert place.calls("pip") == [["install", "--quiet", "--editable", ".[tpu,data]"]]
    runs = [call for call in place.calls("lm") if call[0] == "pretrain"]
    assert len(runs) == 2
    (whole,) = (call for call in runs if "--config.dry_run=True" not in call)
    (dry,) = (call for call in runs if call != whole)
    assert dry == [*whole, "--config.dry_run=True"]
    keys = dict(argument.split("=", 1) for argument in whole[1:])
    assert keys.pop("--workdir") == "my drive/run"
    cfg = configs.load_for("pretrain", str(ROOT / keys.pop("--config")), pretrain.defaults())
    configs.override(cfg, [(key.removeprefix("--config."), value) for key, value in keys.items()], pretrain.defaults())
    assert cfg.cluster.processes == 1
    assert place.calls("lm").count(["sample", "--run=my drive/run", "--prompt=Once upon a time"]) == 1


def test_what_fails_ends_the_cell(place: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (place.environment() | {"LM_EXIT": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in CODE[:2]:
        exec(code, names)
    with pytest.raises(SystemExit, match="SOURCE: not given"):
        exec(CODE[2], names)
    with pytest.raises(SystemExit, match="lm ended with exit code 2"):
        names["sh"]("lm", "pretrain")
