import type { Dtype } from "../safetensors-header.js";

/** A piece of memory that tensors are views of. */
export interface StorageRef {
  readonly kind: "storage";
  readonly key: string;
  readonly dtype: Dtype;
  /** Elements. */
  readonly length: number;
}

/** A tensor: a strided view of a storage. Offset and strides count elements. */
export interface TensorRef {
  readonly kind: "tensor";
  readonly storage: StorageRef;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export type PickleDict = Map<string | number, PickleValue>;

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

/** A name that the file asks Python to import. Nothing is imported: it only tells what follows from its call. */
export interface GlobalRef {
  readonly kind: "global";
  readonly name: string;
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | PickleDict
  | PickleTuple
  | GlobalRef
  | StorageRef
  | TensorRef;

/** A pickle that is damaged, or asks for what is refused. */
export class PickleError extends Error {
  override readonly name = "PickleError";
  /** Whether it was refused because it could do harm or is unknown, not because it is damaged. */
  readonly forbidden: boolean;

  constructor(message: string, forbidden = false) {
    super(message);
    this.forbidden = forbidden;
  }
}

/** The pickle goes on behind the bytes that are there. */
export class PickleCutError extends PickleError {}

const STORAGES: Readonly<Record<string, Dtype>> = {
  "torch.FloatStorage": "F32",
  "torch.DoubleStorage": "F64",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};

const ORDERED_DICT = "collections.OrderedDict";
const REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2";
const REBUILD_PARAMETER = "torch._utils._rebuild_parameter";

/** The only globals that a file of weights may mention. */
export const ALLOWED_GLOBALS = new Set([
  ...Object.keys(STORAGES),
  ORDERED_DICT,
  REBUILD_TENSOR,
  REBUILD_PARAMETER,
]);

/** Far more dimensions than any tensor has. */
const MOST_DIMENSIONS = 64;

function isTuple(value: PickleValue | undefined): value is PickleTuple {
  return kindOf(value) === "tuple";
}

function kindOf(value: PickleValue | undefined): string {
  return typeof value === "object" && value !== null && "kind" in value ? value.kind : typeof value;
}

/** What PyTorch keeps outside the pickle: `("storage", <type>, <key>, <device>, <elements>[, <view>])`. */
export function storageOf(id: PickleValue): StorageRef {
  if (!isTuple(id) || id.items[0] !== "storage" || id.items.length < 5) {
    throw new PickleError("a persistent id is not one of a storage");
  }
  const [, type, key, , length, view = null] = id.items;
  const dtype = kindOf(type) === "global" ? STORAGES[(type as GlobalRef).name] : undefined;
  if (dtype === undefined) throw new PickleError("a storage has no known type");
  if (typeof key !== "string" || !isCount(length)) throw new PickleError("a storage has no key or no length");
  if (view !== null) throw new PickleError("a storage is a view of another one, which is not supported");
  return { kind: "storage", key, dtype, length };
}

/** What a call of an allowed global returns. */
export function call(callee: PickleValue, args: PickleValue): PickleValue {
  if (kindOf(callee) !== "global" || !isTuple(args))
    throw new PickleError("what is called is no global", true);
  const { name } = callee as GlobalRef;
  switch (name) {
    case ORDERED_DICT:
      if (args.items.length > 0) throw new PickleError("an OrderedDict with arguments is not supported");
      return new Map();
    case REBUILD_TENSOR:
      return tensorOf(args.items);
    case REBUILD_PARAMETER: {
      const [tensor] = args.items;
      if (kindOf(tensor) !== "tensor") throw new PickleError("a parameter is not made of a tensor");
      return tensor!;
    }
    default:
      throw new PickleError(`${name} is no function`, true);
  }
}

function tensorOf([storage, offset, shape, strides]: readonly PickleValue[]): TensorRef {
  if (kindOf(storage) !== "storage" || !isCount(offset) || !isSizes(shape) || !isSizes(strides)) {
    throw new PickleError("a tensor's arguments are not storage, offset, shape and strides");
  }
  const sizes = shape.items as readonly number[];
  const steps = strides.items as readonly number[];
  const { length } = storage as StorageRef;
  if (sizes.length !== steps.length) throw new PickleError("a tensor has not one stride for each dimension");
  const count = sizes.reduce((product, size) => product * size, 1);
  const last = count === 0 ? -1 : sizes.reduce((sum, size, axis) => sum + (size - 1) * steps[axis]!, offset);
  // An expanded tensor repeats elements without storing them: a few bytes could claim any size.
  if (!(count <= length) || !(last < length)) {
    throw new PickleError(
      `a tensor of shape [${sizes.join(", ")}] at ${offset} leaves its storage of ${length} elements`,
    );
  }
  return { kind: "tensor", storage: storage as StorageRef, offset, shape: sizes, strides: steps };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isSizes(value: PickleValue | undefined): value is PickleTuple {
  return isTuple(value) && value.items.length <= MOST_DIMENSIONS && value.items.every(isCount);
}
