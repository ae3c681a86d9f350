// What each card shows, from one snapshot. `extra` is the time in seconds that has passed since it was taken.

import { exclusions, gantt, strip } from "./charts.js";
import { rowButton } from "./commands.js";
import { ageText, byId, fixed, h, hhmm, hhmmss, productUrl, setText, show, targetLink } from "./elements.js";
import { skyPlot } from "./sky.js";

const OLD_S = 30;

export function sentence(state) {
  const { doing, why, until, next, would_change: change } = state.sentence;
  setText(byId("doing"), doing || "nothing to say");
  show(byId("because"), state.sentence, () => {
    const lines = [["Because", why], ["Until", until ? `${hhmm(until)} UTC` : "nothing ends it by itself"], ["Next", next], ["Would change it", change]];
    return lines.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text || "–")]);
  });
}

export function bar(state) {
  setText(byId("site"), `${state.site.title} · ${state.unit}`);
  setText(byId("clock"), `${hhmmss(state.now)} UTC`);
  const pace = state.mode.kind === "simulated" ? `SIMULATED ${state.mode.pace > 0 ? `${state.mode.pace}x` : "at full pace"}` : "";
  setText(byId("mode"), pace);
  setText(byId("night"), `${state.night.night} ${state.night.state}, ${state.night.phase}`);
  const verdict = byId("verdict");
  setText(verdict, state.safety.state);
  verdict.dataset.state = state.safety.state;
  document.title = `${state.safety.state}: ${state.sentence.doing} · ${state.site.name}`;
  setText(byId("version"), `Alidade ${state.version}, boot ${state.boot_id}, journal ${state.journal_seq}`);
}

function ageCell(age, extra) {
  const total = age === null ? null : age + extra;
  return h("td", { class: total === null || total > OLD_S ? "age old" : "age" }, ageText(total));
}

export function safety(state, extra) {
  const { reasons, since, inputs } = state.safety;
  const from = since ? ` since ${hhmm(since)} UTC` : "";
  setText(byId("reasons"), reasons.length ? `${state.safety.state}${from}: ${reasons.join("; ")}` : `${state.safety.state}${from}`);
  show(byId("inputs"), [inputs, Math.round(extra)], () => inputs.map((input) => h("tr", {},
    h("th", { scope: "row" }, input.name), h("td", { class: "value" }, input.value === null ? "no data" : `${input.value} ${input.unit}`),
    ageCell(input.age_s, extra), h("td", { class: input.verdict }, input.verdict === "unsafe" ? "UNSAFE" : input.verdict),
    h("td", {}, input.reason), h("td", {}, input.limit))));
  const overrides = state.safety.overrides ?? [];
  byId("overrides-card").hidden = overrides.length === 0;
  show(byId("overrides"), overrides, () => overrides.map((over) => h("li", { class: "alarm" },
    h("span", {}, h("strong", {}, over.input), ` does not forbid ${over.until ? `until ${hhmm(over.until)} UTC` : "until it is lifted"}: ${over.reason} (${over.who}) `),
    rowButton({ command: "lift_override", input: over.input }, "Re-arm", `${over.input} forbids again from now on.`))));
}

function tile(name, state, age, extra, lines, progress) {
  const total = age === null ? null : age + extra;
  return h("article", { class: "tile" }, h("h3", {}, name), h("p", { class: "state" }, state),
    lines.filter(Boolean).map((line) => h("p", {}, line)),
    progress === null || progress === undefined ? null : h("progress", { max: 1, value: progress, "aria-label": `${name}: exposure` }),
    h("p", { class: total === null || total > OLD_S ? "old" : null }, total === null ? "never read" : `${ageText(total)} ago`));
}

export function devices(state, extra) {
  const { enclosure, mount, cameras } = state;
  show(byId("devices"), [enclosure, mount, cameras, Math.round(extra)], () => [
    tile("Enclosure", enclosure.state, enclosure.age_s, extra, [enclosure.azimuth_deg === null ? null : `slit at ${fixed(enclosure.azimuth_deg, 0)}°`, enclosure.reason]),
    tile("Mount", mount.state, mount.age_s, extra, [mount.target,
      mount.alt_deg === null ? null : `alt ${fixed(mount.alt_deg, 1)}° az ${fixed(mount.az_deg, 1)}°`,
      mount.ra_deg === null ? null : `RA ${fixed(mount.ra_deg, 3)}° Dec ${fixed(mount.dec_deg, 3)}°`, mount.reason]),
    ...cameras.map((camera) => tile(`Camera ${camera.channel}`, camera.state, camera.age_s, extra, [
      camera.filter ? `filter ${camera.filter}${camera.exposure_s === null ? "" : `, ${camera.exposure_s} s`}` : null,
      camera.frames_done ? `${camera.frames_done[0]} of ${camera.frames_done[1]} frames` : null,
      camera.temperature_c === null ? null : `${fixed(camera.temperature_c, 1)} °C${camera.setpoint_c === null ? "" : ` (set ${fixed(camera.setpoint_c, 1)})`}`,
      camera.reason], camera.progress)),
  ]);
}

export function sky(state) {
  show(byId("sky"), [state.sky, state.mount, state.moon, state.sun, state.site], () => skyPlot(state));
}

export function night(state) {
  const minute = state.now.slice(0, 16);
  show(byId("gantt"), [state.schedule, state.night, minute], () => gantt(state));
  show(byId("rows"), state.schedule, () => state.schedule.map((row) => h("tr", {},
    h("td", {}, hhmm(row.executed_start ?? row.start)), h("td", {}, hhmm(row.executed_end ?? row.end)),
    h("td", {}, targetLink(row.target)), h("td", {}, row.user), h("td", {}, row.from_alert ? `${row.state} (alert)` : row.state))));
  setText(byId("unplanned-title"), `Not planned: ${state.unplanned.length}`);
  show(byId("unplanned"), state.unplanned, () => state.unplanned.map((row) => unplanned(row, state.night)));
}

