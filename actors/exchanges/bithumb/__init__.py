"""Bithumb: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bithumb import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.model.ticks import IdPromise

BASE = "https://api.bithumb.com"

BITHUMB = Exchange(
    name="bithumb",
    title="Bithumb",
    proven="sample",
    feed=x.Dialect(
        doc="https://apidocs.bithumb.com/reference",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=400,  # ours: no number is documented
            symbols_per_request=400,  # a request replaces the one before, so it names all markets
            request_bytes=16_384,
            requests_per_s=1.0,  # ours: no number is documented, Upbit has 5 a second
            requests_max=80,  # ours: Upbit has 100 a minute, pings among them
            requests_window_s=60.0,
            connects_per_s=2.0,  # documented: 10 a second and address
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=x.Ping(interval_s=20.0, text=lambda _number: "PING"),
        market=feed.market,
        examples=("BTC/KRW", "ETH/BTC"),
        subscribe_text=feed.subscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="content.list",
        acknowledges=False,
        request_replaces=True,
        ids={"spot": IdPromise.OPAQUE},
        ids_note="unique, in no promised order",
        markets_note="spot BTC/KRW and ETH/BTC",
        resolution="ms",
        replay_note="the last one of each market, marked SNAPSHOT",
        ping_note='we send "PING" every 20 s; the server cuts after 60 s without a message',
        notes=(
            "requests are not answered: an unknown market gets no error and stays without trades",
            "rows of the first API (pubwss.bithumb.com), which have no ids and Korean times, are decoded too",
        ),
    ),
    history=h.History(
        name="bithumb",
        kind=h.Kind.BY_TIME,
        summary="from the newest trade back, page by page: /v1/trades/ticks, 500 a request, newest first",
        depth="not documented; Upbit, which it is like, has 8 days",
        doc="https://apidocs.bithumb.com/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 150 a second.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("whether a page's cursor leads into the day before is not documented",),
    ),
    instruments=InstrumentList(
        name="bithumb",
        doc="https://apidocs.bithumb.com/reference",  # read through clients that follow it
        doc_read="2026-11-26",
        base=BASE,
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
