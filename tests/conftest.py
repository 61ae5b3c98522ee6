"""Fixtures of the whole suite: small architectures, a small text, and the command line."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lm.model.config import ModelConfig

ROOT = Path(__file__).parent.parent

# What is compiled here runs once or twice: compiling it quickly is worth more than running it quickly.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()

# Many tests run the command line in a process of its own, and so compile the same programs: compile each once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".pytest_cache" / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(params=["grouped, untied", "multi-query, tied"])
def model_config(request: pytest.FixtureRequest) -> ModelConfig:
    """Two small architectures that between them take every branch."""
    shape = {"vocab_size": 61, "n_layers": 3, "n_heads": 4, "d_model": 32, "d_ff": 48, "head_width": 8}
    grouped = request.param.startswith("grouped")
    return ModelConfig(**shape, n_kv_heads=2 if grouped else 1, max_seq_len=24, tie_embeddings=not grouped)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """About 40 kB of made-up words in lines."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(200)]
    lines = (" ".join(rng.choices(words, k=8)) for _ in range(900))
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines))
    return path


Lm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lm() -> Lm:
    """Runs the command line in a process of its own, from the repository's root."""

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lm.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
        assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    return call
