"""Verifies the id_token of an OpenID provider: signature, issuer, audience, times and nonce. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures that only the provider can make. With ``none`` or a shared secret, others could."""
KEY_TYPES = ("RSA", "EC", "OKP")
LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
OLD_NAMES = {"https://accounts.google.com": ("accounts.google.com",)}
"""What a provider may still write as the issuer in tokens. Google documents both."""


class IdTokenRefused(Exception):
    """The id_token proves nothing. The message says what is wrong with it."""


class UnknownKey(IdTokenRefused):
    """The id_token is signed with a key that is not in the set. The provider may have a new one."""


def read_key_set(document: Any) -> KeySet:
    """Return the keys of a provider's ``jwks_uri`` that verify signatures. Raises ValueError if there is none."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    keys = [key for one in listed if (key := _read_key(one)) is not None] if isinstance(listed, list) else []
    if not keys:
        raise ValueError("no key that can verify a signature")
    return KeySet(keys)


def verified_claims(
    token: str,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str | None,
    max_age: timedelta | None = None,
    now: datetime,
) -> Mapping[str, Any]:
    """Return what the id_token says. Raises UnknownKey or IdTokenRefused.

    ``max_age``: the person must have signed in at the provider within this time. None: whenever that was.
    """
    from authlib.oidc.core import CodeIDToken

    names = [issuer, *OLD_NAMES.get(issuer, ())]
    try:
        signed = jwt.decode(token, keys, algorithms=ALGORITHMS)
        claims = CodeIDToken(
            signed.claims,
            # The hash of the access token is made in the same way, but the library knows only the older name.
            signed.header | ({"alg": "EdDSA"} if signed.header["alg"] == "Ed25519" else {}),
            options={
                "iss": {"essential": True, "values": names},
                "aud": {"essential": True, "value": client_id},
                "nonce": {"essential": True, "value": nonce},
            },
            params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(now=int(now.timestamp()), leeway=LEEWAY_SECONDS)
    except InvalidKeyIdError:
        raise UnknownKey("it is signed with a key that the provider does not publish") from None
    except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
        claim = getattr(error, "claim", "")
        what = f"claim {claim}" if claim else "signature or form"
        raise IdTokenRefused(f"its {what} is not accepted ({getattr(error, 'error', type(error).__name__)})") from None
    if max_age is not None:
        _check_age(signed.claims, max_age, now)
    return dict(signed.claims)


def _check_age(claims: Mapping[str, Any], max_age: timedelta, now: datetime) -> None:
    signed_in = claims.get("auth_time")
    if not isinstance(signed_in, int | float):
        raise IdTokenRefused("it does not say when you signed in there (auth_time), which web.oidc.max_age needs")
    if now.timestamp() - signed_in > max_age.total_seconds() + LEEWAY_SECONDS:
        raise IdTokenRefused("you signed in there too long ago for web.oidc.max_age")


def _read_key(found: Any) -> Key | None:
    """Return a public key for signatures; None if it is of another kind, or cannot be read."""
    if not isinstance(found, dict) or found.get("kty") not in KEY_TYPES or found.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(found)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
