"""OpenTelemetry's variables: whatever stands in them, every program does its work."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from orderfood.settings import otel_variables, pass_over_nonsense, read_settings
from rig.processes import MODULES, PATIENCE, command, environment, run, serving

NAMES = [
    *otel_variables._CHECKS,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_PYTHON_TORNADO_TRACED_REQUEST_ATTRS",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
    "OTEL_SERVICE_NAME",
    "OTEL_PYTHON_ID_GENERATOR",
]
JAEGER = {"JAEGER_ENDPOINT": "http://127.0.0.1:9/api/traces", "OTEL_BSP_SCHEDULE_DELAY": "20"}
VALUES = ("nonsense", "-1", "0", "1e999", "nan", "(", "b3", "99999999999999999999", "a,b=c,=d", "é")


def ask(url: str) -> int:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=trace), timeout=20) as a:
            return int(a.status)
    except urllib.error.HTTPError as error:
        return error.code


def warnings(text: str) -> list[str]:
    lines = [json.loads(line) for line in text.splitlines()]
    assert not [line for line in lines if "exception" in line or line["level"] == "error"]
    told = [line["message"] for line in lines if line["level"] == "warning"]
    return [message.split()[0] for message in told if message.startswith("OTEL_")]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("program", MODULES)
def test_all_of_them_at_once_stop_nobody(program: str, value: str) -> None:
    settings: dict[str, str] = dict.fromkeys(NAMES, value) | {
        "JAEGER_ENDPOINT": JAEGER["JAEGER_ENDPOINT"]
    }
    if program == "order-food":
        with serving("memory://", DRAIN_SECONDS=0, **settings) as server:
            for path in ("/api/product", "/health"):
                assert ask(server.url + path) == 200
            assert ask(f"{server.url}/api/order") == 401
            assert server.stop() == 0
            text = "\n".join(json.dumps(line) for line in server.lines)
    else:
        done = run(program, STORAGE_URL="memory://", **settings)
        assert (done.returncode, done.stderr) == (0, "")
        text = done.stdout
    told = warnings(text)
    assert len(told) == len(set(told)) > 9


ODD = [
    {"OTEL_PROPAGATORS": "b3"},
    {"OTEL_PROPAGATORS": "xray,tracecontext"},
    {"OTEL_TRACES_SAMPLER": "xray"},
    {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
    {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
    {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e2"},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"},
    {"OTEL_BSP_SCHEDULE_DELAY": "soon"},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT": "-1"},
    {"OTEL_RESOURCE_ATTRIBUTES": "nonsense"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_COMPRESSION": "x"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_HEADERS": "a"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    {"OTEL_EXPORTER_JAEGER_TIMEOUT": "soon"},
    {"OTEL_EXPORTER_JAEGER_AGENT_PORT": "x"},
    {"OTEL_PYTHON_CONTEXT": "nonsense"},
    {"OTEL_PYTHON_TRACER_PROVIDER": "nonsense"},
    {"OTEL_PYTHON_TORNADO_EXCLUDED_URLS": "health,("},
]


@pytest.mark.parametrize("variables", ODD, ids=lambda variables: "-".join(variables.values()))
def test_what_makes_no_sense_is_one_warning(variables: dict[str, str]) -> None:
    with serving("memory://", DRAIN_SECONDS=0, **{**JAEGER, **variables}) as server:
        assert ask(f"{server.url}/api/order") == 401
        assert server.stop() == 0
        text = "\n".join(json.dumps(line) for line in server.lines)
    assert warnings(text) == [list(variables)[-1]]


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_PROPAGATORS": ""},
        {"OTEL_PROPAGATORS": "none"},
        {"OTEL_PROPAGATORS": "tracecontext,baggage"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "100"},
        {"OTEL_BSP_SCHEDULE_DELAY": ""},
        {"OTEL_SPAN_LINK_COUNT_LIMIT": "0"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e-3"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"},
    ],
)
def test_what_makes_sense_is_no_warning(variables: dict[str, str]) -> None:
    with serving("memory://", DRAIN_SECONDS=0, **{**JAEGER, **variables}) as server:
        assert ask(f"{server.url}/api/product") == 200
        assert server.stop() == 0
        text = "\n".join(json.dumps(line) for line in server.lines)
    assert warnings(text) == []


def test_several_workers_say_it_once(sqlite_url: str) -> None:
    for program in ("database-migration", "database-load"):
        assert run(program, STORAGE_URL=sqlite_url).returncode == 0
    settings = {**JAEGER, "OTEL_PROPAGATORS": "b3", "WORKERS": 2, "DRAIN_SECONDS": 0}
    with serving(sqlite_url, **settings) as server:
        assert ask(f"{server.url}/api/product") == 200
        assert server.stop() == 0
    text = "\n".join(json.dumps(line) for line in server.lines)
    assert warnings(text) == ["OTEL_PROPAGATORS"]


def test_the_environment_is_what_the_libraries_can_read() -> None:
    environ = {
        "OTEL_PROPAGATORS": "b3",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_SCHEDULE_DELAY": " ",
        "OTEL_SERVICE_NAME": "x",
        "PATH": "/bin",
    }
    lines = pass_over_nonsense(environ)
    assert environ == {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1024",
        "OTEL_SERVICE_NAME": "x",
        "PATH": "/bin",
    }
    assert [line.split()[0] for line in lines] == ["OTEL_PROPAGATORS", "OTEL_EXPORTER_OTLP_HEADERS"]
    assert "authorization" not in lines[1]
    assert pass_over_nonsense(environ) == []


def test_which_propagators_there_are() -> None:
    for value, names in (("", ("tracecontext",)), ("none", ()), ("b3, baggage", ("b3", "baggage"))):
        assert read_settings({"OTEL_PROPAGATORS": value}).propagators == names


def somebody_answers() -> bool:
    with socket.socket() as jaeger:
        return jaeger.connect_ex(("127.0.0.1", 14268)) == 0


@pytest.mark.usefixtures("default_jaeger")
@pytest.mark.parametrize("program", MODULES)
@pytest.mark.parametrize("explicit", [False, True])
def test_only_a_jaeger_that_was_named_is_missed(program: str, explicit: bool) -> None:
    if somebody_answers():
        pytest.skip("somebody answers at the default endpoint")
    environ = environment(STORAGE_URL="memory://", PORT=0, OTEL_BSP_SCHEDULE_DELAY=20)
    environ["JAEGER_ENDPOINT"] = "http://127.0.0.1:9/api/traces"
    if not explicit:
        del environ["JAEGER_ENDPOINT"]
    process = subprocess.Popen(command(program), env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if "listens" in lines[-1]["message"]:
            ask(f"{lines[-1]['url']}/api/product")
        if program == "order-food" and "cannot be exported" in lines[-1]["message"]:
            process.terminate()
    assert process.wait(PATIENCE) == 0
    process.stdout.close()
    told = [line["level"] for line in lines if "cannot be exported" in line["message"]]
    assert told == ["warning" if explicit else "info"]
    assert not [line for line in lines if line["level"] == "warning" and not explicit]
