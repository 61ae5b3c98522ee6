"""Facts: every number, word and table that the chapters take from the code and a run, by name.

A fact is made ready for print here, so that chapters only say where it stands: a string, or the rows of a table.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import architecture_facts
import curation_facts
import jax
import jax.numpy as jnp
import numpy as np
import scale_facts
from run_view import WINDOW, Run

import lm
from lm import cli
from lm.common import manifest
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.progress import quantity
from lm.data.shards import order
from lm.data.tokenizer.bpe import BPE, words
from lm.infer.sampling import Sampling
from lm.model import cost
from lm.model.roles import ROLES, Role, is_stacked, role_of
from lm.study import record, validation
from lm.train import defaults, repetition, sizing
from lm.train import run as runs

Fact = str | list[list[str]]
USE = re.compile(r'(?:fact|printed|facttable)\(\s*"([^"]+)"')
TEXT = "the sailor told the tale of the tallest sail"
N_MERGES = 12
SHOWN_CHARACTERS = 420
PAGE_COLUMNS = 100
DIALS = (2, 4, 8, 12, 16, 24)
_ATTEMPT = re.compile(r"-[0-9a-f]{8}(?=[-.])")


def check_used(chapters: Sequence[Path]) -> None:
    """Checks that every fact the chapters use is one this module makes.

    Raises:
        UserError: one is not; chapter and name are named.
    """
    for chapter in chapters:
        for name in USE.findall(chapter.read_text(encoding="utf-8")):
            if name not in FACTS:
                raise UserError(f"{chapter.name}: fact {name}: docs/facts.py makes none of that name; add it to FACTS")


def collect(run: Run) -> dict[str, Fact]:
    """Returns every fact by name."""
    return {name: make(run) for name, make in FACTS.items()}


def visible(text: str) -> str:
    """Returns text with spaces and line ends made visible."""
    return text.replace(" ", "␣").replace("\n", "⏎")


def _pieces(run: Run, ids: Sequence[int]) -> list[str]:
    return [visible(run.tokenizer.decode([id]) or run.tokenizer.piece(id)) for id in ids]


def _number(value: float, digits: int = 3) -> str:
    return f"{value:,.{digits}f}"


def _held_out(run: Run) -> validation.Scores:
    """Returns the figures on all held-out text.

    Raises:
        UserError: the run has none.
    """
    scores = validation.newest(record.read(run.directory))
    if scores is None:
        raise UserError(f"{run.directory}: no text was held out; the book needs a run with data.validation above 0")
    return scores


def _documents(run: Run) -> Fact:
    """Returns the beginning of the first held-out document of each source."""
    shown = []
    for number, name in enumerate(run.shards.splits[run.held_out]):
        text = run.tokenizer.decode(run.document_ids(run.held_out, number).tolist())
        shown.append(f"[{name}]\n{text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + ' …'}")
    return "\n\n".join(shown)


def _tokenized(run: Run) -> Fact:
    ids = run.document_ids(run.held_out, -1)[:48].tolist()
    return _filled(" ".join(_pieces(run, ids)))


def _filled(text: str) -> str:
    return "\n".join(textwrap.wrap(text, PAGE_COLUMNS, break_on_hyphens=False))


def _control(run: Run) -> Fact:
    return [[name, str(id)] for name, id in sorted(run.tokenizer.control.items(), key=lambda item: item[1])][:5]


def _merges(run: Run) -> Fact:
    tokenizer = BPE.train([TEXT], N_MERGES)
    pieces = [visible(piece.decode("utf-8", errors="backslashreplace")) for piece in tokenizer.pieces()]
    return [[str(256 + n), f"{pieces[a]} + {pieces[b]}", pieces[256 + n]] for n, (a, b) in enumerate(tokenizer.merges)]


def _bpe_tokens(text: str) -> str:
    tokenizer = BPE.train([TEXT], N_MERGES)
    pieces = tokenizer.pieces()
    return " · ".join(visible(pieces[id].decode("utf-8", errors="backslashreplace")) for id in tokenizer.encode(text))


def _longest_tokens(run: Run) -> Fact:
    _, tokenizer = run.bpe
    pieces = {piece.decode("utf-8", errors="replace") for piece in tokenizer.pieces()[256:]}
    longest = sorted(pieces, key=lambda piece: (len(piece), piece))[-5:]
    return ", ".join(f"“{visible(piece)}”" for piece in longest)


def _shard_files(run: Run) -> Fact:
    entries = manifest.read(run.shards.directory).files
    return [[_ATTEMPT.sub("-…", entry.name), f"{entry.bytes:,}"] for entry in entries]


def _window(run: Run) -> Fact:
    _, row = run.boundary_example
    columns = [_pieces(run, row["tokens"].tolist()), _pieces(run, row["targets"].tolist())]
    columns += [[f"{value:g}" for value in row[name].tolist()] for name in ("segments", "positions", "loss_mask")]
    return [list(cells) for cells in zip(*columns, strict=True)]


def _provenance(run: Run) -> Fact:
    found = run.examples(WINDOW).provenance(run.boundary_example[0])
    return _ATTEMPT.sub("-…", json.dumps(found, indent=1, ensure_ascii=False))


def _interleaved(run: Run) -> Fact:
    source, _ = order.interleave(np.arange(20), (0.5, 0.3, 0.2))
    return " ".join("abc"[number] for number in source.tolist())


def _parameters(run: Run) -> Fact:
    config = run.model.config
    rows = []
    for name, shape, count in cost.parameter_table(config):
        path = tuple(name.split("/"))
        role = role_of(path)
        start = _start(role) if role.start else f"{role.std(shape[int(is_stacked(path)) :], config):.4f}"
        rows.append([name, " × ".join(map(str, shape)), f"{count:,}", start, role.group])
    return rows


def _start(role: Role) -> str:
    """Says how a parameter begins: in the words of what draws it, or by its standard deviation."""
    if role.start is not None:
        return (role.start.__doc__ or "").removeprefix("Starts ").split("\n")[0].rstrip(".")
    return "0.02" if role.group == "embedding" else "1/√fan-in" + (" / √2L" if role.residual else "")


def _roles(run: Run) -> Fact:
    return [
        [name, ", ".join(role.axes), role.group, _start(role), "yes" if role.decay else "no"]
        for name, role in ROLES.items()
    ]


def _sizes(run: Run) -> Fact:
    rows = []
    for dial in DIALS:
        cfg = defaults.pretrain()
        cfg.model.size, cfg.model.max_seq_len = dial, 1024
        model, _ = sizing.resolve_model(cfg.model, 32_768, "bfloat16")
        sizing.resolve_training(cfg, model)
        tokens = cfg.train.steps * cfg.train.batch_size * model.max_seq_len
        flops = tokens * cost.flops_per_token(model, model.max_seq_len)
        counts = [quantity(cost.n_params(model)), quantity(tokens), f"{flops:.1e}"]
        training = [str(cfg.train.batch_size), f"{cfg.train.steps:,}", f"{cfg.optimizer.peak_lr:.2g}"]
        rows.append([str(dial), str(model.d_model), *counts, *training])
    return rows


def _records(run: Run) -> Fact:
    with Checkpoints(run.directory / runs.CHECKPOINTS) as checkpoints:
        step = checkpoints.latest()
        path = checkpoints.directory / str(step) / "record" / "metadata"
    leaves = json.loads(path.read_text(encoding="utf-8"))["leaves"]
    return [
        [name, " × ".join(map(str, leaf["shape"])) or "scalar", leaf["dtype"], leaf["bits"][:8] + "…"]
        for name, leaf in list(leaves.items())[:5]
    ]


def _damaged(run: Run) -> Fact:
    """Flips one bit in a copy of the newest checkpoint and returns what restoring it says."""
    with tempfile.TemporaryDirectory() as folder:
        step = Checkpoints(run.directory / runs.CHECKPOINTS).latest()
        copy = Path(folder).resolve() / "checkpoints"
        shutil.copytree(run.directory / runs.CHECKPOINTS / str(step), copy / str(step))
        file = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        try:
            with Checkpoints(copy) as damaged:
                damaged.restore(run.abstract_state)
        except UserError as error:
            return _filled(str(error).replace(str(copy), "runs/mine/checkpoints"))
    raise AssertionError("a flipped bit was not noticed")


def _likeliest(run: Run) -> Fact:
    _, logits = run.next_token
    top = np.argsort(-logits)[:8].tolist()
    columns = [_pieces(run, top)]
    for sampling in (Sampling(), Sampling(0.5), Sampling(top_k=3), Sampling(top_p=0.8)):
        probability = jax.nn.softmax(sampling.allowed(jnp.asarray(logits)[None]))[0]
        columns.append([f"{100 * float(probability[id]):.1f} %" if probability[id] > 0 else "–" for id in top])
    return [list(cells) for cells in zip(*columns, strict=True)]


def _samples(run: Run) -> Fact:
    samples = json.loads((run.directory / runs.SAMPLES).read_text(encoding="utf-8"))[:2]
    return "\n\n".join(f"[{sample['prompt']}]{sample['completion']}" for sample in samples)


def _questions(run: Run) -> Fact:
    found = run.questions
    return [
        [
            kind,
            f"{row['correct']} / {row['n']}",
            f"{100 * row['accuracy']:.0f} %",
            " – ".join(f"{100 * bound:.0f}" for bound in row["interval"]) + " %",
            f"{100 * row['chance']:.0f} %",
        ]
        for kind, row in {**found["by_kind"], "all": found["overall"]}.items()
    ]


def _question(run: Run) -> Fact:
    answer = run.questions["answers"][0]
    return f"{answer['prompt']} {answer['answer']}"


FACTS: dict[str, Callable[[Run], Fact]] = {
    "lm.version": lambda run: lm.__version__,
    "run.sources": lambda run: ", ".join(f"{100 * share:.0f} % {name}" for name, share in run.record["shares"].items()),
    "run.n_params": lambda run: quantity(run.record["n_params"]),
    "run.tokens": lambda run: quantity(run.record["tokens"]),
    "run.steps": lambda run: f"{run.config['train']['steps']:,}",
    "run.batch_size": lambda run: str(run.config["train"]["batch_size"]),
    "run.seq_len": lambda run: str(run.model.config.max_seq_len),
    "run.n_layers": lambda run: str(run.model.config.n_layers),
    "run.d_model": lambda run: str(run.model.config.d_model),
    "run.peak_lr": lambda run: f"{run.config['optimizer']['peak_lr']:g}",
    "run.optimizer": lambda run: {"adamw": "AdamW", "muon": "Muon"}[run.config["optimizer"]["name"]],
    "run.flops_per_token": lambda run: f"{run.record['flops_per_token']:,}",
    "run.derived": lambda run: [[d["key"], str(d["value"]), d["source"]] for d in run.record["derived"]],
    "run.parameters": _parameters,
    "text.documents": _documents,
    "text.held_out": lambda run: f"{100 * run.config['data']['validation']:g} %",
    "text.train_documents": lambda run: f"{sum(s.n_documents for s in run.shards.sources('train')):,}",
    "text.train_tokens": lambda run: f"{run.shards.n_tokens('train'):,}",
    "text.held_out_tokens": lambda run: f"{run.shards.n_tokens(run.held_out):,}",
    "tokenizer.kind": lambda run: run.tokenizer.kind,
    "tokenizer.vocab_size": lambda run: f"{run.tokenizer.vocab_size:,}",
    "tokenizer.bytes_per_token": lambda run: _number(run.shards.bytes_per_token("train"), 2),
    "tokenizer.example": _tokenized,
    "tokenizer.control": _control,
    "bpe.text": lambda run: TEXT,
    "bpe.words": lambda run: " · ".join(map(visible, words(TEXT))),
    "bpe.merges": _merges,
    "bpe.new_tokens": lambda run: _bpe_tokens("the tailor's tale"),
    "bpe.longest": _longest_tokens,
    "shards.files": _shard_files,
    "shards.window": _window,
    "shards.provenance": _provenance,
    "order.interleaved": _interleaved,
    "roles": _roles,
    "loss.chance": lambda run: _number(run.chance_loss),
    "loss.first": lambda run: _number(run.series("train/loss")[1][0]),
    "loss.last": lambda run: _number(run.series("train/loss")[1][-1]),
    "val.loss": lambda run: _number(_held_out(run).loss),
    "val.perplexity": lambda run: _number(math.exp(_held_out(run).loss), 1),
    "val.bits_per_byte": lambda run: _number(_held_out(run).bits_per_byte),
    "repetition.most_epochs": lambda run: str(repetition.MOST_EPOCHS),
    "sizing.table": _sizes,
    "checkpoint.leaves": _records,
    "checkpoint.damaged": _damaged,
    "sampling.prompt": lambda run: run.next_token[0],
    "sampling.likeliest": _likeliest,
    "sampling.sample": _samples,
    "questions.example": _question,
    "questions.table": _questions,
    **curation_facts.FACTS,
    **architecture_facts.FACTS,
    **scale_facts.FACTS,
    "commands": lambda run: [[f"lm {name}", line.split(": lm ")[0]] for name, line in cli.stages().items()],
}
