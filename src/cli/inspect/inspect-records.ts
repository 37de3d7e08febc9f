import { dirname, resolve } from "node:path";
import { decodeExample, type Feature } from "../../data/example-proto.js";
import { readRecordFile } from "../../data/tfrecord-reader.js";
import type { ListingRow } from "../output.js";
import type { Inspection } from "./inspection.js";

/** A feature over all records of a file. */
interface FeatureSummary {
  readonly kind: Feature["kind"];
  records: number;
  shortest: number;
  longest: number;
}

/** A file of TFRecords: both check sums of every record are verified, and every record is parsed. */
export async function inspectRecords(path: string): Promise<Inspection> {
  const features = new Map<string, FeatureSummary>();
  let [records, bytes] = [0, 0];
  for await (const { payload, ...place } of readRecordFile(path)) {
    records++;
    bytes += payload.length;
    for (const [name, { kind, ...rest }] of decodeExample(payload, place)) {
      const length = "values" in rest ? rest.values.length : 0;
      const known = features.get(`${name}\n${kind}`);
      if (known === undefined) {
        features.set(`${name}\n${kind}`, { kind, records: 1, shortest: length, longest: length });
      } else {
        known.records++;
        known.shortest = Math.min(known.shortest, length);
        known.longest = Math.max(known.longest, length);
      }
    }
  }
  const list = [...features].map(([key, summary]) => ({
    name: key.slice(0, key.lastIndexOf("\n")),
    ...summary,
  }));
  return {
    document: {
      kind: "tfrecord",
      path,
      records,
      bytes,
      checksums: `${records} records verified`,
      features: list,
    },
    listing: [
      ["TFRecord file", path],
      ["records", `${records}, ${bytes} bytes`],
      ["checksums", `${records} records verified`],
      ...list.map(({ name, kind, records: count, shortest, longest }): ListingRow => {
        const lengths = shortest === longest ? `${longest}` : `${shortest} to ${longest}`;
        return [name, `${kind} [${lengths}]${count === records ? "" : `, in ${count} records`}`];
      }),
    ],
    next: ["inspect", dirname(resolve(path))],
  };
}
