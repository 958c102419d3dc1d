// The page: its parts put together, and an eye on the service.

import { say } from "./text.js";
import { Service, pageAddress, typedAddress } from "./service.js";
import { byId, showNotice, showWarnings, translate } from "./dom.js";
import { Tabs } from "./controls.js";
import { Memory, SettingsView } from "./settings.js";
import { KeyForm } from "./key.js";
import { LiveController } from "./live.js";
import { UploadController } from "./upload.js";

/** Puts the parts together and keeps an eye on the service. */
class App {
  static LOOK_AGAIN_MS = 3000;
  #isLooking = false; #lookNow = () => {};

  constructor() {
    this.memory = new Memory();
    this.isFromDisk = location.protocol === "file:";
    this.service = new Service(pageAddress(location, this.memory.load().address));
    this.settings = new SettingsView(this.memory);
    const parts = { service: () => this.service, settings: this.settings, onProblem: (problem) => this.#follow(problem) };
    this.live = new LiveController(parts);
    this.uploads = new UploadController({ ...parts, onDrop: () => this.tabs.select(1) });
    this.keyForm = new KeyForm(() => this.lookForService());
    this.tabs = new Tabs([byId("tab-live"), byId("tab-upload")], (id) => this.#tabChosen(id));
    this.tabs.select(this.memory.load().tab === "tab-upload" ? 1 : 0);
    byId("docs").href = this.service.url("docs");
    if (this.isFromDisk) this.#offerAddress();
    if (matchMedia("(max-width: 56rem)").matches) byId("settings").open = false; // the text comes first there
    this.lookForService();
  }

  /** Asks until the service is ready, then fills in what it offers. */
  async lookForService() {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#showService("checking");
    for (;;) {
      const { service } = this;
      const state = await service.state();
      if (service === this.service) this.#showService(state);
      if (state === "ready" && await this.#fillChoices()) break;
      if (this.keyForm.isAsking) break; // the answer begins another look
      await new Promise((resolve) => { this.#lookNow = resolve; setTimeout(resolve, App.LOOK_AGAIN_MS); });
    }
    this.#isLooking = false;
  }

  async #fillChoices() {
    const { service } = this;
    try {
      const [models, languages] = await Promise.all([service.json("models"), service.json("languages")]);
      if (service !== this.service) return false; // the address has changed meanwhile
      this.settings.setModels(models.models, models.default);
      this.settings.setLanguages(languages.languages);
      this.keyForm.done(service);
      this.#lookForWarnings();
      return true;
    } catch (problem) {
      if (service === this.service) this.#follow(problem);
      return false;
    }
  }

  /** Beside all else: the page is of use without them, and a service that is busy gives them late. */
  async #lookForWarnings() {
    const { service } = this;
    const { warnings = [] } = await service.json("stats").catch(() => ({}));
    if (service === this.service) showWarnings(warnings);
  }

  /** Does what a problem asks of the whole page: looks for the service, or asks for its key. */
  #follow(problem) {
    if (problem.code === "service_unreachable") this.lookForService();
    if (problem.code === "unauthorized") {
      this.#showService("locked");
      this.keyForm.ask(this.service);
      showWarnings([]);
    }
  }

  #showService(state) {
    byId("service-dot").dataset.state = state === "checking" ? "starting" : state;
    byId("service-state").textContent = say(`service.${state}`);
    const box = byId("service-away");
    if (state === "away" && box.hidden) {
      showNotice(box, say("service.away.title", { address: this.service.address }),
        say(this.isFromDisk ? "service.away.disk" : "service.away.served"));
    } else if (state !== "away" && state !== "checking") {
      box.hidden = true;
    }
  }

  #offerAddress() {
    byId("address-field").hidden = false;
    byId("address").value = this.service.address;
    byId("address").addEventListener("change", ({ target }) => this.#moveTo(target.value.trim()));
  }

  #moveTo(typed) {
    const address = typedAddress(typed);
    if (!address) return byId("address").reportValidity();
    this.service = new Service(address);
    byId("address").value = this.service.address;
    byId("docs").href = this.service.url("docs");
    this.memory.save({ address: this.service.address });
    byId("service-away").hidden = true;
    showWarnings([]);
    this.keyForm.hide();
    this.#lookNow();
    this.lookForService();
  }

  #tabChosen(id) {
    byId("stream-settings").hidden = id !== "tab-live";
    byId("upload-settings").hidden = id !== "tab-upload";
    this.memory.save({ tab: id });
  }
}

translate(document);
new App();
