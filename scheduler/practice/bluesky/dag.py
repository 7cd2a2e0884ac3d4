"""Content identifiers (CIDv1, base32) of records in DAG-CBOR and of raw blobs, as a PDS computes them."""

import base64
import binascii
import hashlib
from typing import Any, Final

_RAW: Final = 0x55
_DAG_CBOR: Final = 0x71
_CID_TAG: Final = b"\xd8\x2a"
_DIGEST_BYTES: Final = 36
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_SIMPLE: Final = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}


def record_cid(record: dict[str, Any]) -> str:
    """Raises ValueError: the record holds a float, a bad link or a number over 64 bits."""
    return _cid(_DAG_CBOR, encode(record))


def blob_cid(data: bytes) -> str:
    return _cid(_RAW, data)


def is_cid(text: object) -> bool:
    try:
        _cid_bytes(text)
    except ValueError:
        return False
    return True


def encode(value: object) -> bytes:
    """Encode JSON of the AT Protocol data model, https://atproto.com/specs/data-model.

    Raises:
        ValueError: outside that model.
    """
    if value is None or isinstance(value, bool):
        return _SIMPLE[value]
    if isinstance(value, int):
        return _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    if isinstance(value, str):
        data = value.encode()
        return _head(_TEXT, len(data)) + data
    if isinstance(value, list):
        return _head(_ARRAY, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        return _encode_map(value)
    raise ValueError(f"{type(value).__name__} has no place in a record")


def _encode_map(value: dict[str, Any]) -> bytes:
    if value.keys() == {"$link"}:
        link = b"\x00" + _cid_bytes(value["$link"])
        return _CID_TAG + _head(_BYTES, len(link)) + link
    if value.keys() == {"$bytes"}:
        data = _base64(value["$bytes"])
        return _head(_BYTES, len(data)) + data
    keys = sorted((key.encode() for key in value), key=lambda key: (len(key), key))
    pieces = [_head(_TEXT, len(key)) + key + encode(value[key.decode()]) for key in keys]
    return _head(_MAP, len(keys)) + b"".join(pieces)


def _head(major: int, number: int) -> bytes:
    if number < 24:  # noqa: PLR2004 - RFC 8949 §3: small numbers are in the first byte
        return bytes([major | number])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major | code]) + number.to_bytes(size)
    raise ValueError("a number over 64 bits")


def _cid(codec: int, data: bytes) -> str:
    binary = bytes([0x01, codec, 0x12, 0x20]) + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


def _cid_bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("b"):
        raise ValueError("not a CID")
    body = text[1:].upper()
    try:
        binary = base64.b32decode(body + "=" * (-len(body) % 8))
    except binascii.Error as error:
        raise ValueError("not a CID") from error
    if len(binary) != _DIGEST_BYTES or binary[:1] != b"\x01":
        raise ValueError("not a CID")
    return binary


def _base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("bytes are written as base64")  # noqa: TRY004 - the input is wrong, not the code
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
