// What the parts of the console share: finding and making elements, and figures in as few characters as they need.
// All that comes from strangers becomes text nodes here; no string is ever parsed as HTML.

/** The one element of a selector. */
export const $ = (selector, root = document) => root.querySelector(selector);

/** An element with attributes, `on…` listeners and children; strings become text. */
export function el(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Writes a text only where it is another one: what did not change costs no layout and is not read out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says a sentence, or takes it away. */
export function note(element, text) {
  element.hidden = !text;
  write(element, text ?? "");
}

/** `whole` digits up to 9,999, else three and a letter. */
export function count(n) {
  if (n === null || n === undefined) return ["–", ""];
  if (n < 10_000) return [String(n < 10 && n % 1 ? n.toFixed(1) : Math.round(n)), ""];
  return scaled(n, 1000, ["", "k", "M", "G", "T"]);
}

export function bytes(n) {
  if (n === null || n === undefined) return ["–", ""];
  return n < 1024 ? [String(Math.round(n)), "B"] : scaled(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

export function micros(n) {
  if (n === null || n === undefined) return ["–", ""];
  return n < 1000 ? [String(Math.round(n)), "µs"] : scaled(n, 1000, ["µs", "ms", "s"]);
}

function scaled(n, base, units) {
  let unit = 0;
  while (n >= base && unit < units.length - 1) {
    n /= base;
    unit++;
  }
  return [n >= 99.95 ? n.toFixed(0) : n >= 9.995 ? n.toFixed(1) : n.toFixed(2), units[unit]];
}

/** A figure as one text, on one line: `12.3k`, but `12.3 KiB`. */
export const together = ([number, unit]) => (/^[kMGT]?$/.test(unit) ? number + unit : `${number}\u00a0${unit}`);

/** `1 topic`, `10,000 topics`. */
export const several = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

export function duration(s) {
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor((s % 86_400) / 3600), Math.floor((s % 3600) / 60)];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

export const clock = (date = new Date()) => date.toTimeString().slice(0, 8);

/** What was published, in one line of bounded length. */
export function excerpt(data, most = 2000) {
  let text;
  if (data instanceof Uint8Array)
    text = `${data.length} bytes: ${Array.from(data.subarray(0, 64), (byte) => byte.toString(16).padStart(2, "0")).join(" ")}`;
  else text = JSON.stringify(data) ?? "";
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** The buttons of a dialog that close it, and a click beside it. */
export function closable(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
}
