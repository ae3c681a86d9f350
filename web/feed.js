// The link to the daemon: one event stream that reconnects by itself, and an honest word about its freshness.
//
//   live    states arrive and the daemon publishes
//   stale   the gateway answers but the daemon has published nothing for STALE_S
//   lost    nothing at all arrives

const STALE_S = 5;
const SILENT_MS = 5000;
const RETRY_MS = 1000;
const WATCH_MS = 500;

export class Feed {
  constructor({ onState, onJournal, onLink }) {
    this.onState = onState;
    this.onJournal = onJournal;
    this.onLink = onLink;
    this.lastId = null;
    this.heard = performance.now();
    this.published = null;
    this.open();
    setInterval(() => this.watch(), WATCH_MS);
  }

  open() {
    const query = this.lastId === null ? "?recent=40" : `?after=${this.lastId}`;
    this.source?.close();
    const source = new EventSource(`/api/v1/events${query}`);
    this.source = source;
    this.opened = performance.now();
    const hear = (act) => (event) => {
      this.heard = performance.now();
      act(JSON.parse(event.data), event);
      this.watch();
    };
    source.addEventListener("state", hear((state) => {
      // A state that is sent again at reconnection is as old as the beat says, not new.
      if (state.now !== this.shownNow || state.boot_id !== this.shownBoot) this.published = performance.now();
      this.shownNow = state.now;
      this.shownBoot = state.boot_id;
      this.onState(state);
    }));
    source.addEventListener("journal", hear((entry) => {
      this.lastId = entry.seq;
      this.onJournal(entry);
    }));
    source.addEventListener("beat", hear((beat) => {
      this.published = performance.now() - beat.snapshot_age_s * 1000;
    }));
    source.addEventListener("gap", hear((gap) => this.onJournal({ fact: "gap", ...gap })));
  }

  // Seconds since the daemon last published, as far as is known here.
  age() {
    return this.published === null ? Infinity : (performance.now() - this.published) / 1000;
  }

  watch() {
    const now = performance.now();
    const silent = now - this.heard;
    const closed = this.source.readyState === EventSource.CLOSED;
    const connecting = this.source.readyState === EventSource.CONNECTING;
    if (silent > SILENT_MS || closed || connecting) {
      this.onLink("lost", this.age());
      if ((closed || silent > SILENT_MS) && now - this.opened > RETRY_MS) this.open();
      return;
    }
    this.onLink(this.age() > STALE_S ? "stale" : "live", this.age());
  }
}
