"""The files of deploy/ and the commands of docs/cluster.md: they parse, by those who will read them."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml
from ray.autoscaler._private.util import validate_config
from ray.scripts import scripts

from sweep.cli import app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = {  # what a RayJob may say, of KubeRay's own reference
    "spec": {
        *("entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "suspend", "clusterSelector", "rayClusterSpec"),
        *("shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "metadata"),
        *("entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "submitterPodTemplate", "submitterConfig"),
    },
    "cluster": {
        *("rayVersion", "headGroupSpec", "workerGroupSpecs", "authOptions", "enableInTreeAutoscaling"),
        *("autoscalerOptions", "headServiceAnnotations", "gcsFaultToleranceOptions", "suspend", "upgradeStrategy"),
    },
    "workers": {
        *("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "numOfHosts"),
        *("idleTimeoutSeconds", "scaleStrategy", "suspend", "resources", "labels"),
    },
}


def check_ray(arguments: list[str]) -> None:
    """Parses a `ray` command with Ray's own parser; raises for an unknown one or flag."""
    command: click.Command = scripts.cli
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.commands.get(name)
        assert found is not None, f"ray has no command {name}"
        command = found
    command.make_context(command.name, arguments)


def check_lcsweep(arguments: list[str]) -> None:
    commands: Any = typer.main.get_command(app.app)
    name, *rest = arguments
    commands.commands[name].make_context(name, rest)


def commands_of(path: Path) -> Iterator[list[str]]:
    """The commands `ray ...` and `lcsweep ...` in a document, in a file's comments and in a script."""
    text = path.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip().lstrip("#").strip()
        line = re.sub(r"^(until |RAY_AUTH_MODE=token )", "", line).split(" >/dev")[0].split("  #")[0].rstrip("& ")
        line = line.replace('"${start[@]}"', "--num-cpus=2 --temp-dir=/tmp/r --disable-usage-stats --block")
        if re.match(r"(ray|lcsweep) (?!or|and)[a-z]", line):
            yield shlex.split(re.sub(r"\$\{?\w+[^ \"]*", "1", line))


@pytest.mark.parametrize("path", [ROOT / "docs/cluster.md", *sorted(DEPLOY.iterdir())], ids=lambda path: path.name)
def test_every_command_is_one(path: Path) -> None:
    found = list(commands_of(path))
    assert path.name == "Dockerfile" or len(found) >= (2 if path.suffix == ".sh" else 1) or path.name == "rayjob.yaml"
    for command in found:
        (check_ray if command[0] == "ray" else check_lcsweep)(command[1:])


@pytest.mark.parametrize(
    "command", ["ray start --heads", "ray begin", "lcsweep run study.py --adress auto", "lcsweep sweep study.py"]
)
def test_a_wrong_command_is_found(command: str, tmp_path: Path) -> None:
    (tmp_path / "file.md").write_text(f"# {command}\n")
    ((tool, *arguments),) = commands_of(tmp_path / "file.md")
    with pytest.raises((AssertionError, KeyError, Exception), match=r"no command|begin|No such option|sweep"):
        (check_ray if tool == "ray" else check_lcsweep)(arguments)


def test_the_cloud_machines_fit_rays_own_schema() -> None:
    config = yaml.safe_load((DEPLOY / "aws.yaml").read_text())
    validate_config(config | {"cluster_synced_files": []})
    assert config["head_node_type"] in config["available_node_types"]
    for start in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        check_ray(shlex.split(start.removeprefix("RAY_AUTH_MODE=token ").replace("$RAY_HEAD_IP", "head"))[1:])
    with pytest.raises(Exception, match="Additional properties are not allowed"):
        validate_config(config | {"cluster_synced_files": [], "workers": 3})


def test_the_kubernetes_job_says_what_kuberay_knows() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert set(job["spec"]) <= KUBERNETES["spec"]
    assert set(cluster) <= KUBERNETES["cluster"]
    assert all(set(group) <= KUBERNETES["workers"] for group in cluster["workerGroupSpecs"])
    assert cluster["authOptions"] == {"mode": "token"}
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == "IMAGE"
        assert set(container["resources"]) == {"requests", "limits"}
        check_ray(["start", *(f"--{name}={value}" for name, value in group["rayStartParams"].items())])
    tool, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert tool == "lcsweep"
    check_lcsweep(arguments)


def test_ray_is_of_the_version_that_is_pinned() -> None:
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
    assert f"rayproject/ray:{pinned[1]}-py311" in (DEPLOY / "Dockerfile").read_text()


def test_the_batch_script_parses_and_asks_slurm_for_what_it_knows() -> None:
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    asked = re.findall(r"^#SBATCH --([a-z-]+)=\S+$", script.read_text(), re.MULTILINE)
    assert asked == ["job-name", "nodes", "ntasks-per-node", "cpus-per-task", "time", "signal"]
