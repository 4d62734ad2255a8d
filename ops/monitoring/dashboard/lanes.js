// The coverage timeline: a lane for each market, gaps in the colour and with the letter of their reason.

const LETTERS = { sequence: "#", disconnect: "D", downtime: "X", overflow: "O", stall: "S", rejected: "R", disagreement: "≠", vanished: "V" };
const REASONS_IN_WORDS = {
  sequence: "ids jumped", disconnect: "disconnected", downtime: "service was down", overflow: "overflow", stall: "stalled feed",
  rejected: "rejected trades", disagreement: "two feeds disagree", vanished: "stored rows vanished",
};
const STATES_IN_WORDS = {
  verified: "complete, proved", unverified: "recorded, not proved", repaired: "repaired", unknown: "open or unknown", lost: "lost",
};
const LIGHT_INK = new Set(["sequence"]); // on the other colours dark letters have more contrast
const MIN_GAP_PX = 3; // so that a short gap can be seen
const LETTER_PX = 13;

const colourOf = (reason) => styleOf(reason === null ? "--unknown" : `--r-${reason}`);

function inkOn(reason) {
  if (reason === null || reason === "downtime") return styleOf("--panel");
  return LIGHT_INK.has(reason) ? "#ffffff" : "#101214";
}

function hatch(pen, left, top, width, height, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  pen.strokeStyle = colour;
  pen.lineWidth = 1.2;
  pen.beginPath();
  for (let x = left - height; x < left + width; x += 5) {
    pen.moveTo(x, top + height);
    pen.lineTo(x + height, top);
  }
  pen.stroke();
  pen.restore();
}

// One stretch: its ground says whether it is proved, a bar of the reason's colour how much of it is missing.
function paintRun(pen, left, width, height, state, reason) {
  const ground = state === "verified" || state === "repaired" ? "--verified" : "--unverified";
  if (state === "lost" || state === "unknown") {
    pen.fillStyle = colourOf(reason);
    pen.fillRect(left, 0, width, height);
    if (state === "unknown" && width > 5) hatch(pen, left, 0, width, height, styleOf("--panel"));
    if (width >= LETTER_PX && reason !== null) {
      const middle = left + width / 2;
      pen.fillStyle = colourOf(reason);
      pen.fillRect(middle - 6, 1, 12, height - 2);
      pen.fillStyle = inkOn(reason);
      pen.font = "700 11px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(LETTERS[reason], middle, height / 2 + 0.5);
    }
    return;
  }
  pen.fillStyle = styleOf(ground);
  pen.fillRect(left, 4, width, height - 8);
  if (state === "unverified") hatch(pen, left, 4, width, height - 8, styleOf("--hatch"));
  if (state === "repaired") {
    pen.fillStyle = colourOf(reason);
    pen.fillRect(left, height - 5, width, 5);
  }
}

function penOf(canvas) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

