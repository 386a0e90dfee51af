from __future__ import annotations

import pytest

from shapeft_tune.tune.status.reason import short_reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("out of memory", "out of memory"),
        ("Traceback:\n  a line\nValueError: not like this\n", "ValueError: not like this"),
        (" \n", "no reason known"),
    ],
)
def test_the_last_line_of_a_message_is_the_reason(message: str, reason: str) -> None:
    assert short_reason(message) == reason
