"""Pretrains a model on text: lm pretrain --config=configs/pretrain/tiny.py --config.data.path=TEXT --workdir=runs/mine

Raw text is tokenized into the run directory first; a directory made by `lm shard` is used as it is. The same command
continues a stopped run where it was, and does nothing to a finished one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from lm.stages import required_workdir

if TYPE_CHECKING:
    from lm.common.progress import Stopwatch
    from lm.data.prepare import Splits
    from lm.data.shards import Shards
    from lm.model.config import ModelConfig
    from lm.train.loop import Task

SAMPLE_BYTES = 6  # of a parameter: as it is stored, and as it is computed with


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    from lm.train import defaults as train_defaults

    return train_defaults.pretrain()


def run(cfg: ConfigDict, workdir: Path | None, watch: Stopwatch | None = None) -> None:
    """Prepares the data, trains, samples and reports, each part only if it is not done already.

    `watch` is told when each part ends.
    """
    from lm.common import cluster
    from lm.common.progress import Stopwatch

    output = required_workdir(workdir)
    cluster.start(cfg.cluster)
    with cluster.one_voice():
        _run(cfg, output, watch or Stopwatch())


def _run(cfg: ConfigDict, output: Path, watch: Stopwatch) -> None:
    from lm.common import cluster, manifest
    from lm.common import config as configs
    from lm.common.errors import UserError
    from lm.common.progress import quantity
    from lm.train import compilation, repetition, setup
    from lm.train import run as runs

    if runs.is_imported(output):
        raise UserError(f"{output}: an imported model, which `lm pretrain` cannot continue; choose another --workdir")
    if cfg.dry_run:
        _describe(cfg, output)
        return
    _check_samples(cfg)
    _check_bucket(output)
    compilation.keep(cfg.train.compilation_cache)
    shards = cluster.in_turn(lambda: _shards(cfg, output, watch))
    setup.rehearse(cfg, output, shards.vocab_size)
    model, derived = setup.resolve(cfg, shards.vocab_size, output)
    task = setup.make_task(cfg, model, shards)
    facts = setup.facts(model, derived, task, shards)
    _check_prompts(cfg, shards)
    cluster.once(lambda: runs.claim(output, configs.to_dict(cfg), facts))
    if runs.is_finished(output):
        print(f"{output}: finished already; `lm sample --run={output}` writes with it")
        return
    cluster.once(lambda: manifest.copy_stage(shards.tokenizer_dir, output / runs.TOKENIZER, "tokenizer"))
    for item in derived:
        print(f"{item.key} = {item.value}: {item.source}")
    epochs = ", ".join(f"{name} {count:.2f}" for name, count in facts["epochs"].items())
    print(
        f"{quantity(facts['n_params'])} parameters, {quantity(facts['tokens'])} tokens (epochs: {epochs})", flush=True
    )
    for line in repetition.warnings(facts["epochs"], cfg.train.steps):
        print(line, flush=True)
    finished = _train(cfg, task, shards, output)
    watch.lap("training")
    cluster.once(lambda: _conclude(cfg, output, watch, shards, facts, finished=finished))


def _conclude(
    cfg: ConfigDict, output: Path, watch: Stopwatch, shards: Shards, facts: dict[str, Any], *, finished: bool
) -> None:
    """Writes what stands beside a trained model, and the report."""
    from lm.common import config as configs
    from lm.study import report
    from lm.train import run as runs

    if finished:
        _sample(cfg, output, facts["n_params"])
        watch.lap("samples")
        counts = {"steps": cfg.train.steps, "n_params": facts["n_params"], "tokens": facts["tokens"]}
        runs.finish(output, configs.to_dict(cfg), {"shards": facts["data"]}, counts)
    print(f"{report.write(output)}: curves, samples, data and parameters")
    watch.lap("report")


def _shards(cfg: ConfigDict, output: Path, watch: Stopwatch) -> Shards:
    """Opens the shards named by `data.path`, or makes them from raw text inside the run directory."""
    from lm.data import prepare
    from lm.data.shards import Shards
    from lm.train import run as runs
    from lm.train import setup

    if prepare.is_shards(cfg.data):
        shards = Shards.open(cfg.data.path)
        for key in prepare.adopt(cfg.data, cfg.tokenizer, shards):
            print(f"{key}: as {shards.directory} was made")
        return shards
    setup.rehearse(cfg, output, None)  # before hours of tokenizing
    splits = prepare.Splits(cfg.data)
    print(prepare.describe(splits))
    if cfg.tokenizer.vocab_size is None:
        cfg.tokenizer.vocab_size = cfg.model.vocab_size
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, output / runs.TOKENIZER)
    watch.lap("tokenizer")
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, output / runs.SHARDS)
    watch.lap("shards")
    return shards


def _check_bucket(output: Path) -> None:
    """Refuses several processes over a bucket that only a whole machine's checkpoints can be copied to."""
    import jax

    from lm.common import buckets
    from lm.common.errors import UserError

    address = buckets.origin(output)
    if address and not buckets.takes_orbax(address) and jax.process_count() > 1:
        raise UserError(
            f"--workdir={address}: Orbax does not write there, so each of several processes would have a part of a "
            "checkpoint only; choose a gs:// address, or a directory that all of them share"
        )


