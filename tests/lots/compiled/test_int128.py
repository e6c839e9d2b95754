"""Money in two limbs is held to Python's integers, at the edges of the words above all."""

from __future__ import annotations

import random
from typing import Any

import pytest

np = pytest.importorskip("numpy")
numba = pytest.importorskip("numba", reason="the extra for volume is not installed")

from recon.lots.compiled import int128  # noqa: E402

EDGES = sorted(
    {
        edge
        for power in (0, 1, 31, 32, 33, 62, 63, 64, 65, 96, 109, 125, 126)
        for edge in (2**power - 1, 2**power, 2**power + 1)
    }
    | {10**18, 10**19, 10**33, 10**37}
)
LIMBS = [edge for edge in EDGES if edge < 2**64]


def money(amount: int) -> int128.Money:
    return np.uint64(amount % 2**64), np.uint64((amount >> 64) % 2**64)


def whole(amount: Any) -> int:
    low, high = int(amount[0]), int(amount[1])
    unsigned = low + (high << 64)
    return unsigned - (1 << 128) if high >> 63 else unsigned


def called(part: Any) -> Any:
    """A part of the kernel as a function that Python can call."""

    @numba.njit  # type: ignore[untyped-decorator]
    def call(*given: Any) -> Any:
        return part(*given)

    return call


def random_below(rng: random.Random, bits: int) -> int:
    return rng.getrandbits(rng.randint(1, bits))


def test_a_product_has_all_its_limbs() -> None:
    times = called(int128.times)
    rng = random.Random(20)
    pairs = [(a, b) for a in EDGES for b in LIMBS]
    pairs += [(random_below(rng, 127), random_below(rng, 64)) for _ in range(3000)]
    for a, b in pairs:
        low, middle, high = times(money(a), np.uint64(b))
        assert int(low) + (int(middle) << 64) + (int(high) << 128) == a * b


def test_a_share_is_cut_off_towards_nought() -> None:
    share = called(int128.share)
    rng = random.Random(21)
    wholes = [limb for limb in LIMBS if limb]
    triples = [(a, p, w) for a in EDGES for p in LIMBS for w in wholes]
    triples += [
        (random_below(rng, 127), random_below(rng, 63), random_below(rng, 63) + 1)
        for _ in range(5000)
    ]
    for amount, part, parts in triples:
        for sign in (1, -1):
            got, fits = share(money(sign * amount), np.uint64(part), np.uint64(parts))
            expected = amount * part // parts
            assert fits == (expected < 2**127)
            assert not fits or whole(got) == sign * expected


def test_a_quotient_and_its_rest() -> None:
    quotient = called(int128.quotient)
    rng = random.Random(22)
    pairs = [(a, b) for a in EDGES for b in LIMBS if b]
    pairs += [(random_below(rng, 128), random_below(rng, 64) + 1) for _ in range(5000)]
    for a, b in pairs:
        if b < 2**64:
            got, rest = quotient(money(a), np.uint64(b))
            assert (whole(got) % 2**128, int(rest)) == divmod(a, b)


def test_digits_are_stripped_only_where_they_are_noughts() -> None:
    stripped = called(int128.stripped)
    rng = random.Random(23)
    sizes = [0, *EDGES, *(e * 10**k for e in LIMBS for k in range(20) if e * 10**k < 2**127)]
    sizes += [random_below(rng, 62) * 10 ** rng.randint(0, 18) % 2**127 for _ in range(5000)]
    for size in sizes:
        for digits in (0, 1, 2, 7, 10, 17, 18, 19, rng.randint(0, 19)):
            limb, is_whole = stripped(money(size), digits)
            left, rest = divmod(size, 10**digits)
            assert is_whole == (not rest and left < 2**62)
            assert not is_whole or int(limb) == left


def test_sums_and_signs() -> None:
    plus, minus, signed = called(int128.plus), called(int128.minus), called(int128.signed)
    is_negative, is_nought = called(int128.is_negative), called(int128.is_nought)
    is_too_much = called(int128.is_too_much)
    rng = random.Random(24)
    signs = [sign * edge for edge in EDGES for sign in (1, -1)]
    pairs = [(a, b) for a in signs for b in signs if abs(a) < 2**125 and abs(b) < 2**125]
    pairs += [(random_below(rng, 126), -random_below(rng, 126)) for _ in range(500)]
    for a, b in pairs:
        assert whole(plus(money(a), money(b))) == a + b
        assert whole(minus(money(a), money(b))) == a - b
    for a in signs:
        assert whole(signed(money(a), True)) == -a
        assert is_negative(money(a)) == (a < 0)
        assert is_too_much(money(a)) == (not -(2**109) <= a < 2**109)
        assert is_nought(money(a)) == (a == 0)
