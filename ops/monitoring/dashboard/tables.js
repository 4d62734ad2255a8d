// The tables: exchanges, markets side by side, actors and events.

const STALE_S = 60; // a last trade that is older says nothing about a spread

function showExchanges(rows, rates, now, onFocus) {
  keep(document.querySelector("#exchanges tbody"), rows, ([name]) => name, ([name]) => makeExchange(name, onFocus), (node, [name, row], place) => {
    fillExchange(node, name, row, rates[name], now);
  });
  document.querySelectorAll("#exchanges tbody .key svg line").forEach((line, place) => {
    const { colour, dash } = lineOf(place);
    line.style.stroke = `var(${colour})`;
    setAttribute(line, "stroke-dasharray", dash.join(" ") || "none");
  });
}

function makeExchange(name, onFocus) {
  const line = makeSvg("line", { x1: 0, y1: 5, x2: 20, y2: 5, "stroke-width": 3 });
  const key = make("button", { type: "button", className: "key", ariaPressed: "false", title: `show ${name} alone in the charts` }, makeSvg("svg", { "aria-hidden": "true", viewBox: "0 0 20 10" }, line), make("span", {}, name));
  key.addEventListener("click", () => {
    const on = key.getAttribute("aria-pressed") !== "true";
    for (const other of document.querySelectorAll("#exchanges .key")) other.setAttribute("aria-pressed", "false");
    key.setAttribute("aria-pressed", String(on));
    onFocus(on ? name : null);
  });
  const numbers = ["", "", "wide", "", "", "wide", "wide", "wide"].map((kind) => make("td", { className: `num ${kind}` }));
  return make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, makeState()), ...numbers, make("td", { className: "wide why" }));
}

