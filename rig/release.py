"""Makes what is released: `make release` writes dist/ from the commit that is checked out.

The source distribution, the wheel, the charts' packages, the three images (as deploy.sh builds
them), an SBOM of what a wheel is installed with, and SHA256SUMS. But for the images the same commit
gives the same bytes, on any day: times are the commit's, owners are nobody's, order is by name.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHARTS = ("order-food", "database-load", "postgres")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="release", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="an empty folder, or none")
    parser.add_argument("--no-images", action="store_true", help="leave out the images")
    arguments = parser.parse_args(argv)
    try:
        release(arguments.to.resolve(), images=not arguments.no_images)
    except (OSError, subprocess.CalledProcessError, ReleaseError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


class ReleaseError(Exception):
    """Nothing can be released from here; the message says why."""


def release(target: Path, *, images: bool) -> None:
    """Writes all of it into a folder. Raises ReleaseError, OSError and CalledProcessError."""
    if target.exists() and any(target.iterdir()):
        raise ReleaseError(f"{target} is not empty")
    for program in ("git", "helm"):
        if shutil.which(program) is None:
            raise ReleaseError(f"{program} is missing")
    if git("status", "--porcelain"):
        print("release: what is not committed is left out", file=sys.stderr)
    target.mkdir(parents=True, exist_ok=True)
    time = int(git("log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as folder:
        source = check_out(Path(folder))
        build_distributions(source, target, time)
        build_charts(source, target, time)
        write_sbom(source, target, Path(folder) / "sbom", time)
        if images:
            build_images(source)
    write_sums(target)


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def check_out(folder: Path) -> Path:
    """What the commit holds, in a folder of its own."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(
        ["git", "-c", "tar.umask=022", "archive", "HEAD"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    # not by tarfile: it can refuse a path that leaves the folder since Python 3.11.4 only
    subprocess.run(["tar", "-x", "--no-same-owner"], cwd=source, input=archive.stdout, check=True)
    return source


def version_of(source: Path) -> str:
    lines = (source / "setup.cfg").read_text().splitlines()
    return next(line for line in lines if line.startswith("version")).partition("= ")[2]


def build_distributions(source: Path, target: Path, time: int) -> None:
    """The source distribution, and the wheel out of it."""
    run(source, sys.executable, "-m", "build", "--outdir", str(target), epoch=time)
    [packed] = target.glob("*.tar.gz")
    normalize(packed, time)


def build_charts(source: Path, target: Path, time: int) -> None:
    for chart in CHARTS:
        run(source, "helm", "package", f"chart/{chart}", "--destination", str(target), epoch=time)
    for packed in target.glob("*.tgz"):
        normalize(packed, time)


def normalize(packed: Path, time: int) -> None:
    """Writes a gzipped tar anew: its files by name, at this time, of nobody."""
    with tarfile.open(packed) as old:
        files = [(entry, old.extractfile(entry)) for entry in old.getmembers() if entry.isfile()]
        contents = {entry.name: file.read() for entry, file in files if file}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as new:
        for name in sorted(contents):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(contents[name]), time, 0o644
            new.addfile(entry, io.BytesIO(contents[name]))
    packed.write_bytes(gzip.compress(tar.getvalue(), mtime=time))


def write_sbom(source: Path, target: Path, environment: Path, time: int) -> None:
    """CycloneDX, of the wheel and what constraints.txt has it run with."""
    run(source, sys.executable, "-m", "venv", "--without-pip", str(environment))
    [wheel] = target.glob("*.whl")
    python = ("--python", str(environment / "bin" / "python"))
    install = ("install", "--quiet", "--constraint", "constraints.txt", str(wheel))
    run(source, sys.executable, "-m", "pip", *python, *install)
    for origin in environment.rglob("direct_url.json"):
        origin.unlink()  # where the wheel lay just now
    sbom = target / f"orderfood-{version_of(source)}.cdx.json"
    tool = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible")
    run(source, *tool, "--output-file", str(sbom), str(environment), epoch=time)


def build_images(source: Path) -> None:
    """Each with the version and the revision as labels, and with an SBOM of its own inside."""
    revision = git("rev-parse", "HEAD")
    run(source, "./deploy.sh", "--images", VERSION=version_of(source), REVISION=revision)


def write_sums(target: Path) -> None:
    files = sorted(file for file in target.iterdir() if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (target / "SHA256SUMS").write_text("".join(lines))
    print("".join(lines), end="")


def run(folder: Path, *command: str, epoch: int = 0, **settings: str) -> None:
    """Raises CalledProcessError, after what the command itself has said."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), **settings}
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main())
