// The upload tab.

import { say } from "./text.js";
import { clock, joinText } from "./formats.js";
import { Upload, UploadQueue } from "./uploads.js";
import { button, byId, element, showNotice } from "./dom.js";
import { exportButtons, FollowingScroll, RowList, segmentRow } from "./transcript.js";

/** One file in the queue: its progress, then its transcript with a player. */
class UploadCard {
  #segments = []; #rows = []; #current = null; #summary = null; #language = ""; #upload = null; #url = null; #onSettled = () => {};
  #makeUpload; #languageName; #handlers;

  /**
   * `makeUpload(file, handlers)` gives the Upload to start when it is the file's turn.
   * handlers: wait(card), leave(card), both in the queue, done(name), failed(problem).
   */
  constructor(file, makeUpload, languageName, handlers) {
    this.file = file;
    this.#makeUpload = makeUpload;
    this.#languageName = languageName;
    this.#handlers = handlers;
    const { name } = file;
    this.state = element("p", { className: "quiet", textContent: say("upload.waiting") });
    this.language = element("span", { className: "tag", hidden: true });
    this.progress = element("progress", { max: 1, value: 0, ariaLabel: say("upload.progress", { name }) });
    this.bar = element("div", { className: "bar" }, this.progress);
    this.cancelButton = button("upload.cancel", () => this.cancel(), { className: "plain small push" });
    this.retryButton = button("retry", () => this.#restart(), { className: "plain small push", hidden: true });
    this.removeButton = button("upload.remove", () => this.remove(), { hidden: true });
    this.notice = element("div", { className: "notice", role: "alert", hidden: true });
    this.player = element("audio", { controls: true, preload: "metadata", hidden: true, ariaLabel: say("upload.player", { name }) });
    this.player.addEventListener("timeupdate", () => this.#highlight(this.player.currentTime));
    this.player.addEventListener("error", () => { this.player.hidden = true; }); // the service reads more than browsers do
    this.text = element("div", { className: "transcript", tabIndex: 0, role: "region", hidden: true, ariaLabel: say("upload.transcript", { name }) });
    this.list = new RowList(this.text);
    this.scroll = new FollowingScroll(this.text);
    this.foot = element("div", { className: "sheet-foot", hidden: true },
      ...exportButtons(() => this.#transcript(), () => name.replace(/\.[^.]*$/, "") || "transcript"));
    const head = element("div", { className: "item-head" }, element("h3", { textContent: name }), this.language, this.state,
      this.cancelButton, this.retryButton, this.removeButton);
    this.node = element("li", { className: "item card" }, head, this.bar, this.notice, this.player, this.text, this.foot);
  }

  /** Sends the file; `onSettled` is called once, however it ends. */
  begin(onSettled) {
    this.#onSettled = onSettled;
    this.#upload = this.#makeUpload(this.file, {
      uploading: (fraction) => this.#uploading(fraction),
      decoding: (position, duration) => this.#decoding(position, duration),
      language: (code) => this.#detected(code),
      segment: (segment) => this.#segment(segment),
      done: (summary) => this.#done(summary),
      failed: (problem) => this.#failed(problem),
    });
    this.#upload.start();
  }

  cancel() {
    this.#upload?.cancel();
    this.#handlers.leave(this);
    this.state.textContent = say("upload.cancelled");
    this.#settle({ canRetry: true });
  }

  remove() {
    URL.revokeObjectURL(this.#url);
    this.node.remove();
    this.#handlers.leave(this);
  }

  #restart() {
    this.#segments = [];
    this.#rows = [];
    this.list.clear();
    this.text.hidden = this.foot.hidden = this.notice.hidden = this.retryButton.hidden = this.removeButton.hidden = true;
    this.bar.hidden = this.cancelButton.hidden = false;
    this.progress.value = 0;
    this.#detected("");
    this.state.textContent = say("upload.waiting");
    this.#handlers.wait(this);
  }

  #detected(code) {
    this.#language = code;
    this.language.textContent = this.#languageName(code);
    this.language.hidden = !code;
  }

  #uploading(fraction) {
    this.progress.value = fraction;
    this.state.textContent = say("upload.uploading", { percent: Math.round(fraction * 100) });
  }

