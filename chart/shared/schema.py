"""Writes each chart's values.schema.json: helm resolves no reference to another file, and what the
charts share should stand once. `make schemas` runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import patterns

CHARTS = Path(__file__).parent.parent

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999}
POSITIVE: Schema = {**COUNT, "minimum": 1}
"""Larger ones a template would write as 1e+06."""

PERIOD: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
"""A number of seconds, which the templates write in full."""

TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
OF_KUBERNETES: Schema = {"type": "object"}
"""An object whose members Kubernetes names; it judges them itself."""

LIST_OF_KUBERNETES: Schema = {"type": "array", "items": OF_KUBERNETES}


def text(pattern: str) -> Schema:
    """A text of which all is as the pattern says."""
    return {"type": "string", "pattern": patterns.whole(pattern)}


OBJECT = text(patterns.OBJECT)
OBJECT_OR_NONE = text(f"|{patterns.OBJECT}")
KEY = text(patterns.KEY)


def closed(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: Schema) -> Schema:
    """Or null, for which a key has its own meaning."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*types, "null"]}


def whole_number(least: int, most: int, empty: str = "|") -> Schema:
    """A whole number in these bounds, as a number or as text; ``empty`` is what else it may be."""
    pattern = patterns.whole(f"0{{0,6}}({patterns.number(least, most)}){empty}")
    return {"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": pattern}


def seconds(pattern: str, least: int) -> Schema:
    """A number of seconds up to a day."""
    whole = patterns.whole(pattern)
    return {"type": ["number", "string"], "minimum": least, "maximum": 86400, "pattern": whole}


PULL_POLICIES = ["Always", "IfNotPresent", "Never"]


def image(*pull_policies: str) -> Schema:
    """An image; what may be empty has a default in the template."""
    return closed(
        {
            "registry": text(f"|{patterns.REGISTRY}"),
            "repository": text(patterns.REPOSITORY),
            "tag": {"type": ["string", "number"], "pattern": f"^$|{patterns.TAG}"},
            "digest": {"type": "string", "pattern": f"^$|{patterns.DIGEST}"},
            "pullPolicy": {"enum": [*PULL_POLICIES, *pull_policies]},
        }
    )


IMAGE = image()
LATER_IMAGE = image("")
"""One whose policy and registry are another one's where they are empty."""

QUANTITY: Schema = {"type": ["string", "number"], "pattern": patterns.QUANTITY, "minimum": 0}
QUANTITIES: Schema = {"type": ["object", "null"], "additionalProperties": nullable(QUANTITY)}
RESOURCES = nullable(
    closed({"requests": QUANTITIES, "limits": QUANTITIES}, optional=("requests", "limits"))
)

