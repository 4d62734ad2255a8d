"""Crypto.com Exchange: what it documents and promises; its functions are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.cryptocom import feed, history, instruments
from actors.model.ticks import IdPromise

CRYPTOCOM = Exchange(
    name="cryptocom",
    title="Crypto.com",
    proven="sample",
    feed=x.Dialect(
        doc="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#trade-instrument_name",
        doc_read="2026-11-26",
        channels=("trade",),
        limits=x.Limits(
            symbols_per_connection=400,  # measured in September 2026: error 40107 beyond
            symbols_per_request=50,  # ours: no number is documented
            requests_per_s=5.0,  # documented: 100 a second
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=75.0,  # heartbeats every 30 s
        settle_s=1.0,  # documented: the limit of requests counts by calendar seconds
        market=feed.market,
        examples=("BTC/USDT", "BTC/USD", "BTC/USD:USD"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="result.data",
        replays_unmarked=100,
        ids=dict.fromkeys(("spot", "swap", "future"), IdPromise.REPEATED),
        ids_note="rising with time; several fills of one order may share one",
        markets_note="spot BTC/USDT, perpetuals BTC/USD:USD, futures BTC/USD:USD-261225",
        resolution="ms",
        replay_note="the last 100 of each market, not marked",
        ping_note="the server sends a heartbeat every 30 s, answered; it cuts at the third without an answer",
        notes=(
            "volumes of perpetuals and futures are base",
            "a request is confirmed by its first frame, which holds the last 100 trades",
        ),
    ),
    history=h.History(
        name="cryptocom",
        kind=h.Kind.BY_TIME,
        summary="by time: public/get-trades, newest first, 150 a request",
        depth="not documented",
        doc="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-trades",
        doc_read="2026-11-26",
        base="https://api.crypto.com",
        # Documented: 100 a second and address.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a range known by ids alone cannot be requested: it needs a start time",),
    ),
    instruments=InstrumentList(
        name="cryptocom",
        doc="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-instruments",
        doc_read="2026-11-26",
        base="https://api.crypto.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
