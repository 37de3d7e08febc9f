// Beams of joint prediction against the reference's. Its float32 and ours may order candidates differently whose scores
// rounding cannot tell apart; values by rank are as close as the scores themselves, whatever the order.
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
  let compared = 0;
  let undecided = 0;
  for (let b = 0; b < rows; b++) {
    const logits = tensors.get(`step0/train_output/${task}/start_logits`).data;
    const length = logits.length / rows;
    const size = largest(logits.subarray(b * length, (b + 1) * length).filter((value) => value > excluded));
    const beam = (name, first) => [
      expected(name).data.subarray(first, first + width),
      actual(name).data.subarray(first, first + width),
    ];
    // A log-probability is a score minus the logarithm of a sum of them: twice as far off.
    const bound = 2 * tolerance.output(size);
    const check = (kind, first, what) => {
      const [values, ourValues] = beam(`${kind}_top_log_probs`, first);
      const [places, ourPlaces] = beam(`${kind}_top_index`, first);
      for (let k = 0; k < width; k++) {
        if (values[k] < excluded) {
          assertMissing(ourPlaces[k], ourValues[k], `${where}: ${what} ${k}`);
          continue;
        }
        assertBelow(Math.abs(ourValues[k] - values[k]), bound, `${where}: log-probability of ${what} ${k}`);
        worst.note("beams", Math.abs(ourValues[k] - values[k]));
        const gap = Math.min(
          (values[k - 1] ?? Infinity) - values[k],
          values[k] - (values[k + 1] ?? -Infinity),
          // The first that is not in the beam is unknown.
          k === width - 1 ? bound : Infinity,
        );
        if (gap > 2 * bound) {
          assert.equal(ourPlaces[k], places[k], `${where}: place of ${what} ${k}`);
          compared++;
        } else undecided++;
      }
      return [places, ourPlaces, values];
    };
    const [starts, ourStarts, values] = check("start", b * width, `row ${b}'s start`);
    for (let k = 0; k < width; k++) {
      // Ends belong to a start, so only the same starts can be compared.
      if (values[k] < excluded || starts[k] !== ourStarts[k]) continue;
      check("end", (b * width + k) * width, `row ${b}'s start ${k}, end`);
    }
  }
  assert.ok(
    compared > undecided,
    `${where}: ${compared} candidates of the beams compared, ${undecided} undecided`,
  );
}

/** What stands where the reference has run out of places for an answer: nothing, or such an excluded place. */
function assertMissing(place, value, what) {
  if (place === -1) assert.equal(value, -Infinity, what);
  else assert.ok(value < excluded && place >= 0, what);
}
