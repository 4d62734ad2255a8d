"""The credentials of a lake on object storage stand in no output of the service, whatever the store answers."""

import signal
from pathlib import Path

import duckdb
import pytest

from tests.harness.cli_process import tickwarden, wait_for
from tests.harness.object_store import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, ObjectStore, object_store
from tests.harness.service_process import Sandbox, Service, recording, sandbox

__all__ = ["sandbox"]  # a fixture of the tests here

STORE = '[store]\npath = "ticks.duckdb"\nflush_interval_s = 0.5\nmerge_interval_s = 3\n'
SECRETS = (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)
ADVICE = {"denied": "do not permit this", "expired": "have expired", "503": "throttling"}


def lake_of(store: ObjectStore, folder: Path) -> str:
    """The section [lake], with the secrets in a file."""
    secret = {name: value for name, value in store.options.items() if value in SECRETS}
    (folder / "keys").write_text("".join(f"{name}={value}\n" for name, value in secret.items()))
    (folder / "keys").chmod(0o600)
    options = ", ".join(
        f'{name} = "{store.options[name]}"' for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "ALLOW_HTTP")
    )
    return (
        f'[lake]\nuri = "{store.uri("tape")}"\nrecorder = "here"\nevery_s = 1\ncredentials = "keys"\n'
        f"options = {{ {options} }}\n"
    )


def outputs(folder: Path, service: Service) -> str:
    """Whatever the service says of itself while it runs."""
    commands = (["status"], ["status", "--json"], ["actors"], ["check-config"], ["events"], ["lake", "status"])
    printed = [tickwarden(*words, folder=folder) for words in commands]
    return "\n".join((*(f"{one.stdout}{one.stderr}" for one in printed), (folder / "log").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ADVICE))
def test_no_output_shows_a_credential(tmp_path: Path, sandbox: Sandbox, kind: str) -> None:
    with object_store() as store:
        store.fail(kind, "GET", "", times=10**6)
        config = lake_of(store, tmp_path) + sandbox.tables("binance")
        with recording(tmp_path, config, store=STORE) as (service, process):
            wait_for("the trouble", lambda: ADVICE[kind] in (tmp_path / "log").read_text())
            shown = outputs(tmp_path, service)
            service.send(signal.SIGTERM)
            assert process.wait(30) == 0
    with duckdb.connect(tmp_path / "ticks.duckdb", read_only=True) as con:
        rows = con.execute("SELECT * FROM events").fetchall()
    everything = f"{shown}\n{rows}\n{(tmp_path / 'log').read_text()}"
    assert ADVICE[kind] in everything
    assert not [secret for secret in SECRETS if secret in everything]
