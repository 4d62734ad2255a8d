"""KuCoin: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.kucoin import feed, history, instruments
from actors.model.ticks import IdPromise

KUCOIN = Exchange(
    name="kucoin",
    title="KuCoin",
    proven="recording",
    feed=x.Dialect(
        doc="https://www.kucoin.com/docs-new/3470081w0",
        doc_read="2026-11-26",
        channels=(feed.TRADES,),
        limits=x.Limits(
            symbols_per_connection=300,  # documented
            symbols_per_request=100,  # documented
            requests_per_s=5.0,  # documented: 100 in 10 s
            connects_per_s=0.45,  # documented: 30 a minute; at 0.5 a delay on the way makes it 31
            connections_max=50,  # documented: of an address
        ),
        silence_s=45.0,  # our ping is answered every 18 s: two answers missed
        # The token gives the interval; without any frame of ours the server closes after 60.5 s, also amid data.
        ping=x.Ping(interval_s=18.0, text=lambda number: f'{{"id":"p{number}","type":"ping"}}'),
        waits_for_welcome=True,
        token=feed.TOKENS,
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING},
        ids_note="rising per market, with holes: changes of the book take numbers too",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT, BTC/USDC:USDC and BTC/USD:BTC",
        resolution="ns",
        replay_note="none",
        ping_note='we send {"id":"p1","type":"ping"} as often as the token says (every 18 s);'
        " the server cuts after 60 s without one",
        notes=(
            "a token is asked for over REST before each connection",
            "volumes of perpetuals are contracts; BTC is called XBT there",
            "an unknown market is acknowledged and stays silent",
            "times are nanoseconds, of which only milliseconds have been seen to count since 2022",
        ),
    ),
    history=h.History(
        name="kucoin",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 100 trades only: /api/v1/market/histories and /api/v1/trade/history have no cursor",
        depth=f"the newest {history.ROWS_MAX} trades",
        doc="https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-trade-history",
        doc_read="2026-11-26",
        base=feed.SPOT_BASE,
        # Documented: 2000 weight in 30 s and address, of which these take 3 and 5.
        limits=(RateLimit(name="requests", units=100.0, window_s=30.0, burst=10.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="kucoin",
        doc="https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-all-symbols",
        doc_read="2026-11-26",
        base=feed.SPOT_BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
