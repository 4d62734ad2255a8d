"""Runs a command under the system-call rules of a unit file, where there is no systemd to do it.

`python unit_confinement.py UNIT COMMAND...`: the filter, the address families and the refusal of writable code
are set by the same means as systemd's (seccomp and prctl), then the command takes this process's place.
"""

import ctypes
import ctypes.util
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38  # prctl(2)
_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # Linux 6.3, include/uapi/linux/prctl.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # seccomp_init(3)
_EQUAL = 4  # enum scmp_compare
MISSING = 77  # the exit code for "this machine cannot do it", as automake's tests have it


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def settings(unit: Path) -> dict[str, list[str]]:
    """The [Service] section: every value of every key, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def expand(names: list[str]) -> set[str]:
    """System calls of names and @sets, however nested, as systemd-analyze tells them."""
    calls: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        told = subprocess.run(
            ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
        )
        inner = [line.strip() for line in told.stdout.splitlines()[1:]]
        calls |= expand([line for line in inner if line and not line.startswith("#")])
    return calls


def allowed(filters: list[str]) -> set[str]:
    """What a list of SystemCallFilter= lines lets through; systemd always adds @default to an allow list."""
    calls = expand(["@default"])
    for line in filters:
        if line.startswith("~"):
            calls -= expand(line[1:].split())
        else:
            calls |= expand(line.split())
    return calls


def confine(unit: Path) -> None:
    """Confines this process for good; raises OSError where the machine cannot."""
    rules = settings(unit)
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    calls = allowed(rules["SystemCallFilter"])
    families = {getattr(socket, name).value for name in rules["RestrictAddressFamilies"][0].split()}
    refuse = _ERRNO | errno.EPERM
    filter_ = ctypes.c_void_p(seccomp.seccomp_init(refuse))
    for name in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # another architecture's
        if name == "socket":
            for family in families:
                only = _Compare(0, _EQUAL, family, 0)
                _done(seccomp.seccomp_rule_add_array(filter_, _ALLOW, number, 1, ctypes.byref(only)))
        else:
            _done(seccomp.seccomp_rule_add_array(filter_, _ALLOW, number, 0, None))
    _done(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if rules["MemoryDenyWriteExecute"] == ["yes"]:
        _done(libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
    _done(seccomp.seccomp_load(filter_))


def _done(code: int) -> None:
    if code:
        raise OSError(code, f"seccomp or prctl said {code}")


if __name__ == "__main__":
    try:
        confine(Path(sys.argv[1]))
    except (OSError, KeyError, AttributeError) as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    os.execv(sys.argv[2], sys.argv[2:])
