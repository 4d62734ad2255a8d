"""The kinds of value a config key may have: a check takes a TOML value and returns ours or raises Wrong."""

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ops.nearest import nearest

TEXT_CHARS_MAX = 4096  # longer than any path, URL or name that a system would take


class Wrong(Exception):
    """The value cannot be used; the message says what would be right."""


Check = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Number:
    """A number of `unit` from `low` to `high`, kept as float."""

    low: float
    high: float
    unit: str = "seconds"

    def __call__(self, value: object) -> float:
        right = f"a number of {self.unit} from {self.low:.12g} to {self.high:.12g}"
        # A TOML boolean is a Python int, and "inf" and "nan" are TOML floats.
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Wrong(right)
        if not self.low <= value <= self.high:
            raise Wrong(right)
        return float(value)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def __call__(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise Wrong(f"a whole number from {self.low:,} to {self.high:,}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            hint = f" (nearest: {nearest(value, self.words)!r})" if isinstance(value, str) else ""
            raise Wrong("one of " + ", ".join(f'"{word}"' for word in self.words) + hint)
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a form; `right` says it in words."""

    form: str
    right: str

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or re.fullmatch(self.form, value) is None:
            raise Wrong(self.right)
        return value


def file_name(value: object) -> Path:
    """The name of a file; "~" is the home folder. Relative ones are placed by the caller."""
    if not isinstance(value, str) or not value or "\0" in value or len(value) > TEXT_CHARS_MAX:
        raise Wrong("the name of a file, as text")
    if value.endswith("/"):
        raise Wrong("the name of a file, not of a folder")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise Wrong(f"a path without an unknown home folder ({error})") from error


def store_file(value: object) -> Path:
    """The DuckDB file. The views in it reach its tail by a pattern, in which some characters mean more."""
    if isinstance(value, str) and any(char in value for char in "*?[]{}"):
        raise Wrong("a path without * ? [ ] { }, which DuckDB reads as a pattern")
    return file_name(value)


def archive_folder(value: object) -> Path | None:
    """Nothing for none, or a folder; DuckDB reads its files by their names, in which some characters mean more."""
    if value == "":
        return None
    return store_file(value.rstrip("/") or value if isinstance(value, str) else value)


def storage_version(value: object) -> str:
    """A DuckDB release whose file format is to be written; DuckDB itself knows which there are."""
    right = 'a DuckDB version like "v1.2.0", or "latest"'
    if not isinstance(value, str):
        raise Wrong(right)
    import duckdb

    try:
        duckdb.connect(":memory:", config={"storage_compatibility_version": value}).close()
    except duckdb.Error as error:
        raise Wrong(right) from error
    return value


@dataclass(frozen=True, slots=True)
class Url:
    """Scheme, host and perhaps a port: what replaces the same parts of an exchange's own addresses."""

    schemes: tuple[str, ...]

    def __call__(self, value: object) -> str:
        example = f'"{self.schemes[0]}://127.0.0.1:9443"'
        heads = " or ".join(f"{scheme}://" for scheme in self.schemes)
        right = f"{heads} with a host and perhaps a port, like {example}"
        if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX or re.search(r"[\s\x00-\x1f\x7f]", value):
            raise Wrong(right)
        try:
            parts = urlsplit(value)
            usable = parts.scheme in self.schemes and bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise Wrong(f"{right} ({error})") from error
        if not usable:
            raise Wrong(right)
        if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise Wrong(f"{right}, nothing after it: the path stays the exchange's own")
        return value.rstrip("/")


def loopback(value: object) -> str:
    """Nothing for off, or host:port on this machine only: other machines go through a proxy."""
    right = '"" or an address of this machine with a port, like "127.0.0.1:8787"'
    if value == "":
        return ""
    if not isinstance(value, str) or re.search(r"[\s/@?#]", value):
        raise Wrong(right)
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise Wrong(right) from error
    if not local or not port:
        raise Wrong(right)
    return value


def words(value: object) -> tuple[str, ...]:
    """A list of at least one text."""
    if not isinstance(value, list) or not value:
        raise Wrong('a list like ["BTC/USDT", "ETH/USDT"]')
    return tuple(value)  # the entries are checked one by one, so that each mistake has its own place
