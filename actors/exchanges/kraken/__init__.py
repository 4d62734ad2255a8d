"""Kraken spot: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.kraken import feed, history, instruments
from actors.model.ticks import IdPromise

KRAKEN = Exchange(
    name="kraken",
    title="Kraken spot",
    proven="sample",
    feed=x.Dialect(
        doc="https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade",
        doc_read="2026-11-22",
        channels=("trade",),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=100,  # ours: no number is documented
            requests_per_s=5.0,  # ours: no number is documented
            connects_per_s=0.2,  # documented: about 150 in 10 minutes and address, then a ban of 10 (unsure)
        ),
        silence_s=30.0,  # a heartbeat about every second while subscribed and idle
        market=feed.market,
        examples=("BTC/USD",),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        answers_each=True,
        ids={"spot": IdPromise.CONTIGUOUS},
        ids_note="contiguous per market (999 of 999 steps recorded)",
        markets_note="spot BTC/USD; XBT is BTC and XDG is DOGE",
        resolution="us",
        replay_note="none",
        notes=("the last 50 trades on subscribe are switched off",),
        ping_note="the server sends a heartbeat about every second",
    ),
    history=h.History(
        name="kraken",
        kind=h.Kind.BY_TIME,
        summary="by time without end: /0/public/Trades?since=, 1000 a request, about one request a second",
        depth="without end",
        doc="https://docs.kraken.com/api/docs/rest-api/get-recent-trades",
        doc_read="2026-11-22",
        base="https://api.kraken.com",
        # Documented: about one a second, market and address (unsure); all markets share one bucket.
        limits=(h.RateLimit(name="requests", units=10.0, window_s=10.0, burst=1.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        slack_ns=history.SLACK_NS,
        notes=("a range known by ids alone cannot be requested: it needs a start time",),
    ),
    instruments=InstrumentList(
        name="kraken",
        doc="https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs",
        doc_read="2026-11-26",
        base="https://api.kraken.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
