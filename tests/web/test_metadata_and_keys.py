"""What the provider publishes of itself is true, public, and the same for every Host; and no forged token counts."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import RSAKey
from services.office import ISSUER, Office, answered, basic

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
DISCOVERY = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


def test_the_key_set_holds_public_halves_of_sound_keys_only(office: Office) -> None:
    answer = office.browser().get("/jwks")
    keys = answered(answer)["keys"]
    assert len({key["kid"] for key in keys}) == len(keys)
    assert {key["alg"] for key in keys} == {"RS256", "ES256"}
    for key in keys:
        assert not PRIVATE & key.keys()
        assert key["use"] == "sig"
        if key["kty"] == "RSA":
            assert len(key["n"]) * 6 >= 2048
        else:
            assert (key["kty"], key["crv"]) == ("EC", "P-256")
    assert "max-age" in answer.headers["Cache-Control"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", DISCOVERY)
def test_the_metadata_name_what_is_there(office: Office, path: str) -> None:
    browser = office.browser()
    told = answered(browser.get(path))
    assert told["issuer"] == ISSUER
    assert office.claims(office.tokens()["id_token"])["iss"] == told["issuer"]
    for name, value in told.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(f"{ISSUER}/"), name
            where = urlsplit(value).path
            assert browser.get(where).status_code in (200, 400, 401, 405), name
    assert told["response_types_supported"] == ["code"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert "none" not in told["id_token_signing_alg_values_supported"]


def test_every_grant_advertised_works_and_no_other(office: Office) -> None:
    told = answered(office.browser().get(DISCOVERY[0]))
    for grant in ("authorization_code", "refresh_token", "client_credentials", "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange"):  # fmt: skip
        error = answered(office.token("web1", {"grant_type": grant}))["error"]
        assert (error != "unsupported_grant_type") is (grant in told["grant_types_supported"]), grant


def test_every_signature_advertised_is_given(office: Office) -> None:
    for alg in answered(office.browser().get(DISCOVERY[0]))["id_token_signing_alg_values_supported"]:
        office.execute("UPDATE clients SET id_token_alg = :alg WHERE id = 'web1'", alg=alg)
        node = office.again()
        assert node.claims(node.tokens()["id_token"], alg)["aud"] == "web1"


def test_every_way_of_client_authentication_advertised_works(office: Office) -> None:
    secret = "a-secret-of-at-least-thirty-two-characters"
    for method in answered(office.browser().get(DISCOVERY[0]))["token_endpoint_auth_methods_supported"]:
        hashed = hashlib.sha256(secret.encode()).hexdigest()
        office.execute("UPDATE clients SET auth_method = :m, secret_hash = :h WHERE id = 'web2'", m=method, h=hashed)
        node = office.again()
        form = {"grant_type": "refresh_token", "refresh_token": "x"}
        ways = {
            "client_secret_basic": ({}, {"Authorization": basic("web2", secret)}),
            "client_secret_post": ({"client_id": "web2", "client_secret": secret}, {}),
            "none": ({"client_id": "web2"}, {}),
        }
        errors = {
            name: answered(node.token(None, {**form, **data}, headers=headers))["error"]
            for name, (data, headers) in ways.items()
        }
        assert errors == {name: "invalid_grant" if name == method else "invalid_client" for name in ways}


def test_every_claim_told_is_advertised_and_every_scope_known(office: Office) -> None:
    told = answered(office.browser().get(DISCOVERY[0]))
    office.execute(
        "UPDATE accounts SET phone = '+33156658998', username = 'alice', representative_kind = 'cpi',"
        """ address = '{"city": "Paris"}'"""
    )
    tokens = office.tokens(scope=" ".join(told["scopes_supported"]))
    assert set(tokens["scope"].split()) == set(told["scopes_supported"])
    seen = {*office.claims(tokens["id_token"]), *answered(office.user_info(tokens["access_token"]))}
    assert seen == set(told["claims_supported"])


def test_every_level_advertised_is_known(office: Office) -> None:
    for level in answered(office.browser().get(DISCOVERY[0]))["acr_values_supported"][1:]:
        assert office.browser().authorize(acr_values=level).answer["error"] == "unmet_authentication_requirements"


def test_another_host_gets_no_answer_that_could_be_kept(office: Office) -> None:
    hosts = ("evil.example", "id.example:99", "id.example.evil.example", "id@evil", "", "id.example, evil.example", "é")
    for path in (*DISCOVERY, "/jwks", "/", "/token", "/static/x", "/authorize"):
        for host in hosts:
            answer = office.browser().get(path, headers={"Host": host.encode().decode("latin-1")})
            assert answer.status_code == 400, (path, host)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "evil" not in answer.get_data(as_text=True)
            assert "evil" not in answer.headers.get("Location", "")


def test_what_a_proxy_says_of_the_host_decides_nothing(office: Office) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=evil.example"}
    for path in (*DISCOVERY, "/jwks"):
        plain, told = office.browser().get(path), office.browser().get(path, headers=headers)
        assert told.data == plain.data


# Forged tokens ----------------------------------------------------------------------------------------------------


def b64(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(header: dict[str, object], claims: object, secret: bytes) -> str:
    message = f"{b64(header)}.{b64(claims)}"
    return f"{message}.{b64(hmac.digest(secret, message.encode(), 'sha256'))}"


def forgeries(office: Office, genuine: str) -> dict[str, str]:
    """ID tokens that somebody else made, each by another trick."""
    claims = office.claims(genuine)
    head, payload, signature = genuine.split(".")
    jwk = next(k for k in answered(office.browser().get("/jwks"))["keys"] if k["alg"] == "RS256")
    kid = jwk["kid"]
    public = RSAKey.import_key(jwk).public_key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own = RSAKey.import_key(rsa.generate_private_key(65537, 2048))
    made = {f"alg {a}": f"{b64({'alg': a, 'typ': 'JWT', 'kid': kid})}.{payload}." for a in ("none", "None", "nOnE", "")}
    hs = {"alg": "HS256", "typ": "JWT", "kid": kid}
    for name, secret in {"PEM": pem, "DER": der, "JWK": json.dumps(jwk).encode(), "n": jwk["n"].encode(), "nothing": b""}.items():  # fmt: skip
        made[f"HS256 with {name}"] = hs256(hs, claims, secret)
    for odd in ("../../dev/null", "' OR 1=1--", "http://127.0.0.1:9/k", "x" * 10000, "", "\0", "é"):
        made[f"kid {odd[:8]}"] = f"{b64({'alg': 'RS256', 'typ': 'JWT', 'kid': odd})}.{payload}.{signature}"
    for odd_kid in (None, 1, ["x"], {"a": 1}):
        made[f"kid {odd_kid!r}"] = f"{b64({'alg': 'RS256', 'typ': 'JWT', 'kid': odd_kid})}.{payload}.{signature}"
    made["no kid"] = f"{b64({'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}"
    base = {"alg": "RS256", "typ": "JWT", "kid": kid}
    made["foreign key"] = jwt.encode(base, claims, own)
    for more in ({"jwk": own.as_dict(private=False)}, {"jku": "http://127.0.0.1:9/"}, {"x5u": "http://127.0.0.1:9/"}, {"x5c": ["MIIB"]}, {"zip": "DEF"}):  # fmt: skip
        made[f"with {next(iter(more))}"] = hs256({**base, **more}, claims, b"x")
    made["crit"] = hs256({**base, "crit": ["exp"]}, claims, b"x")
    made["b64"] = hs256({**base, "b64": False, "crit": ["b64"]}, claims, b"x")
    made["another typ"] = genuine.replace(head, b64({**base, "typ": "at+jwt"}))
    made["deep"] = f"{b64(b'[' * 9000 + b']' * 9000)}.{payload}.{signature}"
    made["a list"] = f"{b64(['x'])}.{payload}.{signature}"
    made["endless"] = genuine + "A" * 15000
    return made


def test_no_forged_token_opens_user_info_or_signs_out(office: Office) -> None:
    browser = office.browser()
    genuine = answered(office.redeem(browser.sign_in()))["id_token"]
    for name, token in forgeries(office, genuine).items():
        opened = office.user_info(token.encode("ascii", "replace").decode())
        assert opened.status_code == 401, name
        assert "sub" not in opened.get_json(), name
        answer = browser.post("/end-session", {"id_token_hint": token, "post_logout_redirect_uri": "https://web1.example/bye"})  # fmt: skip
        page = browser.visit(answer.headers["Location"])
        assert (page.outside, page.status) == (None, 200), name
        assert "logout-confirm" in page.ids, name
    assert browser.authorize(prompt="none").answer["code"]


def test_no_forged_token_speaks_for_somebody_at_the_authorization_endpoint(office: Office) -> None:
    of_bob = office.tokens("bob")["id_token"]
    browser = office.browser()
    browser.sign_in()
    for name, token in forgeries(office, of_bob).items():
        if len(token) < 4000:
            assert "code" in browser.authorize(prompt="none", id_token_hint=token).answer, name


def test_a_hint_signed_by_a_key_that_is_gone_counts_for_nothing(office: Office) -> None:
    browser = office.browser()
    hint = answered(office.redeem(browser.sign_in()))["id_token"]
    kid = next(key.kid for key in office.house.ring.listed() if key.alg == "RS256" and key.state == "active")
    office.house.ring.rotate("RS256", now=True)
    assert office.claims(hint)["aud"] == "web1"
    assert office.claims(answered(office.redeem(browser.authorize()))["id_token"])
    office.house.ring.revoke(kid)
    assert kid not in office.browser().get("/jwks").get_data(as_text=True)
    assert "logout-confirm" in browser.visit(f"/end-session?id_token_hint={hint}").ids
