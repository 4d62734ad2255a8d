"""Identifies the DuckDB file that a tail belongs to, by a marker in the tail with which the views compare the file.

A path does not identify it: a file is copied, moved, or seen under another mount, and its views keep reaching into
the folder of that name. So file and tail share a random id, and the marker also says up to which batch the tail's
segments may have been deleted because they are merged: a copy of the file made before lacks these rows.

The marker's first line is "store ID through BATCH settled"; views split it at its blanks. "new" instead of
"settled": the tail was created while the file could not be opened, and belongs to whatever file lies beside it. The
marker's name is an instruction because DuckDB quotes it when the tail is missing.
"""

import secrets
from pathlib import Path

from msgspec import Struct

from actors.store.filesystem import Files, read_text_if_any

MARKER_NAME = "copy-a-running-file-with-tickwarden-export.txt"
_EXPLANATION = """
This folder holds the newest rows of the DuckDB file beside it, which is read together with it. Do not copy or
move one without the other while the service runs: 'tickwarden export PATH' makes a complete copy at any time, and
after a clean stop the file is complete by itself.
"""


class Identity(Struct, frozen=True):
    """`through`: batches up to this one may be gone from the tail. `settled`: the file has the same id."""

    store_id: str
    through: int = 0
    settled: bool = False

    def fits(self, store_id: str | None, merged_through: int) -> bool:
        """Whether a file with this id and watermark is complete when read together with the tail."""
        ours = store_id == self.store_id or (store_id is None and not self.settled)
        return ours and merged_through >= self.through


def new_id(file_id: str | None = None) -> str:
    """A random id for a store, or another one for a file and its new tail."""
    return f"{lineage(file_id)}-{secrets.token_hex(8)}" if file_id else secrets.token_hex(16)


def lineage(store_id: str) -> str:
    """The part of an id that a file keeps with every new tail."""
    return store_id.partition("-")[0]


def read_identity(tail: Path) -> Identity | None:
    """Reads the marker of a tail; None if there is none, or not a valid one. Raises OSError."""
    text = read_text_if_any(tail / MARKER_NAME) or ""
    match text.split("\n", 1)[0].split(" "):
        case ["store", store_id, "through", through, ("settled" | "new") as state] if through.isdecimal():
            return Identity(store_id, int(through), state == "settled")
        case _:
            return None


def write_identity(tail: Path, identity: Identity, files: Files, partial: Path) -> None:
    """Replaces the whole marker, by way of `partial`; durable when it returns."""
    state = "settled" if identity.settled else "new"
    text = f"store {identity.store_id} through {identity.through} {state}\n{_EXPLANATION}"
    files.produce(partial, lambda path: path.write_text(text, encoding="utf-8"))
    files.rename(partial, tail / MARKER_NAME)
    files.sync_folder(tail)
