"""The PyTorch module beside the JAX model, and in the hands of transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lm.convert import flat
from lm.convert.pytorch import FAMILY, names
from lm.convert.pytorch.modeling_lm import ARCHITECTURE, LmConfig, LmForCausalLM
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.model.roles import initialise
from lm.train import routing
from tests.convert.pytorch.samples import ARCHITECTURES, EXPERTS, assert_close, jax_logits, module, params, tokens
from tests.model.architectures import KINDS, SEEDS, covering, draw

QUICK = covering(SEEDS, KINDS)
MORE = [seed for seed in range(128) if seed not in QUICK]
ROUTED = [pytest.param(cfg, id=name) for name, cfg in EXPERTS.items()]
NAMED = [pytest.param(cfg, id=name) for name, cfg in ARCHITECTURES.items()]
# A cache, padding and packing meet all kinds of positions and of values that layers share.
VARIED = [
    pytest.param(ARCHITECTURES[name], id=name)
    for name in ("gemma2", "bloom", "gpt2", "deepseek", "lstm", "griffin", "hyper")
]


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.set_grad_enabled("gradient" in request.node.name or "train" in request.node.name):
        yield


def test_the_defaults_are_those_of_the_config() -> None:
    written = FAMILY.write_config(ModelConfig(1, 1, 1, 1, 1, 1, 2, 1))
    needed = {key: None for key, value in ARCHITECTURE.items() if value is None}
    assert {**written, **needed} == {**ARCHITECTURE, "auto_map": written["auto_map"]}


@pytest.mark.parametrize("cfg", NAMED + ROUTED)
def test_logits_are_those_of_the_jax_model(cfg: ModelConfig) -> None:
    x_BT = tokens(cfg, 2, 15)
    assert_close(module(cfg)(x_BT).logits, jax_logits(cfg, x_BT))


@pytest.mark.parametrize(
    "seed", [*QUICK[:4], *(pytest.param(seed, marks=pytest.mark.slow) for seed in QUICK[4:] + MORE)]
)
def test_logits_are_those_of_random_jax_models(seed: int) -> None:
    cfg = draw(seed)
    x_BT = tokens(cfg, 2, 15)
    assert_close(module(cfg)(x_BT).logits, jax_logits(cfg, x_BT))


@pytest.mark.parametrize("pieces", [(11,), (1,) * 11, (4, 1, 6)])
@pytest.mark.parametrize("cfg", VARIED)
def test_cached_equals_full(cfg: ModelConfig, pieces: tuple[int, ...]) -> None:
    model, x_BT = module(cfg), tokens(cfg, 2, sum(pieces))
    cache, parts = None, []
    for piece in torch.split(x_BT, list(pieces), dim=1):
        output = model(piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        parts.append(output.logits)
    assert cache.get_seq_length() == 11
    assert_close(torch.cat(parts, dim=1), model(x_BT).logits)


@pytest.mark.parametrize("cfg", VARIED)
def test_padding_on_either_side_changes_nothing(cfg: ModelConfig) -> None:
    model, x_BT = module(cfg), tokens(cfg, 1, 6)
    alone = model(x_BT).logits
    for places in (slice(3, 9), slice(0, 6)):
        padded_BT, mask_BT = torch.zeros(1, 9, dtype=torch.long), torch.zeros(1, 9, dtype=torch.long)
        padded_BT[:, places], mask_BT[:, places] = x_BT, 1
        logits = model(padded_BT, attention_mask=mask_BT).logits
        assert bool(torch.isfinite(logits).all())
        assert_close(logits[:, places], alone)


@pytest.mark.parametrize("cfg", VARIED)
def test_documents_of_a_row_do_not_see_each_other(cfg: ModelConfig) -> None:
    model, lengths = module(cfg), (5, 1, 7)
    documents = [tokens(cfg, 1, n, seed=n) for n in lengths]
    segments_BT = torch.repeat_interleave(torch.arange(1, 4), torch.tensor(lengths))[None]
    packed = model(torch.cat(documents, dim=1), segment_ids=segments_BT)
    assert_close(packed.logits, torch.cat([model(document).logits for document in documents], dim=1))


def test_the_loss_predicts_nothing_across_documents() -> None:
    cfg = ARCHITECTURES["llama"]
    model, x_BT = module(cfg), tokens(cfg, 1, 9)
    segments_BT = torch.tensor([[1, 1, 1, 2, 2, 3, 0, 0, 0]])
    output = model(x_BT, segment_ids=segments_BT, labels=x_BT)
    log_BTV = output.logits.log_softmax(-1)
    wanted = -torch.stack([log_BTV[0, t - 1, x_BT[0, t]] for t in (1, 2, 4)]).mean()
    assert_close(output.loss, wanted)


def test_the_number_of_counted_tokens_can_be_given() -> None:
    """As a trainer does that adds gradients up over several batches."""
    cfg = ARCHITECTURES["llama"]
    model, x_BT = module(cfg), tokens(cfg, 2, 5)
    mean = model(x_BT, labels=x_BT).loss
    assert_close(model(x_BT, labels=x_BT, num_items_in_batch=torch.tensor(16)).loss, mean * 8 / 16)


@pytest.mark.parametrize("cfg", [pytest.param(ARCHITECTURES[name], id=name) for name in ("gemma2", "gpt2", "hyper")])
def test_gradients_are_those_of_the_jax_model(cfg: ModelConfig) -> None:
    x_BT = tokens(cfg, 2, 9)

    def loss(p: Any) -> jax.Array:
        logits_BTV = Decoder(cfg).apply({"params": p}, jnp.asarray(x_BT.numpy())).logits_BTV[:, :-1]
        log_BTV = jax.nn.log_softmax(logits_BTV)
        return -jnp.mean(jnp.take_along_axis(log_BTV, jnp.asarray(x_BT.numpy())[:, 1:, None], axis=-1))

    value, gradients = jax.jit(jax.value_and_grad(loss))(params(cfg))
    wanted = flat.flatten(cfg, gradients)
    model = module(cfg)
    output = model(x_BT, labels=x_BT)
    output.loss.backward()
    assert_close(output.loss, np.asarray(value))
    found = dict(model.named_parameters())
    largest = max(float(np.abs(gradient).max()) for gradient in wanted.values())
    for row in names.rows(cfg):
        (gradient,) = row.write([wanted[row.ours[0].name]])
        # what cancels out is a sum of terms like the largest, and no nearer than a few of their last digits
        assert_close(found[row.theirs[0]].grad, gradient, 1e-4, least=3e-3 * largest)


@pytest.mark.parametrize("name", ["qwen2-moe", "deepseek-v3"])
def test_gradients_of_routers_are_those_of_the_jax_model(name: str) -> None:
    """In training the loss holds what routers add, as a mean over tokens; also where the batch is part of another."""
    cfg = EXPERTS[name]
    x_BT, segments_BT = tokens(cfg, 2, 9), torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
    labels_BT = x_BT.masked_fill(segments_BT == 0, -100)
    inputs = (jnp.asarray(x_BT.numpy()), jnp.asarray(segments_BT.numpy()))
    counted_BT = (inputs[1][:, 1:] != 0) & (inputs[1][:, :-1] != 0)

    def loss(p: Any) -> jax.Array:
        output = Decoder(cfg).apply({"params": p}, *inputs, jnp.maximum(jnp.cumsum(inputs[1], axis=1) - 1, 0))
        log_BTV = jax.nn.log_softmax(output.logits_BTV[:, :-1])
        nats_BT = -jnp.take_along_axis(log_BTV, inputs[0][:, 1:, None], axis=-1)[..., 0]
        return jnp.sum(nats_BT * counted_BT) / counted_BT.sum() + routing.penalty(cfg.moe, output.aux) / 15

    value, gradients = jax.jit(jax.value_and_grad(loss))(params(cfg))
    wanted = flat.flatten(cfg, gradients)
    model = module(cfg).train()
    output = model(x_BT, segment_ids=segments_BT, labels=labels_BT)
    output.loss.backward()
    assert_close(output.loss, np.asarray(value))
    found = dict(model.named_parameters())
    for row in names.rows(cfg):
        if not row.theirs[0].endswith("balance"):
            (gradient,) = row.write([wanted[row.ours[0].name]])
            assert_close(found[row.theirs[0]].grad, gradient, 1e-4, least=1e-3)
    half = model(x_BT, segment_ids=segments_BT, labels=labels_BT, num_items_in_batch=torch.tensor(26)).loss
    assert_close(half, (output.loss * 13 / 26).detach())
    plain = model.eval()(x_BT, segment_ids=segments_BT, labels=labels_BT).loss
    assert (plain < output.loss) == (name == "qwen2-moe"), "an evaluated loss is that of the next token alone"


def test_training_lowers_the_loss() -> None:
    cfg = ARCHITECTURES["transformer"]
    model, x_BT = module(cfg).train(), tokens(cfg, 2, 16)
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.eval()(x_BT, labels=x_BT).loss.item()
    model.train()(x_BT, labels=x_BT).loss.backward()
    optimizer.step()
    assert model.eval()(x_BT, labels=x_BT).loss.item() < before


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_no_gradient(reentrant: bool) -> None:
    cfg = ARCHITECTURES["bloom"]
    x_BT, found = tokens(cfg, 1, 7), []
    for checkpointed in (False, True):
        model = module(cfg).train()
        if checkpointed:
            model._set_gradient_checkpointing(
                True, lambda *a: torch.utils.checkpoint.checkpoint(*a, use_reentrant=reentrant)
            )
        model(x_BT, labels=x_BT).loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*found, strict=True):
        assert_close(recomputed, plain, tolerance=1e-5)


def test_dropout_acts_in_training_alone() -> None:
    cfg = ARCHITECTURES["transformer"]
    model, x_BT = module(cfg), tokens(cfg, 1, 7)
    quiet = model(x_BT).logits
    assert bool((model.train()(x_BT).logits != quiet).any())
    assert bool((model.eval()(x_BT).logits == quiet).all())


def test_fused_attention_equals_plain() -> None:
    cfg = ARCHITECTURES["olmo2"]
    model, x_BT = module(cfg), tokens(cfg, 2, 9)
    fused = model(x_BT).logits
    model.set_attn_implementation("eager")
    assert_close(model(x_BT).logits, fused)


@pytest.mark.parametrize("cfg", NAMED)
def test_everything_is_on_the_device_of_the_module(cfg: ModelConfig) -> None:
    """On the device that holds no numbers, a tensor made on another would not mix; with a cache, and without."""
    model, x_BT = module(cfg).to("meta"), torch.zeros(2, 5, dtype=torch.long, device="meta")
    cache = model(x_BT, use_cache=True).past_key_values
    logits = model(x_BT[:, :1], attention_mask=torch.ones(2, 6, device="meta"), past_key_values=cache).logits
    assert logits.shape == (2, 1, cfg.vocab_size)
    assert logits.device.type == "meta"


def test_bfloat16_is_close() -> None:
    cfg = ARCHITECTURES["gemma2"]
    model, x_BT = module(cfg), tokens(cfg, 2, 9)
    exact = model(x_BT).logits
    low = model.to(torch.bfloat16)(x_BT).logits
    assert low.dtype == torch.float32
    assert 0 < float((low - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_a_place_is_scored_alone_and_hidden_states_are_returned() -> None:
    cfg = ARCHITECTURES["llama"]
    model, x_BT = module(cfg), tokens(cfg, 2, 6)
    output = model(x_BT, output_hidden_states=True)
    assert_close(model(x_BT, logits_to_keep=2).logits, output.logits[:, -2:])
    assert_close(model(x_BT, logits_to_keep=torch.tensor([1, 3])).logits, output.logits[:, [1, 3]])
    assert len(output.hidden_states) == cfg.n_layers + 1
    assert_close(model.head(output.hidden_states[-1]), output.logits)
    assert_close(model(inputs_embeds=model.get_input_embeddings()(x_BT)).logits, output.logits)


def test_what_the_module_cannot_do_is_refused() -> None:
    model = module(ARCHITECTURES["llama"])
    x_BT = torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="output_attentions"):
        model(x_BT, output_attentions=True)
    with pytest.raises(ValueError, match=r"give \[B, T\]"):
        model(x_BT, attention_mask=torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("cfg", VARIED)
@pytest.mark.parametrize("beams", [1, 2])
def test_generating_with_a_cache_equals_without(cfg: ModelConfig, beams: int) -> None:
    """Rows padded on the left, greedy or by beams; each row comes out as it does alone."""
    model, x_BT = module(cfg), tokens(cfg, 3, 6)
    mask_BT = torch.tensor([[1] * 6, [0] * 2 + [1] * 4, [0] * 5 + [1]])
    how = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "pad_token_id": 0}
    cached = model.generate(x_BT, attention_mask=mask_BT, **how)
    assert bool((cached == model.generate(x_BT, attention_mask=mask_BT, use_cache=False, **how)).all())
    assert bool((cached[1:2, 2:] == model.generate(x_BT[1:2, 2:], **how)).all())


def test_samples_of_a_prompt_differ_and_a_cache_goes_on() -> None:
    cfg = ARCHITECTURES["gemma2"]
    model, x_BT = module(cfg), tokens(cfg, 1, 4)
    torch.manual_seed(0)
    rows = model.generate(x_BT, do_sample=True, num_return_sequences=3, max_new_tokens=5, pad_token_id=0)
    assert rows.shape == (3, 9)
    assert len({tuple(row.tolist()) for row in rows}) > 1
    first = model.generate(x_BT, do_sample=False, max_new_tokens=3, return_dict_in_generate=True, pad_token_id=0)
    longer = model.generate(
        first.sequences, past_key_values=first.past_key_values, do_sample=False, max_new_tokens=3, pad_token_id=0
    )
    assert bool((longer == model.generate(x_BT, do_sample=False, max_new_tokens=6, pad_token_id=0)).all())


@pytest.mark.parametrize("name", ["neox", "bloom", "normless", "gpt-oss"])
def test_a_fresh_module_starts_as_the_jax_model_does(name: str) -> None:
    """The same centre and spread of every parameter, so that training from scratch is the same training."""
    cfg = dataclasses.replace(ARCHITECTURES[name], d_model=96, d_ff=192, vocab_size=200)
    torch.manual_seed(0)
    fresh = LmForCausalLM(LmConfig(**FAMILY.write_config(cfg))).state_dict()
    for row in names.rows(cfg):
        theirs, (ours,) = fresh[row.theirs[0]].numpy(), row.ours
        assert theirs.shape == row.shapes[0]
        wanted = np.asarray(initialise(".".join(ours.name.split(".")[-2:]), ours.shape, cfg, jax.random.key(0)))
        off = 10 * wanted.std() / np.sqrt(wanted.size) + 1e-7
        np.testing.assert_allclose(theirs.mean(), wanted.mean(), atol=off, err_msg=row.theirs[0])
        np.testing.assert_allclose(theirs.std(), wanted.std(), atol=off, err_msg=row.theirs[0])


def test_usual_names_stand_for_ours() -> None:
    config = LmConfig(**dataclasses.asdict(ARCHITECTURES["llama"]))
    assert (config.hidden_size, config.num_hidden_layers, config.max_position_embeddings) == (16, 2, 32)
    assert LmConfig(hidden_size=8).d_model == 8
    assert LmConfig(rope={"theta": 5.0}).rope == {**ARCHITECTURE["rope"], "theta": 5.0}


@pytest.mark.slow
def test_the_trainer_of_transformers_trains_evaluates_and_saves(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    cfg = ARCHITECTURES["gemma2"]
    rows = [{"input_ids": row, "labels": row} for row in tokens(cfg, 8, 12)]
    how = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": True}
    arguments = TrainingArguments(
        str(tmp_path), max_steps=3, eval_strategy="steps", eval_steps=3, report_to=[], use_cpu=True, **how
    )
    with torch.enable_grad():
        Trainer(module(cfg), arguments, train_dataset=rows, eval_dataset=rows).train()
    assert (tmp_path / "checkpoint-3" / "modeling_lm.py").is_file()
