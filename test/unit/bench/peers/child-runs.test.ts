import { describe, expect, it } from "vitest";
import { numbersOf, runForJson, ServedPeer } from "../../../../src/bench/peers/child-runs.js";

const options = { cwd: process.cwd() };
const node = (program: string) => [process.execPath, "-e", program];

describe("programs that print a document", () => {
  it("gives what they print", async () => {
    const document = await runForJson(
      node(`console.log(JSON.stringify({ ms: 2.5, name: "x" }, null, 2))`),
      options,
    );
    expect(document).toEqual({ ms: 2.5, name: "x" });
    expect(numbersOf({ ...document, spread: { min: 1, median: 4 }, none: null })).toEqual({
      ms: 2.5,
      spread: 4,
    });
  });

  it("says how they failed", async () => {
    const failing = runForJson(node(`console.error("no such model"); process.exit(3)`), options);
    await expect(failing).rejects.toMatchObject({
      code: "ERR_ELECTRA_BENCHMARK",
      message: expect.stringContaining("exit code 3"),
      hint: "no such model",
    });
    await expect(runForJson(node(`console.log("hello")`), options)).rejects.toMatchObject({
      message: expect.stringContaining("printed no JSON document"),
    });
  });
});

describe("peers that are served", () => {
  const server = `
    console.log("a warning of some library");
    console.log(JSON.stringify({ event: "ready", peer: "stand-in" }));
    require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
      const steps = Number(line.split(" ")[1]);
      if (steps > 5) console.log(JSON.stringify({ event: "error", message: "too many steps" }));
      else console.log(JSON.stringify({ event: "run", ms: 10 * steps }));
    });`;

  it("prepare once and run when told to", async () => {
    const peer = await ServedPeer.start(node(server), options);
    expect(peer.ready["peer"]).toBe("stand-in");
    expect(await peer.run(2)).toMatchObject({ ms: 20 });
    expect(await peer.run(3)).toMatchObject({ ms: 30 });
    await expect(peer.run(6)).rejects.toMatchObject({ message: expect.stringContaining("too many steps") });
    await peer.close();
    await peer.close();
  });

  it("say why they cannot", async () => {
    const missing = `console.error("No module named torch"); process.exit(1)`;
    await expect(ServedPeer.start(node(missing), options)).rejects.toMatchObject({
      code: "ERR_ELECTRA_BENCHMARK",
      hint: "No module named torch",
    });
    await expect(ServedPeer.start(["no-such-program-here"], options)).rejects.toMatchObject({
      message: expect.stringContaining("ENOENT"),
    });
  });

  it("end when they are aborted", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const starting = ServedPeer.start(node("setInterval(() => {}, 1000)"), {
      ...options,
      signal: stop.signal,
    });
    setTimeout(() => stop.abort(reason), 50);
    await expect(starting).rejects.toBe(reason);
  });
});
