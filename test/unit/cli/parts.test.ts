import { Command } from "commander";
import { describe, expect, it, vi } from "vitest";
import { examineNode } from "../../../src/cli/doctor/examine.js";
import { describeFailure } from "../../../src/cli/failure.js";
import { Interruption } from "../../../src/cli/interruption.js";
import { parseBoolean } from "../../../src/cli/option-parsers.js";
import { formatListing, Output, shellQuote } from "../../../src/cli/output.js";
import { addRunOptions, machineOf, type RunOptions } from "../../../src/cli/run-options.js";
import { ElectraError } from "../../../src/errors.js";
import { fakeIo } from "./run-cli.js";

describe("a boolean option", () => {
  it.each([
    ["true", true],
    ["True", true],
    ["TRUE", true],
    ["1", true],
    ["false", false],
    ["False", false],
    ["0", false],
  ])("takes %s as %s", (text, value) => {
    expect(parseBoolean(text)).toBe(value);
  });

  it.each(["", "yes", "2", "tru", " true"])("refuses %j", (text) => {
    expect(() => parseBoolean(text)).toThrow(/true, false, 1 or 0/);
  });
});

describe("the options of running commands", () => {
  const parse = (...argv: readonly string[]): RunOptions =>
    addRunOptions(new Command().exitOverride().configureOutput({ writeErr: () => {} }))
      .parse(argv, { from: "user" })
      .opts<RunOptions>();

  it("have defaults that leave the choice to the engine", () => {
    expect(parse()).toEqual({});
    expect(machineOf(parse())).toEqual({});
  });

  it("are typed", () => {
    expect(parse("--device", "cpu", "--precision", "f32", "--threads", "2", "--seed", "0", "--json")).toEqual(
      { device: "cpu", precision: "f32", threads: 2, seed: 0, json: true },
    );
    expect(machineOf(parse("--device", "cuda:1", "--precision", "bf16", "--seed", "3"))).toEqual({
      device: "cuda:1",
      precision: "bf16",
    });
  });

  it.each([
    [["--device", "gpu"], /auto, cpu, cuda, or cuda:N/],
    [["--device", "cuda:"], /auto, cpu, cuda, or cuda:N/],
    [["--device", "cuda:-1"], /auto, cpu, cuda, or cuda:N/],
    [["--precision", "f16"], /Allowed choices are auto, f32, bf16/],
    [["--threads", "0"], /at least 1/],
    [["--seed", "1.5"], /at least 0/],
  ])("refuse %j", (argv, message) => {
    expect(() => parse(...argv)).toThrow(message);
  });
});

describe("a signal", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s asks to finish first and ends the process with %i when it comes again", (name, code) => {
    const clock = vi.spyOn(performance, "now").mockReturnValue(performance.timeOrigin);
    const io = fakeIo();
    const interruption = new Interruption(io, new Output(io, false));
    expect([interruption.signal.aborted, interruption.exitCode]).toEqual([false, undefined]);
    io.signals.emit(name);
    expect([interruption.signal.aborted, interruption.exitCode, io.exits]).toEqual([true, code, []]);
    expect(io.text("stderr")).toMatch(new RegExp(`^${name}: finishing`));
    expect(io.text("stdout")).toBe("");
    // The same key press, passed on by npx: no second wish.
    io.signals.emit(name);
    expect(io.exits).toEqual([]);
    clock.mockReturnValue(performance.timeOrigin + 501);
    io.signals.emit(name);
    expect(io.exits).toEqual([code]);
    interruption.dispose();
    expect(io.signals.listenerCount(name)).toBe(0);
    clock.mockRestore();
  });

  it("is told apart from a failure that came while stopping", () => {
    const io = fakeIo();
    const interruption = new Interruption(io, new Output(io, false));
    const aborted = new DOMException("aborted", "AbortError");
    expect(interruption.caused(aborted)).toBe(false);
    io.signals.emit("SIGINT");
    expect(interruption.caused(aborted)).toBe(true);
    expect(interruption.caused(interruption.signal.reason)).toBe(true);
    expect(interruption.caused(new ElectraError("ERR_ELECTRA_DISK_FULL", "no space"))).toBe(false);
    interruption.dispose();
  });
});

describe("an error", () => {
  it.each([
    [
      new ElectraError("ERR_ELECTRA_X", "what", { hint: "do", exitCode: 2 }),
      { code: "ERR_ELECTRA_X", message: "what", hint: "do", exitCode: 2 },
    ],
    [
      Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" }),
      { code: "ERR_ELECTRA_SYSTEM", message: "EIO: i/o error, read", hint: null, exitCode: 1 },
    ],
    [
      new TypeError("x is undefined"),
      { code: "ERR_ELECTRA_UNEXPECTED", message: "x is undefined", exitCode: 1 },
    ],
    ["thrown text", { code: "ERR_ELECTRA_UNEXPECTED", message: "thrown text" }],
  ])("%s is described for its reader", (error, expected) => {
    expect(describeFailure(error)).toMatchObject(expected);
  });
});

describe("small parts", () => {
  it.each([
    ["plain/path-1.txt", "plain/path-1.txt"],
    ["two words", "'two words'"],
    ["it's", "'it'\\''s'"],
    ["$HOME", "'$HOME'"],
    ["", "''"],
  ])("an argument %s is quoted as %s", (argument, quoted) => {
    expect(shellQuote(argument)).toBe(quoted);
  });

  it("a listing has its values in one column", () => {
    expect(
      formatListing([
        ["a", "1"],
        ["long", "2"],
      ]),
    ).toBe("a     1\nlong  2");
  });

  it("NO_COLOR and files get no colours", () => {
    const io = fakeIo();
    const output = new Output(io, false);
    output.warn("m", "h");
    output.next("c");
    expect(io.text("stderr")).toBe("warning: m\n  h\n\nNext:\n  c\n");
  });

  it.each([
    ["20.19.0", "ok"],
    ["22.1.0", "ok"],
    ["20.18.9", "fail"],
    ["18.20.0", "fail"],
  ])("Node %s is %s", (version, status) => {
    expect(examineNode(version).status).toBe(status);
  });
});
