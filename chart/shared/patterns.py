"""Regular expressions for values that a chart gets: what Kubernetes and the programs read, said so
that a schema can say it. Go's and Python's readers take them to mean the same."""

from __future__ import annotations


def any_case(*words: str) -> str:
    """These words, in capitals or not."""
    return "|".join("".join(f"[{c.upper()}{c.lower()}]" for c in word) for word in words)


def number(least: int, most: int) -> str:
    """The whole numbers in these bounds, in plain digits."""
    parts: list[str] = []
    for width in range(len(str(least)), len(str(most)) + 1):
        low, high = max(least, 10 ** (width - 1)), min(most, 10**width - 1)
        if width == 1:
            low = least
        parts += _of_one_width(str(low), str(high))
    return "|".join(parts)


def _of_one_width(low: str, high: str) -> list[str]:
    """Alternatives for the numbers between two that have as many digits."""
    if not low:
        return [""]
    if low[0] == high[0]:
        return [low[0] + rest for rest in _of_one_width(low[1:], high[1:])]
    lowest, highest = "0" * (len(low) - 1), "9" * (len(low) - 1)
    parts, first, last = [], int(low[0]), int(high[0])
    if low[1:] != lowest:
        parts += [low[0] + rest for rest in _of_one_width(low[1:], highest)]
        first += 1
    if high[1:] != highest:
        parts += [high[0] + rest for rest in _of_one_width(lowest, high[1:])]
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + "[0-9]" * len(lowest))
    return parts


def whole(pattern: str) -> str:
    """Nothing before it and nothing behind it."""
    return f"^({pattern})$"


def _field(value: str) -> str:
    """A field of a schedule: values, ranges and steps, with commas between."""
    item = rf"(\*|\?|({value})(-({value}))?)(/[1-9][0-9]*)?"
    return f"{item}(,{item})*"


MONTHS = any_case(
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"
)
DAYS = any_case("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_FIELDS = (
    number(0, 59), number(0, 23), number(1, 31),
    f"{number(1, 12)}|{MONTHS}", f"{number(0, 6)}|{DAYS}",
)  # fmt: skip

SCHEDULE = whole(
    "@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every ([0-9]+(ms|s|m|h))+|"
    + " +".join(f"0*({_field(f'0*({each})')})" for each in _FIELDS)
)
"""When a CronJob runs, as Kubernetes reads it."""

TIME_ZONE = whole("|[A-Za-z]+([/_+-][A-Za-z0-9_+-]+)*")
QUANTITY = whole(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
"""An amount of processor, memory or storage."""

SIZE = QUANTITY.replace(
    r"[0-9]+(\.[0-9]*)?|\.[0-9]+", r"[0-9]*[1-9][0-9]*(\.[0-9]*)?|[0-9]*\.[0-9]*[1-9][0-9]*"
)
"""More than nothing of it."""

OBJECT = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
"""The name of an object of Kubernetes."""

KEY = r"[A-Za-z0-9_.-]{1,253}"
"""A key of a Secret, or the like."""

REGISTRY = r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*"
REPOSITORY = r"([A-Za-z0-9.-]+:[0-9]{1,5}/)?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
URL_PATH = r"/[!-~]*"
_HOST_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
HOST_NAME = rf"(\*\.)?{_HOST_LABEL}(\.{_HOST_LABEL})*"
PORTION = whole("([1-9][0-9]?|100)%")
LABEL_VALUE = "([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
DNS_LABEL = whole("[a-z]([a-z0-9-]{0,50}[a-z0-9])?")
PARAMETER = r"[A-Za-z_][A-Za-z0-9_.]*"
TAG = whole("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = whole("sha256:[0-9a-f]{64}")
SECONDS = rf"0*({number(0, 86399)})(\.[0-9]{{1,9}})?|0*86400(\.0{{1,9}})?"
SECONDS_FROM_ONE = rf"0*({number(1, 86399)})(\.[0-9]{{1,9}})?|0*86400(\.0{{1,9}})?"
LABEL = r"[^\s]{1,100}"
_UNITS = any_case("second", "minute", "hour", "day", "month", "year")
RATE = rf"off| *0*[1-9][0-9]{{0,8}} *(/|{any_case('per')}) *[0-9]{{0,9}} *({_UNITS})[sS]? *"
ORIGIN = r"[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
ORIGINS = rf"\*| *{ORIGIN} *(, *{ORIGIN} *)*"
_NETWORK = r"([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)(/[0-9.]+)?"
NETWORKS = rf"none| *{_NETWORK} *(, *{_NETWORK} *)*"
HOST = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?"
HOSTS = rf"none| *{HOST} *(, *{HOST} *)*"
ENDPOINT = r"https?://[^\s/?#]+\S*"
LOCALE = rf"({any_case('en', 'de')})([-_][A-Za-z]{{2}})?"
NAME = r"\S(.{0,58}\S)?"
