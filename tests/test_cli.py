"""The `lm` command: finds stages by name, refuses what it does not know in one line, and stays light."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from lm import __version__, cli
from lm.common import explain
from lm.common.config import flatten, leaves
from lm.common.errors import UserError


class Fake:
    """A stage of its own, `lm brew`, that records what it was run with."""

    def __init__(self) -> None:
        self.runs: list[tuple[dict[str, Any], Path | None]] = []
        self.action: Callable[[], None] = lambda: None

    def defaults(self) -> ConfigDict:
        return ConfigDict(
            {
                "stage": "brew",
                "tea": {
                    "grams": 3,  # of leaves
                    "kind": "green",
                },
                "dry_run": False,
                "blend": {},
            }
        )

    def run(self, config: ConfigDict, workdir: Path | None) -> None:
        self.runs.append((config.to_dict(), workdir))
        self.action()


@pytest.fixture
def brew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    fake = Fake()
    module = types.ModuleType("lm.stages.brew", "Brews tea.\n\nMore.")
    module.__dict__.update(defaults=fake.defaults, run=fake.run)
    monkeypatch.setitem(sys.modules, "lm.stages.brew", module)
    folder = tmp_path / "stages"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Not a stage."""')
    (folder / "brew.py").write_text('"""Brews tea.\n\nMore."""')
    (folder / "pour.py").write_text('"""Pours it."""')
    monkeypatch.setattr(cli, "_STAGES", folder)
    return fake


def config_file(path: Path, body: str) -> str:
    path.write_text(f"from ml_collections import ConfigDict\ndef get_config(arg=''):\n    {body}\n")
    return f"--config={path}"


GOOD = (
    "return ConfigDict({'stage': 'brew', 'tea': {'grams': 5, 'kind': 'oolong'}, 'dry_run': False, 'blend': {'x': 1}})"
)