SETTING: Schema = {"type": ["string", "number", "boolean"]}
BOOLEAN: Schema = {
    "type": ["boolean", "string"],
    "pattern": patterns.whole("|" + patterns.any_case("true", "false")),
}
LABEL: Schema = {"type": ["string", "number"], "pattern": patterns.whole(f"|{patterns.LABEL}")}
SETTINGS: Schema = {
    "ENVIRONMENT": LABEL,
    "SERVICE_VERSION": LABEL,
    "JAEGER_ENDPOINT": text(f"|{patterns.ENDPOINT}"),
    "ENABLE_METRICS": BOOLEAN,
    "LOG_LEVEL": text("|" + patterns.any_case("debug", "info", "warning", "error", "critical")),
    "LOG_FORMAT": text("|" + patterns.any_case("text", "json")),
    "STORAGE_POOL_SIZE": whole_number(1, 1000),
    "CORS_ALLOWED_ORIGINS": text(f"|{patterns.ORIGINS}"),
    "RATE_LIMIT": text(f"|{patterns.RATE}"),
    "ABUSE_LIMIT": text(f"|{patterns.RATE}"),
    "TRUSTED_PROXIES": text(f"|{patterns.NETWORKS}"),
    "HTTP_SERVER": text("|" + patterns.any_case("httptools", "tornado")),
    "WORKERS": whole_number(1, 64),
    "SPOOL_DIR": TEXT,
    "FEED_CLIENTS": whole_number(0, 1_000_000),
    "PREPARATION_MINUTES": whole_number(1, 240),
    "ACCEPT_ALERT_MINUTES": whole_number(0, 1440),
    "PERSONAL_DATA_DAYS": whole_number(0, 36500),
    "EVENT_DAYS": whole_number(0, 36500),
    "GUEST_ORDERS": BOOLEAN,
    "GUEST_RATE_LIMIT": text(f"|{patterns.RATE}"),
    "SHOP_NAME": {"type": ["string", "number"], "pattern": patterns.whole(f"|{patterns.NAME}")},
    "SHOP_CURRENCY": text("|[A-Za-z]{3}"),
    "SHOP_LOCALE": text(f"|{patterns.LOCALE}"),
    "SHOP_ACCENT": text("|#[0-9A-Fa-f]{6}"),
    "IMAGE_HOSTS": text(f"|{patterns.HOSTS}"),
    "IMAGES_DIR": TEXT,
    # the templates compute with these
    "STORAGE_WAIT_SECONDS": seconds(patterns.SECONDS, 0),
    "DRAIN_SECONDS": seconds(patterns.SECONDS, 0),
    "IDLE_SECONDS": seconds(patterns.SECONDS_FROM_ONE, 1),
    "METRICS_PORT": whole_number(1, 65535),
}
"""What env may hold: what the programs take, for a test holds the two against each other."""

ENV: Schema = {
    "type": "object",
    "properties": SETTINGS,
    "patternProperties": {"^OTEL_[A-Z_]+$": SETTING},
    "additionalProperties": False,
}

PRODUCT_ID: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}
MONEY: Schema = {"type": "number", "minimum": 0}
FIXTURES = closed(
    {
        "products": nullable(
            {
                "type": "array",
                "minItems": 1,
                "items": closed(
                    {
                        "id": PRODUCT_ID,
                        "name": NAME,
                        "price": MONEY,
                        "category": NAME,
                        "description": NAME,
                        "image": NAME,
                        "allergens": {"type": "array", "items": NAME},
                    },
                    optional=("description", "image", "allergens"),
                ),
            }
        ),
        "coupons": nullable({"type": "array", "items": {"type": "object", "required": ["code"]}}),
        "orders": nullable({"type": "array", "items": {"type": "object", "required": ["id"]}}),
        "existingConfigMap": OBJECT_OR_NONE,
        "existingConfigMapKeys": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["products.json", "coupons.json", "orders.json", "users.json"]},
        },
    },
    optional=("products", "coupons", "orders"),
)

OF_THE_CHART = ["app.kubernetes.io/name", "app.kubernetes.io/instance"]
"""Labels by which its own pods are selected."""

LABELS: Schema = {
    "type": "object",
    "additionalProperties": text(patterns.LABEL_VALUE),
    "propertyNames": {"not": {"enum": OF_THE_CHART}},
}
NAMED: Schema = {
    "type": "array",
    "items": {"type": "object", "required": ["name"], "properties": {"name": NAME}},
}
VARIABLES: Schema = {
    **NAMED,
    "items": {**NAMED["items"], "properties": {"name": NAME, "value": TEXT}},
}
OWN_NAME: Schema = {
    "type": "string",
    "pattern": f"^$|{patterns.DNS_LABEL}",
    # what YAML takes for something else
    "not": {"enum": ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]},
}

POD: Schema = {
    "imagePullSecrets": LIST_OF_KUBERNETES,
    "resources": RESOURCES,
    "podSecurityContext": OF_KUBERNETES,
    "nodeSelector": TEXTS,
    "tolerations": LIST_OF_KUBERNETES,
    "affinity": OF_KUBERNETES,
    "priorityClassName": OBJECT_OR_NONE,
    "commonLabels": LABELS,
    "podLabels": LABELS,
    "podAnnotations": TEXTS,
    "extraEnv": VARIABLES,
    "envFrom": LIST_OF_KUBERNETES,
    "extraVolumes": NAMED,
    "extraVolumeMounts": NAMED,
    "nameOverride": OWN_NAME,
    "fullnameOverride": OWN_NAME,
}
"""What every chart says about its pods."""

