"""What is wrong with the secrets of a connection, by their names, before a store is made of them."""

from __future__ import annotations

import base64
import json
import re

PLAIN = ("access_key_id", "secret_access_key", "session_token", "token", "account_key", "sas_token")


def fault(secrets: dict[str, str]) -> str | None:
    """What is wrong with one of the secrets, without its value; None if they may be right."""
    for name in PLAIN:
        if not re.fullmatch("[!-~]+", secrets.get(name, "-")):
            return f"the secret {name} has a space, a line break or another character that it cannot have"
    if "service_account_key" in secrets and not _is_service_account(secrets["service_account_key"]):
        return "the secret service_account_key is not the JSON of a service account's key"
    if "account_key" in secrets and not _is_base64(secrets["account_key"]):
        return "the secret account_key is not base64, as Azure gives it"
    if "sas_token" in secrets and "sig=" not in secrets["sas_token"]:
        return "the secret sas_token has no signature (sig=...): it is the part of a URL behind the question mark"
    if ":" in secrets.get("user", ""):
        return "the secret user has a colon, which ends the name of a user"
    return None


def _is_service_account(text: str) -> bool:
    try:
        key = json.loads(text)
    except ValueError:
        return False
    if not isinstance(key, dict) or "-----BEGIN" not in str(key.get("private_key")):
        return False
    return all(isinstance(key.get(name), str) for name in ("private_key_id", "client_email"))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
