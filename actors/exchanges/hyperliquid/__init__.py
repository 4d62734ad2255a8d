"""Hyperliquid: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.hyperliquid import feed, history, instruments
from actors.model.ticks import IdPromise

BASE = "https://api.hyperliquid.xyz"

HYPERLIQUID = Exchange(
    name="hyperliquid",
    title="Hyperliquid",
    proven="recording",
    feed=x.Dialect(
        doc="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=100,  # documented: 1000 an address, on 10 connections
            symbols_per_request=1,
            requests_per_s=10.0,  # documented: 2000 a minute and address, pings among them
            requests_max=180,  # ours: a tenth of these a connection
            requests_window_s=60.0,
            connects_per_s=0.4,  # documented: 30 a minute and address
            connections_max=10,  # documented
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=x.Ping(interval_s=20.0, text=lambda _number: '{"method":"ping"}'),
        market=feed.market,
        examples=("BTC/USDC:USDC", "ETH/USDC:USDC", "PURR/USDC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        bad_symbol_closes=True,
        replays_unmarked=30,
        ids={"spot": IdPromise.OPAQUE, "swap": IdPromise.OPAQUE},
        ids_note="unique, in no order",
        markets_note="spot PURR/USDC, perpetuals BTC/USDC:USDC, of builders' dexes xyz_SP500/USDC:USDC",
        resolution="ms",
        replay_note="the last 30 of each market, not marked",
        ping_note='we send {"method":"ping"} every 20 s; the server cuts where it has sent nothing for 60 s',
        notes=(
            "an unknown market ends the connection without a reason, so markets are asked for one by one",
            "spot pairs are called by an index that only the list of markets knows: without it PURR/USDC alone",
            "the time is that of the block: many trades share it",
            "kPEPE counts thousands of PEPE, as Hyperliquid writes it",
        ),
    ),
    history=h.History(
        name="hyperliquid",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 10 trades only: recentTrades has no cursor",
        depth=f"the newest {history.ROWS_MAX} trades",
        doc="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 1200 a minute and address.
        limits=(RateLimit(name="weight", units=1000.0, window_s=60.0, burst=200.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is in files only",),
    ),
    instruments=InstrumentList(
        name="hyperliquid",
        # Read through clients that follow it.
        doc="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals",
        doc_read="2026-11-26",
        base=BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