PROGRAM: Schema = {
    "image": IMAGE,
    **POD,
    "storage": closed(
        {
            # judged in the template: an error of helm's own would print it, password and all
            "url": TEXT,
            "existingSecret": OBJECT_OR_NONE,
            "existingSecretKey": KEY,
            "passfile": closed({"existingSecret": OBJECT_OR_NONE, "existingSecretKey": KEY}),
        }
    ),
    "env": ENV,
    "fixtures": FIXTURES,
    "users": closed({"existingSecret": OBJECT_OR_NONE, "existingSecretKey": KEY}),
}
"""What both charts that run the programs have."""

SIZE: Schema = {**QUANTITY, "pattern": patterns.SIZE, "exclusiveMinimum": 0}
CLAIM: Schema = {"size": SIZE, "storageClassName": OBJECT_OR_NONE}
SCHEDULE: Schema = {"type": "string", "pattern": patterns.SCHEDULE}
TEST_KEY: Schema = {"existingSecret": OBJECT_OR_NONE, "existingSecretKey": KEY}

INIT_CONTAINER = closed({"enabled": FLAG, "image": LATER_IMAGE, "resources": RESOURCES})

INTERVAL: Schema = {"type": "string", "pattern": patterns.whole("([0-9]+(ms|[smhdwy]))+")}
"""A time as Prometheus writes it."""

PATH = text(patterns.URL_PATH)
HOST: Schema = {"host": text(patterns.HOST_NAME), "path": PATH, "tlsSecret": OBJECT_OR_NONE}

PODS: Schema = {"type": ["integer", "string"], "minimum": 1, "pattern": patterns.PORTION}
"""A number of pods, or a part of them."""

ORDER_FOOD = {
    **PROGRAM,
    "replicaCount": COUNT,
    "host": {"type": "string", "pattern": "^[0-9A-Za-z_.:-]+$"},
    "initContainers": closed({"databaseMigration": INIT_CONTAINER, "databaseLoad": INIT_CONTAINER}),
    "migrations": closed(
        {
            "job": closed(
                {
                    "enabled": FLAG,
                    "statementTimeoutSeconds": {**nullable(POSITIVE), "maximum": 86400},
                    "activeDeadlineSeconds": {**PERIOD, "minimum": 1},
                },
                optional=("statementTimeoutSeconds",),
            )
        }
    ),
    "persistence": closed(CLAIM),
    "topologySpread": closed(
        {
            "enabled": FLAG,
            "topologyKey": text("[A-Za-z0-9./_-]+"),
            "whenUnsatisfiable": {"enum": ["ScheduleAnyway", "DoNotSchedule"]},
        }
    ),
    "preStopSeconds": COUNT,
    "serviceAccount": closed({"create": FLAG, "name": OBJECT_OR_NONE, "annotations": TEXTS}),
    "service": closed(
        {
            "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "nodePort": {"type": ["integer", "null"], "minimum": 30000, "maximum": 32767},
            "annotations": TEXTS,
        },
        optional=("nodePort",),
    ),
    "podDisruptionBudget": closed(
        {"enabled": FLAG, "maxUnavailable": nullable(PODS), "minAvailable": nullable(PODS)},
        optional=("maxUnavailable", "minAvailable"),
    ),
    "autoscaling": closed(
        {
            "enabled": FLAG,
            "minReplicas": POSITIVE,
            "maxReplicas": POSITIVE,
            "targetCPUUtilizationPercentage": nullable(POSITIVE),
            "targetMemoryUtilizationPercentage": nullable(POSITIVE),
            "behavior": OF_KUBERNETES,
        },
        optional=("targetCPUUtilizationPercentage", "targetMemoryUtilizationPercentage"),
    ),
    "networkPolicy": closed(
        {
            "enabled": FLAG,
            "from": LIST_OF_KUBERNETES,
            "metricsFrom": LIST_OF_KUBERNETES,
            "egress": LIST_OF_KUBERNETES,
        }
    ),
    "ingress": closed(
        {
            "enabled": FLAG,
            "className": OBJECT_OR_NONE,
            "annotations": TEXTS,
            **HOST,
            "extraHosts": {"type": "array", "items": closed(HOST, optional=("path", "tlsSecret"))},
        }
    ),
    "httpRoute": closed(
        {
            "enabled": FLAG,
            "annotations": TEXTS,
            "parentRefs": NAMED,
            "hostnames": {"type": "array", "items": text(patterns.HOST_NAME)},
            "path": PATH,
        }
    ),
    "serviceMonitor": closed({"enabled": FLAG, "interval": INTERVAL, "labels": TEXTS}),
    "prometheusRule": closed({"enabled": FLAG, "labels": TEXTS}),
    "dashboard": closed({"enabled": FLAG, "labels": TEXTS}),
    "test": closed(TEST_KEY),
}