def _check_samples(cfg: ConfigDict) -> None:
    """Refuses sampling values that would only fail after training."""
    from lm.common.errors import UserError
    from lm.infer.sampling import Sampling

    sample = cfg.sample
    Sampling(sample.temperature, sample.top_k, sample.top_p)
    if sample.prompts and sample.max_new_tokens < 1:
        raise UserError(f"sample.max_new_tokens={sample.max_new_tokens}: must be at least 1")


def _check_prompts(cfg: ConfigDict, shards: Shards) -> None:
    """Refuses prompts that the run's tokenizer cannot begin with."""
    from lm.common.errors import UserError
    from lm.data import tokenizer as tokenizers

    tokenizer = tokenizers.load(shards.tokenizer_dir)
    if any(not tokenizer.encode(prompt) for prompt in cfg.sample.prompts) and not cfg.data.bos:
        raise UserError('sample.prompts: "" needs a <bos> to begin with, but data.bos=False; give prompts with text')


def _train(cfg: ConfigDict, task: Task, shards: Shards, output: Path) -> bool:
    """Runs the loop, and says whether it came to the end."""
    from lm.common import buckets, cluster
    from lm.common import config as configs
    from lm.common.checkpoint import Checkpoints
    from lm.common.metrics import MetricWriter, Unwritten, cut_back
    from lm.data import tokenizer as tokenizers
    from lm.evals.perplexity import Perplexity
    from lm.train import run as runs
    from lm.train.console import Console
    from lm.train.loop import Outlets, train

    def open_writer(start: int) -> MetricWriter | Unwritten:
        if not cluster.is_first():
            return Unwritten(output / runs.METRICS)
        cut_back(output / runs.METRICS, start)
        return MetricWriter(
            output / runs.METRICS,
            tensorboard=output / runs.TENSORBOARD if cfg.train.tensorboard else None,
            wandb=cfg.train.wandb or None,
            run=configs.to_dict(cfg),
            resume_step=start,
        )

    evaluators = []
    if "val" in shards.splits:
        evaluators.append(
            Perplexity(
                task.model,
                shards,
                tokenizers.load(shards.tokenizer_dir).token_bytes(),
                split="val",
                batch_size=cfg.train.batch_size // cfg.train.microbatches,
                max_tokens=cfg.train.eval_tokens,
                loss_chunk=cfg.train.loss_chunk,
            )
        )
    with Checkpoints(
        buckets.checkpoints(output), keep_last=cfg.train.keep_last, keep_best=cfg.train.keep_best
    ) as checkpoints:
        console = Console(task.steps, quiet=not cluster.is_first())
        outlets = Outlets(checkpoints, evaluators, open_writer, console, output)
        _, step = train(task, outlets, restore_fallback=cfg.train.restore_fallback)
    return step == task.steps


