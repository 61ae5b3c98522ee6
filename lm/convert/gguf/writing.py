"""From an architecture and its parameters to a GGUF file.

The names of tensors follow from those of Hugging Face's format, by the `gguf` package's own table. llama.cpp keeps
vectors in float32 whatever the matrices are stored as; so does this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.common.errors import UserError
from lm.common.whole import whole_file
from lm.convert import flat
from lm.convert.gguf import metadata, tokenizer
from lm.convert.gguf.architectures import Architecture, choose
from lm.convert.hf.table import Family, Row, rows
from lm.convert.hf.writing import Exported
from lm.model import ahead
from lm.model.config import ModelConfig

# Our name of a type, the package's of the type of a tensor, and of the type of a file.
TYPES = {
    "float32": ("F32", "ALL_F32"),
    "float16": ("F16", "MOSTLY_F16"),
    "bfloat16": ("BF16", "MOSTLY_BF16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"),
}
_EXACT = ("position_embd.weight",)  # which llama.cpp adds as they are


class _Tensor(NamedTuple):
    """A tensor as it is to be written: its name, its type, and the row of the name map that makes it."""

    name: str
    shape: tuple[int, ...]
    kind: Any
    row: Row


def write(
    cfg: ModelConfig,
    params: Any,
    path: str | Path,
    *,
    tokenizer_directory: Path | None = None,
    bos: bool = False,
    family: str | None = None,
    preferred: str | None = None,
    dtype: str = "float32",
) -> Exported:
    """Writes weights, metadata and tokenizer as one file, all of it or nothing.

    Args:
        cfg: the architecture.
        params: the parameter tree.
        path: a new file.
        tokenizer_directory: the directory of the model's tokenizer; left out if None.
        bos: whether text begins with `<bos>`.
        family: as which to write, by its name in Hugging Face's format; else the first that can say the architecture.
        preferred: the family to try first.
        dtype: of the matrices: float32, bfloat16, float16, or q8_0, blocks of 32 whole numbers and a scale; a matrix
            whose rows are no multiple of 32 is then float16.

    Raises:
        UserError: the package is missing; the file is there; llama.cpp cannot compute the architecture, or cut text as
            the tokenizer does; a value that the dtype cannot hold.
    """
    gguf = _package()
    if dtype not in TYPES:
        raise UserError(f"dtype={dtype}: choose one of {', '.join(TYPES)}")
    path, depths = Path(path), cfg.predict_ahead
    cfg, params = ahead.left_out(cfg, params)
    chosen, architecture = choose(cfg, family, preferred)
    tensors = list(_tensors(cfg, chosen, architecture, dtype))
    with whole_file(path, "output") as output:
        writer = gguf.GGUFWriter(output, architecture.name)
        writer.add_type("model")
        writer.add_name(path.stem)
        writer.add_file_type(gguf.LlamaFileType[TYPES[dtype][1]])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        metadata.add(writer, cfg, architecture)
        notes = tokenizer.add(writer, tokenizer_directory, cfg, bos=bos)
        n_bytes = _write_tensors(writer, cfg, params, architecture, tensors, dtype)
    return Exported(chosen, n_bytes, 1, [*notes, *ahead.notes(depths)])


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise UserError("format=gguf: needs the package gguf; pip install 'lm[gguf]'") from error
    return gguf


def _tensors(cfg: ModelConfig, family: Family, architecture: Architecture, dtype: str) -> Iterator[_Tensor]:
    import gguf

    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = gguf.get_tensor_name_map(number, cfg.n_layers)
    kinds = gguf.GGMLQuantizationType
    for row in rows(family, cfg):
        (theirs,), (shape,) = row.theirs, row.shapes
        stem, _, suffix = theirs.rpartition(".")
        name = f"{names.get_name(stem)}.{suffix}"
        shape = shape[::-1] if _is_conv1d(row) else shape
        kind = kinds[TYPES[dtype][0]]
        if len(shape) < 2 or name in _EXACT:
            kind = kinds.F32
        elif shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            kind = kinds.F16
        yield _Tensor(name, shape, kind, row)


def _write_tensors(
    writer: Any, cfg: ModelConfig, params: Any, architecture: Architecture, tensors: list[_Tensor], dtype: str
) -> int:
    """Writes the file that `writer` was told of, one tensor in memory at a time; returns the tensors' bytes."""
    import gguf

    n_bytes = 0
    for name, shape, kind, _ in tensors:
        size = int(np.prod(gguf.quant_shape_to_byte_shape(shape, kind)))
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=kind)
        n_bytes += size
    if (factors := metadata.rope_factors(cfg)) is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    ours = flat.flatten(cfg, params)
    for tensor in tensors:
        values = _values(tensor, [ours[one.name] for one in tensor.row.ours], cfg, architecture)
        writer.write_tensor_data(_encode(tensor, values, dtype))
    if factors is not None:
        writer.write_tensor_data(factors)
    writer.close()
    return n_bytes


def _values(tensor: _Tensor, ours: list[np.ndarray], cfg: ModelConfig, architecture: Architecture) -> np.ndarray:
    """Returns the tensor's numbers as llama.cpp computes with them, float32."""
    (values,) = tensor.row.write(ours)
    if _is_conv1d(tensor.row):
        values = values.T
    if cfg.norm_scale == "one_plus" and tensor.name.endswith("norm.weight"):
        values = values + np.float32(1)
    if architecture.interleaved and (heads := _rotated_heads(tensor.name, cfg)):
        values = values.reshape(heads, 2, cfg.head_width // 2, -1).swapaxes(1, 2).reshape(values.shape)
    return np.ascontiguousarray(values, np.float32)


def _rotated_heads(name: str, cfg: ModelConfig) -> int:
    """Returns the number of heads of a map that makes queries or keys, 0 for other tensors."""
    return {"attn_q": cfg.n_heads, "attn_k": cfg.n_kv_heads}.get(name.split(".")[-2], 0)


def _is_conv1d(row: Row) -> bool:
    """Says whether a matrix is `[in, out]` in Hugging Face's format, where a GGUF has `[out, in]` throughout."""
    return "conv1d" in row.how.name and len(row.shapes[0]) == 2


def _encode(tensor: _Tensor, values: np.ndarray, dtype: str) -> np.ndarray:
    import gguf

    with np.errstate(over="ignore", invalid="ignore"):
        encoded = gguf.quantize(values, tensor.kind)
        finite = np.isfinite(gguf.dequantize(encoded, tensor.kind)).all()
    if not finite:
        if np.isfinite(values).all():
            raise UserError(f"dtype={dtype}: {tensor.name} holds numbers beyond its range; use bfloat16 or float32")
        raise UserError(f"{tensor.row.ours[0].name}: holds values that are not finite; export an earlier checkpoint")
    return encoded
