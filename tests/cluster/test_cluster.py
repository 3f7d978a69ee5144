"""The service on a real Kubernetes. The tests stand in the order of the story: each goes on where
the one before it ended, while orders and reads go on."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from orderfood.settings import describe_settings
from rig.processes import ROOT
from rig.release import version_of
from storage import SCHEMA_VERSION
from tests.cluster import kube
from tests.cluster.jaeger import Jaeger
from tests.cluster.kube import kubectl, wait_until
from tests.cluster.stream import Sample, Stream
from tests.cluster.timeline import Timeline
from tests.versions import BROKEN, EXPAND, add_migration, copy_tree

MENU = json.loads((ROOT / "fixtures" / "products.json").read_text())
OLD_PRICE, NEW_PRICE = MENU[0]["price"], 13.49


NAME = "app.kubernetes.io/name=order-food"

Settings = dict[str, str]


def deploy(
    settings: Settings, *, version: str | None = None, tree: Path = ROOT, code: int = 0
) -> str:
    tagged = {"VERSION": version} if version else {}
    return kube.run("./deploy.sh", cwd=tree, code=code, settings={**settings, **tagged})


# --- from nothing ---


def test_deploys_from_nothing(timeline: Timeline) -> None:
    timeline.note("deploy.sh from nothing")
    told = deploy({})
    assert f" runs in namespace {kube.NAMESPACE}. Reach it" in told
    assert f"NAMESPACE={kube.NAMESPACE} ./cleanup.sh" in told
    assert "order-food is ready" in told
    pods = kube.order_food_pods()
    assert len(pods) == 2
    names, of_pod = [pod["metadata"]["name"] for pod in pods], timeline.watch.of_pod
    wait_until("they were seen to be ready", lambda: all("Ready" in of_pod(n) for n in names))
    wanted = ["Init:0/2", "Init:1/2", "Running", "Ready"]
    for name in names:
        assert [phase for phase in of_pod(name) if phase in wanted] == wanted


def test_one_pod_alone_migrated() -> None:
    logs = kubectl("logs", "-l", NAME, "-c", "database-migration")
    assert logs.count("applied 0001_") == 1


def test_the_examples_answer_through_the_service() -> None:
    assert "all right" in kube.run("scripts/smoke.sh", kube.base_url())


UNWANTED = """
import pathlib
for path in pathlib.Path("/").rglob("*"):
    if path.parts[1] in ("proc", "sys", "dev") or path.is_symlink() or not path.is_file():
        continue
    if path.stat().st_mode & 0o6000 or {"pip", "numpy"} & set(path.parts):
        print(path)
packages = pathlib.Path("/usr/local/lib/python3.13/site-packages")
size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
if size > 100e6:
    print(f"{packages} has {size} bytes")
"""


def test_the_image_holds_nothing_that_it_does_not_need() -> None:
    inside = ("exec", "deployment/order-food", "--container", "order-food", "--", "python", "-c")
    assert kubectl(*inside, UNWANTED).splitlines() == []


@pytest.mark.parametrize("release", ["order-food", "database-load", "postgres"])
def test_helm_test_places_an_order(release: str) -> None:
    told = kube.run("helm", "test", release)
    assert "Phase:          Succeeded" in told


def commands_of(document: str, name: str) -> list[str]:
    """The commands of the block of this name."""
    block = (ROOT / document).read_text().partition(f"<!-- {name} -->\n```sh\n")[2]
    return block.partition("```")[0].replace("\\\n", "").splitlines()


@pytest.fixture
def at_home(tmp_path: Path) -> Settings:
    """A kubectl whose own namespace is the tests'."""
    config = tmp_path / "config"
    config.write_text(kube.run("kubectl", "config", "view", "--raw", "--minify", "--flatten"))
    settings = {"KUBECONFIG": str(config)}
    change = ("set-context", "--current", "--namespace", kube.NAMESPACE)
    kube.run("kubectl", "config", *change, settings=settings)
    return settings


def test_the_commands_by_hand_do_what_the_readme_says(
    timeline: Timeline, at_home: Settings
) -> None:
    timeline.note("the README's commands by hand")
    told = ""
    for command in commands_of("README.md", "by hand"):
        told = kube.run("bash", "-c", command, settings=at_home)
        kube.roll_out("status")
        # one on its way out may be gone when its log is asked for
        kube.wait_until("the old pods are gone", kube.no_pod_ends)
    assert "the schema is up to date" in told
    kube.finish_load("manual-load-1", "complete")
    [pod, *_] = kube.order_food_pods()
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["database-migration"]
    assert kube.base_url(), "it has no port on the node any more"


