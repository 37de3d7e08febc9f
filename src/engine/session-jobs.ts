import { ElectraError } from "../errors.js";
import { toElectraError } from "./native-failure.js";
import type { NativeJob, NativeSession } from "./native-types.js";

/** Sends jobs to one native session: names them, ties them to abort signals, translates their errors, closes. */
export class SessionJobs<Session extends NativeSession> {
  readonly #session: Session;
  readonly #owner: string;
  #nextId = 1;
  #closed: Promise<void> | undefined;

  /** @param owner "engine" or "kernels", for messages */
  constructor(session: Session, owner: string) {
    this.#session = session;
    this.#owner = owner;
  }

  get disposed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Queues a job. Jobs run one after the other, in the order of these calls.
   *
   * @throws the signal's reason after an abort; ElectraError otherwise
   */
  async run<T>(start: (session: Session, id: number) => NativeJob<T>, signal?: AbortSignal): Promise<T> {
    if (this.#closed) {
      throw new ElectraError("ERR_ELECTRA_DISPOSED", `The ${this.#owner} has been disposed of.`);
    }
    signal?.throwIfAborted();
    const id = this.#nextId++;
    const abort = () => this.#session.abort(id);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await start(this.#session, id);
    } catch (error) {
      if (signal?.aborted && codeOf(error) === "ERR_ELECTRA_ABORTED") throw signal.reason;
      throw toElectraError(error);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Drops what is queued and what runs; resolves when the native memory is free. May be called again. */
  dispose(): Promise<void> {
    this.#closed ??= this.#session.close();
    return this.#closed;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
