"""Upbit: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.exchanges.upbit import feed, history, instruments
from actors.model.ticks import IdPromise

UPBIT = Exchange(
    name="upbit",
    title="Upbit",
    proven="recording",
    feed=x.Dialect(
        doc="https://docs.upbit.com/kr/v1.6.4/reference/websocket-guide",
        doc_read="2026-11-26",
        channels=("trade",),
        limits=x.Limits(
            symbols_per_connection=400,  # ours: no number is documented, and 855 were answered in September 2026
            symbols_per_request=400,  # a request replaces the one before, so it names all markets
            request_bytes=16_384,
            # The rates are those of docs.upbit.com's page on rate limits of October 2026.
            requests_per_s=1.0,  # documented: 5 a second and 100 a minute and connection
            requests_max=80,  # of these 100, as pings count too
            requests_window_s=60.0,
            connects_per_s=2.0,  # documented: 5 a second and address
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        # Cut after 60 s without a word (measured in September 2026; the documents say 120).
        ping=x.Ping(interval_s=20.0, text=lambda _number: "PING"),
        market=feed.market,
        examples=("BTC/KRW", "ETH/BTC"),
        subscribe_text=feed.subscribe_text,
        trades=feed.trades,
        control=feed.control,
        acknowledges=False,
        request_replaces=True,
        ids={"spot": IdPromise.OPAQUE},
        ids_note="unique, in no promised order (6 of 303 steps recorded lead back)",
        markets_note="spot BTC/KRW, ETH/BTC and BTC/USDT",
        resolution="ms",
        replay_note="the last one of each market, marked SNAPSHOT",
        ping_note='we send "PING" every 20 s; the server cuts after 60 s without a message',
        notes=("requests are not answered: an unknown market gets no error and stays without trades",),
    ),
    history=h.History(
        name="upbit",
        kind=h.Kind.BY_TIME,
        summary="by time, 7 days back: /v1/trades/ticks, 500 a request, newest first",
        depth=f"the day of the newest trade and the {history.DAYS_AGO_MAX} days before",
        doc="https://docs.upbit.com/kr/v1.5.9/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD",
        doc_read="2026-11-26",
        base="https://api.upbit.com",
        # Documented: 10 a second and address.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        banned={418: history.BAN_S},
    ),
    instruments=InstrumentList(
        name="upbit",
        doc="https://docs.upbit.com/kr/reference/list-trading-pairs",  # read through clients that follow it
        doc_read="2026-11-26",
        base="https://api.upbit.com",
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
