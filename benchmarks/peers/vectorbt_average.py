"""vectorbt: orders into dense matrices of floats, a column a key; then its trades, at average cost.

Run by `benchmarks/peers.py` in an environment of its own: FILLS.csv, REALISED.csv, repeats. Prints
JSON: fills, seconds to lay the matrices out, seconds to simulate the orders and derive the trades.
"""

import csv
import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import vectorbt as vbt

PLENTY = 1e12
WARM_UP = 9
"""Turns that its code is compiled over, before the clock runs."""


def laid_out(fills):
    """Return price, signed size and fee as matrices of turns and keys; NaN is no order."""
    key, turn = fills["key_number"].to_numpy(), fills["turn"].to_numpy()
    shape = (turn.max() + 1, key.max() + 1)
    price, size, fee = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    price[turn, key] = fills["price"].to_numpy()
    size[turn, key] = fills["signed"].to_numpy()
    fee[turn, key] = -fills["fee"].to_numpy()
    return price, size, fee


def simulate(price, size, fee):
    """Return the trades that the orders make: what each closing order realised."""
    portfolio = vbt.Portfolio.from_orders(
        close=price,
        size=size,
        price=price,
        fixed_fees=fee,
        size_type="amount",
        direction="both",
        init_cash=PLENTY,
        freq="1D",
    )
    return portfolio.exit_trades.records


def main(source, target, repeats):
    """Simulate the fills, write what each closing order realised before fees, print the times."""
    fills = pd.read_csv(source, dtype={"fill_id": str})
    fills["signed"] = np.where(fills["side"] == "buy", fills["qty"], -fills["qty"])
    simulate(*laid_out(fills[fills["turn"] < WARM_UP]))
    prepared, looped = [], []
    for _ in range(int(repeats)):
        started = time.perf_counter()
        matrices = laid_out(fills)
        made = time.perf_counter()
        trades = simulate(*matrices)
        looped.append(time.perf_counter() - made)
        prepared.append(made - started)
    closed = trades[trades["status"] == 1]
    gross = closed["pnl"] + closed["entry_fees"] + closed["exit_fees"]
    found = pd.Series(0.0, index=pd.MultiIndex.from_frame(fills[["key_number", "turn"]]))
    places = pd.MultiIndex.from_arrays([closed["col"], closed["exit_idx"]])
    found.loc[places] = gross.to_numpy() if hasattr(gross, "to_numpy") else gross
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(zip(fills["fill_id"], map(repr, found.tolist()), strict=True))
    answer = {"fills": len(fills), "prepare_s": median(prepared), "loop_s": median(looped)}
    json.dump(answer, sys.stdout)


main(*sys.argv[1:])
