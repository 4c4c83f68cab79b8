"""An OpenID provider: reads its documents, makes the links to sign in and out, and exchanges a code."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from joserfc.jwk import KeySet

from config.sign_in import DISCOVERY, OidcSignIn
from crm_adapters.unreachable import explain_unreachable
from worker.core.clock import utcnow
from worker.core.http import HttpTransport, NoResponse
from worker.identity.claims import Claims, with_userinfo
from worker.identity.id_token import UnknownKey, read_key_set, verified_claims
from worker.identity.metadata import ProviderFailed, ProviderMetadata, read_metadata

CONNECT_SECONDS, ANSWER_SECONDS = 4.0, 8.0
CONNECTIONS = 4
MAX_BYTES = 512 * 1024
KEPT = timedelta(minutes=10)
"""How long metadata and keys are used before they are read again. A key of the provider that is withdrawn ends then."""
_CODE = re.compile(r"[a-z_]{1,60}")
_TOKEN = re.compile(r"[!-~]+")
CLIENT_KEYS = "web.oidc.client_id, client_secret or client_auth"


@dataclass(frozen=True, slots=True)
class SignInSecrets:
    """What belongs to one attempt to sign in, and only the browser and we know."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


class OidcProvider:
    """The provider of one ``[web.oidc]``. Thread-safe."""

    def __init__(self, oidc: OidcSignIn) -> None:
        self.oidc = oidc
        self._transport = HttpTransport(
            connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, connections=CONNECTIONS
        )
        self._read: tuple[ProviderMetadata, KeySet, datetime] | None = None

    @property
    def known(self) -> ProviderMetadata:
        """What the provider said last, however long ago. Raises ProviderFailed if it was never read."""
        return self.read()[0] if self._read is None else self._read[0]

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def read(self, *, fresh: bool = False) -> tuple[ProviderMetadata, KeySet]:
        """Return metadata and keys, which are kept for some minutes. Raises ProviderFailed."""
        found = self._read
        if fresh or found is None or utcnow() - found[2] > KEPT:
            metadata = read_metadata(self.oidc, self._get(f"{self.oidc.issuer.rstrip('/')}{DISCOVERY}"))
            try:
                keys = read_key_set(self._get(metadata.jwks_uri))
            except ValueError as error:
                raise ProviderFailed(f"{metadata.jwks_uri} has {error}") from None
            found = self._read = metadata, keys, utcnow()
        return found[0], found[1]

    def link(self, redirect: str, attempt: SignInSecrets) -> str:
        """Return the address at which a person signs in. Raises ProviderFailed."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        metadata, _ = self.read()
        oidc = self.oidc
        wishes: dict[str, Any] = {} if oidc.prompt is None else {"prompt": oidc.prompt}
        if oidc.max_age is not None:
            wishes["max_age"] = int(oidc.max_age.total_seconds())
        link: str = prepare_grant_uri(
            metadata.authorization_endpoint,
            client_id=oidc.client_id,
            response_type="code",
            redirect_uri=redirect,
            scope=" ".join(dict.fromkeys(("openid", *oidc.scopes))),
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
            **wishes,
        )
        return link

    def sign_out_link(self, back: str, state: str) -> str | None:
        """Return the address at which a person signs out; None if the provider has none. Raises ProviderFailed.

        The client is named, and not the person: id_tokens are not stored. So the provider may ask the person first.
        """
        from authlib.common.urls import add_params_to_uri

        endpoint = self.known.end_session_endpoint
        if endpoint is None:
            return None
        named = {"client_id": self.oidc.client_id, "post_logout_redirect_uri": back, "state": state}
        link: str = add_params_to_uri(endpoint, list(named.items()))
        return link

    def knows_client(self) -> bool | None:
        """Ask whether client and secret are right, with a code that nobody was given. None: the answer leaves it open.

        Raises ProviderFailed.
        """
        unknown = SignInSecrets(state="", nonce="", verifier="vtsync-check" * 4)
        status, found = self._ask_for_tokens(self.read()[0], "vtsync-check", "https://localhost/", unknown)
        error = found.get("error") if isinstance(found, Mapping) else None
        if _refuses_client(status, error):
            return False
        return True if status == 400 and error == "invalid_grant" else None

    def claims(self, code: str, redirect: str, attempt: SignInSecrets) -> Claims:
        """Return what the provider says about the person whose code this is. Raises ProviderFailed, IdTokenRefused."""
        metadata, keys = self.read()
        answer = self._exchange(metadata, code, redirect, attempt)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise ProviderFailed(f"{self.oidc.issuer} answered without an id_token; its client must use OpenID Connect")

        def verified(by: KeySet) -> Claims:
            return verified_claims(
                token,
                by,
                issuer=self.oidc.issuer,
                client_id=self.oidc.client_id,
                nonce=attempt.nonce,
                access_token=access if isinstance(access, str) else None,
                max_age=self.oidc.max_age,
                now=utcnow(),
            )

        try:
            claims = verified(keys)
        except UnknownKey:
            claims = verified(self.read(fresh=True)[1])
        if metadata.userinfo_endpoint is None:
            return claims
        return with_userinfo(claims, self._userinfo(metadata.userinfo_endpoint, access, claims["sub"]))

    def _userinfo(self, endpoint: str, access: Any, subject: str) -> dict[str, Any]:
        """Return the claims of the userinfo endpoint. Raises ProviderFailed if they are of somebody else."""
        if not isinstance(access, str) or not _TOKEN.fullmatch(access):
            raise ProviderFailed(f"{self.oidc.issuer} gave no access token, which web.oidc.userinfo needs")
        status, found = self._send("GET", endpoint, {"Authorization": f"Bearer {access}"}, None)
        if status != 200 or not isinstance(found, dict):
            how = " without a JSON object" if status == 200 else ""
            raise ProviderFailed(
                f"{endpoint} answered HTTP {status}{how}; remove web.oidc.userinfo if it is not needed"
            )
        if found.get("sub") != subject:
            raise ProviderFailed(f"{endpoint} answered about somebody else, so it was not used; begin again")
        return found

    def _ask_for_tokens(
        self, metadata: ProviderMetadata, code: str, redirect: str, attempt: SignInSecrets
    ) -> tuple[int, Any]:
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        oidc = self.oidc
        secret = "" if oidc.client_secret is None else oidc.client_secret.get_secret_value()
        body: str = prepare_token_request(
            "authorization_code", redirect_uri=redirect, code=code, code_verifier=attempt.verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if metadata.client_auth == "client_secret_basic":
            # RFC 6749 wants both halves form-encoded first, which the library does not do.
            pair = b64encode(f"{quote_plus(oidc.client_id)}:{quote_plus(secret)}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        else:
            auth = ClientAuth(oidc.client_id, secret, metadata.client_auth)
            _, _, body = auth.prepare("POST", metadata.token_endpoint, {}, body)
        return self._send("POST", metadata.token_endpoint, headers, body.encode())

    def _exchange(
        self, metadata: ProviderMetadata, code: str, redirect: str, attempt: SignInSecrets
    ) -> Mapping[str, Any]:
        oidc = self.oidc
        status, found = self._ask_for_tokens(metadata, code, redirect, attempt)
        error = found.get("error") if isinstance(found, Mapping) else None
        if status != 200 or not isinstance(found, Mapping):
            said = f" ({error})" if isinstance(error, str) and _CODE.fullmatch(error) else f" (HTTP {status})"
            if _refuses_client(status, error):
                raise ProviderFailed(f"{oidc.issuer} refuses the client{said}; an admin must correct {CLIENT_KEYS}")
            raise ProviderFailed(f"{oidc.issuer} does not accept the code of this sign-in{said}; begin again")
        return found

    def _get(self, url: str) -> Any:
        status, found = self._send("GET", url, {}, None)
        if 300 <= status < 400:
            raise ProviderFailed(
                f"{url} sends us to another address (HTTP {status}), which is not followed; write the issuer of that"
                " address as web.oidc.issuer"
            )
        if status != 200 or not isinstance(found, Mapping):
            how = " without a JSON object" if status == 200 else ""
            raise ProviderFailed(
                f"{url} answered HTTP {status}{how}; compare web.oidc.issuer with the provider's documentation"
            )
        return found

    def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any]:
        host = urlsplit(url).netloc
        headers = {"Accept": "application/json", "User-Agent": "virtualtext-crm-sync"} | headers
        try:
            request = requests.Request(method, url).prepare()
            origin = self._transport.origin_of(str(request.url))
            answer = self._transport.exchange(origin, method, request.path_url, headers, body, max_bytes=MAX_BYTES)
        except (requests.RequestException, OSError) as error:
            raise ProviderFailed(f"{host} cannot be reached ({_why(error)}); try again in a minute") from None
        if isinstance(answer, NoResponse):
            what = "gave no answer" if answer.request_left else "cannot be reached"
            raise ProviderFailed(f"{host} {what} ({_why(answer.error)}); try again in a minute")
        if answer.trouble is not None:
            raise ProviderFailed(f"the answer of {host} ended early ({type(answer.trouble).__name__}); try again")
        if answer.status == 429 or answer.status >= 500:
            raise ProviderFailed(f"{host} answered HTTP {answer.status}; try again in a minute")
        try:
            return answer.status, json.loads(answer.body)
        except (ValueError, RecursionError):
            return answer.status, None


def _refuses_client(status: int, error: Any) -> bool:
    """Return whether an answer of the token endpoint is about the client, and not about the code."""
    # 401 is for nothing else (RFC 6749, 5.2). Auth0 gives it another error.
    return status == 401 or error in ("invalid_client", "unauthorized_client")


def _why(error: BaseException) -> str:
    return explain_unreachable(error) or type(error).__name__
