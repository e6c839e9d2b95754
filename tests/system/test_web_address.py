"""Which addresses are this machine's own, and which need TLS: one function for all of them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from recon.config.settings import Channel, Paging, load
from recon.errors import ConfigError
from recon.paging.channels import recipients
from recon.run.dead_man_switch import address
from recon.system.web_address import is_loopback, read_address

OURS = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.255.255.254",
    "[::1]",
    "[::1]:80",
    "localhost",
    "LOCALHOST:80",
    "[0:0:0:0:0:0:0:1]",
]
OTHERS = [
    "192.0.2.1", "0.0.0.0", "[::]", "example.com", "evil.localhost", "localhost.", "127.0.0.1.",
    "localhost.evil.com", "127.0.0.1.evil.com", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
    "127.0.0.010", "[::ffff:127.0.0.1]", "127.0.0.1@evil.com", "localhost:80@evil.com",
    "evil.com", "ip6-localhost", "[fe80::1]", "10.0.0.1", "169.254.169.254",
]  # fmt: skip
"""Hosts of other machines, and spellings of this one that not everybody reads alike."""
NONE = [
    "", "/", ":80", "@", "a b", "a\tb", "127.0.0.1\\@evil.com", "evil.com\\@127.0.0.1", "a..b",
    ".a",
    "127.0.0.1#@evil.com", "%31%32%37.0.0.1", "１２７.0.0.1", "ⅼocalhost", "lоcalhost", "[::1",
    "[::1%25lo]", "::1", "[127.0.0.1]", "a:0", "a:65536", "a:", "a:1:2", "a" * 64, "a\x00", "a\n",
    "127。0。0。1", "[::1]evil.com", "[::1]@evil.com", "a@b@c",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_this_machine_s_own_is_known(host: str) -> None:
    assert is_loopback(read_address(f"http://{host}/x?y", ("http",)).host)
    assert is_loopback(read_address(f"HTTP://u:p@{host}", ("http",)).host)


@pytest.mark.parametrize("host", OTHERS)
def test_no_other_host_is_taken_for_this_machine(host: str) -> None:
    assert not is_loopback(read_address(f"http://{host}/", ("http",)).host)


@pytest.mark.parametrize("host", NONE)
def test_what_two_libraries_may_read_differently_is_no_address(host: str) -> None:
    with pytest.raises(
        ValueError, match=r"begin it with http|its host|its port|brackets"
    ) as caught:
        read_address(f"http://{host}/canary", ("http", "https"))
    assert "canary" not in str(caught.value)


@given(st.ip_addresses())
def test_every_numeric_address_is_judged_by_its_number(
    number: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    host = f"[{number}]" if number.version == 6 else str(number)
    found = read_address(f"http://{host}:80/", ("http",)).host
    assert is_loopback(found) is (str(number).startswith("127.") or str(number) == "::1")


ACCOUNT = """
[[accounts]]
id = "a"
venue = "{venue}"
currency = "USD"
since = 2026-03-01
base_url = "{url}"
{keys}
"""
KEYS = 'api_key = { file = "s" }\napi_secret = { file = "s" }\npassphrase = { file = "s" }'
FLEX = 'query_id = "1"\ntoken = { file = "s" }'


def written(folder: Path, text: str, secret: str = "s3cret") -> Path:
    (folder / "s").touch(0o600)
    (folder / "s").write_text(secret)
    (folder / "recon.toml").write_text(text)
    return folder / "recon.toml"


@pytest.mark.parametrize(("venue", "keys"), [("okx", KEYS), ("kraken", KEYS), ("ibkr-flex", FLEX)])
def test_no_venue_is_sent_a_key_in_the_clear(venue: str, keys: str, tmp_path: Path) -> None:
    text = ACCOUNT.format(venue=venue, keys=keys, url="URL")
    for url in ("https://venue.example", *(f"http://{host}" for host in OURS)):
        load(written(tmp_path, text.replace("URL", url)))
    for host in OTHERS:
        plain = text.replace("URL", f"http://{host}/api")
        refused = "sends the key in the clear|a password is never written here"
        with pytest.raises(ConfigError, match=refused) as caught:
            load(written(tmp_path, plain))
        assert f"{tmp_path / 'recon.toml'}: accounts.a.base_url: " in str(caught.value)
        if "@" not in host:
            load(written(tmp_path, f"{plain}\nallow_plain_http = true"))
    for host in NONE:
        escaped = host.encode("unicode_escape").decode().replace("\\x", "\\u00")
        with pytest.raises(ConfigError):
            load(written(tmp_path, text.replace("URL", f"http://{escaped}")))


BOT = (
    ACCOUNT.format(venue="ibkr-flex", keys="", url="").replace('base_url = ""', 'files = "x"')
    + """
