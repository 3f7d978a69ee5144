"""The settings: their defaults, what is refused, and that no password gets out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import fixtures
from orderfood.settings import (
    Settings,
    SettingsError,
    describe_settings,
    read_settings,
)
from orderfood.settings.secrets import mask_url


def test_defaults_are_those_of_the_table() -> None:
    settings = read_settings({})
    assert settings.storage_url == "sqlite:///orderfood.db"
    assert settings.storage_pool_size == 10
    assert settings.storage_wait_seconds == 30
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.fixtures_dir == Path(fixtures.__file__).parent
    assert settings.spool_dir is None
    assert settings.environment == "dev"
    assert settings.service_version
    assert settings.log_level == "INFO"
    assert settings.cors_allowed_origins == ("*",)
    assert settings.drain_seconds == 5


def test_an_empty_variable_counts_as_not_set() -> None:
    others = {"JAEGER_ENDPOINT", "STORAGE_URL"}
    empty = {name: "" for name, _, _ in describe_settings() if name not in others}
    assert read_settings(empty) == read_settings({})


def test_an_empty_storage_url_sends_no_orders_elsewhere() -> None:
    with pytest.raises(SettingsError, match="STORAGE_URL is empty; allowed: memory://"):
        read_settings({"STORAGE_URL": ""})


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, "jaeger"),
        ({"JAEGER_ENDPOINT": ""}, "none"),
        ({"JAEGER_ENDPOINT": "https://jaeger.example/api/traces"}, "jaeger"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "otlp"),
        ({"JAEGER_ENDPOINT": "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:1/x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "jaeger"),
        ({"OTEL_SDK_DISABLED": "True"}, "none"),
        ({"OTEL_SDK_DISABLED": "false"}, "jaeger"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "none"),
    ],
)
def test_where_spans_go(environ: dict[str, str], exporter: str) -> None:
    assert read_settings(environ).span_exporter == exporter


def test_every_field_is_a_setting_or_says_what_it_follows_from() -> None:
    described = {name.lower() for name, _, _ in describe_settings()}
    derived = {f.name for f in fields(Settings) if "derive" in f.metadata}
    assert described | derived == set(Settings.__dataclass_fields__)
    assert derived == {"span_exporter", "propagators", "jaeger_is_assumed", "metrics_folder"}


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"METRICS_PORT": "9000"}, 9000),
        ({"METRICS_PORT": "9000", "ENABLE_METRICS": "false"}, None),
        ({"METRICS_PORT": "8080"}, None),
        ({"METRICS_PORT": "0", "PORT": "0"}, 0),
        ({}, None),
    ],
)
def test_a_setting_may_depend_on_those_above_it(environ: dict[str, str], port: int | None) -> None:
    assert read_settings(environ).metrics_port == port


def test_several_workers_share_no_memory() -> None:
    with pytest.raises(SettingsError, match=r"WORKERS is '2'; allowed: .* and 1 with memory://"):
        read_settings({"WORKERS": "2", "STORAGE_URL": "memory://"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("STORAGE_URL", "memory://", "memory://"),
        ("STORAGE_URL", "sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
        ("STORAGE_URL", "postgres://h/d?sslmode=require", "postgres://h/d?sslmode=require"),
        ("STORAGE_URL", "postgresql:///d?host=/run", "postgresql:///d?host=/run"),
        ("STORAGE_URL", "postgresql://h:1,i:2/d", "postgresql://h:1,i:2/d"),
        ("STORAGE_POOL_SIZE", "1", 1),
        ("STORAGE_WAIT_SECONDS", "0", 0.0),
        ("DRAIN_SECONDS", "0.25", 0.25),
        ("HOST", "::1", "::1"),
        ("HOST", "shop.internal", "shop.internal"),
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("FIXTURES_DIR", "data/fixtures", Path("data/fixtures")),
        ("SPOOL_DIR", "/var/spool/a b", Path("/var/spool/a b")),
        ("ENVIRONMENT", "production", "production"),
        ("SERVICE_VERSION", "1.2.3-rc.1+abc", "1.2.3-rc.1+abc"),
        ("LOG_LEVEL", "Debug", "DEBUG"),
        ("LOG_FORMAT", "JSON", "json"),
        ("LOG_FORMAT", "text", "text"),
        ("CORS_ALLOWED_ORIGINS", "https://A.example", ("https://a.example",)),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://a.example, http://localhost:3000,http://[::1]:80",
            ("https://a.example", "http://localhost:3000", "http://[::1]:80"),
        ),
        ("GUEST_ORDERS", "False", False),
        ("GUEST_RATE_LIMIT", "off", None),
        ("GUEST_RATE_LIMIT", "10 per 2 hours", (10, 7200)),
        ("RATE_LIMIT", "5/second", (5, 1)),
        ("RATE_LIMIT", "100 / MINUTES", (100, 60)),
        ("RATE_LIMIT", "1 per day", (1, 86400)),
        ("SHOP_NAME", "Zoë's <Söhne> & Co", "Zoë's <Söhne> & Co"),
        ("SHOP_CURRENCY", "chf", "CHF"),
        ("SHOP_LOCALE", "DE_at", "de-AT"),
        ("SHOP_ACCENT", "#FFaa00", "#ffaa00"),
        ("IMAGES_DIR", "a b", Path("a b")),
        ("IMAGE_HOSTS", "none", ()),
        ("IMAGE_HOSTS", "A.example, b.example:8443", ("a.example", "b.example:8443")),
    ],
)
def test_accepts(name: str, value: str, expected: object) -> None:
    assert getattr(read_settings({name: value}), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("STORAGE_URL", url) for url in ("mysql://h/d", "memory", "memory://x", "sqlite:///")),
        *(("STORAGE_URL", url) for url in ("orderfood.db", "sqlite://a.db", "postgresql:h")),
        *(("STORAGE_URL", url) for url in ("postgresql://[::1/d", "postgresql://h/d\nx")),
        *(
            ("STORAGE_POOL_SIZE", size)
            for size in ("0", "-1", "1.5", "1001", "ten", "1_0", "\u0661")
        ),
        *(("DRAIN_SECONDS", number) for number in ("nan", "inf", "-inf", "-1", "1e3", "5s", "+5")),
        *(("STORAGE_WAIT_SECONDS", number) for number in ("nan", "Infinity", "-0.1", "86401", " ")),
        *(("PORT", port) for port in ("-1", "65536", "http", " 80", "80 ", "0x50", "1" * 5000)),
        *(("HOST", host) for host in ("a b", "http://a", "localhost:80", "a\n", "::1::")),
        ("FIXTURES_DIR", "a\0b"),
        *(("ENVIRONMENT", text) for text in ("a b", "a\n", "x" * 101, "\ud800")),
        *(("SERVICE_VERSION", text) for text in ("1 2", "\t")),
        *(("LOG_LEVEL", level) for level in ("verbose", "10", "notset")),
        *(("LOG_FORMAT", format_) for format_ in ("xml", "jsonl")),
        *(("CORS_ALLOWED_ORIGINS", o) for o in ("*,https://a", "a.example", "https://a/", ",")),
        *(("CORS_ALLOWED_ORIGINS", o) for o in ("https://a:0", "https://a:65536", "https://u@a")),
        *(
            ("CORS_ALLOWED_ORIGINS", o)
            for o in ("null", "https://a,", "https://a b", "https://*.a")
        ),
        ("ENABLE_METRICS", "yes"),
        ("JAEGER_ENDPOINT", "localhost:14268"),
        ("JAEGER_ENDPOINT", "http://localhost:99999/"),
        ("POD_NAME", "a b"),
        *(
            ("RATE_LIMIT", rate)
            for rate in ("0/minute", "5", "5/", "/minute", "5/minutely", "-1/day")
        ),
        *(
            ("GUEST_RATE_LIMIT", rate)
            for rate in ("5/minute;9/day", "1e3/day", "5/ss", "\u0665/day")
        ),
        *(("SHOP_NAME", name) for name in (" a", "a ", "a\nb", "x" * 61, "a\u202eb", "\ud800")),
        *(("SHOP_CURRENCY", code) for code in ("EU", "EURO", "€", "E R", "\u017f\u017f\u017f")),
        *(("SHOP_LOCALE", tag) for tag in ("fr", "english", "en-", "en-US-x", "de DE", "EN\n")),
        *(("SHOP_ACCENT", colour) for colour in ("red", "#fff", "b3401f", "#b3401g", "#b3401f;")),
        *(
            ("IMAGE_HOSTS", hosts)
            for hosts in (",", "a b", "https://a", "a;b", "a/b", "a:0", "*.a")
        ),
        *(("IMAGE_HOSTS", hosts) for hosts in ("a:99999", "a,", "'self'", "ä.example", "a..b")),
        ("IMAGES_DIR", "a\0b"),
    ],
)
def test_refuses_in_one_line_that_says_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} is {ascii(value)[:150]}")
    assert "; allowed: " in message
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    "url",
    [
        "mysql://cook:s3cret@db/orders",
        "postgresql//cook:s3cret@db/orders",
        "postgresql:cook:s3cret@db",
        "cook:s3cret@db",
        "postgresql://cook:s3cret with space@db/orders",
        "postgresql://cook:p@s3cret/x@db/or ders",
        "postgresql://[db/orders?user=cook&password=s3cret",
        "host=db user=cook password = 's3cret s3cret'",
        "mysql://cook:s3cret",
    ],
)
def test_a_refused_url_keeps_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"STORAGE_URL": url})
    assert "s3cret" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_url_that_stands_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:s3cret@h/d\n")
    settings = read_settings({"STORAGE_URL_FILE": str(file)})
    assert settings.storage_url == "postgresql://u:s3cret@h/d"
    assert settings.storage_url_file == file
    for other in ("sqlite:///a.db", ""):
        with pytest.raises(SettingsError, match="STORAGE_URL and STORAGE_URL_FILE are both set"):
            read_settings({"STORAGE_URL_FILE": str(file), "STORAGE_URL": other})


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b" \n",
        b"\xff",
        b"ftp://u:s3cret@h/d",
        b"s3cret",
        b'{"url": "postgresql://u:s3cret@h/d", "password": "s3cret"}',
    ],
)
def test_a_file_that_holds_no_url(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="STORAGE_URL_FILE") as caught:
        read_settings({"STORAGE_URL_FILE": str(file)})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SettingsError, match="no regular file"):
        read_settings({"STORAGE_URL_FILE": str(tmp_path)})


def test_repr_keeps_the_password() -> None:
    assert "s3cret" not in repr(read_settings({"STORAGE_URL": "postgresql://u:s3cret@h/d"}))


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://u:p@h:5432/d?sslmode=x", "postgresql://u:***@h:5432/d?sslmode=x"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
        ("postgresql://h/d?password=p&user=u", "postgresql://h/d?password=***&user=u"),
        ("sqlite:///orderfood.db", "sqlite:///orderfood.db"),
        ("memory://", "memory://"),
    ],
)
def test_masking_hides_the_password_alone(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_importing_needs_none_of_the_heavy_modules() -> None:
    code = "import sys, orderfood.settings as s; s.read_settings(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "tornado", "asyncio", "asyncpg", "fixtures"} & set(run.stdout.split())
