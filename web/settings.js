// What is asked for: the settings, their fields, and what one visit leaves to the next.

import { say } from "./text.js";
import { byId, element } from "./dom.js";
import { LanguagePicker } from "./controls.js";

/** Names, limits and defaults are those of the service's messages: tests/data/settings.json holds both to the same. */
export const COMMON_OPTIONS = [{ name: "word_timestamps", value: false }];
export const UPLOAD_OPTIONS = [
  { name: "vad_filter", value: true },
  { name: "audio_track", value: "", min: 0, max: 99, step: 1 }, // "" leaves it to the service
];
export const STREAM_OPTIONS = [
  { name: "chunk_duration", value: 5, min: 0.5, max: 28, step: 0.5, unit: "seconds" },
  { name: "overlap", value: 0.5, min: 0, max: 5, step: 0.1, unit: "seconds" },
  { name: "partial_interval", value: 1, min: 0, max: 30, step: 0.1, unit: "seconds" },
  { name: "endpoint_silence", value: 0.6, min: 0.1, max: 10, step: 0.1, unit: "seconds" },
  { name: "use_context", value: true },
  { name: "vad", value: true },
];
export const DEFAULTS = {
  model_size: "", language: "", task: "transcribe", prompt: "",
  ...Object.fromEntries([...COMMON_OPTIONS, ...UPLOAD_OPTIONS, ...STREAM_OPTIONS].map(({ name, value }) => [name, value])),
};

/** What both ways in are asked with; unset means the service decides. */
function commonFields({ model_size, language, task, prompt, word_timestamps }) {
  const set = Object.entries({ model_size, language, prompt }).filter(([, value]) => value);
  return { ...Object.fromEntries(set), task, word_timestamps };
}

const chosen = (options, values) =>
  Object.fromEntries(options.map(({ name }) => [name, values[name]]).filter(([, value]) => value !== ""));

/** The settings `values` as the configuration of a stream. */
export const streamFields = (values) => ({ ...commonFields(values), ...chosen(STREAM_OPTIONS, values) });
/** The settings `values` as the fields of an upload's form. */
export const uploadFields = (values) => ({ ...commonFields(values), ...chosen(UPLOAD_OPTIONS, values) });

/** What was typed into a number's field, as far as the field allows it; nothing typed is the default. */
export function within({ value, min, max }, typed) {
  return typed === "" ? value : Math.max(min, Math.min(max, Number(typed)));
}

/** What one visit leaves to the next. A browser that stores nothing only forgets. */
export class Memory {
  static KEY = "whisper-streaming";

  load() {
    try {
      return JSON.parse(localStorage.getItem(Memory.KEY)) ?? {};
    } catch {
      return {};
    }
  }

  save(values) {
    try {
      localStorage.setItem(Memory.KEY, JSON.stringify({ ...this.load(), ...values }));
    } catch { /* full or forbidden: the settings still hold for this visit */ }
  }
}

const millions = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} B` : `${Math.round(n / 1e6)} M`);

/** The settings' fields and what they stand at. */
export class SettingsView {
  #models = []; #defaultModel = ""; #model = ""; #inputs = {}; #picker;

  constructor(memory) {
    this.memory = memory;
    this.#picker = new LanguagePicker(byId("language"), byId("languages"), () => this.#save());
    byId("task").append(...["transcribe", "translate"].map((task) => new Option(say(`task.${task}`), task)));
    byId("common-options").append(...COMMON_OPTIONS.map((option) => this.#field(option)));
    byId("upload-options").append(...UPLOAD_OPTIONS.map((option) => this.#field(option)));
    byId("stream-options").append(...STREAM_OPTIONS.map((option) => this.#field(option)));
    byId("model").addEventListener("change", ({ target }) => { this.#showModel(target.value); this.#save(); });
    for (const id of ["task", "prompt"]) byId(id).addEventListener("change", () => this.#save());
    byId("reset").addEventListener("click", () => { this.#show(DEFAULTS); this.#save(); });
    this.#show({ ...DEFAULTS, ...memory.load().settings });
    this.setModels([], "");
  }

  /** The models as GET /models lists them. */
  setModels(models, defaultModel) {
    this.#models = models;
    this.#defaultModel = defaultModel;
    const first = defaultModel ? say("model.default.named", { name: defaultModel }) : say("model.default");
    byId("model").replaceChildren(new Option(first, ""), ...models.map((model) =>
      new Option(this.#optionName(model), model.name)));
    const isKnown = models.some(({ name }) => name === this.#model);
    this.#showModel(isKnown || !models.length ? this.#model : "");
  }

  setLanguages(languages) {
    this.#picker.fill(languages);
  }

  languageName(code) {
    return this.#picker.name(code);
  }

  stream() {
    return streamFields(this.values());
  }

  upload() {
    return uploadFields(this.values());
  }

  values() {
    const options = Object.entries(this.#inputs).map(([name, input]) =>
      [name, input.type === "checkbox" ? input.checked : input.value && Number(input.value)]);
    return {
      model_size: this.#model, language: this.#picker.code, task: byId("task").value,
      prompt: byId("prompt").value.trim(), ...Object.fromEntries(options),
    };
  }

  #field(option) {
    const { name, value, unit, ...limits } = option;
    const isSwitch = typeof value === "boolean";
    const input = element("input", {
      id: name, type: isSwitch ? "checkbox" : "number", "aria-describedby": `${name}-help`, ...limits,
    });
    this.#inputs[name] = input;
    input.addEventListener("change", () => {
      if (!isSwitch) input.value = within(option, input.value);
      this.#save();
    });
    const label = element("label", { htmlFor: name, textContent: say(`${name}.label`) });
    const help = element("p", { className: "help", id: `${name}-help`, textContent: say(`${name}.help`) });
    return isSwitch
      ? element("div", { className: "field check" }, input, element("div", {}, label, help))
      : element("div", { className: "field" }, label,
        element("div", { className: "number" }, input, element("span", { className: "quiet", textContent: unit ? say(unit) : "" })), help);
  }

  #show(values) {
    this.#showModel(values.model_size);
    this.#picker.choose(values.language);
    byId("task").value = values.task;
    byId("prompt").value = values.prompt;
    for (const [name, input] of Object.entries(this.#inputs)) {
      if (input.type === "checkbox") input.checked = values[name]; else input.value = values[name];
    }
  }

  /** A remembered choice holds also while the service has not said what it has. */
  #showModel(chosen) {
    this.#model = chosen;
    byId("model").value = chosen;
    if (byId("model").selectedIndex < 0) byId("model").value = "";
    const model = this.#models.find(({ name }) => name === (chosen || this.#defaultModel));
    byId("model-help").textContent = model ? this.#explanation(model) : say("model.help.default");
  }

  #optionName(model) {
    if (model.has_weights) return model.name;
    return say(model.can_download ? "model.download" : "model.missing", model);
  }

  #explanation(model) {
    const state = model.is_loaded ? "loaded" : model.has_weights ? "ready" : model.can_download ? "download" : "missing";
    const known = model.n_parameters ?? null;
    const words = state !== "missing" && known === null
      ? say("model.help.default")
      : say(`model.help.${state}`, { parameters: known && millions(known), path: model.path });
    return [words, model.is_multilingual ? "" : say("model.help.english"), model.note].filter(Boolean).join(" ");
  }

  #save() {
    this.memory.save({ settings: this.values() });
  }
}