[[bots]]
id = "b"
account = "a"
order_tag = "b"
database = "sqlite:///b"
[bots.heartbeat]
"""
)


@pytest.mark.parametrize(
    ("place", "secret", "is_private"),
    [
        ('url = { file = "s" }', "http://u:s3cret@beats.example/", False),
        ('url = { file = "s" }', "http://beats.example/s3cret", False),
        ('url = { file = "s" }', "http://u:s3cret@127.0.0.1.evil.com/", False),
        ('url = { file = "s" }', "https://u:s3cret@beats.example/", True),
        ('url = { file = "s" }', "http://u:s3cret@localhost/", True),
        ('url = "http://beats.example/"', "s3cret", True),
        ('key = "k"\nredis = { file = "s" }', "redis://:s3cret@beats.example/0", False),
        ('key = "k"\nredis = { file = "s" }', "redis://beats.example/0?password=s3cret", False),
        ('key = "k"\nredis = { file = "s" }', "redis://:s3cret@[::1]/0", True),
        ('key = "k"\nredis = { file = "s" }', "redis://beats.example/0", True),
        ('key = "k"\nredis = { file = "s" }', "rediss://:s3cret@beats.example/0", True),
    ],
)
def test_a_heartbeat_s_password_needs_tls(
    *, place: str, secret: str, is_private: bool, tmp_path: Path
) -> None:
    load(written(tmp_path, BOT + place, secret), with_secrets=False)
    load(written(tmp_path, f"{BOT}{place}\nallow_plain_http = true", secret))
    if is_private:
        load(written(tmp_path, BOT + place, secret))
        return
    with pytest.raises(ConfigError, match=r"in the clear to .*allow_plain_http = true") as caught:
        load(written(tmp_path, BOT + place, secret))
    assert "bots.b.heartbeat." in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_ping_needs_tls(tmp_path: Path) -> None:
    ping = '[recon]\nping = {{ file = "s"{more} }}\n' + BOT.partition("[[bots]]")[0]
    plain, allowed = ping.format(more=""), ping.format(more=", allow_plain_http = true")
    for url in ("https://hc.example/s3cret", "http://127.0.0.1:1/s3cret"):
        assert address(written(tmp_path, plain, url)) == url
        load(tmp_path / "recon.toml")
    url = "http://hc.example/s3cret"
    path = written(tmp_path, plain, url)
    assert address(path) is None
    with pytest.raises(
        ConfigError, match=r"recon\.ping: http:// sends .* to hc\.example"
    ) as caught:
        load(path)
    assert "s3cret" not in str(caught.value)
    assert address(written(tmp_path, allowed, url)) == url
    load(path)
    wrong = allowed.replace("true", '"yes"')
    assert address(written(tmp_path, wrong, url)) is None
    with pytest.raises(ConfigError, match="allow_plain_http: write true or false"):
        load(path)


PLAIN = [
    "json://pages.example/s3cret",
    "http://pages.example/s3cret",
    "JSON://u:s3cret@pages.example",
    "xml://pages.example/s3cret",
    "gotify://pages.example/s3crettoken",
    "mailto://u:s3cret@pages.example",
    "mailto://u:s3cret@localhost?from=a@b.example&smtp=pages.example",
    "ntfy://pages.example/s3cret",
    "matrix://u:s3cret@pages.example/#room",
]
SECURE = [
    "jsons://pages.example/s3cret",
    "https://pages.example/s3cret",
    "json://127.0.0.1/s3cret",
    "json://[::1]:80/s3cret",
    "http://localhost/s3cret",
    "mailtos://u:s3cret@pages.example",
    "mailto://u:s3cret@gmail.com",
    "mailto://u:s3cret@x.example?mode=starttls",
    "ntfy://s3cret",
    "mailto://relay.example?from=a@b.example&to=c@d.example&smtp=relay.example",
    "tgram://123456789:abcdefghijklmnopqrstuvwxyz123456789/123",
    "syslog://",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
    "pagerduty://A1BRTD4JD@TIiajkdnlazkcOXrIdevi7FQ",
]


@pytest.mark.parametrize("url", PLAIN)
def test_a_channel_without_tls_is_refused_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(ConfigError, match=r"in the clear to pages\.example: use") as caught:
        recipients(one_channel(url=secret(url)))
    assert "s3cret" not in str(caught.value)
    assert recipients(one_channel(url=secret(url), allow_plain_http=True))


@pytest.mark.parametrize("url", SECURE)
def test_a_channel_with_tls_or_on_this_machine_is_used(url: str) -> None:
    assert recipients(one_channel(url=secret(url)))


def test_a_channel_s_own_server_needs_tls() -> None:
    telegram = {"url": secret(SECURE[10])}
    with pytest.raises(ValueError, match="sends the key in the clear"):
        Channel.model_validate({**telegram, "base_url": "http://bot.example"})
    assert recipients(one_channel(**telegram, base_url="http://127.0.0.1:1"))
    allowed = {"base_url": "http://bot.example", "allow_plain_http": True}
    assert recipients(one_channel(**telegram, **allowed))


def one_channel(**values: Any) -> Paging:
    return Paging(channels=(Channel.model_validate(values),))


def secret(url: str) -> object:

    return SecretStr(url)
