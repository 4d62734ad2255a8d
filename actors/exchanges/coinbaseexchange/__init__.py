"""Coinbase Exchange: what it documents and promises; the functions that speak to it: feed.py and history.py."""

from actors.exchanges.coinbaseexchange import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.model.ticks import IdPromise

COINBASEEXCHANGE = Exchange(
    name="coinbaseexchange",
    title="Coinbase Exchange",
    proven="recording",
    feed=x.Dialect(
        doc="https://docs.cdp.coinbase.com/exchange/websocket-feed/channels",
        doc_read="2026-11-22",
        channels=("matches",),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=50,  # ours: one unknown market may make its whole request fail (unsure)
            requests_per_s=10.0,  # documented: 100 a second and address
            connects_per_s=4.0,  # documented: 8 a second and address, bursts of 20
        ),
        silence_s=30.0,  # heartbeat sends one message a second and product
        market=feed.market,
        examples=("BTC/USD",),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        ids={"spot": IdPromise.CONTIGUOUS},
        ids_note="contiguous per market (89 of 89 steps recorded)",
        markets_note="spot BTC/USD",
        resolution="us",
        replay_note="the last one of each market, marked last_match",
        ping_note="the server sends a heartbeat every second on each market",
        notes=("the wire's side is the maker's and is turned round",),
    ),
    history=h.History(
        name="coinbaseexchange",
        kind=h.Kind.BY_ID,
        summary="by id without end: /products/ID/trades, 1000 a request, newest first",
        depth="without end",
        doc="https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades",
        doc_read="2026-11-22",
        base="https://api.exchange.coinbase.com",
        # Documented: 15, of which 10 a second come back, by address; ours never takes more than 10 in a second.
        limits=(h.RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        notes=("the wire's side is the maker's and is turned round", "a time is found by halving the ids"),
    ),
    instruments=InstrumentList(
        name="coinbaseexchange",
        doc="https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-all-known-trading-pair"
        "s",
        doc_read="2026-11-26",
        base="https://api.exchange.coinbase.com",
        requests=(instruments.REQUEST,),
        parse=instruments.parse,
    ),
)
