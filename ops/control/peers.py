"""The credentials of a Unix socket's peer, from the kernel, and the peer's rights."""

import array
import os
import socket
import struct

from msgspec import Struct

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
# Supplementary groups of the peer when it connected (Linux 4.13, include/uapi/asm-generic/socket.h);
# Python has no name for it. Asking the kernel, not the user database, cannot block the loop.
_SO_PEERGROUPS = 59
_GROUPS_BYTES_MAX = 1024  # the maximum of socket.getsockopt: 256 groups


class Peer(Struct, frozen=True):
    """One client. `uid` and `pid` are None if the transport does not provide them."""

    may_read: bool
    may_command: bool
    uid: int | None = None
    pid: int | None = None


def peer_of(connection: socket.socket, group_id: int | None) -> Peer:
    """The peer of an accepted Unix connection: root and the service's own user command, `group_id` reads."""
    if not hasattr(socket, "SO_PEERCRED"):
        # On other systems than Linux only the file's mode decides: 0600 admits the owner and root.
        return Peer(may_read=True, may_command=group_id is None)
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid in {0, os.geteuid()}:
        return Peer(may_read=True, may_command=True, uid=uid, pid=pid)
    member = group_id is not None and (gid == group_id or group_id in _supplementary_groups(connection))
    return Peer(may_read=member, may_command=False, uid=uid, pid=pid)


def _supplementary_groups(connection: socket.socket) -> frozenset[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES_MAX)
    except OSError:  # an older kernel, or more groups than fit: the primary group decides alone
        return frozenset()
    return frozenset(array.array("I", raw))
