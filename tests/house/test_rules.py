"""House rules: what the documentation says is what the code does."""

from __future__ import annotations

import re
import subprocess
import sys

import yaml

from migrations import read_migrations
from orderfood.settings import describe_settings
from orderfood.shop.lifecycle import CUSTOMER, SHOP, STEPS
from rig.lifecycle_picture import documented_picture, lifecycle_picture
from rig.processes import MODULES, ROOT, run
from rig.release import version_of
from rig.settings_table import documented_table, settings_table
from storage import SCHEMA_VERSION


def test_imports_point_right() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; lint_imports()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_migrations_are_twins_and_as_new_as_the_code_needs() -> None:
    names = {backend: [m.name for m in read_migrations(backend)] for backend in BACKENDS}
    assert names["sqlite"] == names["postgresql"]
    assert read_migrations("sqlite")[-1].version == SCHEMA_VERSION


BACKENDS = ("sqlite", "postgresql")


def test_the_readme_documents_every_setting() -> None:
    table = documented_table((ROOT / "docs" / "configuration.md").read_text())
    assert table == settings_table(), "python -m rig.settings_table writes it"


def test_the_kitchens_page_draws_and_lists_the_steps_that_there_are() -> None:
    page = (ROOT / "docs/kitchen.md").read_text()
    assert documented_picture(page) == lifecycle_picture(), (
        "python -m rig.lifecycle_picture draws it"
    )
    rows = re.findall(r"^\| (…|POST [\w/]+)/(\w+) \| ([^|]*) \|", page, re.MULTILINE)
    listed = {
        (action, *leads.split(" → "), CUSTOMER if path == "POST /api/order/ID" else SHOP)
        for path, action, arrows in rows
        for leads in arrows.split(", ")
    }
    assert listed == {(step.action, step.source, step.target, step.by) for step in STEPS}


def test_every_program_tells_its_settings_and_its_version() -> None:
    for program in MODULES:
        done = run(program, "--help")
        assert done.returncode == 0
        assert all(setting.name in done.stdout for setting in describe_settings())
        version = run(program, "--version")
        assert re.fullmatch(rf"{program} \S+\n", version.stdout)


def test_the_environment_is_read_in_one_module() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for package in ("orderfood", "storage", "fixtures", "migrations", "scripts")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bos\.(environ|getenv)\b|from os import environ", path.read_text())
    }
    # beside it one default is written, before numpy is imported
    assert readers == {"orderfood/settings/__init__.py", "orderfood/couponfiles/__init__.py"}


def test_the_security_page_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"\b(\w+/test_\w+\.py)(?:::(test_\w+))?", page)
    assert len(named) > 50
    missing = [(file, test) for file, test in named if not is_there(file, test)]
    assert missing == []


def is_there(file: str, test: str) -> bool:
    path = ROOT / "tests" / file
    return path.is_file() and (not test or f"def {test}(" in path.read_text())


def versions() -> dict[str, str]:
    """What each part says that its version is."""
    contract = yaml.safe_load((ROOT / "orderfood/api/openapi.yaml").read_text())
    said = {"openapi.yaml": contract["info"]["version"]}
    for path in sorted((ROOT / "chart").glob("*/Chart.yaml")):
        chart = yaml.safe_load(path.read_text())
        said[chart["name"]] = chart["version"]
        if chart["name"] != "postgres":  # whose application is Postgres
            said[f"{chart['name']}'s application"] = chart["appVersion"]
    headings = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", changelog(), re.MULTILINE)
    said["CHANGELOG.md"] = headings[0]
    said["README.md"] = re.findall(r"order-food:([\w.]+)", (ROOT / "README.md").read_text())[0]
    return said


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def test_all_parts_have_one_version() -> None:
    version = version_of(ROOT)
    assert {name: said for name, said in versions().items() if said != version} == {}


def test_the_changelog_has_room_for_the_next_one() -> None:
    assert re.search(r"^## Unreleased$", changelog(), re.MULTILINE)


def test_the_documentation_names_files_that_there_are() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    missing = {
        f"{page.name}: {path}"
        for page in pages
        for path in re.findall(rf"[`(]((?:{FOLDERS})/[\w./-]*\w)/?[`)]", page.read_text())
        if not (ROOT / path).exists()
    }
    assert missing == set()


FOLDERS = "orderfood|storage|scripts|fixtures|migrations|rig|tests|benchmarks|chaos|chart|docs"
