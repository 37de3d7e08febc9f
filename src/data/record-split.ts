import { ElectraError } from "../errors.js";
import type { RecordDataset, RecordView } from "./record-dataset.js";

/** The two sides of a split. */
export interface RecordSplit {
  readonly train: RecordView;
  readonly heldOut: RecordView;
}

/**
 * Holds out a fraction of the records for evaluation, chosen by a hash of file name and number, so that the same records are
 * held out in every run and when files are added. For data sets without held-out files of their own: neighbouring records come
 * from the same documents, so that whole documents held out when building the data give the stricter test.
 *
 * Memory: four bytes per held-out record.
 *
 * @param fraction above 0 and below 1
 * @throws ElectraError `ERR_ELECTRA_DATASET_OPTION` when a side would be empty
 */
export function splitRecords(dataset: RecordDataset, fraction: number): RecordSplit {
  const bound = fraction * 2 ** 32;
  const chosen: number[] = [];
  for (let record = 0; record < dataset.length; record++) {
    if (dataset.recordHash(record) < bound) {
      chosen.push(record);
    }
  }
  if (chosen.length === 0 || chosen.length === dataset.length) {
    throw new ElectraError(
      "ERR_ELECTRA_DATASET_OPTION",
      `a held-out fraction of ${fraction} takes ${chosen.length} of ${dataset.length} records: both sides need some`,
      { hint: "choose another fraction or build more data", exitCode: 2 },
    );
  }
  const heldOut = Uint32Array.from(chosen);
  return {
    train: {
      dataset,
      length: dataset.length - heldOut.length,
      recordAt: (index) => {
        // heldOut[i] − i records that are not held out stand before heldOut[i]: find how many held-out ones to step over.
        let low = 0;
        let high = heldOut.length;
        while (low < high) {
          const middle = (low + high) >>> 1;
          if (heldOut[middle]! - middle <= index) {
            low = middle + 1;
          } else {
            high = middle;
          }
        }
        return index + low;
      },
    },
    heldOut: { dataset, length: heldOut.length, recordAt: (index) => heldOut[index]! },
  };
}
