"""Which public keys of Ed25519 are none: points of small order, with which anybody could sign, and odd spellings."""

from __future__ import annotations

from typing import Final

_FIELD: Final = 2**255 - 19
_ORDER_EIGHT: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""One y coordinate of the four points of order eight; the other one is its negative."""

WEAK: Final = frozenset({0, 1, _FIELD - 1, _ORDER_EIGHT, _FIELD - _ORDER_EIGHT})
"""The y coordinates of points of small order: as a public key, such a point lets anybody sign."""


def weak(public: bytes) -> bool:
    """Whether a public key (32 bytes, RFC 8032) is a point of small order, or is not written in its one way."""
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y % _FIELD in WEAK or y >= _FIELD
