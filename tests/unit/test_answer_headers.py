"""The cheap headers do what Tornado's do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from orderfood.api.answer_headers import AnswerHeaders

NAMES = st.sampled_from(["Vary", "vary", "VARY", "ETag", "X-Request-ID", "content-type", "Allow"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "add", "delete"]), NAMES, st.text("ab", max_size=2))
)


def do(headers: HTTPHeaders, step: tuple[str, str, str]) -> str:
    what, name, value = step
    try:
        if what == "set":
            headers[name] = value
        elif what == "add":
            headers.add(name, value)
        else:
            del headers[name]
    except KeyError:
        return "no such header"
    return "done"


@given(STEPS)
def test_they_are_the_same_after_the_same_steps(steps: list[tuple[str, str, str]]) -> None:
    ours, theirs = AnswerHeaders({}), HTTPHeaders()
    for step in steps:
        assert do(ours, step) == do(theirs, step)
        assert sorted(ours.get_all()) == sorted(theirs.get_all())
    assert dict(ours) == dict(theirs)
    assert len(ours) == len(theirs)
    for name in ("Vary", "etag", "X-REQUEST-ID", "content-type", "Allow", "Nothing"):
        assert (name in ours) == (name in theirs)
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "-") == theirs.get(name, "-")
        assert ours.get_list(name) == theirs.get_list(name)
