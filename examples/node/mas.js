// A client of mas.v1.Agents: sends, asks and answers as the agent that its certificate names.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const PROTO =
  process.env.MAS_PROTO ?? fileURLToPath(new URL("../../mas_core/protocol/agents.proto", import.meta.url));
const { mas } = grpc.loadPackageDefinition(loader.loadSync(PROTO, { longs: Number, defaults: true, oneofs: true }));
const COME_BACK = new Set([grpc.status.UNAVAILABLE, grpc.status.RESOURCE_EXHAUSTED, grpc.status.INTERNAL]);

export class Mas {
  #stub;
  #stream;
  #ends = false;

  // The address is host:port, with a name such as localhost; the files are those of the SDK's variables.
  constructor(address = process.env.MAS_SERVER, env = process.env) {
    if (!address) throw new Error("set MAS_SERVER to the server's host:port, such as localhost:7443");
    const files = ["MAS_TLS_CA_PATH", "MAS_TLS_KEY_PATH", "MAS_TLS_CERT_PATH"].map((name) => {
      if (!env[name]) throw new Error(`set ${name} to a file in PEM`);
      return readFileSync(env[name]);
    });
    const credentials = grpc.credentials.createSsl(...files);
    this.#stub = new mas.v1.Agents(address, credentials, { "grpc.keepalive_time_ms": 20_000 });
  }

  // Any unary call. Errors have the status in `code`, and "stable_code: what is wrong" in `details`.
  call(method, asked) {
    return new Promise((resolve, reject) =>
      this.#stub[method](asked, (error, answer) => (error ? reject(error) : resolve(answer))),
    );
  }

  send(target, type, data, options = {}) {
    return this.call("send", { target, type, data: JSON.stringify(data), ...options });
  }

  async request(target, type, data, timeoutMs = 30_000) {
    const message = { target, type, data: JSON.stringify(data) };
    return JSON.parse((await this.call("request", { message, timeoutMs })).data);
  }

  // Answers messages by type until `stop`; where the stream breaks, it comes back after a while.
  async serve(handlers, { hello = {}, onReady = () => {} } = {}) {
    for (let wait = 250; !this.#ends; wait = Math.min(2 * wait, 10_000)) {
      try {
        await this.#talk(handlers, hello, () => onReady((wait = 250)));
      } catch (error) {
        if (!COME_BACK.has(error.code)) throw error;
        await sleep(wait * (0.5 + Math.random()));
      }
    }
  }

  // Takes no more messages; `serve` returns once those in hand are answered.
  stop() {
    this.#ends = true;
    this.#stream?.write({ drain: {} });
  }

  close() {
    this.#stub.close();
  }

  #talk(handlers, hello, onReady) {
    return new Promise((resolve, reject) => {
      const stream = (this.#stream = this.#stub.connect());
      stream.on("data", async ({ welcome, delivery }) => {
        if (welcome) onReady();
        if (!delivery?.message) return;
        const { number, message } = delivery;
        const handle = handlers[message.type];
        const nack = handle ? {} : { reason: `no handler for ${message.type}`, permanent: true };
        try {
          const data = handle && JSON.stringify((await handle(JSON.parse(message.data), message)) ?? {});
          stream.write(handle ? { delivery: number, reply: { data } } : { delivery: number, nack });
        } catch (error) {
          stream.write({ delivery: number, nack: { reason: error.message } });
        }
      });
      stream.on("error", reject);
      stream.on("end", resolve);
      stream.write({ hello });
    });
  }
}