// The reason in a sentence; opened, the night with everything that stands in the way.
function unplanned(row, night) {
  const picture = h("div", {});
  const details = h("details", { "data-sequence": row.sequence },
    h("summary", {}, h("strong", {}, row.target), ` (${row.user}): ${row.sentence}${row.chance ? `; ${Math.round(100 * row.chance.probability)} % likely within its life` : ""}`), picture);
  details.addEventListener("toggle", async () => {
    if (!details.open || picture.hasChildNodes()) return;
    try {
      const answer = await fetch(`/api/v1/sequences/${encodeURIComponent(row.sequence)}/why`);
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      const { excluded } = await answer.json();
      picture.replaceChildren(excluded.length ? exclusions(excluded, night) : h("p", { class: "legend" }, "The sky would allow it all night."));
    } catch (error) {
      picture.replaceChildren(h("p", { class: "legend" }, `Not known: ${error.message}`));
    }
  });
  return h("li", {}, details);
}

export function weather(state, extra) {
  show(byId("weather"), [state.weather, state.weather_history, Math.round(extra)], () => Object.entries(state.weather).map(([name, gauge]) => {
    const value = gauge.value === null ? `no data: ${gauge.reason ?? "unknown"}` : `${fixed(gauge.value, 1)} ${gauge.unit}`;
    const age = gauge.age_s === null ? null : gauge.age_s + extra;
    const beyond = gauge.value === null || age > OLD_S ? "old" : null;
    return h("article", { class: "strip" }, h("h3", {}, h("span", { class: "name" }, name), h("span", { class: beyond }, `${value} · ${ageText(age)}`)),
      strip(state.weather_history[name] ?? [], gauge.limit, name));
  }));
}

export function frames(state) {
  show(byId("frames"), state.frames, () => (state.frames.length === 0 ? h("p", { class: "legend" }, "No frame yet.") : state.frames.map((frame) => {
    const name = `${frame.target ?? frame.kind}, ${frame.channel} ${frame.filter}, ${frame.exposure_s} s, ${hhmmss(frame.taken_at)} UTC`;
    const image = frame.preview ? h("img", { src: productUrl(frame.preview), alt: `Preview of ${name}`, loading: "lazy" }) : h("div", { class: "no-image" }, "no preview");
    const measured = frame.sources === null ? "not reduced" : `${frame.sources} sources, FWHM ${fixed(frame.fwhm_px, 2)} px`;
    return h("figure", { class: "frame" }, image, h("figcaption", {}, name, h("br"), measured,
      frame.degradations.length ? `; without ${frame.degradations.join(", ")}` : null, " ",
      frame.fits ? h("a", { href: productUrl(frame.fits) }, "FITS") : null));
  })));
}

function latency(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return `${fixed(seconds, seconds < 10 ? 1 : 0)} s`;
}

export function alert(state) {
  const event = state.alert;
  byId("alert-card").hidden = event === null;
  if (event === null) return;
  setText(byId("alert-title"), `Alert ${event.name}: ${event.state}`);
  show(byId("alert"), event, () => {
    const where = event.ra_deg === null ? "position unknown" : `RA ${fixed(event.ra_deg, 3)}° Dec ${fixed(event.dec_deg, 3)}°, 90 % within ${event.r90_deg === null ? "unknown" : `${fixed(event.r90_deg, 2)}°`}`;
    return [h("p", {}, event.decision), h("p", {}, `${where}; received ${hhmmss(event.received_at)} UTC${event.strategy ? `; strategy ${event.strategy}` : ""}`),
      h("p", {}, h("a", { href: `/alerts#${encodeURIComponent(event.event)}` }, "Everything about this alert")),
      h("ol", { class: "stages" }, event.stages.map((stage) => h("li", {}, h("strong", {}, latency(stage.latency_s)), stage.stage)))];
  });
}

// What nobody has taken note of comes first.
const openFirst = (list) => [...list].sort((a, b) => Boolean(a.acknowledged_by) - Boolean(b.acknowledged_by));

export function alarms(state) {
  show(byId("alarms"), state.alarms, () => (state.alarms.length === 0 ? h("li", {}, "None.") : openFirst(state.alarms).slice(0, 12)
    .map((alarm) => h("li", { class: "alarm" }, h("time", { datetime: alarm.at }, hhmmss(alarm.at)), h("span", { class: alarm.severity }, `${alarm.severity}: ${alarm.text}${alarm.count > 1 ? ` (${alarm.count} times)` : ""} `),
      alarm.acknowledged_by ? h("span", { class: "soft" }, `seen by ${alarm.acknowledged_by}`)
        : rowButton({ command: "acknowledge_alarm", alarm: alarm.id }, "Acknowledge", `${alarm.text}: you have taken note of it, and nobody else is told.`)))));
}

export function quotas(state) {
  const hours = (seconds) => `${fixed(seconds / 3600, 1)} h`;
  show(byId("quotas"), state.quotas, () => h("table", {}, h("thead", {}, h("tr", {}, ["User", "Free", "Reserved", "Spent"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, state.quotas.map((quota) => h("tr", {}, h("th", { scope: "row" }, quota.user), h("td", {}, hours(quota.free_s)), h("td", {}, hours(quota.reserved_s)), h("td", {}, hours(quota.spent_s)))))));
}
