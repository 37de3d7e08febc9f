import { gzipSync } from "node:zlib";
import { describe, expect, it, test } from "vitest";
import { readTarball } from "../../../src/quickstart/tarball.js";
import { makeTar } from "./make-tar.js";

describe("reading a package's archive", () => {
  it("gives its files with their contents, not its folders", () => {
    const tar = makeTar([
      { path: "package/", text: "", type: "5" },
      { path: "package/a.txt", text: "one" },
      { path: "package/long.txt", text: "x".repeat(1000) },
      { path: "package/empty.txt", text: "" },
    ]);
    const files = readTarball(gzipSync(tar), "a.tgz").map(({ path, bytes }) => [path, bytes.length]);
    expect(files).toEqual([
      ["package/a.txt", 3],
      ["package/long.txt", 1000],
      ["package/empty.txt", 0],
    ]);
  });

  const intact = makeTar([{ path: "package/a.txt", text: "hello" }]);
  const changed = Buffer.from(intact);
  changed[3] = 0x58;
  test.each<[string, Uint8Array]>([
    ["is no archive", Buffer.from("not an archive")],
    ["ends early", gzipSync(intact.subarray(0, 514))],
    ["lacks its end", gzipSync(intact.subarray(0, 1024))],
    ["has a changed header", gzipSync(changed)],
    ["was cut while compressed", gzipSync(intact).subarray(0, 40)],
  ])("refuses one that %s", (_, bytes) => {
    expect(() => readTarball(bytes, "a.tgz")).toThrow(/a\.tgz is no intact \.tgz archive/);
  });
});