def own_values(folder: Path, jaeger: Jaeger | None) -> str:
    """A menu in a ConfigMap, and where the spans go."""
    values: dict[str, Any] = {"fixtures": {"existingConfigMap": "menu"}}
    if jaeger:
        values["env"] = {"JAEGER_ENDPOINT": jaeger.endpoint}
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    return str(file)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger | None) -> Settings:
    """How deploy.sh is called from here on."""
    file = own_values(tmp_path_factory.mktemp("values"), jaeger)
    return {"DATABASE_LOAD_VALUES": file, "ORDER_FOOD_VALUES": file}


def password() -> str:
    [secret] = kube.objects("secrets", "app.kubernetes.io/name=postgres")
    return str(secret["data"]["password"])


def test_deploying_again_changes_what_is_asked_for_and_keeps_the_password(
    timeline: Timeline, settings: Settings
) -> None:
    before = password()
    kube.set_menu(json.dumps(MENU))
    timeline.note("deploy.sh again, with a menu in a ConfigMap")
    # the charts' own tag, which the other module takes
    deploy(settings, version=version_of(ROOT))
    assert password() == before


# --- while orders and reads go on ---


def assert_nobody_noticed(stream: Stream, since: float) -> None:
    """Requests went on, none failed, and each acknowledged order is there."""
    count = len(stream.samples)
    wait_until("some more requests are answered", lambda: len(stream.samples) > count + 50)
    failed = [sample for sample in stream.since(since) if sample.status != 200]
    assert not failed, failed[:5]
    assert stream.orders
    assert stream.lost_orders() == []
    wait_until("all orders have come by the feed", lambda: not stream.unseen_orders())
    numbers = [number for number, _ in stream.followed]
    assert numbers == sorted(set(numbers)), "an event came twice, late, or was missing"


def menu_at(price: float) -> str:
    return json.dumps([{**MENU[0], "price": price}, *MENU[1:]])


def committed_at(job: str) -> float:
    """When the job says that it has loaded: after its commit."""
    from datetime import datetime

    [line] = [
        line
        for line in kube.log_lines(f"job/{job}", "database-load")
        if line["message"].startswith("loaded in")
    ]
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def test_a_run_by_hand_changes_a_price_within_a_second(timeline: Timeline, stream: Stream) -> None:
    since = timeline.note("CronJob run by hand changes a price")
    kube.set_menu(menu_at(NEW_PRICE))
    kube.start_load("price")
    kube.finish_load("price", "complete")
    committed = committed_at("price")
    assert_nobody_noticed(stream, since)
    seen = [sample for sample in stream.since(since) if sample.kind == "menu"]
    assert {sample.price for sample in seen} == {OLD_PRICE, NEW_PRICE}
    assert {s.price for s in seen if s.sent > committed + 1.0} == {NEW_PRICE}


def test_a_run_that_fails_moves_nothing_else(timeline: Timeline, stream: Stream) -> None:
    since = timeline.note("CronJob run fails on a broken menu")
    kube.set_menu('[{"id": "1", "name": "Chicken Waffle", "price": -1, "category": "Waffle"}]')
    kube.start_load("broken")
    kube.finish_load("broken", "failed")
    runbook = commands_of("docs/runbooks.md", "failed refresh")
    jobs, told = [kubectl(*command.split()[3:]) for command in runbook]
    assert "broken" in jobs
    assert ": failed after " in told
    assert "products.json" in told
    kube.set_menu(menu_at(NEW_PRICE))
    assert_nobody_noticed(stream, since)
    assert {s.price for s in stream.since(since) if s.kind == "menu"} == {NEW_PRICE}


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_tree(tmp_path_factory.mktemp("next"))
    add_migration(tree, 1, EXPAND)
    return tree