class Lanes {
  constructor() {
    this.timeline = null;
    this.zoom = 6;
    this.chosen = false;
    this.host = byId("lanes");
    new ResizeObserver(() => this.draw()).observe(this.host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    for (const input of document.querySelectorAll("#window input")) {
      input.addEventListener("change", () => {
        this.chosen = true;
        this.zoomTo(Number(input.value));
      });
    }
    keep(byId("legend"), [...Object.keys(STATES_IN_WORDS), ...Object.keys(LETTERS)], String, (key) => this.entry(key), () => {});
  }

  zoomTo(zoom) {
    this.zoom = zoom;
    for (const input of document.querySelectorAll("#window input")) input.checked = Number(input.value) === zoom;
    this.draw();
  }

  entry(key) {
    const words = STATES_IN_WORDS[key] ?? REASONS_IN_WORDS[key];
    if (key in LETTERS) return make("li", {}, chipOf(key), words);
    const sample = make("canvas", { ariaHidden: "true", className: `sample ${key}` });
    return make("li", {}, sample, words);
  }

  // Keeps the room that the lanes will need, so that nothing moves when they arrive.
  reserve(markets) {
    if (this.timeline !== null) return;
    const height = matchMedia("(max-width: 760px)").matches ? 42 : 24;
    this.host.style.minHeight = `${Math.min(markets, 60) * height + 2 * (height > 24 ? 20 : 24)}px`;
  }

  show(timeline) {
    if (timeline.unreadable !== undefined) {
      setText(byId("lanes-note"), `Coverage cannot be read now: ${timeline.unreadable}`);
      return;
    }
    this.timeline = timeline;
    const note = timeline.lanes_left_out ? `${plural(timeline.lanes_left_out, "more market")}, none of them worse than these.` : "";
    setText(byId("lanes-note"), note);
    // Until somebody has chosen: the hour, where there is something of it to see.
    const begin = Math.min(...timeline.lanes.flatMap((lane) => lane.runs.slice(0, 1)).map(([start]) => start));
    this.host.style.minHeight = "";
    if (!this.chosen && timeline.lanes.length) this.zoomTo([6, 2].find((zoom) => begin >= timeline.pieces * (1 - 1 / zoom)) ?? 1);
    this.draw();
    showGaps(timeline, timeline.read_at);
  }

  draw() {
    for (const sample of document.querySelectorAll("#legend canvas")) {
      const { pen, width, height } = penOf(sample);
      const state = sample.classList[1];
      paintRun(pen, 0, width, height, state, state === "repaired" ? "stall" : null);
    }
    if (this.timeline === null) return;
    const { lanes, pieces, since, window_s: windowS } = this.timeline;
    const first = pieces - pieces / this.zoom;
    const begin = since / 1000 + (first / pieces) * windowS * 1000;
    const end = since / 1000 + windowS * 1000;
    const items = [{ head: true }, ...lanes, { axis: true }];
    keep(
      this.host,
      items,
      (lane) => (lane.axis ? "axis" : lane.head ? "head" : `${lane.exchange} ${lane.symbol}`),
      (lane) => this.makeLane(lane),
      (node, lane) => {
        if (lane.axis) this.drawAxis(node, begin, end);
        else if (!lane.head) this.drawLane(node, lane, first);
      },
    );
  }

  makeLane(lane) {
    if (lane.head) return make("div", { className: "lane head", ariaHidden: "true" }, make("span", {}, "market"), make("span"), make("span", { className: "num" }, "proved"));
    if (lane.axis) return make("div", { className: "lane axis", ariaHidden: "true" }, make("span"), make("span", { className: "times" }), make("span"));
    const name = make("span", { className: "name", title: `${lane.exchange} ${lane.symbol}` }, make("span", { className: "quiet" }, `${lane.exchange} `), lane.symbol);
    return make("div", { className: "lane" }, name, make("canvas", { role: "img" }), make("span", { className: "num" }));
  }

  drawAxis(node, begin, end) {
    const times = [0, 1, 2, 3, 4].map((part) => minute(begin + ((end - begin) * part) / 4));
    keep(node.children[1], times.map((text, place) => ({ text, place })), (item) => item.place, () => make("span"), (span, item) => setText(span, item.text));
  }

  drawLane(node, lane, first) {
    const { pieces, states, reasons } = this.timeline;
    const [, canvas, share] = node.children;
    const { pen, width, height } = penOf(canvas);
    const scale = width / (pieces - first);
    const troubles = new Map();
    const runs = lane.runs.map(([start, end, code]) => ({ start, end, state: states[code % 10], reason: code >= 10 ? reasons[Math.floor(code / 10) - 1] : null }));
    // Troubles last, so that one that is widened to be seen lies over its neighbours.
    for (const run of runs.toSorted((a, b) => states.indexOf(a.state) - states.indexOf(b.state))) {
      if (run.end <= first) continue;
      const left = Math.max(0, (run.start - first) * scale);
      const wide = (Math.min(run.end, pieces) - Math.max(run.start, first)) * scale;
      const serious = run.state === "lost" || run.state === "unknown";
      paintRun(pen, left, serious ? Math.max(MIN_GAP_PX, wide) : wide, height, run.state, run.reason);
      if (serious || run.state === "repaired") {
        const words = `${STATES_IN_WORDS[run.state]}${run.reason ? ` (${REASONS_IN_WORDS[run.reason]})` : ""}`;
        troubles.set(words, (troubles.get(words) ?? 0) + 1);
      }
    }
    const percent = !lane.runs.length ? "none" : lane.verified >= 1 ? "100%" : `${(Math.floor(lane.verified * 1000) / 10).toFixed(1)}%`;
    setText(share, percent);
    setAttribute(share, "title", "proved complete, of the time recorded in this hour");
    const said = [...troubles].map(([words, times]) => (times > 1 ? `${words}, ${times} times` : words)).join("; ");
    const words = lane.runs.length ? said || "no gaps" : "nothing was recorded in this hour";
    setAttribute(canvas, "aria-label", `${percent} proved complete; ${words}`);
    setAttribute(canvas, "title", words);
    setClass(share, "bad", !lane.runs.length);
  }
}

function chipOf(reason) {
  const chip = make("span", { className: "chip", ariaHidden: "true" }, LETTERS[reason] ?? "?");
  chip.style.background = `var(--r-${reason})`;
  chip.style.color = reason === "downtime" ? "var(--panel)" : inkOn(reason);
  return chip;
}

function showGaps(timeline, now) {
  keep(
    document.querySelector("#gaps tbody"),
    timeline.gaps,
    (gap) => gap[8],
    (gap) => make("tr", {}, ...Array.from({ length: 2 }, () => make("td")), make("td", {}, chipOf(gap[2]), REASONS_IN_WORDS[gap[2]] ?? gap[2]), make("td"), ...Array.from({ length: 3 }, () => make("td", { className: "num" }))),
    (row, gap) => {
      const [exchange, symbol, , status, since, until, missing, recovered] = gap;
      const cells = row.children;
      setText(cells[0], clock(since / 1000));
      setText(cells[1], `${exchange} ${symbol}`);
      setText(cells[3], status);
      setClass(cells[3], "bad", status === "lost" || status === "partial" || status === "open");
      setText(cells[4], until === null ? `${duration((now - since) / 1e6)} so far` : duration((until - since) / 1e6));
      setText(cells[5], missing === null ? "not known" : count(missing));
      setText(cells[6], count(recovered));
    },
  );
  const more = timeline.gaps_left_out;
  const note = more ? `and ${plural(more, "more gap")}: tickwarden gaps` : timeline.gaps.length ? "" : "No gaps in the last hour.";
  setText(byId("gaps-note"), note);
}
