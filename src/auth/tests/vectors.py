"""Prints vectors.json: tokens of every algorithm, made by PyJWT, and the keys that they are verified with.

Run once, with PyJWT and cryptography installed: python3 vectors.py > vectors.json. The private keys are made here and
forgotten, so that nobody can make more tokens of them.
"""

import base64
import hashlib
import hmac
import json
import secrets

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

CLAIMS = {
    "sub": "ann",
    "iat": 1_700_000_000,
    "nbf": 1_700_000_000,
    "exp": 1_700_003_600,
    "wirefan": {"subscribe": ["chat/#"], "publish": ["chat/+", "news"], "operate": False},
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(public) -> str:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


vectors = {"jwks": {"keys": []}, "secrets": {}, "pems": {}, "tokens": {}}
for name, size in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
    secret = secrets.token_urlsafe(size)
    vectors["secrets"][name] = secret
    vectors["jwks"]["keys"].append({"kty": "oct", "alg": name, "kid": name, "k": b64(secret.encode())})
    vectors["tokens"][name] = jwt.encode(CLAIMS, secret, algorithm=name, headers={"kid": name})

pairs = (
    ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm),
    ("ES256", ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
)
for name, private, kind in pairs:
    jwk = kind.to_jwk(private.public_key(), as_dict=True) | {"kid": name, "use": "sig"}
    vectors["jwks"]["keys"].append(jwk)
    vectors["pems"][name] = pem(private.public_key())
    vectors["tokens"][name] = jwt.encode(CLAIMS, private, algorithm=name, headers={"kid": name})

# Keys that no token here may be signed with: too short, and on another curve.
vectors["pems"]["RS256 of 1024 bits"] = pem(rsa.generate_private_key(65537, 1024).public_key())
vectors["pems"]["ES384"] = pem(ec.generate_private_key(ec.SECP384R1()).public_key())

# What an attacker makes of a public key: a secret (RFC 8725 2.1).
header = b64(b'{"alg":"HS256","typ":"JWT","kid":"RS256"}')
signed = f"{header}.{b64(json.dumps(CLAIMS).encode())}"
tag = hmac.new(vectors["pems"]["RS256"].encode(), signed.encode(), hashlib.sha256).digest()
vectors["confused"] = f"{signed}.{b64(tag)}"
vectors["none"] = jwt.encode(CLAIMS, None, algorithm="none")
print(json.dumps(vectors, indent=1))
