// One file on its way to the service, and the files that wait.

import { Problem } from "./problem.js";

/**
 * Text in pieces, cut anywhere -> whole events {event, data}; `data` is JSON. Comments and other fields are
 * skipped (HTML standard, 9.2.6, "Interpreting an event stream").
 */
export class EventStreamParser {
  #rest = ""; #event = ""; #data = [];

  push(piece) {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/); // a CR at the end may be half a CRLF
    this.#rest = lines.pop();
    return lines.map((line) => this.#take(line)).filter(Boolean);
  }

  /** The event that `line` completes, or null. */
  #take(line) {
    if (!line) return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return null;
  }

  #dispatch() {
    const [event, data] = [this.#event || "message", this.#data.join("\n")];
    this.#event = "";
    this.#data = [];
    return data ? { event, data: JSON.parse(data) } : null;
  }
}

/**
 * One file on its way through POST /transcribe. XMLHttpRequest, because fetch tells nothing of an
 * upload's progress.
 *
 * handlers: uploading(fraction), decoding(position, duration), language(code), segment(segment),
 * done(summary), failed(problem).
 */
export class Upload {
  #request = new XMLHttpRequest(); #parser = new EventStreamParser(); #seen = 0; #isSettled = false;

  constructor(service, file, fields, handlers) {
    this.service = service;
    this.file = file;
    this.fields = fields;
    this.handlers = handlers;
  }

  start() {
    const form = new FormData();
    for (const [name, value] of Object.entries(this.fields)) form.append(name, value);
    form.append("stream", "true");
    form.append("file", this.file, this.file.name);
    const request = this.#request;
    request.open("POST", this.service.url("transcribe"));
    for (const [name, value] of Object.entries(this.service.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => this.handlers.uploading(total ? loaded / total : 0);
    request.upload.onload = () => this.handlers.decoding(0, null);
    request.onprogress = () => this.#read();
    request.onload = () => this.#finish();
    request.onerror = () => this.#broken();
    request.send(form);
  }

  cancel() {
    this.#isSettled = true;
    this.#request.abort();
  }

  #read() {
    if (this.#request.status !== 200) return;
    const piece = this.#request.responseText.slice(this.#seen);
    this.#seen += piece.length;
    for (const { event, data } of this.#parser.push(piece)) this.#receive(event, data);
  }

  #receive(event, data) {
    const handle = {
      language: () => this.handlers.language(data.language),
      segment: () => this.handlers.segment(data),
      progress: () => this.handlers.decoding(data.position, data.duration),
      done: () => { this.#isSettled = true; this.handlers.done(data); },
      error: () => this.#fail(Problem.fromService(data.error)),
    }[event];
    handle?.();
  }

  #finish() {
    const { status, responseText } = this.#request;
    if (status !== 200) return this.#fail(Problem.fromAnswer(status, responseText, this.#request.getResponseHeader("Retry-After")));
    this.#read();
    this.#fail(new Problem("upload_broken")); // unless done or an error came before
  }

  /** A refusal that came before the file was sent in full reaches browsers as a broken connection. */
  async #broken() {
    this.#fail((!this.#seen && await this.service.whyRefused()) || new Problem("upload_broken"));
  }

  #fail(problem) {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.handlers.failed(problem);
  }
}

/** One upload at a time, in the order in which they were added. An entry has begin(onSettled) and cancel(). */
export class UploadQueue {
  #waiting = []; #isBusy = false;

  add(entry) {
    this.#waiting.push(entry);
    this.#next();
  }

  drop(entry) {
    this.#waiting = this.#waiting.filter((other) => other !== entry);
  }

  #next() {
    if (this.#isBusy || !this.#waiting.length) return;
    this.#isBusy = true;
    this.#waiting.shift().begin(() => { this.#isBusy = false; this.#next(); });
  }
}
