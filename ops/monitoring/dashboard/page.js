// The page: follows the service's snapshots, reconnects with growing delays, and says in words how things are.

const RETRY_S = [1, 2, 4, 8, 15, 30];
const SILENT_S = 20; // snapshots come about once a second; without any for so long the connection is given up
const REASONS_SHOWN = 4;

const ratesChart = new Chart(byId("rates"), { logarithmic: false, write: (value) => count(value) });
const lagsChart = new Chart(byId("lags"), { logarithmic: true, write: (value) => (value >= 1000 ? `${count(value / 1000)} s` : `${value} ms`) });
const rates = new Rates();
const lanes = new Lanes();
const state = { snapshot: null, actors: null, arrived: 0, filled: false };

// The service's clock, so that ages are right where this machine's clock is not.
const serviceNow = () => state.snapshot.at + (performance.now() - state.arrived);

const connection = {
  source: null,
  attempts: 0,
  timer: 0,
  silence: 0,
  retryAt: 0,

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = (this.source = new EventSource(`${location.origin}/v1/snapshots`)); // without the token that the page's own address may hold
    this.listenFor(SILENT_S);
    source.addEventListener("status", (event) => {
      this.attempts = 0;
      this.listenFor(SILENT_S);
      this.say("live", "live");
      showSnapshot(JSON.parse(event.data));
    });
    source.addEventListener("actors", (event) => {
      state.actors = JSON.parse(event.data);
      showActors(state.actors, serviceNow());
      showHeadline();
    });
    source.addEventListener("events", (event) => showEvents(JSON.parse(event.data)));
    source.addEventListener("timeline", (event) => showTimeline(JSON.parse(event.data)));
    source.addEventListener("error", () => source === this.source && this.lose());
  },

  listenFor(seconds) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose(), seconds * 1000);
  },

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  },

  lose() {
    this.close();
    const delay = RETRY_S[Math.min(this.attempts, RETRY_S.length - 1)] * (0.8 + 0.4 * Math.random());
    this.attempts += 1;
    this.retryAt = performance.now() + delay * 1000;
    state.filled = false;
    this.count();
    showHeadline();
  },

  count() {
    const left = (this.retryAt - performance.now()) / 1000;
    if (left <= 0) {
      this.say("lost", "connection lost, trying now");
      this.open();
      return;
    }
    this.say("lost", `connection lost, retrying in ${Math.ceil(left)} s`);
    this.timer = setTimeout(() => this.count(), Math.min(1000, left * 1000));
  },

  say(kind, text) {
    setAttribute(document.body, "data-connection", kind);
    setText(byId("connection-text"), text);
    setClass(byId("retry"), "hidden", kind === "live");
  },
};

function showSnapshot(snapshot) {
  state.snapshot = snapshot;
  state.arrived = performance.now();
  const { status, prices } = snapshot;
  const now = snapshot.at;
  const rows = Object.entries(status.exchanges);
  const names = rows.map(([name]) => name);
  const totals = Object.fromEntries(rows.map(([name, row]) => [name, row.received - row.duplicates - row.rejected]));
  const perSecond = rates.next(status.run_id, now / 1000, totals);
  state.total = names.some((name) => name in perSecond) ? names.reduce((sum, name) => sum + (perSecond[name] ?? 0), 0) : null;
  ratesChart.samples.put(Math.floor(now / 1000), perSecond);
  const lags = Object.fromEntries(rows.map(([name, row]) => [name, row.lag_ms_p99 === null ? null : Math.max(0.1, row.lag_ms_p99)]));
  lagsChart.samples.put(Math.floor(now / 1000), lags);
  lanes.reserve(rows.reduce((sum, [, row]) => sum + row.symbols, 0));
  byId("main").classList.remove("waiting");
  showExchanges(rows, perSecond, now, (name) => [ratesChart, lagsChart].forEach((chart) => chart.emphasise(name)));
  ratesChart.draw(names, `Ticks a second: ${names.map((name) => `${name} ${rate(perSecond[name])}`).join(", ")}`);
  lagsChart.draw(names, `Lag, 99th percentile: ${rows.map(([name, row]) => `${name} ${milliseconds(row.lag_ms_p99)}`).join(", ")}`);
  showMarkets(prices, snapshot.prices_left_out, now);
  if (state.actors) showActors(state.actors, now);
  showFacts(status, rows, now);
  showHeadline();
}

