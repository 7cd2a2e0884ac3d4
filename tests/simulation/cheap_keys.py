"""Signers that cost nothing: a run is about the order of things, and other tests are about signatures."""

import hashlib
import hmac
from datetime import datetime

from scheduler.audit.checkpoint import Checkpoint

_KEY = b"simulated"


class CheapInstanceKey:
    key_id = "0" * 16

    def sign(self, message: bytes) -> bytes:
        return hmac.digest(_KEY, message, hashlib.sha512)


class CheapLogKeys:
    def sign_checkpoint(self, *, size: int, root: bytes, at: datetime) -> bytes:
        return Checkpoint(origin="audit.karvenia.example/log1", size=size, root=root).text()
