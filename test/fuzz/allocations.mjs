// Counts the bytes of typed arrays and buffers while a reader runs, and stops an allocation that is far too large before it is
// made.

const views = [
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
].concat(["Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"]);

/** What an allocation beyond all bounds becomes; no reader may catch and hide it. */
export class TooLarge extends Error {}

export class AllocationCounter {
  /** Bytes since `reset`. */
  bytes = 0;
  /** The first that was stopped. */
  stopped;
  #most;
  #restore = [];

  /** @param {number} most bytes at once that are never allowed */
  constructor(most) {
    this.#most = most;
  }

  reset() {
    this.bytes = 0;
    this.stopped = undefined;
  }

  install() {
    const note = (bytes) => {
      if (bytes > this.#most) {
        this.stopped ??= new TooLarge(`an allocation of ${bytes} bytes`);
        throw this.stopped;
      }
      this.bytes += bytes;
    };
    const replace = (owner, name, value) => {
      const before = owner[name];
      owner[name] = value(before);
      this.#restore.push(() => {
        owner[name] = before;
      });
    };
    for (const name of [...views, "ArrayBuffer"]) {
      replace(globalThis, name, (original) => {
        const width = original.BYTES_PER_ELEMENT ?? 1;
        return new Proxy(original, {
          construct(target, args, newTarget) {
            const [first] = args;
            if (typeof first === "number") note(first * width);
            else if (!(first instanceof Object.getPrototypeOf(buffer).constructor))
              note((first?.length ?? 0) * width);
            return Reflect.construct(target, args, newTarget === globalThis[name] ? target : newTarget);
          },
        });
      });
    }
    const prototype = Object.getPrototypeOf(Uint8Array.prototype);
    replace(
      prototype,
      "slice",
      (original) =>
        function slice(...args) {
          const [start = 0, end = this.length] = args;
          note(Math.max(0, Math.min(end, this.length) - start) * this.BYTES_PER_ELEMENT);
          return original.apply(this, args);
        },
    );
    for (const name of ["alloc", "allocUnsafe"]) {
      replace(Buffer, name, (original) => (size, ...rest) => {
        note(size);
        return original.call(Buffer, size, ...rest);
      });
    }
  }

  uninstall() {
    for (const undo of this.#restore.reverse()) undo();
    this.#restore = [];
  }
}

const buffer = new ArrayBuffer(0);
