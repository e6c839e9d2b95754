"""The demo's folder: made anew each time, and only where nothing of anybody else's can be lost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from recon.demo.story.fleet import Fleet
from recon.errors import UsageError
from recon.system.state_folder import assert_ours

MARKER: Final = ".recon-demo"
MADE: Final = ("recon.toml", "keys", "vaults", "mappings", "state")
MARK: Final = f"""\
Made by `recon demo`, which makes these anew each time: {", ".join(MADE)}.
"""

CONFIG: Final = Template("""\
# Written by `recon demo`. The venues that it names were servers on this machine, and are gone:
# use --no-fetch, which works from the evidence that the demo's night stored.
# Relative paths are relative to this file.

[recon]
state = "state"            # warehouse, control ledger and reports; made private (0700)
tolerance_pct = 0.5        # a bot diverges where claim and truth lie further apart than
tolerance_abs = "1.00"     # the larger of a share of the truth and an amount

[[accounts]]
id = "okx-demo"
venue = "okx"
mode = "demo"              # a key of OKX's demo trading; "live" for a live one
currency = "USDT"
since = $since         # the window: from here through the as-of session
instrument_types = ["SWAP"]
base_url = "$okx_url"    # leave it out for OKX itself
# A secret is never written here, but named: { env = "NAME" }, { file = "path" } or
# { keyring = "service/user" }. The key must be one that can only read: any other is refused.
api_key = { file = "keys/okx-api-key" }
api_secret = { file = "keys/okx-api-secret" }
passphrase = { file = "keys/okx-passphrase" }

[[accounts]]
id = "ibkr-demo"
venue = "ibkr-flex"
mode = "paper"
currency = "USD"
since = $since
calendar = "XNYS"          # sessions are the trade dates of this exchange
lots = "fifo"              # first in, first out; OKX closes at average cost
query_id = "$query_id"        # an Activity Flex query, made in Client Portal
token = { file = "keys/ibkr-flex-token" }
base_url = "$flex_url"   # leave it out for IBKR

[[bots]]
id = "btc-quantum"
account = "okx-demo"
instruments = ["BTC-USDT-SWAP"]                   # the pairs that it alone owns
order_tag = "btcq"                                # its orders' clOrdId begins with this
database = "sqlite:///vaults/btc-quantum.sqlite"     # what it says of itself; only ever read
mapping = "mappings/record_trade"                 # a folder of queries over books of one's own

[[bots]]
id = "eth-honest"
account = "okx-demo"
instruments = ["ETH-USDT-SWAP"]
database = "sqlite:///vaults/eth-honest.sqlite"
mapping = "freqtrade"                             # a shipped mapping

[[bots]]
id = "sol-forgetful"
account = "okx-demo"
instruments = ["SOL-USDT-SWAP"]
database = "sqlite:///vaults/sol-forgetful.sqlite"
mapping = "auto"                                  # recognised by its columns: freqtrade, too

[[bots]]
id = "basket"
account = "ibkr-demo"
instruments = ["SPY", "QQQ", "AAPL", "MSFT", "XOM"]
order_tag = "basket"                              # at IBKR the order reference
database = "sqlite:///vaults/basket.sqlite"
mapping = "mappings/record_trade"

[paging]
# Who must know: apprise URLs, for Telegram, PagerDuty, mail and many more.
channels = [ { url = { file = "keys/channel-url" } } ]
""")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the loopback venues listen."""

    okx: str
    flex: str
    query_id: str


def make_folder(folder: Path) -> None:
    """Make `folder`, empty but for its marker. What the demo made there before goes.

    Raises UsageError for a folder that holds anything and was not made here: nothing of somebody
    else's is ever removed. Raises OwnerError for a folder that belongs to another user.
    """
    for each in (folder, folder / "state"):
        assert_ours(each)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: name another with --folder")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(MARK, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made anew ({error.strerror}): name another with --folder"
        ) from error


def fill_folder(
    folder: Path, fleet: Fleet, addresses: Addresses, secrets: Mapping[str, str]
) -> Path:
    """Write the bots' books, the keys and the configuration; return the configuration's path.

    `secrets` are the files of `keys/`, by name.
    """
    vaults, mapping, keys = folder / "vaults", folder / "mappings" / "record_trade", folder / "keys"
    vaults.mkdir()
    mapping.mkdir(parents=True)
    fleet.write_books(vaults, mapping)
    keys.mkdir(mode=0o700)
    for name, secret in secrets.items():
        path = keys / name
        path.touch(mode=0o600)
        path.write_text(secret + "\n", encoding="utf-8")
    config = folder / "recon.toml"
    config.write_text(
        CONFIG.substitute(
            since=fleet.since.isoformat(),
            okx_url=addresses.okx,
            flex_url=addresses.flex,
            query_id=addresses.query_id,
        ),
        encoding="utf-8",
    )
    return config


def _clear(folder: Path) -> None:
    """Remove what the demo makes, and nothing that lies beside it."""
    if not (folder / MARKER).is_file():
        raise UsageError(
            f"{folder} holds files that `recon demo` did not make: nothing was touched; "
            "name an empty or a new folder with --folder"
        )
    for name in MADE:
        path = folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
