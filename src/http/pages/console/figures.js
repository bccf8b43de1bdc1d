// The live figures: tiles with sparklines and a table of the shards, from `$sys/stats` (docs/protocol.md).
//
// Each report is one sample of each tile. Samples lie in rings of a fixed size, so a page may stay open; a page that nobody sees
// takes samples and draws nothing. Where no report came, because the broker was away or the page slept, the rings get a hole that is as
// wide as it was long: a line means its two minutes.

import { $, bytes, count, duration, el, micros, svg, together, write } from "./dom.js";

const SAMPLES = 120;
const [WIDTH, HEIGHT] = [240, 40];

const connections = ({ connections: each }) => Object.values(each).reduce((sum, n) => sum + n, 0);

/** The first report that somebody asked for has nothing before it to compare with. */
const perSecond = (name) => (total, data) => (data.interval_ms ? total.per_s[name] : null);

const TILES = [
  ["Connections", (total) => connections(total), count, "", ({ total: { connections: each } }) => `ws\u00a0${each.websocket}\u00a0· sse\u00a0${each.events}\u00a0· poll\u00a0${each.poll}\u00a0· http\u00a0${each.http}`],
  ["Deliveries", perSecond("deliveries"), count, "/s", ({ total }) => `${together(count(total.deliveries))} in all, ${together(count(total.missed))} missed`],
  ["Publications", perSecond("publications"), count, "/s", ({ total }) => `${together(count(total.publications))} in all`],
  ["Fan-out, p99", (total) => total.fanout_us?.p99 ?? null, micros, "", ({ total: { fanout_us: us } }) => (us ? `p50 ${together(micros(us.p50))}, max ${together(micros(us.max))}` : "nothing was published")],
  ["Out", perSecond("bytes_out"), bytes, "/s", ({ total }) => `${together(bytes(total.bytes_out))} in all`],
  ["In", perSecond("bytes_in"), bytes, "/s", ({ total }) => `${together(bytes(total.bytes_in))} in all`],
  ["Waiting", (total) => total.outbound_bytes, bytes, "", ({ total }) => `for ${together(count(total.outbound_queues))} slow connection${total.outbound_queues === 1 ? "" : "s"}`],
  ["Memory", (total, data) => data.process.memory_bytes, bytes, "", ({ total }) => `${together(bytes(total.history_bytes))} of it history`],
];

const COLUMNS = [
  ["Busy", (shard) => `${Math.round(shard.busy_percent)} %`],
  ["Connections", (shard) => together(count(connections(shard)))],
  ["Topics", (shard) => together(count(shard.topics))],
  ["Subscriptions", (shard) => together(count(shard.subscriptions))],
  ["Publ./s", (shard) => together(count(shard.per_s.publications))],
  ["Deliv./s", (shard) => together(count(shard.per_s.deliveries))],
  ["Out/s", (shard) => together(bytes(shard.per_s.bytes_out))],
  ["Waiting", (shard) => together(bytes(shard.outbound_bytes))],
  ["Turn p99", (shard) => together(micros(shard.turn_us?.p99))],
  ["Fan-out p99", (shard) => together(micros(shard.fanout_us?.p99))],
];

/** The last samples of one figure; `null` is a hole. */
export class Ring {
  #values = new Array(SAMPLES).fill(null);
  #at = 0;

  push(value) {
    this.#values[this.#at] = value;
    this.#at = (this.#at + 1) % SAMPLES;
  }

  get last() {
    return this.#values.at(this.#at - 1);
  }

  /** From the oldest to the newest. */
  *[Symbol.iterator]() {
    for (let n = 0; n < SAMPLES; n++) yield this.#values[(this.#at + n) % SAMPLES];
  }
}

