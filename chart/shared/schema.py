"""Writes each chart's values.schema.json: helm resolves no reference to another file, and what the
charts share should stand once. `make schemas` runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CHARTS = Path(__file__).parent.parent

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
OF_KUBERNETES: Schema = {"type": "object"}
"""An object whose members Kubernetes names; it judges them itself."""

LIST_OF_KUBERNETES: Schema = {"type": "array", "items": OF_KUBERNETES}


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
    return {**schema, "type": [schema["type"], "null"]}


IMAGE = closed(
    {
        "repository": NAME,
        "tag": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"},
        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    }
)

RESOURCES = closed({"requests": OF_KUBERNETES, "limits": OF_KUBERNETES})

SETTING: Schema = {"type": ["string", "number", "boolean"]}
SECONDS: Schema = {"type": ["string", "number"], "pattern": "^[0-9]{1,5}(\\.[0-9]{1,9})?$"}
SETTINGS = (
    "ENVIRONMENT",
    "SERVICE_VERSION",
    "JAEGER_ENDPOINT",
    "ENABLE_METRICS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "STORAGE_POOL_SIZE",
    "CORS_ALLOWED_ORIGINS",
    "RATE_LIMIT",
    "ABUSE_LIMIT",
    "TRUSTED_PROXIES",
    "HTTP_SERVER",
    "WORKERS",
    "SPOOL_DIR",
    "FEED_CLIENTS",
    "PREPARATION_MINUTES",
    "ACCEPT_ALERT_MINUTES",
    "PERSONAL_DATA_DAYS",
    "EVENT_DAYS",
    "GUEST_ORDERS",
    "GUEST_RATE_LIMIT",
    "SHOP_NAME",
    "SHOP_CURRENCY",
    "SHOP_LOCALE",
    "SHOP_ACCENT",
    "IMAGE_HOSTS",
    "IMAGES_DIR",
)
"""What env may hold; a test holds it against the programs' own settings."""

ENV: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(SETTINGS, SETTING),
        "STORAGE_WAIT_SECONDS": SECONDS,
        "DRAIN_SECONDS": SECONDS,
        "IDLE_SECONDS": SECONDS,
        "METRICS_PORT": {"type": ["string", "integer"], "pattern": "^([1-9][0-9]{0,4})?$"},
    },
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
        "existingConfigMap": TEXT,
        "existingConfigMapKeys": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["products.json", "coupons.json", "orders.json", "users.json"]},
        },
    },
    optional=("products", "coupons", "orders"),
)

POD: Schema = {
    "imagePullSecrets": LIST_OF_KUBERNETES,
    "resources": RESOURCES,
    "podSecurityContext": OF_KUBERNETES,
    "nodeSelector": TEXTS,
    "tolerations": LIST_OF_KUBERNETES,
    "affinity": OF_KUBERNETES,
}
"""What every chart says about its pods."""

PROGRAM: Schema = {
    "image": IMAGE,
    **POD,
    "storage": closed(
        {
            # judged in the template: an error of helm's own would print it, password and all
            "url": TEXT,
            "existingSecret": TEXT,
            "existingSecretKey": NAME,
            "passfile": closed({"existingSecret": TEXT, "existingSecretKey": NAME}),
        }
    ),
    "env": ENV,
    "fixtures": FIXTURES,
    "users": closed({"existingSecret": TEXT, "existingSecretKey": NAME}),
}
"""What both charts that run the programs have."""

CLAIM: Schema = {"size": NAME, "storageClassName": TEXT}
TEST_KEY: Schema = {"existingSecret": TEXT, "existingSecretKey": NAME}

INIT_CONTAINER = closed({"enabled": FLAG, "image": IMAGE})

ORDER_FOOD = {
    **PROGRAM,
    "replicaCount": COUNT,
    "host": {"type": "string", "pattern": "^[0-9A-Za-z_.:-]+$"},
    "initContainers": closed({"databaseMigration": INIT_CONTAINER, "databaseLoad": INIT_CONTAINER}),
    "persistence": closed(CLAIM),
    "topologySpread": closed(
        {
            "enabled": FLAG,
            "topologyKey": NAME,
            "whenUnsatisfiable": {"enum": ["ScheduleAnyway", "DoNotSchedule"]},
        }
    ),
    "preStopSeconds": POSITIVE,
    "serviceAccount": closed({"create": FLAG, "name": TEXT, "annotations": TEXTS}),
    "service": closed(
        {
            "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "nodePort": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535},
        },
        optional=("nodePort",),
    ),
    "podDisruptionBudget": closed(
        {"enabled": FLAG, "maxUnavailable": {"type": ["integer", "string"], "minimum": 1}}
    ),
    "autoscaling": closed(
        {
            "enabled": FLAG,
            "minReplicas": POSITIVE,
            "maxReplicas": POSITIVE,
            "targetCPUUtilizationPercentage": POSITIVE,
        }
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
            "className": TEXT,
            "annotations": TEXTS,
            "host": NAME,
            "path": {"type": "string", "pattern": "^/"},
            "tlsSecret": TEXT,
        }
    ),
    "serviceMonitor": closed({"enabled": FLAG, "interval": NAME, "labels": TEXTS}),
    "prometheusRule": closed({"enabled": FLAG, "labels": TEXTS}),
    "dashboard": closed({"enabled": FLAG, "labels": TEXTS}),
    "test": closed(TEST_KEY),
}

DATABASE_LOAD = {
    **PROGRAM,
    "cronjob": closed(
        {
            "enabled": FLAG,
            "schedule": NAME,
            "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
            "successfulJobsHistoryLimit": COUNT,
            "failedJobsHistoryLimit": COUNT,
            "backoffLimit": COUNT,
            "restartPolicy": {"enum": ["OnFailure", "Never"]},
            "suspend": FLAG,
        }
    ),
    "job": closed({"enabled": FLAG, "force": FLAG}),
    "activeDeadlineSeconds": POSITIVE,
    "persistence": closed({"claim": NAME}),
    "test": closed({"url": NAME, **TEST_KEY}),
}

SQL_NAME: Schema = {"type": "string", "pattern": "^[a-z_][a-z0-9_]{0,62}$"}

POSTGRES = {
    "image": IMAGE,
    **POD,
    "auth": closed({"username": SQL_NAME, "database": SQL_NAME}),
    "secretName": NAME,
    "parameters": {"type": "object", "additionalProperties": SETTING},
    "persistence": closed(CLAIM),
    "test": closed({"image": IMAGE, "url": NAME, **TEST_KEY}),
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
