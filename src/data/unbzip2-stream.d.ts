declare module "unbzip2-stream" {
  /** A duplex stream of the old kind: it works while `write` and `end` run and emits `data` and `error`. */
  interface BunzipStream {
    write(chunk: Uint8Array): boolean;
    end(): void;
    on(event: "data", listener: (chunk: Buffer) => void): this;
    on(event: "error", listener: (error: Error) => void): this;
  }
  export default function unbzip2Stream(): BunzipStream;
}
