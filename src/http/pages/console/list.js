// A table of what the broker lists page by page (`/v1/topics`, `/v1/connections`): loaded whole, sorted, shown a hundred rows at a time.
//
// It asks again by itself while it is looked at, the more rarely the longer an answer takes, so that a console is no load. Rows are kept
// by their key: a row that stays keeps its buttons and the focus.

import { $, el, note, several, write } from "./dom.js";
import { broker } from "./broker.js";

const ROWS = 100;
/** What one page of the console holds at most; beyond it a narrower filter is asked for. */
const ITEMS_MAX = 50_000;
const REFRESH_MS = 3000;
/** However long an answer took: where the machine slept meanwhile, that was not the broker's. */
const REFRESH_MS_MAX = 60_000;

export class List {
  items = [];
  #view;
  #options;
  #form;
  #body = el("tbody");
  #rows = new Map();
  #heads;
  #order;
  #from = 0;
  #loading = false;
  #again = false;
  #timer;
  #shown = false;
  #more = false;

  /**
   * `path` and `name` are the API's, `key` names the member that names an item, `filter` the parameter of the first field, `columns` are
   * `{ name, value, cell, plain }`: by what to sort, what to show (a string or an element), whether it is no figure.
   */
  constructor(view, options) {
    this.#view = view;
    this.#options = options;
    this.#order = { column: 0, down: false };
    this.#form = $("form", view);
    this.#heads = options.columns.map(({ name }, column) => {
      const button = el("button", { type: "button", onclick: () => this.#sortBy(column) }, name);
      return el("th", { scope: "col" }, name ? button : el("span", { class: "unseen" }, "Actions"));
    });
    $("table", view).replaceChildren(el("thead", {}, el("tr", {}, ...this.#heads)), this.#body);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#from = 0;
      this.load();
    });
    this.#form.elements.contains.addEventListener("input", () => {
      this.#from = 0;
      this.draw();
    });
    for (const button of view.querySelectorAll("[data-step]"))
      button.addEventListener("click", () => {
        this.#from += Number(button.dataset.step) * ROWS;
        this.draw();
      });
    document.addEventListener("visibilitychange", () => this.#shown && !document.hidden && this.load());
  }

  show(shown) {
    this.#shown = shown;
    clearTimeout(this.#timer);
    if (shown) this.load();
  }

  /** Loads all pages. A call while it does is done behind it. */
  async load() {
    clearTimeout(this.#timer);
    if (broker.unlisted !== undefined) {
      $(".list", this.#view).hidden = true;
      return note($(".notice", this.#view), `This list is not for everybody here. The broker says: “${broker.unlisted}.”`);
    }
    if (this.#loading) return void (this.#again = true);
    this.#loading = true;
    const began = Date.now();
    try {
      const items = await this.#pages();
      this.#options.before?.(items, this.items, began);
      this.items = items;
      note($(".notice", this.#view), undefined);
      this.draw();
    } catch (error) {
      note($(".notice", this.#view), `${error.message}. What is shown may be old.`);
    }
    this.#loading = false;
    const took = Date.now() - began;
    if (this.#again) {
      this.#again = false;
      this.load();
    } else this.#wait(Math.max(REFRESH_MS, Math.min(20 * took, REFRESH_MS_MAX)));
  }

  /** Goes on by itself where that is wanted and seen, and else looks again later whether it is. */
  #wait(ms) {
    clearTimeout(this.#timer);
    if (!this.#shown) return;
    this.#timer = setTimeout(() => (this.#form.elements.follow.checked && !document.hidden ? this.load() : this.#wait(ms)), ms);
  }

  async #pages() {
    const { path, name, filter } = this.#options;
    const asked = this.#form.elements.filter.value.trim();
    const [items, query] = [[], { limit: 1000, ...(asked && { [filter]: asked }) }];
    do {
      const { status, body, problem } = await broker.ask(path, query);
      if (status !== 200) throw new Error(`The broker refuses: ${problem}`);
      for (const item of body[name]) items.push(item);
      query.after = body.next;
    } while (query.after !== undefined && items.length < ITEMS_MAX);
    this.#more = query.after !== undefined;
    return items;
  }

  #sortBy(column) {
    this.#order = { column, down: this.#order.column === column ? !this.#order.down : !this.#options.columns[column].plain };
    this.#from = 0;
    this.draw();
  }

  draw() {
    const { columns, key, unit } = this.#options;
    const { column, down } = this.#order;
    const { value } = columns[column];
    const text = this.#form.elements.contains.value.toLowerCase();
    const chosen = this.items.filter((item) => item[key].toLowerCase().includes(text) || item.user?.toLowerCase().includes(text));
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || (a[key] < b[key] ? -1 : 1);
    };
    chosen.sort(compare);
    this.#heads.forEach((head, n) => (head.ariaSort = n !== column ? null : down ? "descending" : "ascending"));
    this.#from = Math.max(0, Math.min(this.#from, Math.floor((chosen.length - 1) / ROWS) * ROWS));
    const page = chosen.slice(this.#from, this.#from + ROWS);
    this.#drawRows(page);
    const all = several(this.items.length, unit);
    const told = chosen.length === this.items.length ? all : `${chosen.length.toLocaleString("en")} of ${all}`;
    write($(".count", this.#view), this.#more ? `${told}, and there are more: narrow the filter` : told);
    const pager = $(".pager", this.#view);
    pager.hidden = chosen.length <= ROWS;
    write($("span", pager), `${(this.#from + 1).toLocaleString("en")} to ${(this.#from + page.length).toLocaleString("en")}`);
    $("[data-step='-1']", pager).disabled = this.#from === 0;
    $("[data-step='1']", pager).disabled = this.#from + ROWS >= chosen.length;
  }

  #drawRows(page) {
    const { columns, key } = this.#options;
    const [rows, focused] = [new Map(), document.activeElement];
    for (const item of page) {
      let row = this.#rows.get(item[key]);
      if (!row) {
        row = { item, element: el("tr") };
        row.cells = columns.map(({ plain, cell }) => {
          const made = cell(item, () => row.item);
          return row.element.appendChild(el("td", { class: plain ? "plain" : undefined }, made));
        });
      }
      row.item = item;
      columns.forEach(({ cell, fixed }, n) => fixed || write(row.cells[n], cell(item)));
      rows.set(item[key], row);
    }
    this.#rows = rows;
    const elements = [...rows.values()].map((row) => row.element);
    const same = elements.length === this.#body.children.length && elements.every((element, n) => element === this.#body.children[n]);
    if (same) return;
    this.#body.replaceChildren(...elements);
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }
}
