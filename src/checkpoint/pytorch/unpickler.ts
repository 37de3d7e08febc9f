import { opcodeName } from "./pickle-opcodes.js";
import {
  ALLOWED_GLOBALS,
  call,
  type GlobalRef,
  PickleCutError,
  PickleError,
  type PickleValue,
  storageOf,
} from "./pickle-values.js";

const LONGEST_GLOBAL = 256;

/**
 * Reads one pickle (protocol 2, as `torch.save` writes it) of dicts, lists, tuples, numbers, strings and tensors. Python's
 * pickles are programs; this runs none: opcodes that build other objects are refused by name, and so is every global but
 * the few that tensors are made of, which stand for what they would return.
 *
 * @param start where it begins
 * @returns what it holds, and where it ends
 * @throws PickleError, PickleCutError when it is longer than `bytes`
 */
export function unpickle(
  bytes: Uint8Array,
  start = 0,
): { readonly value: PickleValue; readonly end: number } {
  return new Unpickler(bytes, start).run();
}

class Unpickler {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #memo = new Map<number, PickleValue>();
  /** Stacks below the marks that were set, the outermost first. */
  readonly #below: PickleValue[][] = [];
  #stack: PickleValue[] = [];
  #at: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  run(): { value: PickleValue; end: number } {
    for (;;) {
      const place = this.#at;
      const opcode = this.#view.getUint8(this.#take(1));
      if (opcode === 0x2e /* STOP */) return { value: this.#pop(), end: this.#at };
      try {
        this.#step(opcode);
      } catch (error) {
        if (!(error instanceof PickleError) || error instanceof PickleCutError) throw error;
        throw new PickleError(`${opcodeName(opcode)} at byte ${place}: ${error.message}`, error.forbidden);
      }
    }
  }

  #step(opcode: number): void {
    const view = this.#view;
    switch (String.fromCharCode(opcode)) {
      case "\x80": {
        const protocol = view.getUint8(this.#take(1));
        if (protocol > 2) throw new PickleError(`protocol ${protocol} is not read, PyTorch writes 2`, true);
        return;
      }
      case "(":
        this.#below.push(this.#stack);
        this.#stack = [];
        return;
      case "}":
        this.#stack.push(new Map());
        return;
      case "]":
        this.#stack.push([]);
        return;
      case ")":
        this.#pushTuple([]);
        return;
      case "t":
        this.#pushTuple(this.#popMark());
        return;
      case "\x85":
        this.#pushTuple(this.#popMany(1));
        return;
      case "\x86":
        this.#pushTuple(this.#popMany(2));
        return;
      case "\x87":
        this.#pushTuple(this.#popMany(3));
        return;
      case "N":
        this.#stack.push(null);
        return;
      case "\x88":
        this.#stack.push(true);
        return;
      case "\x89":
        this.#stack.push(false);
        return;
      case "K":
        this.#stack.push(view.getUint8(this.#take(1)));
        return;
      case "M":
        this.#stack.push(view.getUint16(this.#take(2), true));
        return;
      case "J":
        this.#stack.push(view.getInt32(this.#take(4), true));
        return;
      case "G":
        this.#stack.push(view.getFloat64(this.#take(8), false));
        return;
      case "\x8a":
        this.#stack.push(this.#long(view.getUint8(this.#take(1))));
        return;
      case "X":
        this.#stack.push(this.#text(view.getUint32(this.#take(4), true)));
        return;
      case "U":
        this.#stack.push(this.#text(view.getUint8(this.#take(1))));
        return;
      case "q":
        this.#memo.set(view.getUint8(this.#take(1)), this.#peek());
        return;
      case "r":
        this.#memo.set(view.getUint32(this.#take(4), true), this.#peek());
        return;
      case "h":
        this.#get(view.getUint8(this.#take(1)));
        return;
      case "j":
        this.#get(view.getUint32(this.#take(4), true));
        return;
      case "s":
        this.#setItems(this.#popMany(2));
        return;
      case "u":
        this.#setItems(this.#popMark());
        return;
      case "a":
        this.#append(this.#popMany(1));
        return;
      case "e":
        this.#append(this.#popMark());
        return;
      case "c":
        this.#stack.push(this.#global());
        return;
      case "Q":
        this.#stack.push(storageOf(this.#pop()));
        return;
      case "R": {
        const [callee, args] = this.#popMany(2);
        this.#stack.push(call(callee!, args!));
        return;
      }
      case "b": {
        // The one use: an OrderedDict's attribute `_metadata`, versions of modules.
        const state = this.#pop();
        if (!(this.#peek() instanceof Map) || !(state instanceof Map)) {
          throw new PickleError("it sets the state of something else than a dict, which is refused", true);
        }
        return;
      }
      default:
        throw new PickleError("no file of weights needs this, it is refused", true);
    }
  }

  #take(count: number): number {
    if (count > this.#bytes.length - this.#at) {
      throw new PickleCutError(`it is cut off at byte ${this.#bytes.length}`);
    }
    this.#at += count;
    return this.#at - count;
  }

  #peek(): PickleValue {
    if (this.#stack.length === 0) throw new PickleError("the stack is empty");
    return this.#stack.at(-1)!;
  }

  #pop(): PickleValue {
    const value = this.#peek();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length < count)
      throw new PickleError(`${count} values are needed, ${this.#stack.length} are there`);
    return this.#stack.splice(-count);
  }

  #popMark(): PickleValue[] {
    const below = this.#below.pop();
    if (below === undefined) throw new PickleError("there is no mark");
    const above = this.#stack;
    this.#stack = below;
    return above;
  }

  #pushTuple(items: readonly PickleValue[]): void {
    this.#stack.push({ kind: "tuple", items });
  }

  #get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw new PickleError(`nothing was remembered as ${index}`);
    this.#stack.push(value);
  }

  #setItems(items: readonly PickleValue[]): void {
    const dict = this.#peek();
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw new PickleError("there is no dict to fill");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]!;
      if (typeof key !== "string" && typeof key !== "number") {
        throw new PickleError("a key is neither a string nor a number");
      }
      dict.set(key, items[i + 1]!);
    }
  }

  #append(items: readonly PickleValue[]): void {
    const list = this.#peek();
    if (!Array.isArray(list)) throw new PickleError("there is no list to append to");
    for (const item of items) list.push(item);
  }

  #text(length: number): string {
    const start = this.#take(length);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  /** A little-endian number in two's complement. */
  #long(length: number): number | bigint {
    const start = this.#take(length);
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(this.#bytes[start + i]!) << BigInt(8 * i);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  #global(): GlobalRef {
    const name = `${this.#line()}.${this.#line()}`;
    if (!ALLOWED_GLOBALS.has(name))
      throw new PickleError(`the global ${JSON.stringify(name)} is refused`, true);
    return { kind: "global", name };
  }

  #line(): string {
    const start = this.#at;
    const window = this.#bytes.subarray(start, start + LONGEST_GLOBAL);
    const length = window.indexOf(0x0a);
    if (length < 0) {
      if (window.length < LONGEST_GLOBAL) this.#take(window.length + 1);
      throw new PickleError(`a name is longer than ${LONGEST_GLOBAL} bytes`);
    }
    this.#at = start + length + 1;
    return new TextDecoder().decode(window.subarray(0, length));
  }
}
