"""What becomes of each option of a Postgres URL."""

from __future__ import annotations

import pytest

from storage import open_storage
from storage.errors import InvalidStorageURL
from storage.postgres.connect import find_password
from storage.postgres.url import OPTIONS, Target, read_url

HOST = "postgresql://me:secret@db.example/shop"

PRINTED = [
    # as the consoles of hosted databases show them
    "?sslmode=require&channel_binding=require",
    "?sslmode=require&channel_binding=require&options=endpoint%3Dep-cool-darkness-123456",
    "?sslmode=verify-full&sslrootcert=system",
    "?sslmode=verify-full&options=--cluster%3Dshop-1234",
    "?sslmode=require&pgbouncer=true",
    "?ssl=true",
    "?sslmode=require&target_session_attrs=read-write&connect_timeout=10",
    "?keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5",
    "?application_name=shop&fallback_application_name=other&tcp_user_timeout=10000",
    "?gssencmode=disable&client_encoding=UTF8&load_balance_hosts=disable&sslnegotiation=postgres",
    "?sslmode=&connect_timeout=",
    "?passfile=/etc/orderfood/database/passfile",
    "?replication=false&sslsni=1&sslcompression=0&sslcertmode=allow&min_protocol_version=3.0",
]


@pytest.mark.parametrize("options", PRINTED)
def test_what_hosted_databases_print_is_taken(options: str) -> None:
    assert open_storage(HOST + options).backend == "postgresql"


SENT = {"application_name", "options"}
"""What the driver may send the server as a setting: it knows all else that is passed on."""

KNOWN = {
    "dbname", "gsslib", "host", "krbsrvname", "password", "port", "service", "sslcert", "sslcrl",
    "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "target_session_attrs", "user",
}  # fmt: skip


@pytest.mark.parametrize("options", PRINTED)
def test_the_server_is_sent_no_option_of_the_client(options: str) -> None:
    target = read_url(HOST + options)
    assert target.options.keys() <= SENT | KNOWN


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("target_session_attrs=primry", "any, read-write, read-only, primary"),
        ("sslmode=sometimes", "disable, allow, prefer"),
        ("channel_binding=maybe", "disable, prefer, require"),
        ("gssencmode=require", "only TLS encrypts"),
        ("connect_timeout=soon", "whole number"),
        ("keepalives_idle=1.5", "whole number"),
        ("keepalives=yes", "0, 1"),
        ("client_encoding=LATIN1", "UTF-8"),
        ("replication=database", "takes no orders"),
        ("sslrootcert=system&sslmode=require", "sslmode=verify-full"),
        ("sslnegotiation=quick", "postgres, direct"),
        ("load_balance_hosts=always", "disable, random"),
        ("ssl_min_protocol_version=TLSv9", "TLSv1.2"),
        ("require_auth=md5", "the server chooses"),
        ("hostaddr=10.0.0.1", "as the host"),
        ("port=x", "is a number"),
        ("pool_size=5", "knows no option pool_size"),
        ("sslmode=require&sslmode=sometimes", "disable, allow"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_the_reason(options: str, problem: str) -> None:
    with pytest.raises(InvalidStorageURL, match=problem) as caught:
        open_storage(f"{HOST}?{options}")
    assert "secret" not in str(caught.value)


def test_each_option_of_libpq_is_decided_on() -> None:
    """Out of the manual of Postgres 18, but for OAuth's, which need a browser."""
    assert OPTIONS.keys() >= {
        "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "require_auth",
        "channel_binding", "connect_timeout", "client_encoding", "options", "application_name",
        "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "replication", "gssencmode", "sslmode",
        "requiressl", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslkeylogfile",
        "sslpassword", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "requirepeer",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version",
        "max_protocol_version", "krbsrvname", "gsslib", "gssdelegation", "scram_client_key",
        "scram_server_key", "service", "target_session_attrs", "load_balance_hosts",
    }  # fmt: skip


def read(options: str) -> Target:
    return read_url(f"{HOST}?{options}")


def test_what_is_done_here() -> None:
    assert read("connect_timeout=3").connect_seconds == 3
    assert read("connect_timeout=0").connect_seconds is None
    assert read("ssl=true").options["sslmode"] == "require"
    assert read("fallback_application_name=a").options["application_name"] == "a"
    system = read("sslrootcert=system")
    assert (system.system_certificates, system.options["sslmode"]) == (True, "verify-full")
    assert "sslrootcert" not in system.options
    assert read("passfile=/p").passfile is None  # it has a password
    assert read_url("postgresql://me@db/shop?passfile=/p").passfile == "/p"


@pytest.mark.parametrize(
    ("netloc", "hosts"),
    [
        ("db", ()),
        ("one,two", (("one", None), ("two", None))),
        ("one:1,[::1]:2,three", (("one", 1), ("::1", 2), ("three", None))),
    ],
)
def test_several_hosts(netloc: str, hosts: tuple[tuple[str, int | None], ...]) -> None:
    target = read_url(f"postgresql://me@{netloc}/shop")
    assert target.hosts == hosts
    # the driver is told each in turn, and shall not read them itself
    assert target.url == f"postgresql://me@{'' if hosts else netloc}/shop"
    if hosts and not any(port for _, port in hosts):
        by_option = read_url(f"postgresql:///shop?host={netloc}&port=7")
        assert by_option.hosts == tuple((host, 7) for host, _ in hosts)


PASSFILE = r"""
# comment
other:5432:*:me:wrong
db:5432:shop:m\:e:w\\ith:colon
db:5432:shop:m\:e:w\\ith\:colon
*:*:*:*:last
"""


def test_a_passfile() -> None:
    assert find_password(PASSFILE, "db", "5432", "shop", "m:e") == r"w\ith:colon"
    assert find_password(PASSFILE, "db", "5433", "shop", "m:e") == "last"
    assert find_password("other:5432:*:me:wrong", "db", "5432", "shop", "me") is None
    assert find_password("", "db", "5432", "shop", "me") is None
