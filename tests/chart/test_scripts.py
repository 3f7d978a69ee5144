"""deploy.sh and cleanup.sh without a cluster: what they say is missing, and what they call. The
tools are stand-ins that write down how they were called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rig.processes import ROOT

SHELL = ("bash", "env", "cat", "dirname", "sed", "grep", "git", "sleep")
READY = """case $* in *exec*) echo '{"status": "ready"}' ;; esac"""
ANSWERS = {
    "minikube": "if [ $1 = docker-env ]; then echo 'export DOCKER_HOST=tcp://minikube'; fi",
    "docker": 'echo "$DOCKER_HOST" >>"$CALLS"',
    "helm": "case $* in *--values\\ -*) cat >>$INPUT ;; esac",
    "kubectl": READY,
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
        script.unlink(missing_ok=True)  # it may be a link to the real one
        script.write_text(
            f'#!/usr/bin/env bash\necho "{name} $*" >>"$CALLS"\n{ANSWERS.get(name, "")}\n'
        )
        script.chmod(0o755)


def run(script: str, tools: Path, folder: Path = ROOT, **settings: str) -> tuple[int, str]:
    """The exit code, and what was said on stderr."""
    return run_for_output(script, tools, folder=folder, **settings)[:2]


def run_for_output(
    script: str, tools: Path, *arguments: str, folder: Path = ROOT, **settings: str
) -> tuple[int, str, str]:
    """The exit code, and what was said on stderr and on stdout."""
    done = subprocess.run(
        ["bash", str(ROOT / script), *arguments],
        cwd=folder,
        env={
            "PATH": str(tools),
            "HOME": os.environ["HOME"],
            "CALLS": str(tools.parent / "calls"),
            "INPUT": str(tools.parent / "input"),
            "BUILD_IMAGE": "build" if (tools / "build").exists() else "",
            "LOAD_IMAGE": "load" if (tools / "load").exists() else "",
            **settings,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout


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
        [build] = [call for call in made if f" --target {image} " in call]
        assert build.endswith(f"--tag {image}:1.2.3 .")
        assert re.search(
            " --build-arg BASE=docker.io/library/python:3.13-slim@sha256:[0-9a-f]{64} ", build
        )
        assert made[made.index(build) + 1] == "tcp://minikube"
        assert f"minikube image load {image}:1.2.3" in made
    installed = [call.split()[3] for call in made if call.startswith("helm upgrade --install")]
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
        f"*users.json*) echo '{mounts}' ;;\n*ENVIRONMENT*) echo '{environment}' ;;\n"
        """*exec*) echo '{"status": "ready"}' ;;\nesac\n"""
    )
    (tools / "kubectl").chmod(0o755)
    code, told, printed = run_for_output("deploy.sh", tools)
    assert code == 0, told
    assert f"keys in force: {said}" in printed


HISTORY = (
    "1\tMon Jan  5\tsuperseded\ta-1\n2\tTue Jan  6\tdeployed  \ta-1\n3\tTue Jan  6\tfailed\ta-1"
)


@pytest.mark.parametrize(
    ("helm_says", "said"),
    [
        ("Error: values don't meet the specifications of the schema(s)", "values that make no"),
        ("Error: UPGRADE FAILED: conflict with kubectl: .spec.replicas", "somebody else holds"),
        ("Error: UPGRADE FAILED: pre-upgrade hooks failed: job failed", "not get past what runs"),
        ("Error: UPGRADE FAILED: context deadline exceeded", "did not become ready"),
        ("Error: UPGRADE FAILED: a service cannot be", "could not be installed"),
    ],
)
def test_a_failure_says_what_it_is_and_goes_back_to_what_was_deployed(
    tools: Path, helm_says: str, said: str
) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    fails = f'*"--install order-food"*) echo "{helm_says}" >&2; exit 1 ;;'
    history = f"history\\ database-load*) printf '{HISTORY}' ;;"
    flag = "upgrade\\ --help*) echo --force-conflicts ;;"
    with (tools / "helm").open("a") as script:
        script.write(f"case $* in\n{flag}\n{fails}\n{history}\nesac\n")
    code, told = run("deploy.sh", tools, BUILD_IMAGE="build", LOAD_IMAGE="load")
    assert code == 1
    assert helm_says in told
    assert told.splitlines()[-1].startswith(f"deploy.sh: order-food {'has ' * (said[0] in 'vs')}")
    assert said in told
    assert "order-food was never ready before" in told
    assert "database-load is back at revision 2" in told
    back = [call for call in calls(tools) if call.startswith("helm rollback")]
    assert [call.split()[2:4] for call in back] == [["database-load", "2"]]
    assert "--force-conflicts" in back[0]


def test_what_is_said_at_the_end_names_the_namespace(tools: Path) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    code, _, printed = run_for_output("deploy.sh", tools, NAMESPACE="shop")
    assert code == 0
    assert "\n  NAMESPACE=shop ./cleanup.sh\n" in printed
    assert "order-food is ready" in printed


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ('{"status": "ready", "degraded": "read-only"}', 0, "takes no orders"),
        ("the store does not answer: credentials refused", 1, "is not ready: the store does"),
    ],
)
def test_what_ready_answers_has_the_last_word(
    tools: Path, answer: str, code: int, said: str
) -> None:
    add(tools, "kubectl", "helm", "build", "load", "sleep")
    with (tools / "kubectl").open("a") as script:
        script.write(f"case $* in *exec*) echo '{answer}'; exit {code} ;; esac\n")
    (tools / "kubectl").write_text((tools / "kubectl").read_text().replace(READY, ""))
    ended, told, printed = run_for_output("deploy.sh", tools)
    assert (ended, said in told + printed) == (code, True)


def test_cleanup_says_first_what_it_removes_and_where(tools: Path) -> None:
    add(tools, "kubectl", "helm")
    with (tools / "kubectl").open("a") as script:
        script.write("case $* in *current-context*) echo minikube ;; *' namespace '*) echo n ;; ")
        script.write("*get\\ persistent*) echo persistentvolumeclaim/data-postgres-0 ;; esac\n")
    with (tools / "helm").open("a") as script:
        script.write("case $* in list*) echo order-food; echo postgres ;; esac\n")
    code, told, printed = run_for_output("cleanup.sh", tools, "--data", NAMESPACE="shop")
    assert code == 0, told
    lines = printed.splitlines()
    assert lines[0] == "from namespace shop of minikube"
    assert lines[1:3] == [
        "  the releases order-food, postgres",
        "  all orders: persistentvolumeclaim/data-postgres-0",
    ]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("exit 1", "http://NODE:30080"),
        ("echo 10.0.0.1 fd00::1", "http://10.0.0.1:30080"),
        ("echo fd00::1", "http://[fd00::1]:30080"),
    ],
    ids=["not permitted", "two families", "IPv6"],
)
def test_deploy_says_an_address_that_can_be_pasted(tools: Path, nodes: str, said: str) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    with (tools / "kubectl").open("a") as script:
        script.write(f"case $* in *nodePort*) echo 30080 ;; *get\\ nodes*) {nodes} ;; esac\n")
    code, told, printed = run_for_output("deploy.sh", tools)
    assert code == 0, told
    assert f"curl {said}/api/product" in printed
    assert "order-food is ready" in printed


def not_ours(tools: Path, release: str) -> None:
    """Lets helm say that such a release is of another project."""
    with (tools / "helm").open("a") as script:
        script.write(f"case $* in get\\ manifest\\ {release}\\ *) echo 'kind: Service' ;; esac\n")


def test_cleanup_leaves_what_somebody_else_has_installed(tools: Path) -> None:
    add(tools, "kubectl", "helm")
    with (tools / "kubectl").open("a") as script:
        script.write("case $* in *' namespace '*) echo n ;; esac\n")
    not_ours(tools, "postgres")
    code, told, printed = run_for_output("cleanup.sh", tools, "--data")
    assert code == 0, told
    assert "but not postgres, which deploy.sh has not installed" in printed
    made = calls(tools)
    assert [c.split()[2] for c in made if c.startswith("helm uninstall")] == [
        "order-food",
        "database-load",
    ]
    assert not [c for c in made if c.startswith("kubectl") and "postgres" in c]


def test_deploy_upgrades_nothing_that_somebody_else_has_installed(tools: Path) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    not_ours(tools, "postgres")
    code, told = run("deploy.sh", tools)
    assert code == 1
    assert "the release postgres in namespace default is somebody else's" in told
    assert not [c for c in calls(tools) if c.startswith("helm upgrade --install")]
    assert run("deploy.sh", tools, STORAGE_URL=URL)[0] == 0


def test_values_are_found_from_where_deploy_is_called(tools: Path, tmp_path: Path) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    (tmp_path / "my values.yaml").write_text("replicaCount: 3\n")
    code, told = run("deploy.sh", tools, folder=tmp_path, ORDER_FOOD_VALUES="my values.yaml")
    assert code == 0, told
    [call] = [c for c in calls(tools) if "--install order-food" in c]
    assert f"--values - --values {tmp_path}/my values.yaml " in call
    (tools.parent / "calls").unlink()
    code, told = run("deploy.sh", tools, POSTGRES_VALUES="/nowhere.yaml")
    assert (code, told) == (
        1,
        "deploy.sh: POSTGRES_VALUES is /nowhere.yaml: that file cannot be read\n",
    )
    assert not (tools.parent / "calls").exists()


def test_what_another_helm_is_changing_is_left_to_it(tools: Path) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    with (tools / "helm").open("a") as script:
        script.write("case $* in *'--install order-food'*) echo another operation >&2; exit 1 ;;\n")
        script.write(f"history*) printf '{HISTORY}' ;; esac\n")
    code, told = run("deploy.sh", tools)
    assert code == 1
    assert "helm -n default rollback order-food REVISION" in told
    back = [call.split()[2] for call in calls(tools) if call.startswith("helm rollback")]
    assert back == ["database-load", "postgres"]


def test_cleanup_refuses_an_argument_it_does_not_know(tools: Path) -> None:
    add(tools, "kubectl", "helm")
    code, told = run("cleanup.sh", tools)
    assert code == 0, told
    done = subprocess.run(["bash", "./cleanup.sh", "--all"], cwd=ROOT, capture_output=True)
    assert done.returncode == 1


@pytest.mark.parametrize("script", ["deploy.sh", "cleanup.sh"])
@pytest.mark.parametrize("namespace", ["-n", "--all", "a b", "Shop", "a/b", "n" * 64])
def test_what_is_no_namespace_is_refused_at_once(tools: Path, script: str, namespace: str) -> None:
    add(tools, "kubectl", "helm", "build", "load")
    code, told = run(script, tools, NAMESPACE=namespace)
    assert code == 1
    assert f"NAMESPACE is {namespace}: " in told
    assert not (tools.parent / "calls").exists()


def test_images_alone_are_built_on_the_digest_and_named_by_version_and_revision(
    tools: Path,
) -> None:
    add(tools, "docker")
    code, told, _ = run_for_output("deploy.sh", tools, "--images", VERSION="1.2.3", REVISION="abc")
    assert code == 0, told
    builds = [call for call in calls(tools) if call.startswith("docker build")]
    assert len(builds) == 3
    for build in builds:
        assert "BASE=docker.io/library/python:3.13-slim@sha256:" in build
        assert "VERSION=1.2.3 --build-arg REVISION=abc --tag" in build
