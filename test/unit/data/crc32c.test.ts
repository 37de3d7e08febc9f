import { crc32c as oracle } from "@node-rs/crc32";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crc32c, maskedCrc32c } from "../../../src/data/crc32c.js";

const text = (value: string) => new TextEncoder().encode(value);

test("the standard check value of CRC-32C", () => {
  expect(crc32c(text("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test("equals an independent implementation for any bytes, from any start to any end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(40), fc.nat(40), (bytes, skip, drop) => {
      const start = Math.min(skip, bytes.length);
      const end = Math.max(start, bytes.length - drop);
      expect(crc32c(bytes, start, end)).toBe(oracle(Buffer.from(bytes.slice(start, end))));
    }),
  );
});

test("a running sum over two parts equals the sum over the whole", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), (first, second) => {
      const running = crc32c(second, 0, second.length, crc32c(first));
      expect(running).toBe(crc32c(Uint8Array.of(...first, ...second)));
    }),
  );
});

test("the mask turns right by 15 bits and adds TensorFlow's constant", () => {
  const rotate = (crc: bigint) => ((crc >> 15n) | (crc << 17n)) & 0xffffffffn;
  for (const sample of ["", "a", "123456789", "masked"]) {
    const expected = (rotate(BigInt(oracle(sample))) + 0xa282ead8n) & 0xffffffffn;
    expect(BigInt(maskedCrc32c(text(sample)))).toBe(expected);
  }
});
