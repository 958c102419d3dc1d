// What went wrong, in words: the service's errors, a proxy's, the browser's and this page's own.

import { TEXT, say } from "./text.js";

/** What a proxy means by a status, in the service's codes; what is not here passes, or may. */
const ANSWERS = {
  400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
  408: "timed_out", 413: "payload_too_large", 429: "rate_limited", 500: "internal_error", 504: "proxy_timeout",
  524: "proxy_timeout", // Cloudflare's
};

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Something that went wrong and that TEXT can explain. `detail` is the service's own sentence. */
export class Problem extends Error {
  constructor(code, { values = {}, detail = "", retryAfter = null } = {}) {
    super(code);
    this.code = code;
    this.values = values;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  /** From the service's one error shape, {code, message, ...}, an HTTP body's or a socket's. */
  static fromService({ code = "unknown", message = "", param = "", got = "" }, retryAfter = null) {
    if (code === "forbidden" && param === "origin") return new Problem("origin_refused", { values: { origin: got }, detail: message });
    return new Problem(code, { detail: message, retryAfter });
  }

  /** From anything that was thrown: what is no Problem is a mistake of this page's. */
  static from(error) {
    if (error instanceof Problem) return error;
    console.error(error);
    return new Problem("mistake", { values: { message: String(error) } });
  }

  /** From an HTTP answer; a proxy in between answers in its own words. */
  static fromAnswer(status, body, retryAfter) {
    const wait = Number(retryAfter) || null;
    const error = parsed(body)?.error;
    if (error?.code) return Problem.fromService(error, wait);
    return new Problem(ANSWERS[status] ?? "unavailable", { detail: `HTTP ${status}`, retryAfter: wait });
  }

  get #isKnown() {
    return `error.${this.code}` in TEXT;
  }

  /** What a newer service says has no words here: its own are better than none. */
  get headline() {
    if (this.#isKnown) return say(`error.${this.code}`, this.values);
    return this.detail || say("error.unknown");
  }

  get explanation() {
    const said = this.#isKnown && this.detail && say("error.said", { message: this.detail });
    const wait = this.retryAfter && say("error.retry_after", { seconds: this.retryAfter });
    return [said, wait].filter(Boolean).join(" ");
  }
}
