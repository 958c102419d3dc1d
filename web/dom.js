// Elements, and the boxes that tell something. Text only as text.

import { TEXT, say } from "./text.js";
import { Problem } from "./problem.js";

export const byId = (id) => document.getElementById(id);

/** An element with properties, data- and aria- attributes included, and children; text only as text. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && !name.includes("-")) node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function button(key, onclick, properties = {}) {
  return element("button", { type: "button", className: "plain small", textContent: say(key), onclick, ...properties });
}

/** Fills in the words that the page's markup names. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of root.querySelectorAll("[data-label]")) node.ariaLabel = say(node.dataset.label);
  for (const node of root.querySelectorAll("[data-title]")) node.title = say(node.dataset.title);
}

/** A box that says what went wrong and what to do. */
export function showNotice(box, headline, detail = "", ...actions) {
  const words = element("div", {}, element("strong", { textContent: headline }));
  if (detail) words.append(element("span", { className: "quiet", textContent: detail }));
  box.replaceChildren(words, ...actions);
  box.hidden = false;
}

/** What a service warns of, [{code, message}], above the tabs; what has no words here has the service's. */
export function showWarnings(warnings) {
  byId("notices").replaceChildren(...warnings.map(({ code, message }) => {
    const box = element("div", { className: "notice warn" });
    const [key, help] = [`warning.${code}`, `warning.${code}.help`];
    if (key in TEXT) showNotice(box, say(key), help in TEXT ? say(help) : message); else showNotice(box, message);
    return box;
  }));
}

export function showProblem(box, error) {
  const problem = Problem.from(error);
  showNotice(box, problem.headline, problem.explanation, button("dismiss", () => { box.hidden = true; }));
}