def _sample(cfg: ConfigDict, output: Path, n_params: int) -> None:
    """Writes continuations of the config's prompts by the final model, on one device, where it has room for that."""
    from lm import api
    from lm.common import hardware, manifest
    from lm.train import run as runs

    options: dict[str, Any] = {key: value for key, value in cfg.sample.items() if key != "prompts"}
    prompts = list(cfg.sample.prompts)
    room = hardware.device_bytes()
    if prompts and room is not None and SAMPLE_BYTES * n_params > room:
        print(f"no samples: {n_params:,} parameters do not fit one device", flush=True)
        prompts = []
    if not prompts:
        manifest.write_atomic(output / runs.SAMPLES, "[]\n")
        return
    model = api.load(output)
    samples = [
        {"prompt": prompt, "completion": completion, "step": model.step, **options}
        for prompt, completion in zip(prompts, model.generate(prompts, **options), strict=True)
    ]
    manifest.write_atomic(output / runs.SAMPLES, json.dumps(samples, indent=1, ensure_ascii=False) + "\n")


def _describe(cfg: ConfigDict, output: Path) -> None:
    """Prints what a run would read and be, and where it would go, without writing anything."""
    from lm.common.progress import quantity
    from lm.data import prepare
    from lm.data.shards import Shards
    from lm.model import cost
    from lm.train import repetition, setup

    vocab_size = None
    data: Shards | Splits
    if prepare.is_shards(cfg.data):
        data = shards = Shards.open(cfg.data.path)
        prepare.adopt(cfg.data, cfg.tokenizer, shards)
        vocab_size = shards.vocab_size
        print(f"{cfg.data.path}: {shards.n_tokens('train'):,} training tokens")
    else:
        data = prepare.Splits(cfg.data)
        print(prepare.describe(data))
    _check_samples(cfg)
    cfg, model, derived = setup.rehearse(cfg, output, vocab_size)
    known = vocab_size or cfg.tokenizer.vocab_size
    print(f"vocabulary {model.vocab_size}" + ("" if known else " (assumed, until a tokenizer is trained)"))
    for item in derived:
        print(f"{item.key} = {item.value}: {item.source}")
    examples = setup.plan(cfg).total(cfg.train.steps)
    tokens = examples * model.max_seq_len
    flops = tokens * cost.flops_per_token(model, model.max_seq_len)
    print(
        f"{quantity(cost.n_params(model))} parameters, {quantity(tokens)} tokens, {flops:.2g} FLOPs with the "
        f"vocabulary's, into {output}"
    )
    epochs, assumed = _epochs(cfg, data, model, examples)
    if epochs:
        counts = ", ".join(f"{quantity(count)} epochs of {name}" for name, count in epochs.items())
        print(f"about {counts}, {assumed}" if assumed else counts)
    for line in repetition.warnings(epochs, cfg.train.steps):
        print(line)


def _epochs(cfg: ConfigDict, data: Shards | Splits, model: ModelConfig, examples: int) -> tuple[dict[str, float], str]:
    """Returns the epochs of each source, as far as they can be told before it is read, and what was assumed."""
    from lm.data import mixture, prepare
    from lm.data.shards import Shards, training_examples
    from lm.train import repetition

    if isinstance(data, Shards):
        weights = prepare.weights(data, cfg.data, examples * model.max_seq_len)
        ordered = training_examples(data, "train", seq_len=model.max_seq_len, seed=cfg.train.seed, weights=weights)
        return ordered.epochs(examples), ""
    if data.is_tokens:
        return {}, ""
    sizes = {name: source.size_bytes() for name, source in data.train.items()}
    given = {name: source["weight"] for name, source in cfg.data.mixture.items() if "weight" in source}
    known = given or all(sizes.values())
    # Sizes in bytes stand for tokens; without a cap, which a guess at tokens could break where the run does not.
    shares = mixture.shares(sizes, given, temperature=cfg.data.temperature) if known else None
    n_bytes = prepare.bytes_per_token(cfg.tokenizer) or repetition.ASSUMED_BYTES_PER_TOKEN
    epochs = repetition.estimate(sizes, shares, examples * model.max_seq_len, n_bytes)
    return epochs, f"if files are plain text of {n_bytes:.1f} bytes a token"
