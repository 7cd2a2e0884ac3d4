"""Searching bytes for a secret in every form that somebody might find it in."""

import base64
import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

#: A shorter piece of a secret could stand anywhere by chance.
_SHORTEST: Final = 8
_MOST_INFLATED: Final = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    secret: str  #: what it is, never the secret itself
    form: str
    place: str


def forms(secret: bytes) -> dict[str, bytes]:
    """The secret as it stands in bytes, by the name of the form."""
    found = {
        "raw": secret,
        "reversed": secret[::-1],
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "spaced hex": secret.hex(" ").encode(),
        "escaped": "".join(f"\\x{byte:02x}" for byte in secret).encode(),
        "percent": quote_from_bytes(secret, safe="").encode(),
        "percent of every byte": "".join(f"%{byte:02X}" for byte in secret).encode(),
        "utf-16": b"".join(bytes((byte, 0)) for byte in secret),
        "base32": base64.b32encode(secret).rstrip(b"=")[:-1],
        "reversed base64": base64.b64encode(secret)[::-1].lstrip(b"="),
    }
    for shift in range(3):
        for name, encode in (
            ("base64", base64.b64encode),
            ("base64url", base64.urlsafe_b64encode),
        ):
            found[f"{name} at {shift}"] = _inner(encode, secret, shift)
    return found


def find_leaks(secrets: Mapping[str, bytes], places: Mapping[str, bytes]) -> list[Leak]:
    """Every secret in every place, as it is there and in whatever can be unpacked from it."""
    known = {
        (name, form): needle
        for name, secret in secrets.items()
        for form, needle in forms(secret).items()
    }
    if any(len(needle) < _SHORTEST for needle in known.values()):
        raise ValueError("a secret is too short to be searched for")
    return [
        Leak(secret=name, form=form, place=layer)
        for place, data in places.items()
        for layer, content in _layers(place, data)
        for (name, form), needle in known.items()
        if needle in content
    ]


def _inner(encode: object, secret: bytes, shift: int) -> bytes:
    """The characters that depend on nothing but the secret, when so many bytes stand before it."""
    text: bytes = encode(bytes(shift) + secret)  # type: ignore[operator]
    start = -(-shift * 8 // 6)
    whole = (shift + len(secret)) * 8 // 6
    return text[start:whole]


def _layers(place: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield place, data
    for at, content in _unpacked(data):
        yield f"{place}, unpacked at {at}", content


def _unpacked(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whatever is a gzip or zlib stream, wherever it begins."""
    for magic, bits in (
        (b"\x1f\x8b\x08", zlib.MAX_WBITS | 16),
        *((bytes((0x78, level)), zlib.MAX_WBITS) for level in (0x01, 0x5E, 0x9C, 0xDA)),
    ):
        at = data.find(magic)
        while at >= 0:
            content = _inflate(data[at:], bits)
            if content:
                yield at, content
            at = data.find(magic, at + 1)


def _inflate(data: bytes, bits: int) -> bytes:
    try:
        return zlib.decompressobj(bits).decompress(data, _MOST_INFLATED)
    except zlib.error:
        return b""


def packings(secret: bytes) -> dict[str, bytes]:
    """The secret as a search must find it, hidden in something longer: for the test of the search."""
    text = b'{"token": "' + secret + b'"}'
    hidden = {name: b"before " + needle + b" after" for name, needle in forms(secret).items()}
    for pad in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            hidden[f"{name} of JSON, moved by {pad}"] = encode(bytes(pad) + text)
    return {
        **hidden,
        "gzip": b"before" + gzip.compress(text) + b"after",
        **{f"zlib {level}": b"before" + zlib.compress(text, level) for level in (0, 1, 6, 9)},
        "base64 in gzip": gzip.compress(base64.b64encode(text)),
    }
