"""Every command of the README runs: each with its config's smoke size, in order, in an empty directory."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lm.data.synthetic.crawl import write_crawl

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def lm_commands() -> list[list[str]]:
    lines = (line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lm ")]


def smoke(argument: str) -> str:
    """The same command, small: smoke configs, few new tokens, a tokenizer the short text supports."""
    if argument.startswith("--config=configs/"):
        return argument.split(".py")[0] + ".py:smoke"
    return re.sub(r"^--max_new_tokens=.*", "--max_new_tokens=5", argument)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the README's reader has: the configs, and texts of the names it uses."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(ROOT / "configs")
    text = "Once upon a time there was a cat who sat on a mat and watched the rain until the sun came out again.\n"
    (folder / "my_text").mkdir()
    for i in range(20):
        (folder / "my_text" / f"{i}.txt").write_text(text.replace("cat", f"cat {i}") * 40)
    (folder / "held_out.txt").write_text(text * 20)
    write_crawl(folder / "generated", seed=0, n_pages=150)
    (folder / "generated" / "crawl").rename(folder / "crawl")
    (folder / "tinyshakespeare.txt").write_text("ROMEO:\nBut soft, what light?\n\nJULIET:\nAy me!\n\n" * 300)
    return folder


def test_commands(folder: Path) -> None:
    commands = lm_commands()
    assert len(commands) >= 10
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "lm.cli", *map(smoke, command)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"lm {' '.join(command)}\n{done.stderr}"
    for code in blocks("python"):
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"^make ([a-z-]+)", "\n".join(blocks("sh")), re.MULTILINE) + re.findall(
        r"`make ([a-z-]+)`", README
    )
    assert named
    assert set(named) <= set(targets)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing
