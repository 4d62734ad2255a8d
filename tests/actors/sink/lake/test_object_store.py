"""A lake on object storage that fails as networks and stores do: nothing is lost or doubled, no secret is shown."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from deltalake import DeltaTable

from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeMisconfigured, LakeUnavailable
from tests.harness.amounts import variants
from tests.harness.lake_values import MadeUpSource
from tests.harness.object_store import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, ObjectStore, object_store

_FOLDERS = count()


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(running: ObjectStore) -> Iterator[ObjectStore]:
    yield running
    running.heal()


@pytest.fixture
def uri(running: ObjectStore) -> str:
    return running.uri(f"tape{next(_FOLDERS)}")


def trade_ids(store: ObjectStore, uri: str) -> list[str]:
    """The ids of all trades in the lake."""
    found = DeltaTable(f"{uri}/ticks", storage_options=store.direct).scan().read_all()
    return sorted(found.column("trade_id").to_pylist())


def rows(store: ObjectStore, uri: str, table: str) -> int:
    return DeltaTable(f"{uri}/{table}", storage_options=store.direct).scan().read_all().num_rows


def send(lake: DeltaLake, source: MadeUpSource, tries: int = 40) -> list[str]:
    """Sends all batches as a recorder does, again after an error; returns the messages of the errors."""
    messages: list[str] = []
    for _ in range(tries):
        try:
            sent = source.batches(lake.marks(source.store_id).committed, 1)
            if sent is None:
                return messages
            lake.commit(sent)
        except lake.transient as error:
            messages.append(lake.describe(error))
    raise AssertionError(f"not sent after {tries} tries: {messages[-1]}")


def assert_exact(store: ObjectStore, uri: str, source: MadeUpSource) -> None:
    store.heal()
    assert trade_ids(store, uri) == source.trade_ids()
    expected = source.expected()
    assert {name: rows(store, uri, name) for name in expected if expected[name]} == {
        name: number for name, number in expected.items() if number
    }


@pytest.mark.parametrize(
    ("kind", "method", "part"),
    variants(
        ("lost", "PUT", "_delta_log"),
        ("503", "PUT", ".parquet"),
        ("stall", "GET", "_delta_log"),
        ("expired", "PUT", "_delta_log"),
        ("500", "PUT", "_delta_log"),
        ("lost", "PUT", ".parquet"),
        ("cut", "GET", "_delta_log"),
        ("hang", "PUT", "_delta_log"),
        ("refused", "PUT", "_delta_log"),
        ("slow", "PUT", "_delta_log"),
        kept=1,
    ),
)
def test_a_fault_of_the_store_loses_nothing_and_doubles_nothing(
    store: ObjectStore, uri: str, kind: str, method: str, part: str
) -> None:
    source = MadeUpSource(5, "store", 2, 10, rare=0)
    fault = store.fail(kind, method, part, times=3, skip=2)
    send(DeltaLake(uri, "tokyo", store.options), source)
    assert fault.hits >= 1
    assert_exact(store, uri, source)


def test_a_lost_answer_of_a_commit_that_succeeded_is_no_second_commit(store: ObjectStore, uri: str) -> None:
    """Also where the client does not repeat the request itself, and sees an error instead."""
    source = MadeUpSource(6, "store", 2, 10, rare=0)
    lake = DeltaLake(uri, "tokyo", {**store.options, "max_retries": "0"})
    for table in ("shipments", "ticks"):
        store.fail("lost", "PUT", f"{table}/_delta_log/{1:020}", times=1)
        store.fail("lost", "PUT", f"{table}/_delta_log/{2:020}", times=1)
    messages = send(lake, source)
    assert len(messages) + sum(fault.hits for fault in store.faults) >= 4
    assert_exact(store, uri, source)


def test_a_store_that_throttles_all_the_time_is_an_error_that_passes(store: ObjectStore, uri: str) -> None:
    store.fail("503", "GET", "", times=10**6)
    lake = DeltaLake(uri, "tokyo", store.options)
    with pytest.raises(LakeUnavailable, match="the store is throttling"):
        lake.marks("store")


def test_a_store_that_does_not_answer_is_given_up(store: ObjectStore, uri: str) -> None:
    store.fail("hang", "GET", "", times=10**6)
    lake = DeltaLake(uri, "tokyo", {**store.options, "timeout": "200ms", "retry_timeout": "1s"})
    began = time.monotonic()
    with pytest.raises(LakeUnavailable):
        lake.marks("store")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("kind", "error", "advice"),
    [
        ("expired", LakeUnavailable, "the credentials have expired: renew them"),
        ("denied", LakeMisconfigured, "the credentials do not permit this"),
        ("badkey", LakeMisconfigured, "does not know the access key"),
    ],
)
def test_refused_credentials_are_reported_with_what_to_do(
    store: ObjectStore, uri: str, kind: str, error: type[Exception], advice: str
) -> None:
    store.fail(kind, "GET", "", times=10**6)
    lake = DeltaLake(uri, "tokyo", store.options)
    with pytest.raises(error, match=advice) as found:
        lake.marks("store")
    shown = f"{found.value} {lake.describe(found.value)} {lake!r} {found.value.__cause__!r}"
    assert not any(secret in shown for secret in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN))


def test_renewed_credentials_count_after_an_error(store: ObjectStore, uri: str) -> None:
    fault = store.fail("expired", "GET", "", times=10**6)
    given = []

    def options() -> dict[str, str]:
        given.append(1)
        return store.options

    lake = DeltaLake(uri, "tokyo", options)
    with pytest.raises(LakeUnavailable):
        lake.marks("store")
    store.heal()
    assert lake.marks("store").committed == 0
    assert fault.hits and len(given) == 2


def test_a_bucket_that_does_not_exist_is_a_misconfiguration(store: ObjectStore) -> None:
    with pytest.raises(LakeMisconfigured, match="the bucket does not exist"):
        DeltaLake("s3://nowhere/tape", "tokyo", store.options).marks("store")


def test_http_needs_to_be_permitted(store: ObjectStore, uri: str) -> None:
    options = {name: value for name, value in store.options.items() if name != "ALLOW_HTTP"}
    with pytest.raises(LakeMisconfigured, match="allow_http"):
        DeltaLake(uri, "tokyo", options).marks("store")


@pytest.mark.slow
def test_commits_replace_no_other_whatever_the_environment_permits(
    store: ObjectStore, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    source = MadeUpSource(7, "store", 2, 10, rare=0)
    first = source.batches(0, 10**6)
    assert first is not None
    one, two = (DeltaLake(uri, "tokyo", {**store.options, "AWS_S3_ALLOW_UNSAFE_RENAME": "true"}) for _ in range(2))
    assert two.marks("store") == one.marks("store")
    one.commit(first)
    two.commit(first)
    assert_exact(store, uri, source)


def test_two_recorders_that_create_the_lake_at_once_both_go_on(store: ObjectStore, uri: str) -> None:
    sources = {"tokyo": MadeUpSource(8, "one", 2, 10, rare=0), "london": MadeUpSource(9, "two", 2, 10, rare=0)}
    with ThreadPoolExecutor(2) as pool:
        lakes = [DeltaLake(uri, recorder, store.options) for recorder in sources]
        assert list(pool.map(send, lakes, sources.values())) == [[], []]
    assert trade_ids(store, uri) == sorted(i for source in sources.values() for i in source.trade_ids())
    assert rows(store, uri, "audit") == 4
