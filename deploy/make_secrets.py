#!/usr/bin/env python3
"""Makes the secrets that docker-compose.yml reads, and the broker's users. Python's standard library is enough.

    python3 deploy/make_secrets.py                   what is missing; what is there stays as it is
    python3 deploy/make_secrets.py phone w-0017      a user for a phone, a device or a gateway; prints its password once
    python3 deploy/make_secrets.py forget w-0017     takes a user away

The folder is closed to everybody else (0700). The files in it are readable (0444), because each container reads its own as a user
of its own, and a file that is mounted alone is reached without the folder. The broker's file holds hashes, not passwords.
"""

# ruff: noqa: T201 - a command for a terminal, and one that must run before anything is installed.

import argparse
import base64
import hashlib
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"
BROKER_USERS = ("ingest", "api", "sim", "import", "health")
"""Programs, by the names that deploy/broker/acl knows. No phone may be called like one of them."""
ITERATIONS = 101
"""mosquitto's own number. A generated password has 190 bits: more rounds would only slow down a broker that greets thousands."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    commands = parser.add_subparsers(dest="command")
    for name in ("phone", "forget"):
        commands.add_parser(name).add_argument("user")
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = make(folder)
    if given.command == "phone":
        return add_phone(folder, given.user)
    if given.command == "forget":
        return forget(folder, given.user)
    print(f"{folder}: made {', '.join(made)}" if made else f"{folder}: everything was there")
    return 0


def make(folder: Path) -> list[str]:
    """Makes what is missing and returns its names."""
    made = [
        name for name in ("postgres_password", "grafana_database_password", "grafana_admin_password", "api_key")
        if _keep(folder / name, secrets.token_urlsafe(24))
    ]  # fmt: skip
    password = (folder / "postgres_password").read_text()
    if _keep(folder / "database_url", f"postgresql://sitewatch:{password}@database:5432/sitewatch"):
        made.append("database_url")
    users = _users(folder)
    for user in BROKER_USERS:
        secret = secrets.token_urlsafe(24)
        url = f"mqtt://{user}:{secret}@broker:1883"
        if _keep(folder / f"mqtt_{user}", secret if user == "health" else url):
            users[user] = hashed(secret)
            made.append(f"mqtt_{user}")
    _write_users(folder, users)
    return made


def add_phone(folder: Path, user: str) -> int:
    if user in BROKER_USERS or not user or any(letter in "/+#:" or not letter.isprintable() for letter in user):
        print(f"{user!r} cannot be a user: it is a program's name, or has one of / + # : in it", file=sys.stderr)
        return 2
    secret = secrets.token_urlsafe(24)
    users = _users(folder)
    users[user] = hashed(secret)
    _write_users(folder, users)
    print(f"user {user}\npassword {secret}\nTell the broker: docker compose restart broker")
    return 0


def forget(folder: Path, user: str) -> int:
    users = _users(folder)
    if user in BROKER_USERS or users.pop(user, None) is None:
        print(f"{user!r} is no phone's or device's user", file=sys.stderr)
        return 2
    _write_users(folder, users)
    print("Tell the broker: docker compose restart broker")
    return 0


def hashed(password: str, salt: bytes | None = None) -> str:
    """As mosquitto_passwd writes it: PBKDF2 with SHA-512, `$7$iterations$salt$hash`."""
    salt = salt or secrets.token_bytes(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, 64)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _users(folder: Path) -> dict[str, str]:
    path = folder / "mosquitto_passwords"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _write_users(folder: Path, users: dict[str, str]) -> None:
    _write(folder / "mosquitto_passwords", "".join(f"{user}:{secret}\n" for user, secret in sorted(users.items())))


def _keep(path: Path, text: str) -> bool:
    """Writes the file unless it is there. Whether it wrote."""
    if path.exists():
        return False
    _write(path, text)
    return True


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "w") as file:
        file.write(text)
    draft.chmod(0o444)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
