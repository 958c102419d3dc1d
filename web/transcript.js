// A transcript on the page: its rows, how they scroll, and how they are taken away.

import { say } from "./text.js";
import { FORMATS, MEDIA_TYPES, clock } from "./formats.js";
import { button, element } from "./dom.js";

/** A text whose words are spans where they have times. What is between them is the text's own: some
    languages write no spaces. */
function wordByWord(text, words) {
  const nodes = [];
  let end = 0;
  for (const { word, start } of words) {
    const spoken = word.trim();
    const at = text.indexOf(spoken, end);
    if (at < 0) continue; // not in the text: it is read all the same
    nodes.push(text.slice(end, at), element("span", { textContent: spoken, "data-start": start }));
    end = at + spoken.length;
  }
  return [...nodes, text.slice(end)];
}

/** One segment: its time, which plays it, and its text, word by word where words have times. */
export function segmentRow(segment, seekKey, onSeek) {
  const time = clock(segment.start);
  const at = button("retry", onSeek, { className: "at", textContent: time, title: say(seekKey, { time }), ariaLabel: say(seekKey, { time }) });
  const text = element("p");
  text.append(...wordByWord(segment.text.trim(), segment.words ?? []));
  return element("div", { className: "row" }, at, text);
}

/** Appends rows in blocks of fifty: the browser looks after a hundred blocks with less effort than
    after five thousand rows. Rows once there are not touched again. */
export class RowList {
  static BLOCK = 50;

  constructor(box) {
    this.box = box;
  }

  append(row) {
    const last = this.box.lastElementChild;
    if (last && last.childElementCount < RowList.BLOCK) last.append(row);
    else this.box.append(element("div", { className: "block" }, row));
  }

  get last() {
    return this.box.lastElementChild.lastElementChild;
  }

  clear() {
    this.box.replaceChildren();
  }
}

/** Scrolls along with what is appended, until the reader scrolls up. */
export class FollowingScroll {
  #isFollowing = true; #isQueued = false; #top = 0;

  constructor(box, onChange = () => {}) {
    this.box = box;
    this.onChange = onChange;
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /** Call after appending. Waits for the frame, so that many rows cost one layout. */
  grown() {
    if (!this.#isFollowing || this.#isQueued) return;
    this.#isQueued = true;
    requestAnimationFrame(() => {
      this.#isQueued = false;
      if (this.#isFollowing) this.toEnd(); // the reader may have scrolled within this frame
    });
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.#follow(true);
  }

  /** Away from the end is not enough to let go: the end also moves when blocks get their true height. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < 60; // two lines
    if (isAtEnd || scrollTop < this.#top) this.#follow(isAtEnd);
    this.#top = scrollTop;
  }

  #follow(isFollowing) {
    if (isFollowing === this.#isFollowing) return;
    this.#isFollowing = isFollowing;
    this.onChange(isFollowing);
  }
}

// ----- copy and download

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { value: text }); // pages on plain http have no clipboard object
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function download(name, content, mediaType) {
  const url = URL.createObjectURL(new Blob([content], { type: mediaType }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download has begun by then
}

/** Copy and download buttons for what `transcript()` gives when one is pressed. */
export function exportButtons(transcript, baseName) {
  const copy = button("export.copy", async () => {
    await copyText(FORMATS.txt(transcript()));
    copy.textContent = say("export.copied");
    setTimeout(() => { copy.textContent = say("export.copy"); }, 2000);
  });
  const saves = Object.entries(FORMATS).map(([format, write]) => button("export.copy", () =>
    download(`${baseName()}.${format}`, write(transcript()), MEDIA_TYPES[format]),
  { textContent: format, ariaLabel: say("export.as", { format }) }));
  const label = element("span", { className: "quiet", textContent: say("export.download") });
  return [copy, element("span", { className: "group" }, label, ...saves)];
}
