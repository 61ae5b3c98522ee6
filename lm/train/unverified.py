"""What only some hardware can do, refused by name elsewhere.

With `train.allow_unverified` it is done all the same where it can be, with the right numbers, but without the gain.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from lm.common import hardware
from lm.common.errors import UserError

_ANYWAY = "or set train.allow_unverified=True to do it here all the same"


def check(cfg: ConfigDict, device: Any) -> None:
    """Refuses keys of a pretraining config that a device of this kind cannot compute, or gains nothing by.

    Raises:
        UserError: the key, what the device lacks, and what has it.
    """
    if cfg.optimizer.offload and not hardware.reaches_host(device):
        raise UserError(
            f"optimizer.offload=True: {device.device_kind} knows no {hardware.HOST} memory; set it to False, or split "
            "the moments over devices with mesh.fsdp"
        )
    if cfg.train.allow_unverified:
        return
    kind = cfg.model.quantize
    if kind != "none" and not hardware.multiplies(kind, device):
        raise UserError(
            f"model.quantize={kind}: {device.device_kind} has no units for it; {hardware.WITH_UNITS[kind]} do; set it "
            f"to none, {_ANYWAY}"
        )
