"""Deribit: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.deribit import feed, history, instruments
from actors.model.ticks import IdPromise

_KINDS = ("spot", "swap", "future", "option")

DERIBIT = Exchange(
    name="deribit",
    title="Deribit",
    proven="sample",
    feed=x.Dialect(
        doc="https://docs.deribit.com/subscriptions/trades/trades-instrument_name-interval",
        doc_read="2026-11-26",
        channels=("trades.100ms",),  # `raw` needs an account
        limits=x.Limits(
            symbols_per_connection=500,  # ours: no number is documented
            symbols_per_request=100,  # documented: at most 500 are advised
            request_bytes=16_384,
            requests_per_s=3.0,  # documented: each costs 3000 of 30,000 credits, which come back within 3 s
            connects_per_s=1.0,  # ours: no rate is documented
            connections_max=32,  # documented: of an address; the 33rd was answered 429
        ),
        silence_s=75.0,  # heartbeats every 30 s
        opening=(feed.OPENING,),
        market=feed.market,
        examples=("BTC/USD:BTC", "BTC/USDC:USDC", "ETH/USD:ETH", "BTC/USDC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        decoder=feed.Sequences,
        list_key="params.data",
        answers_each=True,
        ids=dict.fromkeys(_KINDS, IdPromise.OPAQUE),
        ids_note="`trade_id` counts the trades of a currency;"
        " `trade_seq` counts those of a market and shows what is missing",
        markets_note="spot BTC/USDC, perpetuals BTC/USD:BTC and BTC/USDC:USDC, futures BTC/USD:BTC-261225,"
        " options BTC/USD:BTC-261225-100000-C",
        resolution="ms",
        replay_note="none",
        ping_note="the server sends a heartbeat every 30 s, once switched on; its test_request is answered",
        notes=(
            "volumes of inverse perpetuals and futures are US dollars, of all else base",
            "an unknown market is missing from the answer and gets no error",
            "combos are recorded leg by leg, in the markets of their legs",
            "block trades and liquidations are recorded like all others",
        ),
    ),
    history=h.History(
        name="deribit",
        kind=h.Kind.BY_TIME,
        summary="by time, then by sequence: get_last_trades_by_instrument, 1000 a request",
        depth="not documented; of one's own trades 24 hours",
        doc="https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument",
        doc_read="2026-11-26",
        base="https://www.deribit.com",
        # Documented: each costs 500 of 50,000 credits, of which 10,000 a second come back.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=(
            "a range known by ids alone cannot be requested: it needs a start time",
            "beyond 23 hours, a range is complete only if a trade proves that the history reaches it",
        ),
    ),
    instruments=InstrumentList(
        name="deribit",
        doc="https://docs.deribit.com/api-reference/market-data/public-get_instruments",
        doc_read="2026-11-26",
        base="https://www.deribit.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
