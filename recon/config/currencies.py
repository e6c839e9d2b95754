"""Which currencies Interactive Brokers' accounts can be in, and what a misspelt one may mean."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

ISO = frozenset(
    (  # noqa: SIM905 - a table of words reads best as words
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN "
        "BWP BYN BZD CAD CDF CHF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR "
        "FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD "
        "JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK "
        "MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
        "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
        "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER "
        "ZAR ZMW ZWL"
    ).split()
)
"""The codes of ISO 4217, and CNH, as IBKR calls the renminbi that is traded abroad."""


def meant(written: str, known: Collection[str]) -> list[str]:
    """Return the currencies of `known` that a misspelt one may mean, the closest first."""
    by_capitals = {one.upper(): one for one in sorted(known)}
    if exact := by_capitals.get(written.upper()):
        return [exact]
    return [by_capitals[one] for one in get_close_matches(written.upper(), by_capitals, n=3)]
