"""`lots/realise.py` for volume: the same events, the same rows to the last unit, compiled.

`lots/book.py` and `lots/realise.py` say what is reckoned and why; here it is done for a stream of
Arrow batches, in 64-bit words. What these words cannot hold is seen before anything goes wrong: the
whole instrument is then handed over, for `realise()` to do.

- *Money* is in units of 10^-18, 128 bits of it (`int128.py`), and never 2^109 or more.
- *Quantities* are 64-bit, in units of 10^(digits - 18), with `digits` as large as an instrument's
  own quantities allow, and lowered where a finer one comes. What is truncated, cost · r / Q, is the
  same in any unit of r and Q.
- A *rate* is a fraction, its last zeros cancelled: 154.23 is 15423 / 100. What is truncated,
  amount · rate, is the same at any of them.
- A book keeps its cost and its fees as it goes along. Of FIFO's lots only the oldest can be partly
  consumed, so what was taken of it stands in its book; the average's one lot *is* its book.

It needs numba, which is an extra. From the outside in: `arrow.py`, columns in and tables out;
`kernel.py`, one event after the other; what an event does, in `opening.py`, `fills.py`, `cash.py`
and `closing.py`; `books.py` and `values.py`, which they use; and `schemas.py`, `state.py`,
`int128.py` and `jit.py`, what all of it is made of.
"""

from recon.lots.compiled.arrow import Opening, Outcome, realise_compiled
from recon.lots.compiled.schemas import AVERAGE, BOOKS, EVENTS, FIFO, LOTS, MONEY, REALISED

__all__ = [
    "AVERAGE",
    "BOOKS",
    "EVENTS",
    "FIFO",
    "LOTS",
    "MONEY",
    "REALISED",
    "Opening",
    "Outcome",
    "realise_compiled",
]
