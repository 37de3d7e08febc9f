import { expect, test } from "vitest";
import { planSteps } from "../../../src/quickstart/plan-training.js";

const recipe = { steps: 1000, fewestSteps: 400, seconds: 100, warmup: 0.05 };

test.each<[what: string, secondsPerStep: number, minutes: number | undefined, steps: number, cut: boolean]>([
  ["a fast machine does the recipe's steps", 0.01, undefined, 1000, false],
  ["a slower one as many as the time allows", 0.2, undefined, 500, true],
  ["a very slow one the fewest that can show anything", 5, undefined, 400, true],
  ["minutes that were asked for are used", 0.01, 1, 6000, false],
  ["also few", 5, 0.5, 6, false],
  ["but a step there is", 100, 0.1, 1, false],
])("%s", (_, secondsPerStep, minutes, steps, cut) => {
  const plan = planSteps(recipe, secondsPerStep, minutes);
  expect(plan).toMatchObject({ steps, cut });
  expect(plan.warmupSteps).toBeLessThan(plan.steps);
  expect(plan.warmupSteps).toBe(Math.round(Math.min(steps * 0.05, steps - 1)));
});
