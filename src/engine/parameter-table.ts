import type { NativeParameterTable } from "./native-types.js";
import type { ParameterInfo } from "./types.js";

/** The addon's packed list of variables, unpacked. */
export function unpackParameters({ names, layout }: NativeParameterTable): ParameterInfo[] {
  let at = 0;
  return names.split("\n").map((name) => {
    const decay = layout[at] === 1;
    const rank = layout[at + 1] ?? 0;
    const shape = [...layout.subarray(at + 2, at + 2 + rank)];
    at += 2 + rank;
    return { name, shape, elements: shape.reduce((product, size) => product * size, 1), decay };
  });
}