function showTimeline(timeline) {
  lanes.show(timeline);
  if (timeline.rates === undefined || state.filled || state.snapshot === null) return;
  state.filled = true;
  ratesChart.samples.fillIn(timeline.rates, state.snapshot.at / 1000);
}

function showFacts(status, rows, now) {
  const store = status.store;
  const well = rows.filter(([, row]) => row.state === "ok").length;
  const gaps = rows.reduce((sum, [, row]) => sum + row.gaps_open, 0);
  const flushed = store.last_flush_at === null ? "not yet" : `${duration((now - Date.parse(store.last_flush_at)) / 1000)} ago`;
  const facts = [
    ["ticks a second", rate(state.total), false],
    ["exchanges ok", `${well} of ${rows.length}`, well < rows.length],
    ["open gaps", count(gaps), gaps > 0],
    ["last flush", flushed, false],
    ["tail", `${plural(store.segments, "segment")}`, false],
    ["running for", duration((now - Date.parse(status.started_at)) / 1000), false],
  ];
  if (status.lake) facts.push(["lake behind", duration(status.lake.seconds_behind), status.lake.trouble !== null]);
  keep(byId("facts"), facts, ([name]) => name, ([name]) => make("div", {}, make("dt", {}, name), make("dd")), (node, [, value, bad]) => {
    setText(node.lastChild, value);
    setClass(node.lastChild, "bad", bad);
  });
  const held = store.held ? `; ${store.held_by_pid ? `process ${store.held_by_pid}` : "another process"} has the file open, merging waits for it` : "";
  setText(byId("footer"), `tickwarden ${status.version}, process ${status.pid}, ${store.path}${held}`);
}

const isOff = (row) => row.connections === 0 && row.connections_wanted > 0;

// What is wrong with one exchange, in words; "" for nothing.
function troubleOf(name, row) {
  const own = state.actors?.actors.filter((one) => one.name === name || one.parent === name) ?? [];
  const actor = own.find(isTrouble) ?? own.find(isTryingAgain);
  const retry = actor?.next_retry_at ? (Date.parse(actor.next_retry_at) - serviceNow()) / 1000 : 0;
  const next = retry > 0 ? `, next attempt in ${countdown(retry)}` : ", trying now";
  const why = forPeople(row.reasons.join("; ") || actor?.reason || actor?.last_error || row.state);
  const off = isOff(row);
  if (row.state === "failed") return `has failed: ${why}`;
  if (off && (row.state === "backoff" || actor)) return `is not recorded${next}: ${why}`;
  if (row.state === "backoff" || (actor && row.connections < row.connections_wanted)) return `reconnects${next}: ${why}`;
  if (row.state === "degraded") return `is degraded: ${why}`;
  return "";
}

function verdictOf(status, rows, troubles) {
  const markets = rows.reduce((sum, [, row]) => sum + row.symbols, 0);
  const gaps = rows.reduce((sum, [, row]) => sum + row.gaps_open, 0);
  const summary = `${plural(markets, "market")} on ${plural(rows.length, "exchange")}${gaps ? `, ${plural(gaps, "gap")} open` : ", no open gaps"}`;
  if (status.state === "stopping" || status.state === "stopped") return ["stopping", "The service is stopping", summary];
  if (status.state === "failed") return ["failed", "The service has failed: nothing is recorded", summary];
  const off = rows.filter(([, row]) => isOff(row)).length;
  if (troubles.length || status.state === "degraded") {
    let verdict = "Degraded";
    if (off) verdict = `${count(off)} of ${plural(rows.length, "exchange")} ${off === 1 ? "is" : "are"} not recorded`;
    else if (troubles.length) verdict = `${plural(troubles.length, "exchange")} of ${count(rows.length)} ${troubles.length === 1 ? "needs" : "need"} attention`;
    return ["degraded", verdict, summary];
  }
  if (status.state === "starting") return ["starting", "The service is starting", summary];
  if (off) return ["starting", `Connecting to ${count(off)} of ${plural(rows.length, "exchange")}`, summary];
  if (gaps) return ["notice", `All exchanges are recorded, ${plural(gaps, "gap")} ${gaps === 1 ? "is" : "are"} open`, summary];
  return ["ok", "All is well", summary];
}

