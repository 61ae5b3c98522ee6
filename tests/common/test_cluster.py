"""How a process learns of the others, without any: every way it can be told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ml_collections import ConfigDict

from lm.common import cluster
from lm.common.errors import UserError
from lm.train.defaults import pretrain


def keys(**changes: Any) -> ConfigDict:
    section = pretrain().cluster
    section.update(changes)
    return section


FLAGS = {"coordinator": "node1:1234", "processes": 4, "process": 3}
JAX = {"JAX_COORDINATOR_ADDRESS": "node1:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
ADDRESS = {"coordinator_address": "node1:1234", "num_processes": 4, "process_id": 3}


@pytest.mark.parametrize(
    ("flags", "environment", "on_tpu", "found"),
    [
        ({}, {}, False, None),
        ({}, {"SLURM_NTASKS": "1"}, False, None),
        ({}, {"SLURM_NTASKS": "8"}, False, ("SLURM_NTASKS", {"cluster_detection_method": "slurm"})),
        ({}, {"OMPI_COMM_WORLD_SIZE": "2"}, False, ("OMPI_COMM_WORLD_SIZE", {"cluster_detection_method": "ompi"})),
        ({}, JAX, False, ("JAX_COORDINATOR_ADDRESS", ADDRESS)),
        ({}, {}, True, ("the TPU", {})),
        (FLAGS, {"SLURM_NTASKS": "8"} | JAX, True, ("flags", ADDRESS)),
        ({"processes": 1}, {"SLURM_NTASKS": "8"}, True, None),
    ],
)
def test_flags_come_before_variables_and_those_before_launchers(
    flags: dict[str, Any], environment: dict[str, str], on_tpu: bool, found: tuple | None
) -> None:
    assert cluster.find(keys(**flags), environment, on_tpu=on_tpu) == found


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"processes": 2}, {}, "cluster.coordinator: not given"),
        ({"coordinator": "a:1", "processes": 2}, {}, "cluster.process: not given"),
        (FLAGS | {"process": 4}, {}, "cluster.process=4: processes are numbered 0 to 3"),
        (FLAGS | {"coordinator": "node1"}, {}, "cluster.coordinator=node1: give HOST:PORT"),
        ({}, JAX | {"JAX_PROCESS_ID": "x"}, "JAX_COORDINATOR_ADDRESS is set; JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        ({}, {"JAX_COORDINATOR_ADDRESS": "a:1"}, "JAX_COORDINATOR_ADDRESS is set; JAX_NUM_PROCESSES"),
    ],
)
def test_half_of_it_is_refused(flags: dict[str, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        cluster.find(keys(**flags), environment, on_tpu=False)
    assert str(error.value).startswith(message)


def test_alone_it_is_a_plain_call() -> None:
    made: list[int] = []
    assert cluster.in_turn(lambda: made.append(1)) is None
    assert cluster.once(lambda: 3) == 3
    assert made == [1]
    assert cluster.agree(7) == 7
    assert cluster.anywhere(True)
    assert not cluster.anywhere(False)