function fillExchange(node, name, row, perSecond, now) {
  const [, state, ticks, last, p50, p99, gaps, connections, received, rejected, why] = node.children;
  setState(state.firstChild, row.state);
  setClass(node, "trouble", row.state === "failed" || row.state === "backoff" || row.state === "degraded");
  setText(ticks, rate(perSecond));
  setText(last, row.last_tick_at === null ? "never" : duration((now - Date.parse(row.last_tick_at)) / 1000));
  setText(p50, milliseconds(row.lag_ms_p50));
  setText(p99, milliseconds(row.lag_ms_p99));
  setText(gaps, count(row.gaps_open));
  setClass(gaps, "bad", row.gaps_open > 0);
  setClass(gaps, "zero", row.gaps_open === 0);
  setText(connections, `${row.connections}/${row.connections_wanted}`);
  setClass(connections, "bad", row.connections < row.connections_wanted);
  setText(received, count(row.received));
  setText(rejected, count(row.rejected));
  setClass(rejected, "zero", row.rejected === 0);
  const reasons = forPeople(row.reasons.join("; "));
  setText(why, reasons);
  setAttribute(why, "title", reasons);
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function showMarkets(prices, leftOut, now) {
  const groups = Map.groupBy(prices, ([, symbol]) => symbol);
  const shared = [...groups].filter(([, rows]) => rows.length > 1);
  const alone = [...groups].filter(([, rows]) => rows.length === 1).map(([symbol, rows]) => [symbol, rows]);
  fillGroups(byId("markets"), shared, now);
  setText(byId("alone-title"), `${plural(alone.length, "market")} recorded on one exchange only`);
  if (byId("alone-box").open) fillGroups(byId("alone"), alone.length ? [["", alone.map(([, rows]) => rows[0])]] : [], now);
  const notes = [];
  if (!shared.length) notes.push("No market is recorded on more than one exchange.");
  if (leftOut) notes.push(`${plural(leftOut, "more market")}: tickwarden tail`);
  setText(byId("markets-note"), notes.join(" "));
}

function fillGroups(host, groups, now) {
  host.classList.add("markets");
  keep(host, groups, ([symbol]) => symbol, ([symbol]) => makeGroup(symbol), (node, [symbol, rows]) => fillGroup(node, symbol, rows, now));
}

function makeGroup(symbol) {
  const head = ["exchange", "last price", symbol ? "from median" : "", "", "age"].map((text, place) => make("th", { scope: "col", className: place && place !== 3 ? "num" : "" }, text));
  return make("table", { className: "group" }, make("caption", {}, make("b", {}, symbol), " ", make("span")), make("thead", {}, make("tr", {}, ...head)), make("tbody"));
}

function fillGroup(table, symbol, rows, now) {
  const fresh = rows.filter(([, , last, at]) => last !== null && now - at < STALE_S * 1000).map(([, , last]) => Number(last));
  const low = Math.min(...fresh);
  const high = Math.max(...fresh);
  const middle = fresh.length ? median(fresh) : null;
  const spread = symbol === "" ? "" : fresh.length > 1 ? `spread ${apartBy((high - low) / middle)}` : "spread –";
  setText(table.caption.lastChild, spread);
  const decimals = Math.max(0, ...rows.map(([, , last]) => (last?.split(".")[1] ?? "").length));
  keep(
    table.tBodies[0],
    rows,
    ([exchange, market]) => `${exchange} ${market}`,
    () => make("tr", {}, make("th", { scope: "row" }), make("td", { className: "num" }), make("td", { className: "num" }), make("td", {}, makeStrip()), make("td", { className: "num" })),
    (row, [exchange, market, last, at]) => {
      const [name, value, apart, strip, age] = row.children;
      setText(name, symbol === "" ? `${exchange} ${market}` : exchange);
      const stale = last === null || now - at >= STALE_S * 1000;
      setClass(row, "stale", stale);
      // Figure spaces where other exchanges have more decimals, so that the points are in one column.
      const lacking = last === null ? 0 : decimals - (last.split(".")[1] ?? "").length;
      const point = last !== null && decimals && !last.includes(".") ? "\u2008" : "";
      setText(value, last === null ? "no trade yet" : price(last) + point + "\u2007".repeat(symbol === "" ? 0 : lacking));
      const number = Number(last);
      const shown = symbol !== "" && last !== null && middle !== null;
      setText(apart, shown ? `${number >= middle ? "+" : "−"}${apartBy(Math.abs(number / middle - 1))}` : "");
      const dot = strip.firstChild.lastChild;
      const place = !shown || high <= low ? 0.5 : Math.min(1, Math.max(0, (number - low) / (high - low)));
      setAttribute(dot, "cx", String((5 + place * 74).toFixed(1)));
      dot.style.display = shown ? "" : "none";
      setText(age, at === null ? "" : duration((now - at) / 1000));
    },
  );
}

function makeStrip() {
  const line = makeSvg("line", { x1: 5, y1: 6, x2: 79, y2: 6 });
  return makeSvg("svg", { class: "strip", viewBox: "0 0 84 12", "aria-hidden": "true" }, line, makeSvg("circle", { cx: 42, cy: 6, r: 4 }));
}

const isTrouble = (actor) => ["failed", "backoff", "degraded"].includes(actor.state);

// Between two failures a connection is "starting", which must not look like a good sign.
const isTryingAgain = (actor) => actor.kind === "connection" && actor.state === "starting" && actor.restarts > 0 && actor.last_error !== null;

function showActors({ actors, left_out: leftOut }, now) {
  const children = Map.groupBy(actors, (actor) => actor.parent);
  const names = new Set(actors.map((actor) => actor.name));
  const roots = actors.filter((actor) => actor.parent === null || !names.has(actor.parent));
  fillBranch(byId("actors"), roots, children, now);
  setText(byId("actors-note"), leftOut ? `and ${plural(leftOut, "more actor")}: tickwarden actors` : "");
}

function fillBranch(host, actors, children, now) {
  keep(
    host,
    actors,
    (actor) => `${actor.name} ${children.has(actor.name)}`,
    (actor) => makeActor(actor, children.has(actor.name)),
    (node, actor) => {
      const below = children.get(actor.name) ?? [];
      fillActor(node, actor, now);
      if (!below.length) return;
      const needsLook = (one) => isTrouble(one) || isTryingAgain(one);
      const troubled = below.some((one) => needsLook(one) || (children.get(one.name) ?? []).some(needsLook));
      // Opens by itself when something below goes wrong, and is left alone once somebody has chosen.
      if (!node.chosen && node.open !== (troubled || actor.name === "exchanges")) node.open = troubled || actor.name === "exchanges";
      setText(node.firstChild.firstChild.children[2], plural(below.length, "actor"));
      fillBranch(node.lastChild, below, children, now);
    },
  );
}

// The name, of which a narrow page shows only what its place in the tree does not say.
function nameParts(actor) {
  const [prefix, rest] = [`${actor.parent}:`, actor.name.slice(`${actor.parent}:`.length)];
  if (!actor.name.startsWith(prefix) || !rest) return [actor.name];
  return [make("span", { className: "prefix" }, prefix), rest];
}

function makeActor(actor, branch) {
  const line = make("div", { className: "actor" }, make("span", { className: "name", title: actor.name }, ...nameParts(actor)), makeState(), make("span", { className: "restarts" }), make("span", { className: "why" }));
  if (!branch) return make("div", {}, line);
  const summary = make("summary", {}, line);
  const node = make("details", {}, summary, make("div", { className: "below" }));
  summary.addEventListener("click", () => (node.chosen = true));
  return node;
}

function fillActor(node, actor, now) {
  const line = node.querySelector(".actor");
  const [, state, restarts, why] = line.children;
  setState(state, actor.state);
  setText(restarts, actor.restarts ? plural(actor.restarts, "restart") : "");
  const parts = [];
  const seconds = actor.next_retry_at === null ? 0 : (Date.parse(actor.next_retry_at) - now) / 1000;
  if (actor.state !== "ok" && seconds > 0) parts.push(`next attempt in ${countdown(seconds)}`);
  else if (actor.state === "backoff" || isTryingAgain(actor)) parts.push("trying now");
  if (actor.state !== "ok" && (actor.reason ?? actor.last_error)) parts.push(forPeople(actor.reason ?? actor.last_error));
  setText(why, parts.join(": "));
}

const BAD_EVENTS = new Set(["backoff", "failed", "degraded", "gap_opened", "lost", "replacement_failed", "crashed"]);

function showEvents(events) {
  keep(
    byId("events"),
    events.toReversed(),
    (event) => event.number,
    (event) =>
      make(
        "li",
        {},
        make("span", { className: "quiet" }, clock(Date.parse(event.at))),
        make("span", { className: "actor-name" }, event.actor),
        make("span", { className: BAD_EVENTS.has(event.event) ? "bad" : "quiet" }, event.event),
        make("span", { className: "why" }, forPeople(event.reason ?? "")),
      ),
    () => {},
  );
}