def test_a_new_version_rolls_out_beside_the_old_one_on_one_schema(
    timeline: Timeline,
    stream: Stream,
    next_version: Path,
    settings: Settings,
    tmp_path: Path,
) -> None:
    old = {pod["metadata"]["name"] for pod in kube.order_food_pods()}
    kubectl("scale", "deployment/order-food", "--replicas=3")
    kube.roll_out("status")
    since = timeline.note("rolling update from 3 to 2, to a version with one more migration")
    values = tmp_path / "values.json"
    own = json.loads(Path(settings["ORDER_FOOD_VALUES"]).read_text())
    values.write_text(json.dumps({**own, "migrations": {"job": {"enabled": True}}}))
    deploy({**settings, "ORDER_FOOD_VALUES": str(values)}, version="next", tree=next_version)
    wait_until("the old pods are gone", kube.no_pod_ends)  # one may be gone before its log is read
    logs = kubectl("logs", "-l", NAME, "-c", "database-migration")
    assert "the schema is up to date" in logs
    assert "applied 00" not in logs, "the Job has done it before"
    pods = kube.order_food_pods()
    assert len(pods) == 2, "what the chart says counts, whoever has scaled it meanwhile"
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"order-food:next"}
    assert not old & {pod["metadata"]["name"] for pod in pods}
    assert_nobody_noticed(stream, since)


def test_a_pod_is_deleted(timeline: Timeline, stream: Stream) -> None:
    since = timeline.note("a pod is deleted")
    [pod, *_] = kube.order_food_pods()
    kubectl("delete", "pod", pod["metadata"]["name"])
    kube.roll_out("status")
    assert_nobody_noticed(stream, since)


def test_a_password_is_rotated_in_its_secret_and_nowhere_else(timeline: Timeline) -> None:
    """The database restarts later on: then new connections need the new one."""
    timeline.note("the password is rotated")
    commands = commands_of("docs/operations.md", "rotate")
    script = "\n".join(commands).replace("NS", kube.NAMESPACE)
    before = password()
    kube.run("bash", "-ec", script)
    assert password() != before