/** A line from nothing to the largest of the samples, and the area under it. */
class Sparkline {
  #line = svg("path", { class: "line" });
  #area = svg("path", { class: "area" });
  element = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "spark" }, this.#area, this.#line);

  draw(ring) {
    let top = 0;
    for (const value of ring) if (value > top) top = value;
    let [line, area, from, n] = ["", "", undefined, 0];
    const shut = (x) => {
      if (from !== undefined) area += `V${HEIGHT}H${from}Z`;
      from = undefined;
      return x;
    };
    let x = 0;
    for (const value of ring) {
      if (value === null) shut(x);
      else {
        x = ((n / (SAMPLES - 1)) * WIDTH).toFixed(1);
        const y = (HEIGHT - 2 - (top ? value / top : 0) * (HEIGHT - 5)).toFixed(1);
        line += `${from === undefined ? "M" : "L"}${x} ${y}`;
        area += from === undefined ? `M${x} ${HEIGHT}L${x} ${y}` : `L${x} ${y}`;
        from ??= x;
      }
      n++;
    }
    shut(x);
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
    return top;
  }
}

class Tile {
  #ring = new Ring();
  #spark = new Sparkline();
  #number = el("span", { class: "number" });
  #unit = el("span", { class: "unit" });
  #detail = el("span", { class: "detail" });
  #peak = el("dd", { class: "peak" });

  constructor([name, pick, format, per, about]) {
    Object.assign(this, { pick, format, per, about });
    const figure = el("dd", { class: "value" }, this.#number, this.#unit);
    const [chart, small] = [el("dd", {}, this.#spark.element), el("dd", { class: "small" }, this.#detail)];
    this.element = el("div", { class: "tile panel" }, el("dt", {}, name), this.#peak, figure, chart, small);
  }

  take(data) {
    this.#ring.push(this.pick(data.total, data));
  }

  miss() {
    this.#ring.push(null);
  }

  draw(data) {
    const [number, unit] = this.format(this.#ring.last);
    write(this.#number, number);
    write(this.#unit, `${unit}${number === "–" ? "" : this.per}`);
    write(this.#detail, this.about(data));
    write(this.#peak, `peak ${together(this.format(this.#spark.draw(this.#ring)))}`);
  }
}

export class Figures {
  #tiles = TILES.map((tile) => new Tile(tile));
  #rows = [];
  #body = el("tbody");
  #data;
  #away = false;

  constructor() {
    $("#tiles").replaceChildren(...this.#tiles.map((tile) => tile.element));
    const heads = ["Shard", ...COLUMNS.map(([name]) => name)].map((name) => el("th", { scope: "col" }, name));
    $("#shards").replaceChildren(el("thead", {}, el("tr", {}, ...heads)), this.#body);
    document.addEventListener("visibilitychange", () => this.draw());
  }

  /** A report came. */
  take(data) {
    const missed = this.#data ? data.unix_s - this.#data.unix_s - 1 : 0;
    // One may be the rounding's.
    if (missed > 1) for (let n = Math.min(missed, SAMPLES); n > 0; n--) for (const tile of this.#tiles) tile.miss();
    this.#data = data;
    this.#away = false;
    for (const tile of this.#tiles) tile.take(data);
    this.draw();
  }

  /** None will come for a while: what is shown is old. */
  lose() {
    this.#away = true;
    $("#live").toggleAttribute("data-old", this.#data !== undefined);
  }

  draw() {
    const data = this.#data;
    if (!data || document.hidden) return;
    $("#live").toggleAttribute("data-old", this.#away);
    if (this.#away) return;
    for (const tile of this.#tiles) tile.draw(data);
    write($("#version"), data.version);
    write($("#uptime"), `up ${duration(data.process.uptime_s)}`);
    this.#drawShards(data.shards);
  }

  #drawShards(shards) {
    while (this.#rows.length < shards.length) {
      const cells = COLUMNS.map(() => el("td"));
      const meter = svg("rect", { height: 4, width: 0, class: "meter" });
      const busy = cells[0].appendChild(el("span"));
      cells[0].append(svg("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true", class: "busy" }, meter));
      const row = el("tr", {}, el("th", { scope: "row" }, String(this.#rows.length)), ...cells);
      this.#rows.push({ row, meter, texts: [busy, ...cells.slice(1)] });
      this.#body.append(row);
    }
    while (this.#rows.length > shards.length) this.#rows.pop().row.remove();
    this.#rows.forEach(({ row, meter, texts }, n) => {
      const shard = shards[n];
      row.toggleAttribute("data-silent", !shard);
      meter.setAttribute("width", shard?.busy_percent ?? 0);
      texts.forEach((text, column) => write(text, shard ? COLUMNS[column][1](shard) : column ? "" : "silent"));
    });
  }
}
