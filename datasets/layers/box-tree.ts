// Owns an implicit binary tree of bounding boxes over items in a given order. Order is what makes it
// good: the edges of a ring follow each other in space, so consecutive items share small boxes and a
// self-join is near-linear without sorting or a grid, whatever the lengths of the edges.

/** Items under one leaf. */
const LEAF_ITEMS = 8;

/** Writes the box of one item: minX, minY, maxX, maxY. */
export type BoxOfItem = (item: number, box: Float64Array) => void;

/** Looks at a pair of items whose leaf boxes meet; true stops the join. */
export type PairVisitor = (a: number, b: number) => boolean;

export class BoxTree {
  readonly count: number;
  /** Number of leaves, rounded up to a power of two; node 1 is the root, leaves begin at `#leaves`. */
  readonly #leaves: number;
  readonly #boxes: Float64Array;

  constructor(count: number, boxOf: BoxOfItem) {
    this.count = count;
    let leaves = 1;
    while (leaves * LEAF_ITEMS < count) leaves *= 2;
    this.#leaves = leaves;
    const boxes = new Float64Array(leaves * 2 * 4);
    for (let i = 0; i < boxes.length; i += 4) {
      boxes[i] = boxes[i + 1] = Infinity;
      boxes[i + 2] = boxes[i + 3] = -Infinity;
    }
    const box = new Float64Array(4);
    for (let item = 0; item < count; item += 1) {
      boxOf(item, box);
      extend(boxes, (leaves + Math.floor(item / LEAF_ITEMS)) * 4, box, 0);
    }
    for (let node = leaves - 1; node >= 1; node -= 1) {
      extend(boxes, node * 4, boxes, node * 8);
      extend(boxes, node * 4, boxes, node * 8 + 4);
    }
    this.#boxes = boxes;
  }

  /** Visits each pair a < b of items whose leaf boxes meet, within a budget of visited pairs. */
  selfJoin(visit: PairVisitor, budget: JoinBudget): void {
    const stack = [1];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node < this.#leaves) {
        stack.push(2 * node, 2 * node + 1);
        if (this.#joinNodes(2 * node, this, 2 * node + 1, visit, budget)) return;
      } else if (this.#joinLeaves(node, this, node, visit, budget)) return;
    }
  }

  /** Visits each pair of an item here and an item of another tree whose leaf boxes meet. */
  join(other: BoxTree, visit: PairVisitor, budget: JoinBudget): void {
    this.#joinNodes(1, other, 1, visit, budget);
  }

  #joinNodes(
    first: number,
    other: BoxTree,
    second: number,
    visit: PairVisitor,
    budget: JoinBudget,
  ): boolean {
    const stack = [first, second];
    while (stack.length > 0) {
      const b = stack.pop() ?? 0;
      const a = stack.pop() ?? 0;
      budget.left -= 1;
      if (!meet(this.#boxes, a * 4, other.#boxes, b * 4)) continue;
      const aLeaf = a >= this.#leaves;
      const bLeaf = b >= other.#leaves;
      if (aLeaf && bLeaf) {
        if (this.#joinLeaves(a, other, b, visit, budget)) return true;
      } else if (bLeaf || (!aLeaf && a <= b)) {
        stack.push(2 * a, b, 2 * a + 1, b);
      } else {
        stack.push(a, 2 * b, a, 2 * b + 1);
      }
      if (budget.left < 0) return true;
    }
    return false;
  }

  #joinLeaves(
    a: number,
    other: BoxTree,
    b: number,
    visit: PairVisitor,
    budget: JoinBudget,
  ): boolean {
    const firstA = (a - this.#leaves) * LEAF_ITEMS;
    const firstB = (b - other.#leaves) * LEAF_ITEMS;
    const endA = Math.min(firstA + LEAF_ITEMS, this.count);
    const endB = Math.min(firstB + LEAF_ITEMS, other.count);
    const same = this === other && a === b;
    for (let i = firstA; i < endA; i += 1) {
      for (let j = same ? i + 1 : firstB; j < endB; j += 1) {
        if (visit(i, j)) return true;
      }
    }
    budget.left -= LEAF_ITEMS;
    return budget.left < 0;
  }

  /** Visits the items whose leaf box meets the box. */
  query(
    minX: number,
    minY: number,
    maxX: number,
    maxY: number,
    visit: (item: number) => void,
  ): void {
    const box = Float64Array.of(minX, minY, maxX, maxY);
    const stack = [1];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (!meet(this.#boxes, node * 4, box, 0)) continue;
      if (node < this.#leaves) {
        stack.push(2 * node + 1, 2 * node);
        continue;
      }
      const first = (node - this.#leaves) * LEAF_ITEMS;
      const end = Math.min(first + LEAF_ITEMS, this.count);
      for (let item = first; item < end; item += 1) visit(item);
    }
  }
}

/** Bounds the work of joins over hostile input; `left` below zero means that a join was cut short. */
export interface JoinBudget {
  left: number;
}

function extend(to: Float64Array, at: number, from: Float64Array, source: number): void {
  to[at] = Math.min(to[at] ?? 0, from[source] ?? 0);
  to[at + 1] = Math.min(to[at + 1] ?? 0, from[source + 1] ?? 0);
  to[at + 2] = Math.max(to[at + 2] ?? 0, from[source + 2] ?? 0);
  to[at + 3] = Math.max(to[at + 3] ?? 0, from[source + 3] ?? 0);
}

function meet(a: Float64Array, i: number, b: Float64Array, j: number): boolean {
  return (
    (a[i] ?? 0) <= (b[j + 2] ?? 0) &&
    (b[j] ?? 0) <= (a[i + 2] ?? 0) &&
    (a[i + 1] ?? 0) <= (b[j + 3] ?? 0) &&
    (b[j + 1] ?? 0) <= (a[i + 3] ?? 0)
  );
}
