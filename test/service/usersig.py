"""Checks a UserSig the way its issuer publishes it (TLSSigAPI v2).

The client under test has a signer of its own; this verifier was written from the published format
and shares nothing with it, so that a mistake in one cannot hide in the other.

A UserSig is base64 (with ``* - _`` in place of ``+ / =``) of a zlib stream of a JSON object whose
member ``TLS.sig`` is an HMAC over the other members.  Signers in the wild differ in the order and
spacing of the JSON and in the level of compression, so nothing here compares strings: everything
is taken apart and the HMAC is computed again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import zlib

# Codes of the service, in the order in which check() looks for them.
EMPTY = 70002
ILLEGAL = 70003
OTHER_IDENTIFIER = 70013
OTHER_SDKAPPID = 70014
EXPIRED = 70001
BAD_SIGNATURE = 70009

INFO = {
    EMPTY: "The UserSig is empty.",
    ILLEGAL: "The UserSig in use is illegal.",
    OTHER_IDENTIFIER: "The identifier of the request is not the one in the UserSig.",
    OTHER_SDKAPPID: "The SDKAppID of the request is not the one in the UserSig.",
    EXPIRED: "The UserSig has expired.",
    BAD_SIGNATURE: "UserSig verification Failed. Was it made with the key of another app?",
}

# Documented: a UserSig lives for at most 50 years of 365 days.
LONGEST_LIFE = 50 * 365 * 86400
# A real one inflates to about 200 bytes; the cap keeps a zip bomb out.
MAX_JSON = 8192

_ALPHABET = re.compile(r"[A-Za-z0-9*\-]+_{0,2}")
_TO_BASE64 = str.maketrans("*-_", "+/=")
_MEMBERS = {
    "TLS.ver": str,
    "TLS.identifier": str,
    "TLS.sdkappid": int,
    "TLS.time": int,
    "TLS.expire": int,
    "TLS.sig": str,
}


class Refused(Exception):
    """The UserSig is no good; ``code`` is the ErrorCode to answer with."""

    def __init__(self, code: int):
        super().__init__(INFO[code])
        self.code = code


def check(sig: str, sdkappid: int, identifier: str, secret: str, now: float) -> int:
    """Return the UNIX second after which *sig* is expired, or raise Refused.

    The moment of expiry itself is still good, as in the issuer's own verifiers.
    """
    if not sig:
        raise Refused(EMPTY)
    claims = unpack(sig)
    if claims["TLS.identifier"] != identifier:
        raise Refused(OTHER_IDENTIFIER)
    if claims["TLS.sdkappid"] != sdkappid:
        raise Refused(OTHER_SDKAPPID)
    expires = claims["TLS.time"] + claims["TLS.expire"]
    if now > expires:
        raise Refused(EXPIRED)
    if not hmac.compare_digest(_mac(claims, secret), _decode64(claims["TLS.sig"])):
        raise Refused(BAD_SIGNATURE)
    return expires


def unpack(sig: str) -> dict:
    """Take *sig* apart into its members, with their types checked and nothing verified yet."""
    if not _ALPHABET.fullmatch(sig):
        raise Refused(ILLEGAL)
    try:
        claims = json.loads(_inflate(_decode64(sig.translate(_TO_BASE64))))
    except (ValueError, RecursionError):
        raise Refused(ILLEGAL) from None
    if not isinstance(claims, dict):
        raise Refused(ILLEGAL)
    for name, kind in _MEMBERS.items():
        if type(claims.get(name)) is not kind:
            raise Refused(ILLEGAL)
    # With a userbuf it is a key to enter a room, not a credential for these calls.
    if "TLS.userbuf" in claims or claims["TLS.ver"] != "2.0":
        raise Refused(ILLEGAL)
    if claims["TLS.expire"] > LONGEST_LIFE:
        raise Refused(ILLEGAL)
    return claims


def _decode64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(ILLEGAL) from None


def _inflate(data: bytes) -> str:
    """Inflate exactly one complete zlib stream (not raw deflate, not gzip) of UTF-8 text."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, MAX_JSON)
    except zlib.error:
        raise Refused(ILLEGAL) from None
    if not stream.eof or stream.unused_data:
        raise Refused(ILLEGAL)
    return text.decode("utf-8")


def _mac(claims: dict, secret: str) -> bytes:
    """The HMAC of the signed text.  The key is the secret's characters, not what they spell in hex."""
    text = "".join(
        "%s:%s\n" % (name, claims[name])
        for name in ("TLS.identifier", "TLS.sdkappid", "TLS.time", "TLS.expire")
    )
    return hmac.new(secret.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
