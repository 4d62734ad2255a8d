"""Coinbase Advanced Trade: what it documents and promises. Its history is that of Coinbase Exchange."""

from actors.exchanges.coinbase import feed, history, instruments
from actors.exchanges.coinbaseexchange.history import ROWS_MAX, parse_error, request
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.model.ticks import IdPromise

COINBASE = Exchange(
    name="coinbase",
    title="Coinbase Advanced Trade",
    proven="recording",
    feed=x.Dialect(
        doc="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels",
        doc_read="2026-11-26",
        channels=("market_trades",),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=50,  # ours: one unknown market may make its whole request fail (unsure)
            requests_per_s=4.0,  # documented: 8 a second and address without a key
            # Documented: 8 a second and address, in an older text 750. Each sends 5 requests, which count together.
            connects_per_s=1.0,
        ),
        silence_s=30.0,  # the heartbeats channel sends one message a second
        market=feed.market,
        examples=("BTC/USD",),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        listed=feed.listed,
        opening=(feed.HEARTBEATS,),
        trades=feed.trades,
        control=feed.control,
        list_key="events.trades",
        ids={"spot": IdPromise.CONTIGUOUS},
        ids_note="contiguous per market, the count of Coinbase Exchange",
        markets_note="spot BTC/USD; BTC/USDC is the same market",
        resolution="us",
        replay_note="the last 100 of each market, marked snapshot, before the acknowledgement",
        ping_note="the server sends a heartbeat every second",
        notes=(
            "the wire's side is the maker's and is turned round: so 73 of 76 trades agree with the book;"
            " it is not documented",
            "trades come in batches of about 250 ms, newest first",
            "a request for BTC-USDC is answered with the trades of BTC-USD: USDC products are refused",
        ),
    ),
    history=h.History(
        name="coinbase",
        kind=h.Kind.BY_ID,
        summary="by id without end: /products/ID/trades of Coinbase Exchange, 1000 a request, newest first",
        depth="without end",
        doc="https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades",
        doc_read="2026-11-22",
        base="https://api.exchange.coinbase.com",
        # Documented: 15, of which 10 a second come back, by address; half of it, as coinbaseexchange may share it.
        limits=(h.RateLimit(name="requests", units=5.0, window_s=1.0, burst=2.0),),
        page_rows=ROWS_MAX,
        newest_first=True,
        request=request,
        parse=history.parse,
        parse_error=parse_error,
        notes=(
            "the wire's side is the maker's and is turned round",
            "Advanced Trade's own endpoint has no ids to ask by",
        ),
    ),
    instruments=InstrumentList(
        name="coinbase",
        doc="https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products",
        doc_read="2026-11-26",
        base="https://api.coinbase.com",
        requests=(instruments.REQUEST,),
        parse=instruments.parse,
    ),
)
