from datetime import timedelta

import pytest
from federation_interfaces import fields
from pydantic import TypeAdapter


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("90m", 5400), ("24h", 86400), ("7d", 604800)]
)
def test_durations(text: str, seconds: int):
    assert fields.parse_duration(text) == timedelta(seconds=seconds)
    assert fields.parse_duration(timedelta(seconds=seconds)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "0h", "-1h", "1.5h", "1 h x", "1w"])
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError, match="must be a number with s, m, h or d"):
        _ = fields.parse_duration(text)


def test_a_token_lives_ten_minutes_at_least():
    assert fields.check_token_lifetime(timedelta(minutes=10)) == timedelta(minutes=10)
    with pytest.raises(ValueError, match="at least 10m"):
        _ = fields.check_token_lifetime(timedelta(seconds=599))


def test_addresses_are_brought_to_one_form():
    assert fields.check_network("2001:DB8::/64") == "2001:db8::/64"
    assert fields.check_address("2001:DB8::1") == "2001:db8::1"
    assert fields.check_https_url("https://x:1/") == "https://x:1"
    assert fields.check_origin("https://x:1/") == "https://x:1"


def test_an_option_that_may_be_left_empty():
    settings = TypeAdapter(fields.ConfiguredRegion)
    assert [settings.validate_python(text) for text in ("", " ", "palermo")] == ["", "", "palermo"]
    with pytest.raises(ValueError, match="a region's name is"):
        _ = settings.validate_python("Palermo")
