"""Provider metadata (OpenID Connect Discovery §3, RFC 8414): what is advertised works, and nothing else does.

The document is bytes made once from configuration; no request, and no Host header, can change it.
"""

from typing import Any

import orjson

from idp.directory.clients import AUTH_METHODS, GRANTS, ID_TOKEN_ALGS, SCOPES
from idp.language import LANGUAGES
from idp.login.assurance import Levels

CLAIMS = [
    "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "name", "given_name",
    "family_name", "preferred_username", "locale", "updated_at", "email", "email_verified", "phone_number",
    "phone_number_verified", "address", "entity", "role", "roles", "representative",
]  # fmt: skip


def metadata(issuer: str, levels: Levels) -> dict[str, Any]:
    """The provider's metadata."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "end_session_endpoint": f"{issuer}/end-session",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ID_TOKEN_ALGS),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "code_challenge_methods_supported": ["S256"],
        "acr_values_supported": list(levels.names),
        "claims_supported": CLAIMS,
        "claim_types_supported": ["normal"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "ui_locales_supported": list(LANGUAGES),
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def document(issuer: str, levels: Levels) -> bytes:
    """The metadata as prebuilt JSON."""
    return orjson.dumps(metadata(issuer, levels))
