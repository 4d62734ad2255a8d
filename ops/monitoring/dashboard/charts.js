// The charts: ticks a second and lag of each exchange over the last ten minutes, in a bounded number of points.

const CHART_S = 600;
const BREAK_S = 15; // longer than two points of what the file knows are apart
const CHART_MIN_S = 60; // of time that a chart shows at least, though it has less to show
const SMOOTH_S = 5; // counters of slow feeds rise about once a second, so single seconds mean little
const COLOURS = 8;
const DASHES = [[], [6, 3], [2, 2], [10, 3, 2, 3]]; // lines of one colour differ by their dashes

const lineOf = (place) => ({ colour: `--c${place % COLOURS}`, dash: DASHES[Math.floor(place / COLOURS) % DASHES.length] });

class Samples {
  // One value of each exchange a second; older ones than CHART_S are dropped. A value that is undefined is bridged by
  // its line, a null interrupts it: there is one wherever nothing is known for longer than BREAK_S.
  constructor() {
    this.times = [];
    this.values = new Map();
  }

  put(time, values) {
    if (this.times.length && time <= this.times.at(-1)) return;
    if (this.times.length && time - this.times.at(-1) > BREAK_S) this.append(time - 1, null, {});
    this.append(time, undefined, values);
    this.drop(time - CHART_S);
  }

  append(time, missing, values) {
    for (const name of Object.keys(values)) {
      if (!this.values.has(name)) this.values.set(name, new Array(this.times.length).fill(undefined));
    }
    this.times.push(time);
    for (const [name, column] of this.values) column.push(values[name] ?? missing);
  }

  drop(until) {
    let old = 0;
    while (old < this.times.length && this.times[old] < until) old += 1;
    if (!old) return;
    this.times.splice(0, old);
    for (const [name, column] of this.values) {
      column.splice(0, old);
      if (column.every((value) => value === null || value === undefined)) this.values.delete(name);
    }
  }

  // Puts what the file knows before the first second that was seen live, and where the page did not look.
  fillIn(history, now) {
    const rows = new Map(this.times.map((time, place) => [time, this.row(place)]));
    const live = [...this.times];
    for (const [name, points] of Object.entries(history)) {
      for (const [time, value] of points) {
        if (time < now - CHART_S || live.some((seen) => Math.abs(seen - time) < BREAK_S / 2)) continue;
        if (!rows.has(time)) rows.set(time, {});
        rows.get(time)[name] = value;
      }
    }
    this.times = [];
    this.values.clear();
    for (const time of [...rows.keys()].sort((a, b) => a - b)) this.put(time, rows.get(time));
  }

  row(place) {
    return Object.fromEntries([...this.values].map(([name, column]) => [name, column[place]]));
  }

  columns(names) {
    return [this.times, ...names.map((name) => this.values.get(name) ?? new Array(this.times.length).fill(undefined))];
  }
}

// Ticks a second of each exchange from its running totals; a restart of the service begins at 0 again.
class Rates {
  constructor() {
    this.run = null;
    this.seen = [];
  }

  next(run, time, totals) {
    if (run !== this.run) this.seen = [];
    this.run = run;
    this.seen.push({ time, totals });
    while (this.seen.length > 2 && time - this.seen[1].time >= SMOOTH_S) this.seen.shift();
    const first = this.seen[0];
    const rates = {};
    if (time - first.time < 0.5) return rates;
    for (const [name, total] of Object.entries(totals)) {
      if (name in first.totals) rates[name] = Math.max(0, (total - first.totals[name]) / (time - first.time));
    }
    return rates;
  }
}

class Chart {
  static all = [];

  // Where all charts begin, so that one can be read below the other.
  static begin() {
    return Math.min(...Chart.all.map((chart) => chart.samples.times[0] ?? Infinity));
  }

  constructor(host, { logarithmic, write }) {
    this.host = host;
    this.logarithmic = logarithmic;
    this.write = write;
    this.names = [];
    this.focus = null;
    this.plot = null;
    this.samples = new Samples();
    Chart.all.push(this);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  size() {
    return { width: Math.max(200, this.host.clientWidth), height: this.host.clientHeight };
  }

  build() {
    this.plot?.destroy();
    const ink = styleOf("--quiet");
    const grid = { stroke: styleOf("--grid"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: ink, grid, ticks: { show: false }, font };
    const series = this.names.map((name, place) => {
      const { colour, dash } = lineOf(place);
      return { label: name, stroke: styleOf(colour), width: 1.5, dash, points: { show: false } };
    });
    const scale = this.logarithmic
      ? { distr: 3, range: (_, low, high) => [Math.max(0.1, Math.min(low ?? 1, 1)), Math.max(high ?? 100, 100) * 1.3] }
      : { range: (_, low, high) => [0, Math.max(high ?? 1, 1) * 1.1] };
    const options = {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      focus: { alpha: 0.15 },
      padding: [8, 8, 0, 0],
      scales: { x: { time: true, range: (_, low, high) => [Math.min(Chart.begin(), (high ?? 0) - CHART_MIN_S), high ?? CHART_MIN_S] }, y: scale },
      axes: [
        { ...axis, size: 30, space: 80, values: (_, ticks, ...[, , step]) => ticks.map((tick) => (step < 60 ? clock : minute)(tick * 1000)) },
        { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : this.write(tick))) },
      ],
      series: [{}, ...series],
    };
    this.plot = new uPlot(options, this.samples.columns(this.names), this.host);
    this.emphasise(this.focus);
  }

  draw(names, summary) {
    if (this.plot === null || names.join("\n") !== this.names.join("\n")) {
      this.names = names;
      this.build();
    } else {
      this.plot.setData(this.samples.columns(names));
    }
    setAttribute(this.host, "aria-label", summary);
  }

  // Draws one exchange's line alone in full strength.
  emphasise(name) {
    this.focus = name;
    const place = this.names.indexOf(name);
    if (this.plot) this.plot.setSeries(place < 0 ? null : place + 1, { focus: true });
  }
}
