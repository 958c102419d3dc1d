// Where the service is, and how it is asked.

import { Problem } from "./problem.js";

/** The API key for one service: kept for as long as this tab is open, and for no other address. */
class ApiKey {
  #name; #value = "";

  constructor(address) {
    this.#name = `whisper-streaming key for ${address}`;
    try {
      this.#value = sessionStorage.getItem(this.#name) ?? "";
    } catch { /* forbidden: the key holds until the page is left */ }
  }

  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value;
    try {
      if (value) sessionStorage.setItem(this.#name, value); else sessionStorage.removeItem(this.#name);
    } catch { /* as above */ }
  }
}

/** Where a page at `location` finds its service: beside it, under whatever prefix a proxy puts before both; a
    page from disk has to be told, and remembers. */
export function pageAddress(location, remembered) {
  if (location.protocol !== "file:") return new URL(".", location.href).href;
  return remembered ?? "http://localhost:8000/";
}

/** What was typed as an address, whole, or null where it is none. */
export function typedAddress(typed) {
  const address = typed.includes("://") ? typed : `http://${typed || "localhost:8000"}`;
  return URL.canParse(address) ? new URL(address).href.replace(/\/?$/, "/") : null;
}

/** What a socket's address answers to a request where it has no reason to refuse a socket, or knows none. */
const NO_REASON = new Set([404, 405, 426]);

/** Where the service is and how it is asked; the only place that knows its addresses and its key. */
export class Service {
  static TOKEN_SECONDS = 60; // to open one socket; a stream outlives its token

  constructor(address) {
    this.address = address;
    this.key = new ApiKey(address);
  }

  url(path) {
    return new URL(path, this.address).href;
  }

  get streamUrl() {
    return this.url("stream").replace(/^http/, "ws");
  }

  get headers() {
    return this.key.value ? { Authorization: `Bearer ${this.key.value}` } : {};
  }

  unreachable() {
    return new Problem("service_unreachable", { values: { address: this.address } });
  }

  /** "ready", "starting" or "away". */
  async state() {
    try {
      const answer = await fetch(this.url("readyz"), { cache: "no-store" });
      return answer.ok ? "ready" : "starting";
    } catch {
      return "away";
    }
  }

  async json(path) {
    return (await this.#ask(path)).json();
  }

  /**
   * A socket for a live stream. A browser's socket sends no headers, and addresses end up in logs:
   * in the key's place goes a token that is soon worthless, as a subprotocol.
   */
  async openStream() {
    if (!this.key.value) return new WebSocket(this.streamUrl);
    const body = JSON.stringify({ expires_in: Service.TOKEN_SECONDS, scopes: ["stream"] });
    const answer = await this.#ask("tokens", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    const { token } = await answer.json();
    return new WebSocket(this.streamUrl, ["whisper-streaming", `bearer.${token}`]);
  }

  /** Browsers do not say why a socket or a large upload was refused; the service does. Null where it is well. */
  async whyRefused() {
    return this.#ask("models").then(() => null, (problem) => problem);
  }

  /** The same of a socket: asked without being one, its address says what its handshake was told. */
  async whyNoStream() {
    const why = await this.#ask(`stream?origin=${encodeURIComponent(location.origin)}`).catch((problem) => problem);
    return why instanceof Problem && !NO_REASON.has(why.status) ? why : null;
  }

  /** The bundled sample, as a File like one that was picked. */
  async sample() {
    const answer = await this.#ask("sample.wav").catch((problem) => {
      throw problem.code === "service_unreachable" ? problem : new Problem("sample_missing");
    });
    return new File([await answer.blob()], "sample.wav", { type: "audio/wav" });
  }

  /** What it answers to `path`; throws a Problem for everything but success. */
  async #ask(path, { headers, ...options } = {}) {
    const answer = await fetch(this.url(path), { ...options, headers: { ...this.headers, ...headers } })
      .catch(() => { throw this.unreachable(); });
    if (answer.ok) return answer;
    const problem = Problem.fromAnswer(answer.status, await answer.text(), answer.headers.get("Retry-After"));
    problem.status = answer.status;
    throw problem;
  }
}
