"""Queries the control socket for Docker's HEALTHCHECK: exits with 0 if the answer is 200, otherwise with 1 and the
reason.

`python healthcheck.py SOCKET ROUTE`. Only the standard library: it runs every few seconds.
"""

import http.client
import socket
import sys

TIMEOUT_S = 5.0  # below HEALTHCHECK's own, so that the reason appears in `docker inspect`


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("tickwarden", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def main(path: str, route: str) -> int:
    """Prints the answer for people; returns the exit code."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", route)
        answer = connection.getresponse()
        print(answer.status, answer.read(4096).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer at {path}: {error}")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
