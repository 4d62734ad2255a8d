"""MEXC: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.mexc import feed, history, instruments, protobuf
from actors.model.ticks import IdPromise

BASE = "https://api.mexc.com"

MEXC = Exchange(
    name="mexc",
    title="MEXC",
    proven="sample",
    feed=x.Dialect(
        doc="https://www.mexc.com/api-docs/spot-v3/websocket-market-streams",
        doc_read="2026-11-26",
        channels=(feed.TRADES,),
        limits=x.Limits(
            symbols_per_connection=30,  # documented for spot; no number is documented for contracts
            symbols_per_request=1,
            requests_per_s=10.0,  # documented: 100 a second
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=45.0,  # our ping is answered every 15 s: two answers missed
        # Spot is cut after a minute without data, contracts after a minute without a ping, also amid data.
        ping={
            feed.SPOT_URL: x.Ping(interval_s=15.0, text=lambda _number: '{"method":"PING"}'),
            feed.FUTURES_URL: x.Ping(interval_s=15.0, text=lambda _number: '{"method":"ping"}'),
        },
        lifetime_s=24 * 3600.0,
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        split=protobuf.split,
        # The stream has ids and the history none: always null on spot; for perpetuals no documented row has one
        # (unsure: no answer has been recorded). So a trade is known by time, price, volume and side on both.
        ids={"spot": IdPromise.NONE, "swap": IdPromise.NONE},
        ids_note="the stream has some (spot since June 2026) and the history none, so they identify nothing",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT, BTC/USDC:USDC and BTC/USD:BTC",
        resolution="ms",
        replay_note="none",
        ping_note='we send {"method":"PING"} (spot) or {"method":"ping"} (perpetuals) every 15 s',
        notes=(
            "spot messages are protobuf, read by field numbers",
            "volumes of perpetuals are contracts",
            "answers on perpetuals name no market, so each is asked for by itself",
        ),
    ),
    history=h.History(
        name="mexc",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 1000 (spot) or 100 trades only: /api/v3/trades, /api/v1/contract/deals have no cursor",
        depth=f"the newest {history.SPOT_ROWS_MAX} trades of spot, {history.FUTURES_ROWS_MAX} of a perpetual",
        doc="https://www.mexc.com/api-docs/spot-v3/market-data-endpoints",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 500 weight in 10 s on spot, of which this takes 5; 20 in 2 s for contracts.
        limits=(RateLimit(name="requests", units=10.0, window_s=2.0, burst=3.0),),
        page_rows=history.SPOT_ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="mexc",
        doc="https://www.mexc.com/api-docs/spot-v3/market-data-endpoints#exchange-information",
        doc_read="2026-11-26",
        base=BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