AUTOSCALING = {
    "enabled": True,
    "minReplicas": 2,
    "maxReplicas": 4,
    # 60 are near what the stream alone takes on a busy machine
    "targetCPUUtilizationPercentage": 120,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


def upgrade(values: dict[str, Any]) -> None:
    """order-food as it is, but for these values."""
    flags = (
        "--reset-then-reuse-values",
        "--server-side=true",
        "--force-conflicts",
        "--values",
        "-",
    )
    kube.run("helm", "upgrade", "order-food", "chart/order-food", *flags, text=json.dumps(values))


def ready_pods() -> int:
    [deployment] = kube.objects("deployments", NAME)
    return int(deployment["status"].get("readyReplicas", 0))


def test_an_autoscaler_follows_the_load(timeline: Timeline, stream: Stream) -> None:
    since = timeline.note("an autoscaler, and load")
    upgrade({"autoscaling": AUTOSCALING})
    load = ["wrk", "-t1", "-c8", "-d300", f"{kube.base_url()}/api/product"]
    with subprocess.Popen(load, stdout=subprocess.DEVNULL) as running:
        try:
            wait_until("there are four pods", lambda: ready_pods() == 4)
        finally:
            running.terminate()
    timeline.note("the load ends")
    wait_until("two pods are left", lambda: len(all_pods()) == 2)
    upgrade({"autoscaling": {"enabled": False}})
    assert len(kube.order_food_pods()) == 2
    assert_nobody_noticed(stream, since)


def all_pods() -> list[dict[str, Any]]:
    return kube.objects("pods", NAME)


def failed_starts(container: str) -> list[str]:
    """The pods that this init container keeps from starting, after a first failure."""
    return [
        pod["metadata"]["name"]
        for pod in kube.order_food_pods()
        for status in pod["status"].get("initContainerStatuses", ())
        if status["name"] == container and status["restartCount"] > 0 and not status["ready"]
    ]


def test_a_failing_migration_keeps_the_new_pod_from_starting(
    timeline: Timeline,
    stream: Stream,
    next_version: Path,
    tmp_path: Path,
    settings: Settings,
) -> None:
    broken = Path(shutil.copytree(next_version, tmp_path / "broken", symlinks=True))
    add_migration(broken, 2, BROKEN)
    since = timeline.note("a version whose database-migration fails")
    slow, before = {**settings, "TIMEOUT": "20s"}, password()
    told = deploy(slow, version="broken", tree=broken, code=1)
    assert "order-food did not become ready" in told
    assert f"{SCHEMA_VERSION + 2:04}_step failed" in told
    assert "order-food is back at revision" in told
    assert password() == before, "a rollback has brought an old one back"
    kube.roll_out("status")
    wait_until("the pod that failed is gone", lambda: len(all_pods()) == 2)
    assert_nobody_noticed(stream, since)


def test_a_failing_load_keeps_the_new_pod_from_starting(timeline: Timeline, stream: Stream) -> None:
    kube.set_menu("[]")
    since = timeline.note("a restart whose database-load fails")
    kubectl("rollout", "restart", "deployment/order-food")
    [pod] = wait_until("it has failed", lambda: failed_starts("database-load"))
    assert "Init:1/2" in timeline.watch.of_pod(pod)
    kube.set_menu(menu_at(NEW_PRICE))
    kube.roll_out("undo")
    assert_nobody_noticed(stream, since)


# --- the database goes ---


def is_retry_later(sample: Sample) -> bool:
    return sample.status == 503 and sample.retry_after is not None


def has_new_password(pod: str) -> bool:
    read = ("exec", pod, "--container", "order-food", "--", "cat", "/etc/orderfood/storage/url")
    return b64decode(password()).decode() in kubectl(*read)


def test_the_database_restarts(timeline: Timeline, stream: Stream) -> None:
    for pod in kube.order_food_pods():
        wait_until("the password is there", lambda: has_new_password(pod["metadata"]["name"]))  # noqa: B023
    pods = {pod["metadata"]["uid"]: restarts(pod) for pod in kube.order_food_pods()}
    since = timeline.note("the database's pod is deleted")
    kubectl("delete", "pod", "postgres-0")
    kubectl("rollout", "status", "statefulset/postgres", "--timeout=120s")
    wait_until("requests are answered again", lambda: all_answered(stream, time.time() - 2))
    unanswered = [s for s in stream.since(since) if s.status != 200]
    assert unanswered, "it was not noticed at all"
    assert all(is_retry_later(sample) for sample in unanswered), unanswered[:5]
    assert {p["metadata"]["uid"]: restarts(p) for p in kube.order_food_pods()} == pods
    assert_nobody_noticed(stream, timeline.note("and is back"))


def restarts(pod: dict[str, Any]) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def all_answered(stream: Stream, since: float) -> bool:
    samples = stream.since(since)
    return len(samples) > 20 and all(sample.status == 200 for sample in samples)


# --- what is seen from outside, and the end ---


def test_a_backup_is_restored(timeline: Timeline, stream: Stream, at_home: Settings) -> None:
    """By the commands of docs/operations.md."""
    backup = ("--set", "backup.enabled=true", "--set", "backup.keep=2")
    kube.run("helm", "upgrade", "postgres", "chart/postgres", "--reset-then-reuse-values", *backup)
    stream.__exit__()
    timeline.note("a backup is restored")
    for command in commands_of("docs/operations.md", "backup"):
        kube.run("bash", "-c", command, settings=at_home)
    kube.finish_load("backup-1", "complete")
    late = stream.place_one()
    for command in commands_of("docs/operations.md", "restore"):
        kube.run("bash", "-c", command, settings=at_home)
    kube.roll_out("status")
    assert stream.lost_orders() == [late]


def test_spans_of_all_three_programs_reach_jaeger(jaeger: Jaeger | None) -> None:
    if "JAEGER_ENDPOINT" not in {setting.name for setting in describe_settings()}:
        pytest.skip("the programs send no traces yet")
    if jaeger is None:
        pytest.skip("no jaeger on PATH, or the cluster's node is not this machine")
    programs = {"database-migration", "database-load", "order-food"}
    wait_until("all three have sent spans", lambda: programs <= jaeger.services())


def test_cleanup_leaves_nothing(timeline: Timeline, stream: Stream) -> None:
    timeline.note("cleanup.sh")
    kube.run("./cleanup.sh")
    [kept] = kube.objects("secrets", "app.kubernetes.io/part-of=orderfood")
    assert kept["metadata"]["name"] == "orderfood-database"
    claims = {claim["metadata"]["name"] for claim in kube.objects("persistentvolumeclaims")}
    assert claims == {"data-postgres-0", "postgres-backup"}
    # what is not deploy.sh's keeps the namespace
    kubectl("delete", "configmap/menu", "persistentvolumeclaim/postgres-backup")
    timeline.note("cleanup.sh --data")
    kube.run("./cleanup.sh", "--data")
    assert kube.NAMESPACE not in kube.run("kubectl", "get", "namespaces")
    assert "nothing to do" in kube.run("./cleanup.sh", "--data")
