// Owns which layers' indexes lie on the device, as far as this process can know it: it sees what its
// chunks use, and the device counts what it holds.
//
// I1 no more layers are named than the device holds indexes
// I2 the device evicts the index that was used longest ago and that no open chunk needs; so does this

interface Entry {
  /** Open chunks that use it. */
  users: number;
}

/** Layer keys on a device, least recently used first. */
export class Residency {
  readonly #layers = new Map<string, Entry>();

  /** A chunk has opened the layer's index on the device; the function that is returned lets it go. */
  use(layer: string): () => void {
    const entry = this.#layers.get(layer) ?? { users: 0 };
    entry.users += 1;
    this.#layers.delete(layer);
    this.#layers.set(layer, entry);
    return () => {
      entry.users -= 1;
    };
  }

  /** Forgets what must have been evicted, and names what is left. */
  layers(residentIndexes: number): readonly string[] {
    while (this.#layers.size > residentIndexes) {
      const unused = [...this.#layers].find(([, { users }]) => users === 0);
      const [oldest] = unused ?? [...this.#layers][0] ?? [];
      if (oldest === undefined) break;
      this.#layers.delete(oldest);
    }
    return [...this.#layers.keys()];
  }
}