TIMING: Schema = {
    "timeZone": {"type": ["string", "null"], "pattern": patterns.TIME_ZONE},
    "startingDeadlineSeconds": nullable(PERIOD),
    "ttlSecondsAfterFinished": nullable(PERIOD),
}
"""What else Kubernetes may know of a CronJob's runs."""

DATABASE_LOAD = {
    **PROGRAM,
    "cronjob": closed(
        {
            "enabled": FLAG,
            "schedule": SCHEDULE,
            "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
            "successfulJobsHistoryLimit": COUNT,
            "failedJobsHistoryLimit": COUNT,
            "backoffLimit": COUNT,
            "restartPolicy": {"enum": ["OnFailure", "Never"]},
            "suspend": FLAG,
            **TIMING,
        },
        optional=tuple(TIMING),
    ),
    "job": closed({"enabled": FLAG, "force": FLAG}),
    "activeDeadlineSeconds": {**PERIOD, "minimum": 1},
    "persistence": closed({"claim": OBJECT}),
    "test": closed({"url": text(patterns.ENDPOINT), **TEST_KEY}),
}

SQL_NAME: Schema = {"type": "string", "pattern": "^[a-z_][a-z0-9_]{0,62}$"}

POSTGRES = {
    "image": IMAGE,
    **POD,
    "auth": closed(
        {
            "username": SQL_NAME,
            "database": SQL_NAME,
            "existingSecret": OBJECT_OR_NONE,
            "existingSecretKey": KEY,
            "generate": FLAG,
        }
    ),
    "secretName": OBJECT,
    "parameters": {
        "type": "object",
        "additionalProperties": SETTING,
        # the Service, the probes and the dumps look for it at its own
        "propertyNames": {"pattern": patterns.whole(patterns.PARAMETER), "not": {"enum": ["port"]}},
    },
    "persistence": closed(CLAIM),
    "podDisruptionBudget": closed({"enabled": FLAG}),
    "backup": closed(
        {
            "enabled": FLAG,
            "schedule": SCHEDULE,
            "keep": POSITIVE,
            "suspend": FLAG,
            **TIMING,
            "activeDeadlineSeconds": {**PERIOD, "minimum": 1},
            "persistence": closed({**CLAIM, "existingClaim": OBJECT_OR_NONE}),
            "resources": RESOURCES,
        },
        optional=tuple(TIMING),
    ),
    "test": closed({"image": LATER_IMAGE, "url": text(patterns.ENDPOINT), **TEST_KEY}),
}

SCHEMAS = {"order-food": ORDER_FOOD, "database-load": DATABASE_LOAD, "postgres": POSTGRES}


def schema_text(chart: str) -> str:
    """The file of one chart. ``global`` is helm's own."""
    schema = closed({**SCHEMAS[chart], "global": OF_KUBERNETES}, optional=("global",))
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=1) + "\n"


def main() -> None:
    """Writes all of them."""
    for chart in SCHEMAS:
        (CHARTS / chart / "values.schema.json").write_text(schema_text(chart))
        sys.stdout.write(f"{chart}\n")


if __name__ == "__main__":
    main()
