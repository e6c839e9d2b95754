"""Secrets: named in the configuration, kept elsewhere, read once and never shown."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from recon.outside_text import LONG, STRONG, remember_secret
from recon.system.child_process import withhold
from recon.system.file_text import read_file_text
from recon.system.permissions import writable_by_others

KINDS = ("env", "file", "keyring")
"""Where a secret may be kept."""
CREDENTIALS = "CREDENTIALS_DIRECTORY"
WITH_HOST = {
    "http", "https", "redis", "rediss", "postgres", "postgresql", "json", "jsons", "xml", "xmls",
    "form", "forms", "apprise", "apprises", "mailto", "mailtos", "ntfy", "ntfys",
}  # fmt: skip
"""The schemes of URLs that begin with the name of a host; in others a token may stand there."""
VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
"""What `os.path.expandvars` fills in: `$NAME` or `${NAME}`."""


LONGEST = 65536
"""Bytes of a secret file."""

_UNTYPED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no secret has: control characters, but for the line ends of a key in PEM."""


def read_secret(source: object, folder: Path, key: str = "") -> str:
    """Return the secret that `source` names: `{env = …}`, `{file = …}` or `{keyring = …}`.

    `folder` is what a relative file is relative to. From now on `redact` replaces the secret, and
    what of a URL is secret, by `key`: the key of the configuration that names it. Raises ValueError
    where `source` is none of these, and where the secret is missing, empty, or open to others to
    read or to replace.
    """
    kind, name = named(source)
    value = {"env": _from_env, "file": _from_file, "keyring": _from_keyring}[kind](name, folder)
    if not value:
        raise ValueError(f"the secret {kind} = {name!r} is empty: write it there")
    if _UNTYPED.search(value):
        raise ValueError(
            f"the secret {kind} = {name!r} has a control character, or is no UTF-8: write it there "
            "as plain text"
        )
    for part in _parts(value):
        remember_secret(key or f"{kind} {name}", part)
    return value


def named(source: object) -> tuple[str, str]:
    """Return the kind of a secret, and its name. Raises ValueError for what names none."""
    if (
        not isinstance(source, dict)
        or len(source) != 1
        or next(iter(source)) not in KINDS
        or not isinstance(next(iter(source.values())), str)
    ):
        raise ValueError(
            'a secret is never written here: use { env = "NAME" }, { file = "path" } '
            'or { keyring = "service/user" }'
        )
    [(kind, name)] = source.items()
    if not name.strip() or "\0" in name or (kind == "env" and "=" in name):
        raise ValueError(f"{kind} = {name!r} names no secret: write its name there")
    return kind, name


def keys_of_secrets(values: Mapping[str, object]) -> dict[tuple[str, str], str]:
    """Return the key that names each secret of a configuration, by where the secret is kept.

    Such as `("env", "OKX_KEY"): "accounts.okx-main.api_key"`. From now on no child process gets
    these variables of the environment.
    """
    keys = dict(_named(values))
    withhold(name for kind, name in keys if kind == "env")
    return keys


def _named(values: Mapping[str, object]) -> Iterator[tuple[tuple[str, str], str]]:
    left: list[tuple[object, str]] = [(values, "")]
    while left:  # by a list, as a file may be nested deeper than calls may be
        one, key = left.pop()
        if isinstance(one, list):
            for number, item in enumerate(one, 1):
                name = item.get("id", number) if isinstance(item, dict) else number
                left.append((item, f"{key}.{name}"))
        elif isinstance(one, dict):
            kind, name = next(iter(one.items()), ("", ""))
            if len(one) == 1 and kind in KINDS and isinstance(name, str):
                yield (kind, name), key
            left += [(item, f"{key}.{step}" if key else step) for step, item in one.items()]


def remember_proxies() -> None:
    """Have `redact` replace the passwords of the proxies that the environment names."""
    for variable, url in os.environ.items():
        if variable.lower().endswith("_proxy") and "@" in url:
            for part in list(_parts(url))[1:]:
                remember_secret(variable, part)


