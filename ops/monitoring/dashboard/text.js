// How numbers, times and durations are written, and small helpers for the document.

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && name !== "role") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Writes to the document only what has changed: most of a snapshot is what was there before.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function setClass(node, name, on) {
  if (node.classList.contains(name) !== on) node.classList.toggle(name, on);
}

// Keeps one child of `parent` for each item: makes new ones, updates all, removes those that are gone.
function keep(parent, items, keyOf, create, update) {
  const known = (parent.kept ??= new Map());
  const wanted = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    wanted.add(key);
    let node = known.get(key);
    if (node === undefined) known.set(key, (node = create(item)));
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    update(node, item);
  }
  for (const [key, node] of known) {
    if (!wanted.has(key)) {
      node.remove();
      known.delete(key);
    }
  }
}

const integer = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

const count = (value) => integer.format(value);

function rate(value) {
  if (value === null || value === undefined) return "–";
  return value >= 99.95 ? integer.format(value) : value.toFixed(1);
}

function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 10000) return `${(value / 1000).toFixed(0)} s`;
  return `${Math.abs(value) >= 100 ? integer.format(value) : value.toFixed(1)} ms`;
}

function duration(seconds) {
  const value = Math.max(0, seconds);
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 119.5) return `${value.toFixed(0)} s`;
  if (value < 7170) return `${(value / 60).toFixed(0)} min`;
  if (value < 172800) return `${(value / 3600).toFixed(0)} h`;
  return `${(value / 86400).toFixed(0)} d`;
}

// Until something happens: whole seconds, so that they count down evenly.
const countdown = (seconds) => (seconds < 119.5 ? `${Math.ceil(seconds)} s` : duration(seconds));

// A share of a price: basis points, or percent where those would be many.
function apartBy(share) {
  return share >= 0.01 ? `${(share * 100).toFixed(1)}%` : `${(share * 1e4).toFixed(1)} bp`;
}

const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const clock = (ms) => clockFormat.format(ms);
const minute = (ms) => minuteFormat.format(ms);

// The exchange's own digits, grouped; none is lost to a float.
function price(text) {
  const [whole, fraction] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

// A reason without the name of the error's class, as on the command line.
const forPeople = (reason) => reason.replace(/(?<![\w/:.-])(?:[A-Z]+[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+Error): (?=\S)/g, "");

const GLYPHS = new Set(["ok", "starting", "degraded", "backoff", "failed", "paused", "stopped"]);

function glyphOf(state) {
  if (state === "lost") return "#s-failed";
  if (state === "notice") return "#s-degraded";
  if (state === "stopping") return "#s-stopped";
  return GLYPHS.has(state) ? `#s-${state}` : "#s-starting";
}

function makeState() {
  const use = makeSvg("use");
  const node = make("span", { className: "state" }, makeSvg("svg", { "aria-hidden": "true" }, use), make("span"));
  return node;
}

function setState(node, state) {
  setAttribute(node, "data-state", state);
  setAttribute(node.firstChild.firstChild, "href", glyphOf(state));
  setText(node.lastChild, state);
  setAttribute(node, "title", state);
}

const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
