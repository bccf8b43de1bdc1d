// An EventTarget with typed CustomEvents and the short `on`. The client and its subscriptions are such.

import type { Emitter } from "./api.js";

export class Emits<Events> extends EventTarget implements Emitter<Events> {
  on<K extends keyof Events & string>(type: K, listener: (detail: Events[K]) => void): () => void {
    const told = (event: Event) => listener((event as CustomEvent<Events[K]>).detail);
    this.addEventListener(type, told);
    return () => this.removeEventListener(type, told);
  }

  /** @internal */
  emit<K extends keyof Events & string>(type: K, detail: Events[K]): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
