"""The public API keys of the packaged sample users: refused in production."""

from __future__ import annotations

import logging

from orderfood.shop.catalogue import Snapshot
from orderfood.shop.observer import Observer
from orderfood.shop.orders import hash_key

logger = logging.getLogger("order-food")

SAMPLE_KEYS = ("apitest", "apitest-readonly", "apikitchen")
PRODUCTION = ("prod", "production")


def is_production(environment: str) -> bool:
    """Whether ENVIRONMENT, in upper or lower case, names production."""
    return environment.lower() in PRODUCTION


def refused_keys(environment: str) -> frozenset[str]:
    """The hashes of the keys that are refused in this environment."""
    return frozenset(map(hash_key, SAMPLE_KEYS if is_production(environment) else ()))


class SampleKeyWatch(Observer):
    """Logs a warning when a new catalogue holds sample keys that are refused."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def catalogue_changed(self, snapshot: Snapshot) -> None:
        refused = refused_keys(self._environment)
        for key in SAMPLE_KEYS:
            if (hashed := hash_key(key)) in refused and hashed in snapshot.keys:
                logger.warning(
                    "the sample key %r opens nothing where ENVIRONMENT is %s: "
                    "load users of your own",
                    key,
                    self._environment,
                )
