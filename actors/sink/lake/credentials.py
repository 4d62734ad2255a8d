"""The options with which a lake is opened: those of the configuration, and the secret ones from a file.

The file has lines NAME=value, as a file of environment variables; the credentials file of Amazon's tools, with one
profile, is such a file too. It is read whenever the lake is opened, so that renewed credentials apply.
"""

import os
import re
import stat
from pathlib import Path

from actors.settings import LakeSettings
from actors.sink.lake.errors import LakeMisconfigured

FILE_BYTES_MAX = 65_536
_LINE = re.compile(r"(?:export\s+)?([A-Za-z][A-Za-z0-9_.]*)\s*=\s*(.*)")


class CredentialsWrong(LakeMisconfigured):
    """The file is not as expected; the message says what is expected, and never shows its content."""


def read_credentials(path: Path) -> dict[str, str]:
    """The options in the file. Raises OSError and CredentialsWrong, also if our own file is open to others."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        # As ssh does with keys: what another user provides (a secret of Docker or Kubernetes) is theirs to guard.
        if status.st_uid == os.geteuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialsWrong(f"a file that only its owner can read; run: chmod 600 {path}")
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise CredentialsWrong(f"a file of at most {FILE_BYTES_MAX:,} bytes")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CredentialsWrong("a file in UTF-8") from error
    found: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line[0] in "#;[":
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise CredentialsWrong(f"lines NAME=value; line {number} is none")
        name, value = match[1], match[2].strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    if not found:
        raise CredentialsWrong("a file with at least one line NAME=value")
    return found


def configured_options(lake: LakeSettings) -> dict[str, str]:
    """All options of the lake. Raises OSError and CredentialsWrong."""
    secret = read_credentials(lake.credentials) if lake.credentials is not None else {}
    return {**lake.options, **secret}
