"""Files that hold a secret and may be replaced at any time, as a mounted Secret of Kubernetes."""

from __future__ import annotations

from pathlib import Path

from storage.errors import StorageUnavailable


class SecretUnusable(StorageUnavailable):
    """A file holds nothing of use. Nothing of it is quoted."""

    reason = "the file with its URL or its password cannot be used"


def read_secret(path: Path, what: str) -> str:
    """The text of a regular file as it is now; ``what`` names it in errors, which quote nothing of
    it. Raises SecretUnusable when it cannot be read."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would be waited for, for ever
            raise SecretUnusable(f"{what} {path} is no regular file")
        return path.read_text()
    except UnicodeDecodeError as error:
        raise SecretUnusable(f"{what} {path} is no text") from error
    except (OSError, ValueError) as error:
        raise SecretUnusable(f"{what} {path} cannot be read: {error}") from error


def read_storage_url(path: Path) -> str:
    """The storage URL that stands in a file. Raises SecretUnusable when there is none."""
    url = read_secret(path, "the file of the storage URL").strip()
    if not url:
        raise SecretUnusable(f"the file of the storage URL {path} is empty")
    return url
