"""IBKR instrument names: the instrument that each symbol means.

IBKR identifies an instrument by its conid. A renamed company keeps its conid and takes another
symbol, and its old symbol may pass to another company. `config.names` lists the instruments that a
symbol alone does not identify. This module resolves the configuration's symbols before staging. An
account whose names change is rebuilt from the beginning (`raw/build_fingerprints.sql`).
"""

from __future__ import annotations

from recon.warehouse.database import Warehouse

OWNERS = """
    with listed as (
      select o.account, coalesce(n.instrument, o.instrument) as instrument, o.bot,
        coalesce(n.is_latest, true) as is_latest
      from config.owners o
      left join config.names n on n.account = o.account and n.symbol = o.instrument
    )
    select distinct account, instrument, bot
    from listed
    qualify is_latest = bool_or(is_latest) over (partition by account, instrument)
"""
"""The owners of each instrument, under any of its symbols. If several instruments had a symbol, the
bot of that symbol owns all of them, except those that another bot owns by their present symbol."""
OPENING = """
    select o.* replace (coalesce(n.instrument, o.instrument) as instrument)
    from config.opening o
    join config.accounts a on a.account = o.account
    left join config.names n
      on n.account = o.account and n.symbol = o.instrument
      and n.from_day <= a.first_date and a.first_date < n.until_day
"""
"""The positions held before the window. A symbol has the meaning that it had on the first day."""


def keep_names(warehouse: Warehouse, run: str) -> None:
    """Store the instrument names in the records of `run`, and resolve the configuration's symbols.

    Stores `config.names`, `config.conids` (account, conid, instrument) and `config.contested` (the
    bots that own one instrument under several names). Rewrites `config.owners` and
    `config.opening`.
    """
    warehouse.run(
        """
        delete from raw.names n using raw.records r
        where r.run = $run and r.venue = n.venue and r.account = n.account and r.kind = n.kind
          and r.id = n.id
        """,
        {"run": run},
    )
    warehouse.run(
        """
        insert into raw.names
        select venue, account, kind, id, conid, symbol, day from raw.namings where run = $run
        qualify version = max(version) over (partition by venue, account, kind, id)
        """,
        {"run": run},
    )
    warehouse.store("config", "names", warehouse.arrow(dict(warehouse.queries("raw"))["names"]))
    warehouse.store(
        "config",
        "conids",
        warehouse.arrow("select distinct account, conid, instrument from config.names"),
    )
    warehouse.store("config", "owners", warehouse.arrow(OWNERS))
    warehouse.store(
        "config",
        "contested",
        warehouse.arrow(
            "select account, instrument, bot from config.owners "
            "qualify count(*) over (partition by account, instrument) > 1"
        ),
    )
    warehouse.store(
        "config",
        "owners",
        warehouse.arrow(
            "select account, instrument, min(bot) as bot from config.owners group by all"
        ),
    )
    warehouse.store("config", "opening", warehouse.arrow(OPENING))