def _parts(value: str) -> Iterator[str]:
    """Yield a secret, then what of it is secret by itself: a library may show that alone.

    Of a URL: its password, and each token in it. Of a key in several lines: each line.
    """
    yield value
    yield from (line for line in value.splitlines() if len(line) >= LONG and line[0] != "-")
    scheme, is_url, rest = value.partition("://")
    if not is_url:
        return
    place, _, query = rest.partition("#")[0].partition("?")
    server, _, path = place.partition("/")
    login, _, host = server.rpartition("@")
    user, has_password, password = login.partition(":")
    tokens = [*path.split("/"), *(each.rpartition("=")[2] for each in query.split("&"))]
    if not has_password:
        tokens.append(user)
    if scheme.lower() not in WITH_HOST:
        tokens += [host, *host.split(":")]
    for each in (password, *filter(_is_token, tokens)):
        yield from filter(None, dict.fromkeys([each, unquote(each)]))


def _is_token(text: str) -> bool:
    """Return whether a part of a URL is a token, and no word, number or host's name."""
    bare = text.replace(":", "")
    if "." in text or bare.strip("+-").isdigit():
        return False
    has_digit = any(map(str.isdigit, bare))
    return len(bare) >= LONG or (len(bare) >= STRONG and has_digit)


def _from_env(name: str, _folder: Path) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ValueError(
            f"the environment variable {name} is not set: export it, "
            'or name the secret as { file = "…" } or { keyring = "service/user" }'
        )
    return value.strip()


def _from_file(name: str, folder: Path) -> str:
    path = folder / _expanded(name, folder)
    try:
        text, status = read_file_text(path, LONGEST)
        if status.st_mode & _refused_bits(path):
            raise ValueError(f"{path} can be read by others: run  chmod 600 {path}")
        if found := writable_by_others(path):
            raise ValueError(f"the secret file {path} is not safe: {found}")
    except OSError as error:
        raise ValueError(
            f"cannot read the secret file {path} ({error.strerror}): "
            "write the secret there, with mode 0600"
        ) from error
    return text.strip()


def _expanded(name: str, folder: Path) -> str:
    """Return a path with its variables filled in.

    Raises ValueError for a variable that is not set, or empty. A `$` in a file's own name stays.
    """
    for variable in map(_either, VARIABLE.findall(name)):
        if not os.environ.get(variable) and not (folder / name).exists():
            state = "not set" if variable not in os.environ else "empty"
            raise ValueError(f"the environment variable {variable} is {state}: {_set(variable)}")
    return os.path.expandvars(name)


def _either(names: tuple[str, str]) -> str:
    return names[0] or names[1]


def _set(variable: str) -> str:
    if variable == CREDENTIALS:
        return (
            "systemd sets it for a service that has LoadCredential= lines; by hand, put "
            f"{CREDENTIALS}=/etc/recon/secrets before the command"
        )
    return "export it, or write the path without it"


def _refused_bits(path: Path) -> int:
    """Return the mode bits that a secret file must not have.

    systemd gives a service's user its credentials through an ACL, from version 254 on; the ACL's
    mask shows as a group that can read, though no group can.
    """
    credentials = os.environ.get(CREDENTIALS)
    real = os.path.realpath  # which follows a loop of links to no end, and raises nothing
    if credentials and Path(real(path)).is_relative_to(real(credentials)):
        return stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
    return stat.S_IRWXG | stat.S_IRWXO


def _from_keyring(name: str, _folder: Path) -> str:
    service, slash, user = name.partition("/")
    if not slash:
        raise ValueError('write the keyring entry as { keyring = "service/user" }')
    try:
        import keyring
    except ImportError as error:
        raise ValueError(
            "the keyring library is not installed: run  pip install 'recon-pnl[keyring]'"
        ) from error
    try:
        value = keyring.get_password(service, user)
    except Exception as error:  # whatever the system's keyring raises
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"the keyring cannot be read ({said[:200]}): unlock it") from error
    if value is None:
        raise ValueError(f"the keyring has no entry {name!r}: run  keyring set {service} {user}")
    return str(value)