  #decoding(position, duration) {
    if (duration) {
      this.progress.value = Math.min(1, position / duration);
      this.state.textContent = say("upload.decoding.at", { position: clock(position), duration: clock(duration) });
    } else {
      this.progress.removeAttribute("value"); // busy, for as long as the file does not say how long it is
      this.state.textContent = say("upload.decoding");
    }
  }

  #segment(segment) {
    this.#segments.push(segment);
    const row = segmentRow(segment, "upload.seek", () => this.#seek(segment.start));
    this.#rows.push(row);
    this.list.append(row);
    this.text.hidden = false;
    this.#showPlayer();
    this.scroll.grown();
  }

  #done(summary) {
    this.#summary = summary;
    const words = summary.text.split(/\s+/).filter(Boolean).length;
    this.#detected(words ? summary.language : "");
    this.state.textContent = words
      ? say("upload.done", { duration: clock(summary.duration), words }) : say("upload.silent");
    if (summary.warnings?.length) {
      this.notice.classList.add("warn");
      showNotice(this.notice, summary.warnings.join(" "));
    }
    this.#handlers.done(this.file.name);
    this.#settle({ canRetry: false });
  }

  #failed(problem) {
    this.state.textContent = say("upload.failed");
    this.notice.classList.remove("warn");
    showNotice(this.notice, problem.headline, problem.explanation);
    this.#handlers.failed(problem);
    this.#settle({ canRetry: true });
  }

  #settle({ canRetry }) {
    this.bar.hidden = this.cancelButton.hidden = true;
    this.removeButton.hidden = false;
    this.retryButton.hidden = !canRetry;
    this.removeButton.classList.toggle("push", !canRetry);
    this.foot.hidden = !this.#segments.length;
    this.#onSettled();
    this.#onSettled = () => {};
  }

  #showPlayer() {
    if (this.#url) return;
    this.#url = URL.createObjectURL(this.file);
    this.player.src = this.#url;
    this.player.hidden = false;
  }

  #seek(seconds) {
    this.player.currentTime = seconds;
    this.player.play().catch(() => {}); // a file this browser can't play has no player
  }

  #highlight(seconds) {
    const row = this.#rows[this.#segments.findIndex(({ start, end }) => start <= seconds && seconds < end)];
    this.#current?.classList.remove("current");
    this.#current = row;
    row?.classList.add("current");
    const spans = [...(row?.querySelectorAll("[data-start]") ?? [])];
    const spoken = spans.findLast((span) => Number(span.dataset.start) <= seconds);
    this.text.querySelector(".spoken")?.classList.remove("spoken");
    spoken?.classList.add("spoken");
  }

  #transcript() {
    const { language, duration } = this.#summary ?? { language: this.#language, duration: this.#segments.at(-1)?.end ?? 0 };
    return { text: joinText(this.#segments), language, duration, segments: this.#segments };
  }
}

/** The upload tab: takes files in and keeps their cards. */
export class UploadController {
  #service; #settings; #onProblem; #onDrop; #queue = new UploadQueue();

  /** `service()` is the one to talk to now; `onProblem` gets what the whole page may have to act on. */
  constructor({ service, settings, onProblem, onDrop }) {
    this.#service = service;
    this.#settings = settings;
    this.#onProblem = onProblem;
    this.#onDrop = onDrop;
    byId("files").addEventListener("change", ({ target }) => { this.add(target.files); target.value = ""; });
    byId("upload-sample").addEventListener("click", () => this.#addSample());
    this.#acceptDrops(byId("drop"));
  }

  add(files) {
    for (const file of files) {
      const card = this.#card(file);
      byId("queue").append(card.node);
      this.#queue.add(card);
    }
  }

  #card(file) {
    const makeUpload = (what, handlers) => new Upload(this.#service(), what, this.#settings.upload(), handlers);
    return new UploadCard(file, makeUpload, (code) => this.#settings.languageName(code), {
      wait: (card) => this.#queue.add(card),
      leave: (card) => this.#queue.drop(card),
      done: (name) => this.#announce(say("upload.done.said", { name })),
      failed: (problem) => this.#onProblem(problem),
    });
  }

  /** For screen readers: one sentence when a file ends, not one a segment. */
  #announce(sentence) {
    byId("upload-state").textContent = sentence;
  }

  async #addSample() {
    try {
      this.add([await this.#service().sample()]);
    } catch (problem) {
      this.#onProblem(problem);
    }
  }

  /** The whole page takes files, so that one dropped beside the field does not replace the page. */
  #acceptDrops(zone) {
    addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    addEventListener("dragleave", (event) => event.relatedTarget || zone.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (!event.dataTransfer.files.length) return;
      this.#onDrop();
      this.add(event.dataTransfer.files);
    });
  }
}
