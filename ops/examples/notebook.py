"""A notebook with candles, the spread between exchanges, and coverage: marimo edit ops/examples/notebook.py

It needs `pip install -e '.[notebook]'`, and reads the file that $TICKS names, by default ./ticks.duckdb, which a
service may be writing.
"""

# mypy: ignore-errors
import marimo

app = marimo.App(width="medium", app_title="Recorded markets")


@app.cell
def libraries():
    import os
    from pathlib import Path

    import altair as alt
    import marimo as mo

    from ops.examples import views

    file = Path(os.environ.get("TICKS", "ticks.duckdb"))
    return alt, file, mo, views


@app.cell
def choices(file, mo, views):
    recorded = views.markets(file)
    names = [f"{_row['exchange']} {_row['symbol']}" for _row in recorded]
    market = mo.ui.dropdown(names, value=names[0], label="market")
    minutes = mo.ui.slider(1, 120, value=15, label="minutes")
    mo.hstack([market, minutes])
    return market, minutes


@app.cell
def candle_chart(alt, file, market, minutes, mo, views):
    exchange, symbol = market.value.split(" ", 1)
    _rows = views.candles(file, exchange, symbol, minutes=minutes.value)
    candles = [{**_row, "moment": _row["moment"].isoformat()} for _row in _rows]
    at = alt.X("moment:T", title=None)
    price = alt.Scale(zero=False)
    rising = alt.condition("datum.close >= datum.open", alt.value("#0072b2"), alt.value("#d55e00"))
    base = alt.Chart(alt.Data(values=candles)).encode(x=at, color=rising)
    mo.vstack(
        [
            mo.md(f"### {symbol} on {exchange}"),
            base.mark_rule().encode(y=alt.Y("low:Q", scale=price, title=None), y2="high:Q")
            + base.mark_bar(size=3).encode(y=alt.Y("open:Q", scale=price), y2="close:Q"),
        ]
    )
    return candles, symbol


@app.cell
def spread_chart(alt, file, minutes, mo, symbol, views):
    _rows = views.spread(file, symbol, minutes=minutes.value)
    spreads = [{**_row, "moment": _row["moment"].isoformat()} for _row in _rows]
    line = alt.Chart(alt.Data(values=spreads)).mark_line(interpolate="step-after")
    mo.vstack(
        [
            mo.md(f"### Spread of {symbol} between exchanges"),
            line.encode(x=alt.X("moment:T", title=None), y=alt.Y("bps:Q", title="bps")),
        ]
    )
    return (spreads,)


@app.cell
def coverage_table(file, minutes, mo, views):
    covered = views.coverage(file, minutes=minutes.value)
    mo.vstack([mo.md("### Coverage"), mo.ui.table(covered)])
    return (covered,)


if __name__ == "__main__":
    app.run()
