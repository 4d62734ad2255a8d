"""WhiteBIT: what it documents and promises; the functions that speak to it are in feed.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.whitebit import feed, instruments
from actors.model.ticks import IdPromise

WHITEBIT = Exchange(
    name="whitebit",
    title="WhiteBIT",
    proven="sample",
    feed=x.Dialect(
        doc="https://docs.whitebit.com/websocket/market-streams/trades",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=200,  # a request replaces the one before, so it names all markets
            request_bytes=16_384,
            requests_per_s=1.0,  # documented: 200 a minute and connection in an older text, 12,000 in 10 s since
            requests_max=100,  # of these 200, as pings count too
            requests_window_s=60.0,
            connects_per_s=2.0,  # documented: 1000 a minute
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=x.Ping(interval_s=20.0, text=lambda _number: feed.PING),
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT"),
        subscribe_text=feed.subscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="params.1",
        request_replaces=True,
        replays_unmarked=100,
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING},
        ids_note="rising per market, with holes",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT",
        resolution="us",
        replay_note="the last 100 of each market at most, after every request, not marked",
        ping_note='we send {"method":"ping"} every 20 s; the server cuts after 60 s without a message',
        notes=(
            "one unknown market makes its whole request fail",
            "REST is not asked: it has the last 100 trades that each request re-sends, but by whole seconds",
            "times are fractions of a second with up to seven decimals, of which six are certain",
        ),
    ),
    instruments=InstrumentList(
        name="whitebit",
        doc="https://docs.whitebit.com/api-reference/market-data/market-info",
        doc_read="2026-11-26",
        base="https://whitebit.com",
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
