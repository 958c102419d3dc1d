// Asking for the API key.

import { say } from "./text.js";
import { Problem } from "./problem.js";
import { byId } from "./dom.js";

/** The field for the service's API key: there only while the service asks for one. */
export class KeyForm {
  #service = null; #onKey;

  /** `onKey` is called when a key was taken, or forgotten. */
  constructor(onKey) {
    this.#onKey = onKey;
    byId("key").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(byId("api-key").value.trim());
    });
    byId("forget-key").addEventListener("click", () => this.#forget());
  }

  get isAsking() {
    return !byId("key").hidden;
  }

  ask(service) {
    const isWrong = Boolean(service.key.value); // it was taken once, and is no longer
    service.key.value = "";
    this.#service = service;
    byId("forget-key").hidden = true;
    if (this.isAsking) return;
    byId("key-help").textContent = say("key.help", { address: service.address });
    byId("key").hidden = false;
    this.#say(isWrong ? say("key.wrong") : "");
  }

  done(service) {
    this.#service = service;
    byId("forget-key").hidden = !service.key.value;
    this.hide();
  }

  hide() {
    byId("key").hidden = true;
    byId("api-key").value = "";
  }

  async #try(key) {
    const service = this.#service;
    const isSendable = /^[\x21-\x7e]+$/.test(key); // other characters do not fit into a header
    byId("use-key").disabled = true;
    this.#say(say("key.checking"));
    service.key.value = isSendable ? key : "";
    const problem = isSendable ? await service.whyRefused() : new Problem("unauthorized");
    byId("use-key").disabled = false;
    if (problem) {
      service.key.value = "";
      this.#say(problem.code === "unauthorized" ? say("key.wrong") : `${problem.headline} ${problem.explanation}`);
      byId("api-key").select();
    } else {
      this.hide();
      this.#onKey();
    }
  }

  #forget() {
    this.#service.key.value = "";
    this.#onKey();
  }

  #say(sentence) {
    byId("key-state").textContent = sentence;
  }
}
