"""`tickwarden lake` on object storage: credentials from the configuration's file, and failures that show none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cli_process import tickwarden
from tests.harness.lake_values import batch, ship, trades
from tests.harness.object_store import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, ObjectStore, object_store

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """A server with a lake of two recorders, and in the folder a configuration that names it."""
    with object_store() as made:
        uri = made.uri("tape")
        for recorder, ids in (("tokyo", [1, 2, 3]), ("london", [2, 3, 4])):
            ship(uri, recorder, "one", [batch(1, trades("kraken", "BTC/USD", ids))], made.options)
        options = {name: value for name, value in made.options.items() if name not in SECRETS}
        listed = ", ".join(f'"{name}" = "{value}"' for name, value in options.items())
        (tmp_path / "secrets").write_text("".join(f"{name}={made.options[name]}\n" for name in SECRETS))
        (tmp_path / "secrets").chmod(0o600)
        (tmp_path / "tickwarden.toml").write_text(
            f'[lake]\nuri = "{uri}"\nrecorder = "x"\ncredentials = "secrets"\noptions = {{ {listed} }}\n'
            '[exchanges.kraken]\nsymbols = ["BTC/USD"]\n'
        )
        yield made


@pytest.mark.slow  # 8 s; tests/actors/sink/lake/test_object_store.py guards the same options and errors
def test_a_lake_on_object_storage_is_read_as_the_configuration_says(store: ObjectStore, tmp_path: Path) -> None:
    def asked(*words: str) -> tuple[int, str]:
        done = tickwarden("lake", *words, folder=tmp_path)
        said = done.stdout + done.stderr
        assert "Traceback" not in said and not any(
            one in said for one in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)
        ), said
        return done.returncode, said

    count = ("query", "SELECT count(*) AS trades FROM ticks", "--csv")
    assert asked(*count) == (0, "trades\n4\n")
    code, said = asked("verify")
    assert code == 0 and said.startswith("6 rows in ")
    store.fail("503", "GET", "ticks/exchange", times=1)
    assert asked(*count) == (0, "trades\n4\n")
    for kind, part in (("badkey", "ticks/_delta_log"), ("denied", "shipments/day"), ("denied", "ticks/exchange")):
        store.fail(kind, "GET", part, times=100)
        code, said = asked("query", "SELECT price FROM ticks ORDER BY price")
        assert code == 1 and said.count("\n") == 1, (kind, part, said)
        store.heal()
    store.fail("denied", "GET", "ticks/exchange", times=100)
    code, said = asked("verify")
    assert code == 1 and "ticks kraken 2026-11-02: cannot be read: " in said
    (tmp_path / "secrets").chmod(0o644)
    assert "chmod 600" in asked("status")[1]
