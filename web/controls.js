// The two controls that browsers lack, as the ARIA practices describe them.

import { say } from "./text.js";
import { byId, element } from "./dom.js";

/** The keyboard of tabs as the ARIA practices describe it: arrows, Home, End. */
export class Tabs {
  constructor(tabs, onSelect) {
    this.tabs = tabs;
    this.onSelect = onSelect;
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.select(i));
      tab.addEventListener("keydown", (event) => this.#key(event, i));
    });
  }

  select(index) {
    this.tabs.forEach((tab, i) => {
      tab.ariaSelected = String(i === index);
      tab.tabIndex = i === index ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = i !== index;
    });
    this.onSelect(this.tabs[index].id);
  }

  #key(event, index) {
    const last = this.tabs.length - 1;
    const target = {
      ArrowLeft: index ? index - 1 : last, ArrowRight: index < last ? index + 1 : 0, Home: 0, End: last,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.select(target);
    this.tabs[target].focus();
  }
}

// ----- languages

const capitalised = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** What speakers call their language, where the browser knows it. */
function ownName(code) {
  try {
    return capitalised(new Intl.DisplayNames([code], { type: "language", fallback: "none" }).of(code) ?? "");
  } catch { // codes of Whisper's that are not BCP 47
    return "";
  }
}

/** A text field with a list that narrows down as one types: a combobox of the ARIA practices. */
export class LanguagePicker {
  #languages = [{ code: "", name: say("language.detect"), label: say("language.detect") }];
  #shown = []; #active = -1;

  constructor(input, list, onChange) {
    this.input = input;
    this.list = list;
    this.onChange = onChange;
    this.code = "";
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => { input.select(); this.#open(""); });
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#close());
    this.#close();
  }

  fill(languages) {
    const known = languages.map(({ code, name }) => {
      const own = ownName(code);
      const label = capitalised(name) + (own && own.toLowerCase() !== name ? ` · ${own}` : "");
      return { code, name: capitalised(name), label };
    });
    known.sort((a, b) => a.name.localeCompare(b.name));
    this.#languages = [this.#languages[0], ...known];
    this.#close();
  }

  name(code) {
    return this.#languages.find((language) => language.code === code)?.name ?? code;
  }

  choose(code) {
    this.code = code;
    this.#close();
  }

  #open(query) {
    const wanted = query.trim().toLowerCase();
    this.#shown = this.#languages.filter(({ code, label }) => code === wanted || label.toLowerCase().includes(wanted));
    this.list.replaceChildren(...this.#shown.map(({ code, label }, i) => element("li", {
      role: "option", id: `language-${i}`, textContent: label, "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); this.#pick(code); }, // before the field's blur
    })));
    this.list.hidden = !this.#shown.length;
    this.input.ariaExpanded = String(!this.list.hidden);
    this.#activate(Math.max(0, this.#shown.findIndex(({ code }) => code === this.code)));
  }

  #close() {
    this.list.hidden = true;
    this.input.ariaExpanded = "false";
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.name(this.code);
  }

  #activate(index) {
    this.list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = index;
    const option = this.list.children[index];
    if (!option) return;
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option.id);
  }

  #pick(code) {
    this.choose(code);
    this.onChange(code);
  }

  #key(event) {
    const isOpen = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !isOpen) this.#open("");
    else if (step) this.#activate((this.#active + step + this.#shown.length) % this.#shown.length);
    else if (event.key === "Enter" && isOpen) this.#pick(this.#shown[this.#active].code);
    else if (event.key === "Escape" && isOpen) this.#close();
    else return;
    event.preventDefault();
  }
}
