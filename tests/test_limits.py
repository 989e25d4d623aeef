"""What a request may ask for, and how an operator sets it."""

import re

import pytest

from sam_video.errors import RequestError
from sam_video.limits import LIMITS, MAX_FRAMES, Limit, check_limits


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_an_environment_variable_sets_a_limit(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(limit.variable, raising=False)
    assert limit.value == limit.default
    monkeypatch.setenv(limit.variable, " 7 ")
    assert limit.value == 7


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "")
    assert MAX_FRAMES.value == MAX_FRAMES.default


def test_a_message_names_the_limit_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "250")
    assert f"expected at most {MAX_FRAMES}" == "expected at most 250 (SAM_VIDEO_MAX_FRAMES)"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e6", "many", "٣", "9" * 19])
def test_a_limit_that_is_no_number_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, text)
    message = f"SAM_VIDEO_MAX_FRAMES is {text!r}; expected a whole number of 1 or more"
    with pytest.raises(RequestError, match=re.escape(message)):
        check_limits()
