"""OKX v5: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.okx import feed, history, instruments
from actors.model.ticks import IdPromise

OKX = Exchange(
    name="okx",
    title="OKX",
    proven="recording",
    feed=x.Dialect(
        doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel",
        doc_read="2026-11-22",
        channels=feed.CHANNELS,
        limits=x.Limits(
            symbols_per_connection=300,  # ours: no number is documented
            symbols_per_request=100,  # ours: a request for many counts as one of 480 an hour
            request_bytes=60_000,  # documented: 64 KB
            requests_per_s=2.0,  # ours: no number is documented
            requests_max=400,  # documented: 480 an hour and connection
            connects_per_s=2.0,  # documented: 3 a second and address
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=x.Ping(interval_s=20.0, text=lambda _number: "ping"),  # cut after 30 s without any push
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        answers_each=True,
        replays_unmarked=1,  # 18 of 18 markets in recordings of 2021 and 2022, none of 2 in one of 2026
        ids=dict.fromkeys(("spot", "swap", "future", "option"), IdPromise.CONTIGUOUS),
        ids_note="contiguous per market; a row of `trades` stands for `count` fills and takes as many ids",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT and BTC/USD:BTC, futures BTC/USD:BTC-261225,"
        " options BTC/USD:BTC-261225-9000-C",
        resolution="ms",
        replay_note="the last one of some markets, not marked",
        ping_note='we send "ping" every 20 s; the server cuts after 30 s without a message',
        notes=("volumes of perpetuals, futures and options are contracts",),
    ),
    history=h.History(
        name="okx",
        kind=h.Kind.BY_ID,
        summary="by id, 3 months: /api/v5/market/history-trades, 100 a request",
        depth="3 months",
        doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history",
        doc_read="2026-11-22",
        base="https://www.okx.com",
        # Documented: 20 in 2 s and address.
        limits=(h.RateLimit(name="requests", units=20.0, window_s=2.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        # That every id has its row is nowhere promised, so meeting ends are what counts.
        dense=False,
        aggregated=frozenset({"trades"}),
        notes=("single fills, where the feed's `trades` has one row for all fills of an order at one price",),
    ),
    instruments=InstrumentList(
        name="okx",
        doc="https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments",
        doc_read="2026-11-26",
        base="https://www.okx.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
