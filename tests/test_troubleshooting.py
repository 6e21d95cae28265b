"""The troubleshooting page has every message that the code has for a person, and no other."""

from __future__ import annotations

import re

import pytest

import messages

PAGE = messages.PACKAGE.parent / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| `(?P<message>.+?)` \| (?P<remedy>.*) \|$", re.MULTILINE)
ROWS = [(row["message"], row["remedy"]) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def test_the_page_has_every_message_of_the_code() -> None:
    on_page = {message for message, _ in ROWS}
    missing = {message: path.name for path, message in messages.collect() if message not in on_page}
    assert missing == {}


def test_the_page_has_no_message_that_the_code_no_longer_has() -> None:
    in_code = {message for _, message in messages.collect()}
    assert [message for message, _ in ROWS if message not in in_code] == []


def test_every_message_has_a_remedy_and_none_is_listed_twice() -> None:
    listed = [message for message, _ in ROWS]
    assert len(listed) == len(set(listed))
    assert [message for message, remedy in ROWS if len(remedy) < 10] == []


def test_all_kinds_of_message_are_collected() -> None:
    files = {path.name for path, _ in messages.collect()}
    assert files >= {"cli.py", "database.py", "crypto.py", "environment.py", "load.py", "complete_build.sql"}
    assert messages.error_classes() >= {"SchemaError", "LockNotObtainedError", "SecretError"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('raise SchemaError("No room.", "Make some.")', "No room."),
        ('raise SchemaError(f"No room in {folder}: {error.strerror}.")', "No room in …: …."),
        ('raise SchemaError(f"No room in {folder} " "today.")', "No room in … today."),
        ('def f():\n    message = f"No {thing}."\n    raise SchemaError(message)', "No …."),
        ('return_value = SchemaError("Line one.\\nLine two.")', "Line one. Line two."),
        ('refuse_usage("Leave it out.")', "Leave it out."),
    ],
)
def test_a_message_is_found_however_it_is_written(source: str, message: str) -> None:
    assert messages.messages_of_python(source, {"SchemaError"}) == {message}


def test_what_only_passes_a_message_on_is_none() -> None:
    assert messages.messages_of_python('raise SchemaError("\\n".join(errors))', {"SchemaError"}) == set()
    assert messages.messages_of_python('raise ValueError("Not for people.")', {"SchemaError"}) == set()


def test_a_message_of_sql_is_found() -> None:
    source = "RAISE EXCEPTION 'the customer''s % of 100 %% is %', a, b\n    USING HINT = 'Wait.';"
    assert messages.messages_of_sql(source) == {"the customer's … of 100 % is …"}
