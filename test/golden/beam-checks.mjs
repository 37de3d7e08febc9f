// Beams of joint prediction against the reference's. Candidates whose scores rounding cannot tell apart may be ordered
// otherwise, so two things are compared: scores by rank, which are as close as the scores of places are, whatever the
// order; and the score of every place against that which the reference gave to it.
import assert from "node:assert/strict";
import { assertBelow, largest } from "./model-checks.mjs";

/** Below this, a candidate lies where no answer may be: 1000 was subtracted, and little of its score is left. */
const excluded = -500;

export function checkBeams(outputs, tensors, { task, tolerance, worst, where }) {
  const expected = (name) => tensors.get(`step0/predict_output/${task}/${name}`);
  const actual = (name) => outputs[`${task}/${name}`];
  const [rows, width] = expected("start_top_index").shape;
  assert.deepEqual(
    actual("end_top_index").shape,
    expected("end_top_index").shape,
    `${where}: shape of the beams`,
  );
  const logits = tensors.get(`step0/train_output/${task}/start_logits`).data;
  const length = logits.length / rows;
  let found = 0;
  let others = 0;
  for (let b = 0; b < rows; b++) {
    const size = largest(logits.subarray(b * length, (b + 1) * length).filter((value) => value > excluded));
    // A log-probability is a score minus the logarithm of a sum of them: twice as far off.
    const bound = 2 * tolerance.output(size);
    const check = (kind, first, what) => {
      const slice = (array) => [...array.data.subarray(first, first + width)];
      const [values, ourValues] = [expected, actual].map((of) => slice(of(`${kind}_top_log_probs`)));
      const [places, ourPlaces] = [expected, actual].map((of) => slice(of(`${kind}_top_index`)));
      for (let k = 0; k < width; k++) {
        if (values[k] < excluded) {
          assertMissing(ourPlaces[k], ourValues[k], `${where}: ${what} ${k}`);
          continue;
        }
        const difference = Math.abs(ourValues[k] - values[k]);
        assertBelow(difference, bound, `${where}: log-probability of ${what} ${k}`);
        worst.note("beams", difference);
        const rank = places.indexOf(ourPlaces[k]);
        assert.ok(ourPlaces.indexOf(ourPlaces[k]) === k, `${where}: ${what} ${k} is there twice`);
        if (rank < 0) {
          // The reference found it worse than all of its beam, though by no more than rounding.
          assertBelow(ourValues[k] - values[width - 1], bound, `${where}: ${what} ${k}, not in the beam`);
          others++;
        } else {
          assertBelow(Math.abs(ourValues[k] - values[rank]), bound, `${where}: ${what} ${k} by its place`);
          found++;
        }
      }
      return [places, ourPlaces];
    };
    const [starts, ourStarts] = check("start", b * width, `row ${b}'s start`);
    for (let k = 0; k < width; k++) {
      // Ends belong to a start: only those of equal starts can be compared.
      if (expected("start_top_log_probs").data[b * width + k] < excluded || starts[k] !== ourStarts[k])
        continue;
      check("end", (b * width + k) * width, `row ${b}'s start ${k}, end`);
    }
  }
  assert.ok(
    found > 10 * others,
    `${where}: ${found} candidates are in the reference's beams, ${others} are not`,
  );
}

/** What stands where the reference has run out of places for an answer: nothing, or such an excluded place. */
function assertMissing(place, value, what) {
  if (place === -1) assert.equal(value, -Infinity, what);
  else assert.ok(value < excluded && place >= 0, what);
}