def test_help_lists_every_stage_with_its_first_line(brew: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert "  brew  Brews tea.\n  pour  Pours it.\n" in out
        assert "More" not in out
        assert "Not a stage" not in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help_of_a_stage_lists_every_key_and_runs_nothing(brew: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["brew", "--help"]) == 0
    out = capsys.readouterr().out
    assert "More." in out
    assert "  --config.tea.grams=3       of leaves\n  --config.tea.kind='green'\n" in out
    assert "  --config.blend.…=VALUE\n" in out
    assert all(f"  {flag} " in out for flag in ("--config=FILE[:arg]", "--workdir=DIR", "--config.KEY=VALUE"))
    assert brew.runs == []


def test_a_stage_runs_with_its_defaults_a_file_and_overrides(brew: Fake, tmp_path: Path) -> None:
    assert cli.main(["brew"]) == 0
    assert cli.main(["brew", config_file(tmp_path / "c.py", GOOD), "--workdir=runs/x", "--tea.grams=7"]) == 0
    assert cli.main(["brew", "--config.tea.grams=8", "--config.tea.kind=a=b", "--dry_run=True", "--tea.grams=9"]) == 0
    (first, no_workdir), (second, workdir), (third, _) = brew.runs
    assert (first, no_workdir) == (brew.defaults().to_dict(), None)
    assert (second["tea"], second["blend"], workdir) == ({"grams": 7, "kind": "oolong"}, {"x": 1}, Path("runs/x"))
    assert (third["tea"], third["dry_run"]) == ({"grams": 9, "kind": "a=b"}, True)


def test_an_open_dictionary_is_filled_on_the_command_line(brew: Fake, tmp_path: Path) -> None:
    parts = ["--config.blend.mint.grams=0.5", "--blend.mint.from=garden", "--blend.sage.grams=2"]
    assert cli.main(["brew", *parts]) == 0
    assert cli.main(["brew", config_file(tmp_path / "c.py", GOOD), "--blend.x=0.5", "--blend.y=2"]) == 0
    (first, _), (second, _) = brew.runs
    assert first["blend"] == {"mint": {"grams": 0.5, "from": "garden"}, "sage": {"grams": 2}}
    assert second["blend"] == {"x": 0.5, "y": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["brwe"], "lm brwe: no such stage; did you mean `lm brew`? (`lm --help` lists them)"),
        (["xyzzy"], "lm xyzzy: no such stage (`lm --help` lists them)"),
        (["brew", "tea"], "lm brew: tea: expected --key=value, such as --workdir=runs/mine"),
        (["brew", "--workdir"], "lm brew: --workdir: expected --key=value, such as --workdir=runs/mine"),
        (["brew", "--tea.gram=1"], "lm brew: config.tea.gram: unknown key; did you mean config.tea.grams?"),
        (["brew", "--tea.grams=lots"], "lm brew: config.tea.grams=lots: expected int, got str"),
        (["brew", "--config=none.py"], "lm brew: --config=none.py: no such file in "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    brew: Fake, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert brew.runs == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return ConfigDict({'stage': 'pour'})", "a config for stage 'pour', not for `lm brew`"),
        (
            "return ConfigDict({'stage': 'brew', 'tea': {'gram': 1}})",
            "config.tea.gram: unknown key; did you mean config.tea.grams?",
        ),
        ("return ConfigDict({'stage': 'brew'})", "config.dry_run is missing"),
        ("raise RuntimeError('a\\nb')", "does not run: RuntimeError: a b"),
    ],
)
def test_a_config_file_that_does_not_fit_is_one_line(
    brew: Fake, tmp_path: Path, body: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["brew", config_file(tmp_path / "c.py", body)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert str(tmp_path / "c.py") in err
    assert err.count("\n") == 1
    assert brew.runs == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("x.txt: empty;\n give text"), "lm brew: x.txt: empty; give text\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a"),
            "lm brew: out/a: No space left on device; make room",
        ),
        (OSError(errno.EFBIG, "File too large"), "lm brew: output: File too large; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "lm brew: out: Permission denied; grant access"),
        (KeyboardInterrupt(), "lm brew: interrupted; the same command continues where it was\n"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    brew: Fake, error: BaseException, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    brew.action = fail
    assert cli.main(["brew"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("ours"), AssertionError(), FileNotFoundError(errno.ENOENT, "gone")])
def test_faults_of_ours_are_not_caught(brew: Fake, error: Exception) -> None:
    def fail() -> None:
        raise error

    brew.action = fail
    with pytest.raises(type(error)):
        cli.main(["brew"])


def test_quickstart_away_from_its_config_says_where_to_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["quickstart", "--workdir=run"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"lm quickstart: --config.curate=configs/curate/quickstart.py: no such file in {tmp_path}")
    assert "run from the repository" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


HEAVY = ("jax", "flax", "numpy", "orbax", "ml_collections", "tokenizers", "sentencepiece", "pyarrow")
LOADED = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"


@pytest.mark.parametrize("code", ["import lm", "from lm import cli; assert cli.main(['--help']) == 0"])
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    done = python(f"{code}\n{LOADED}")
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_exit_codes_of_the_process() -> None:
    run = "import sys; from lm import cli; sys.argv = ['lm', *sys.argv[1:]]; cli.entry()"
    assert python(run, "--help").returncode == 0
    mistake = python(run, "pretrian")
    assert (mistake.returncode, mistake.stdout) == (2, "")
    assert "did you mean `lm pretrain`" in mistake.stderr
    fault = python("import sys; from lm import cli; cli._run = lambda *_: 1 / 0; sys.argv = ['lm', 'x']; cli.entry()")
    assert fault.returncode == 1
    assert "ZeroDivisionError" in fault.stderr


def test_a_reader_that_leaves_early_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from lm import cli; import sys; sys.stdin.read(); sys.argv = ['lm']; cli.entry()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 1)
    process.stderr.close()


@pytest.mark.parametrize("name", sorted(cli.stages()))
def test_every_stage_explains_itself_and_each_of_its_keys(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.stages()[name]
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    stage = sys.modules[cli.module_of(name)]
    assert stage.defaults().stage == name
    assert all(f"--config.{key}=" in out for key, _ in flatten(stage.defaults()) if key != "stage")
    explained = explain.explanations(stage.defaults)
    assert [key for key in leaves(stage.defaults()) if key != "stage" and not explained[key]] == []
