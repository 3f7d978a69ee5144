"""deploy.sh and cleanup.sh without a cluster: what they say is missing, and what they call. The
tools are stand-ins that write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rig.processes import ROOT

SHELL = ("bash", "env", "cat", "dirname", "sed", "grep", "git")
ANSWERS = {
    "minikube": "if [ $1 = docker-env ]; then echo 'export DOCKER_HOST=tcp://minikube'; fi",
    "docker": 'echo "$DOCKER_HOST" >>"$CALLS"',
    "helm": "cat >>$INPUT",
}
PASSWORD = "it's-hidden"
URL = f"postgresql://shop:{PASSWORD}@db.example/shop"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH that holds a shell and nothing else yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SHELL:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def add(tools: Path, *names: str) -> None:
    for name in names:
        script = tools / name
        script.write_text(
            f'#!/usr/bin/env bash\necho "{name} $*" >>"$CALLS"\n{ANSWERS.get(name, "")}\n'
        )
        script.chmod(0o755)


def run(script: str, tools: Path, **settings: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", f"./{script}"],
        cwd=ROOT,
        env={
            "PATH": str(tools),
            "HOME": os.environ["HOME"],
            "CALLS": str(tools.parent / "calls"),
            "INPUT": str(tools.parent / "input"),
            **settings,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def calls(tools: Path) -> list[str]:
    return (tools.parent / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([], "kubectl is missing"),
        (["kubectl"], "helm is missing"),
        (["kubectl", "helm"], "docker is missing"),
        (["kubectl", "helm", "docker"], "minikube is missing"),
    ],
)
def test_deploy_says_at_once_what_is_missing(tools: Path, there: list[str], missing: str) -> None:
    add(tools, *there)
    code, told = run("deploy.sh", tools)
    assert code == 1
    assert told.startswith(f"deploy.sh: {missing}")
    assert not (tools.parent / "calls").exists()


@pytest.mark.parametrize("script", ["deploy.sh", "cleanup.sh"])
def test_no_cluster_is_said_before_anything_is_done(tools: Path, script: str) -> None:
    add(tools, "kubectl", "helm", "docker", "minikube")
    (tools / "kubectl").write_text("#!/usr/bin/env bash\nexit 1\n")
    code, told = run(script, tools)
    assert code == 1
    assert "no cluster answers kubectl" in told
    assert not (tools.parent / "calls").exists()


def test_by_default_it_builds_on_minikubes_docker(tools: Path) -> None:
    add(tools, "kubectl", "helm", "docker", "minikube")
    code, told = run("deploy.sh", tools, VERSION="1.2.3")
    assert (code, told) == (0, "")
    made = calls(tools)
    for image in ("database-migration", "database-load", "order-food"):
        [build] = [call for call in made if call.startswith(f"docker build --target {image} ")]
        assert build.endswith(f"--tag {image}:1.2.3 .")
        assert made[made.index(build) + 1] == "tcp://minikube"
        assert f"minikube image load {image}:1.2.3" in made
    installed = [call.split()[3] for call in made if call.startswith("helm upgrade")]
    assert installed == ["postgres", "database-load", "order-food"]


def test_a_url_is_given_where_nobody_reads_it(tools: Path) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    code, told = run(
        "deploy.sh", tools, STORAGE_URL=URL, BUILD_IMAGE="build --quickly", LOAD_IMAGE="load"
    )
    assert code == 0, told
    made = calls(tools)
    assert PASSWORD not in "\n".join(made)
    assert not any("postgres" in call for call in made)
    quoted = URL.replace("'", "''")
    expected = f"storage: {{url: '{quoted}'}}\n"
    assert (tools.parent / "input").read_text() == expected * 2
    assert sum(call.startswith("build --quickly --target") for call in made) == 3


@pytest.mark.parametrize(
    ("mounts", "environment", "said"),
    [
        ("", "dev", "the sample keys, apitest, apitest-readonly and apikitchen"),
        ("", "prod", "none: ENVIRONMENT is prod,"),
        ("", "Production", "none: ENVIRONMENT is Production,"),
        ("users users", "prod", "those of your own users.json"),
        ("existing-fixtures", "dev", "those of your own users.json"),
    ],
)
def test_deploy_says_which_keys_are_in_force(
    tools: Path, mounts: str, environment: str, said: str
) -> None:
    add(tools, "helm", "build", "load")
    (tools / "kubectl").write_text(
        "#!/usr/bin/env bash\ncase $* in\n"
        f"*users.json*) echo '{mounts}' ;;\n*ENVIRONMENT*) echo '{environment}' ;;\nesac\n"
    )
    (tools / "kubectl").chmod(0o755)
    done = subprocess.run(
        ["bash", "./deploy.sh"],
        cwd=ROOT,
        env={
            "PATH": str(tools),
            "CALLS": str(tools.parent / "calls"),
            "INPUT": str(tools.parent / "input"),
            "BUILD_IMAGE": "build",
            "LOAD_IMAGE": "load",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"keys in force: {said}" in done.stdout


def test_cleanup_refuses_an_argument_it_does_not_know(tools: Path) -> None:
    add(tools, "kubectl", "helm")
    code, told = run("cleanup.sh", tools)
    assert code == 0, told
    done = subprocess.run(["bash", "./cleanup.sh", "--all"], cwd=ROOT, capture_output=True)
    assert done.returncode == 1
