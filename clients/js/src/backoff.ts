// How long to wait before the next attempt: full jitter over a ceiling that doubles, and never nothing.
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

export class Backoff {
  #failures = 0;

  constructor(
    readonly least: number,
    readonly most: number,
    readonly random: () => number = Math.random,
  ) {}

  /** The next delay in milliseconds, from `least` to a ceiling that is at most `most`. */
  next(): number {
    const ceiling = Math.min(this.most, 4 * this.least * 2 ** this.#failures++);
    return Math.min(this.most, this.least + this.random() * Math.max(0, ceiling - this.least));
  }

  reset(): void {
    this.#failures = 0;
  }
}
