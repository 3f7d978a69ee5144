"""What `make release` makes: the same bytes from the same commit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from rig.processes import ROOT
from rig.release import CHARTS, version_of

IS_CLONE = (
    subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode == 0
)


def release(folder: Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "rig.release", "--no-images", "--to", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not IS_CLONE:
        pytest.skip("this tree is no clone: there is no commit to release")
    if shutil.which("helm") is None:
        pytest.skip("helm is missing")
    folder = tmp_path_factory.mktemp("release") / "dist"
    release(folder)
    return folder


def test_twice_gives_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = os.path.relpath(tmp_path / "again", ROOT)  # a path counts from where it is called
    release(Path(again))
    for file in dist.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_it_is_all_there_and_whole(dist: Path) -> None:
    version = version_of(ROOT)
    assert sorted(file.name for file in dist.iterdir()) == sorted(
        [
            "SHA256SUMS",
            f"orderfood-{version}-py3-none-any.whl",
            f"orderfood-{version}.cdx.json",
            f"orderfood-{version}.tar.gz",
            *(f"{chart}-{version}.tgz" for chart in CHARTS),
        ]
    )
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    with zipfile.ZipFile(dist / f"orderfood-{version}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert {"orderfood/web/static/kitchen/main.js", "fixtures/products.json"} <= set(names)
    with tarfile.open(dist / f"orderfood-{version}.tar.gz") as packed:
        assert f"orderfood-{version}/setup.cfg" in packed.getnames()
    for chart in CHARTS:
        with tarfile.open(dist / f"{chart}-{version}.tgz") as packed:
            shared = packed.extractfile(f"{chart}/templates/_shared.tpl")
            assert shared
            assert b"define" in shared.read(), "the link was not followed"


def test_the_sbom_names_what_a_wheel_runs_with(dist: Path) -> None:
    sbom = json.loads((dist / f"orderfood-{version_of(ROOT)}.cdx.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    names = {component["name"].lower() for component in sbom["components"]}
    assert {"orderfood", "tornado", "asyncpg", "numpy"} <= names
    assert "pytest" not in names


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    assert "is not empty" in release(tmp_path, code=1)