function showHeadline() {
  let [kind, verdict, summary, reasons] = ["starting", "Connecting to the service", "", []];
  if (state.snapshot !== null) {
    const { status } = state.snapshot;
    const rows = Object.entries(status.exchanges);
    const troubles = rows.map(([name, row]) => [name, troubleOf(name, row)]).filter(([, text]) => text);
    [kind, verdict, summary] = verdictOf(status, rows, troubles);
    const named = new Set(troubles.map(([name]) => name));
    const others = status.reasons.filter((text) => !named.has(text.split(/[: ]/)[0])).map((text) => ["", forPeople(text)]);
    reasons = [...others, ...troubles];
  }
  if (document.body.dataset.connection === "lost") {
    const since = state.snapshot === null ? "" : `What is shown below is as of ${clock(state.snapshot.at)}.`;
    const stopped = ["stopping", "stopped"].includes(state.snapshot?.status.state);
    [kind, verdict, summary, reasons] = ["lost", stopped ? "The service has stopped" : "The service does not answer", since, []];
  }
  const more = reasons.length - REASONS_SHOWN;
  const shown = more > 1 ? [...reasons.slice(0, REASONS_SHOWN), ["", `and ${more} more`]] : reasons;
  setAttribute(byId("headline"), "data-state", kind);
  setAttribute(byId("headline-glyph"), "href", glyphOf(kind));
  setText(byId("verdict"), verdict);
  setText(byId("summary"), summary);
  keep(byId("reasons"), shown.map((reason, place) => ({ reason, place })), (item) => item.place, () => make("li", {}, make("b"), ""), (node, { reason }) => {
    setText(node.firstChild, reason[0]);
    const rest = reason[0] ? ` ${reason[1]}` : reason[1];
    if (node.lastChild.data !== rest) node.lastChild.data = rest;
  });
  holdHeight(byId("headline"), reasons.length > 0);
  showInTab(kind, verdict);
}

// While there are reasons the box only grows: a countdown that wraps otherwise must not move the page.
function holdHeight(box, hold) {
  const height = hold && box.heldWidth === innerWidth ? `${box.offsetHeight}px` : "";
  box.heldWidth = innerWidth;
  if (box.style.minHeight !== height) box.style.minHeight = height;
}

// The tab's title and icon show the state too: shape and colour.
function showInTab(kind, verdict) {
  const mark = { ok: "✓", notice: "▲", degraded: "▲", failed: "✕", lost: "✕" }[kind] ?? "…";
  const title = `${mark} ${verdict} – Tickwarden`;
  if (document.title === title) return;
  document.title = title;
  const shape = {
    ok: '<circle cx="8" cy="8" r="7" fill="#00805a"/>',
    notice: '<path d="M8 1 15 14H1z" fill="#c98500"/>',
    degraded: '<path d="M8 1 15 14H1z" fill="#d55e00"/>',
  }[kind] ?? '<path d="M2 2h12v12H2z" fill="#a83200"/>';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${kind === "starting" ? '<circle cx="8" cy="8" r="6" fill="none" stroke="#0b5c9e" stroke-width="3"/>' : shape}</svg>`;
  byId("icon").href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

byId("retry").addEventListener("click", () => connection.open());
byId("alone-box").addEventListener("toggle", () => state.snapshot && showMarkets(state.snapshot.prices, state.snapshot.prices_left_out, serviceNow()));
// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    connection.close();
    connection.say("paused", "paused");
  } else {
    state.filled = false;
    connection.attempts = 0;
    connection.open();
  }
});
if (!document.hidden) connection.open();
