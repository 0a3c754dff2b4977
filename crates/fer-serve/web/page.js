// The page: pictures and the camera → the service → boxes, labels, bars and a timeline.

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
// The classes' colors, which have a contrast of at least 3 with both papers.
const COLORS = {
  angry: "#d1382c",
  disgust: "#4d8b31",
  fear: "#8b5cc7",
  happy: "#b87a00",
  neutral: "#767b83",
  sad: "#2f7fc4",
  surprise: "#c4508f",
  contempt: "#0f8a83",
};
const OTHER = [
  "#d1382c",
  "#4d8b31",
  "#8b5cc7",
  "#b87a00",
  "#2f7fc4",
  "#c4508f",
  "#0f8a83",
  "#767b83",
];
const SECONDS = 30;

const color = (label, index) => COLORS[label] ?? OTHER[index % OTHER.length];
const percent = (p) => `${Math.round(p * 100)} %`;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(text) {
  byId("status").textContent = text;
}

function fail(text) {
  byId("error").textContent = text ?? "";
  byId("error").hidden = !text;
}

// ---- the service ----

let token = sessionStorage.getItem("token");
let models = [];

const away = "The service can't be reached. Is fer serve running?";

/** An answer's JSON; throws its reason. */
async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Error(away);
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) {
    byId("ask").hidden = false;
    throw new Error(token ? "The token is not the right one." : "Enter the token first.");
  }
  if (!response.ok) throw new Error(body.error ?? `The service answered ${response.status}.`);
  return body;
}

async function begin() {
  try {
    ({ models } = await ask("/v1/models"));
  } catch (error) {
    byId("model").textContent = "";
    fail(error.message);
    return;
  }
  fail();
  byId("ask").hidden = true;
  byId("which").replaceChildren(...models.map((m) => element("option", { value: m.name }, m.name)));
  byId("which").parentElement.hidden = models.length < 2;
  describe();
}

function model() {
  return models.find((m) => m.name === byId("which").value) ?? models[0];
}

function describe() {
  const { name, labels, width, height, channels, engine, provider } = model();
  const kind = channels === 1 ? "gray" : "color";
  byId("model").textContent =
    `${name}: ${labels.length} classes, ${kind} faces of ${width}×${height} pixels, ` +
    `on ${engine} ${provider}`;
}

function query(more = {}) {
  const name = model()?.name;
  return new URLSearchParams({ ...(name && { model: name }), ...more });
}

// ---- what is shown of a record ----

/** The faces of a record; a whole picture is one without a box. */
function facesOf(record) {
  if (record.faces) return record.faces;
  return record.label ? [record] : [];
}

function labelsOf(face) {
  return Object.keys(face.probabilities ?? {});
}

function colorOf(face) {
  return color(face.label, labelsOf(face).indexOf(face.label));
}

function bar(p, fill) {
  const drawn = shape("svg", {
    viewBox: "0 0 100 1",
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  drawn.append(shape("rect", { width: p * 100, height: 1, fill }));
  return element("div", { class: "bar" }, drawn);
}

/** A face's label and bars. */
function face(found, number) {
  const badge = element("span", { class: "number" }, String(number));
  if (found.error) {
    return element("li", { class: "face" }, element("h3", {}, badge, found.error));
  }
  const heading = element(
    "h3",
    {},
    badge,
    element("b", {}, found.label),
    percent(found.confidence),
  );
  badge.style.background = colorOf(found);
  const bars = element("dl", { class: "bars" });
  labelsOf(found).forEach((label, i) => {
    const p = found.probabilities[label];
    const best = label === found.label ? " best" : "";
    bars.append(
      element("dt", { class: best.trim() }, label),
      element("dd", {}, bar(p, color(label, i))),
      element("dd", { class: `value${best}` }, percent(p)),
    );
  });
  return element("li", { class: "face" }, heading, bars);
}

/** Boxes over a picture of this size. */
function boxes(overlay, faces, width, height, numberOf, mirrored = false) {
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const unit = Math.max(width, height) / 100;
  overlay.replaceChildren();
  faces.forEach((found, i) => {
    if (!found.box) return;
    const { w, h, y } = found.box;
    const x = mirrored ? width - found.box.x - w : found.box.x;
    const stroke = found.error ? "#767b83" : colorOf(found);
    const text = `${numberOf(found, i)} ${found.label ?? ""}`;
    const size = Math.min(Math.max(unit * 2.6, Math.min(w / 6, unit * 4)), height / 4);
    const [tw, th] = [text.length * size * 0.64 + size * 0.5, size * 1.4];
    // Within the picture, above the face if there is room.
    const tx = Math.min(Math.max(x, 0), Math.max(width - tw, 0));
    const ty = y - th >= 0 ? y - th : Math.min(y + h, height - th);
    overlay.append(
      shape("rect", {
        x,
        y,
        width: w,
        height: h,
        fill: "none",
        stroke: "#fff",
        "stroke-width": unit * 0.7,
        rx: unit,
        "stroke-opacity": 0.8,
      }),
      shape("rect", {
        x,
        y,
        width: w,
        height: h,
        fill: "none",
        stroke,
        "stroke-width": unit * 0.45,
        rx: unit,
      }),
      shape("rect", { x: tx, y: ty, width: tw, height: th, fill: stroke, rx: unit / 2 }),
      shape(
        "text",
        {
          x: tx + size * 0.25,
          y: ty + size,
          fill: "#fff",
          "font-size": size,
          "font-family": "system-ui, sans-serif",
          "font-weight": 650,
        },
        text,
      ),
    );
  });
}

function summary(faces) {
  if (faces.length === 0) return "no face found";
  const labels = faces.map((f) => (f.error ? f.error : `${f.label} ${percent(f.confidence)}`));
  return `${faces.length} ${faces.length === 1 ? "face" : "faces"}: ${labels.join(", ")}`;
}

// ---- pictures ----

/** The card of a picture. */
function card(file, record) {
  const made = element(
    "article",
    { class: "card" },
    element("h2", {}, file.name || "Pasted picture"),
  );
  if (record.error) {
    made.append(element("p", { class: "refused" }, `Not read: ${record.error}`));
    return made;
  }
  const faces = facesOf(record);
  const address = URL.createObjectURL(file);
  const image = element("img", { alt: `${file.name || "Picture"}: ${summary(faces)}` });
  const overlay = shape("svg", { "aria-hidden": "true" });
  image.addEventListener("load", () => {
    URL.revokeObjectURL(address);
    if (image.naturalWidth < 192) image.classList.add("small");
    const [width, height] = [
      record.width ?? image.naturalWidth,
      record.height ?? image.naturalHeight,
    ];
    boxes(
      overlay,
      faces.filter((f) => f.score !== null),
      width,
      height,
      (_, i) => i + 1,
    );
  });
  // The service reads more kinds of pictures than browsers do.
  image.addEventListener("error", () => URL.revokeObjectURL(address));
  image.src = address;
  const list = element(
    "ol",
    { class: "faces", "aria-label": "Faces" },
    ...faces.map((f, i) => face(f, i + 1)),
  );
  const side = element(
    "div",
    { class: "side" },
    faces.length ? list : element("p", {}, "No face was found."),
  );
  made.append(
    element("div", { class: "result" }, element("div", { class: "stage" }, image, overlay), side),
  );
  return made;
}

async function classify(files) {
  const pictures = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
  if (pictures.length === 0) {
    if (files.length) fail("These files are not pictures.");
    return;
  }
  fail();
  let faces = 0;
  for (const [i, file] of pictures.entries()) {
    say(`Looking at picture ${i + 1} of ${pictures.length}…`);
    try {
      const form = new FormData();
      form.append("images", file, file.name || "picture");
      const {
        records: [record],
      } = await ask(`/v1/classify?${query()}`, { method: "POST", body: form });
      faces += facesOf(record).length;
      byId("results").prepend(card(file, record));
      if (pictures.length === 1)
        say(record.error ? "" : `${file.name || "Picture"}: ${summary(facesOf(record))}`);
    } catch (error) {
      say("");
      fail(error.message);
      return;
    }
  }
  if (pictures.length > 1)
    say(`${pictures.length} pictures, ${faces} ${faces === 1 ? "face" : "faces"}.`);
}

byId("choose").addEventListener("change", async (event) => {
  await classify(event.target.files);
  event.target.value = "";
});
byId("choose").addEventListener("focus", () => byId("choose-label").classList.add("focus"));
byId("choose").addEventListener("blur", () => byId("choose-label").classList.remove("focus"));
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) classify(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  classify(event.dataTransfer.files);
});

// ---- the camera ----

let camera = null;
// Whether the user is being asked, or the camera is starting.
let starting = false;

function cameraProblem(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The browser may not use the camera. Allow it in the address bar, then start again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "This device has no camera.";
    case "NotReadableError":
      return "The camera is in use by another program.";
    default:
      return `The camera can't be started: ${error.message}`;
  }
}

async function start() {
  // A second one would leave the first one's camera on.
  if (starting) return;
  fail();
  if (!navigator.mediaDevices) {
    fail("Browsers give the camera to localhost and to https addresses alone.");
    return;
  }
  const video = byId("video");
  let stream;
  starting = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, facingMode: "user" },
    });
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    fail(cameraProblem(error));
    return;
  } finally {
    starting = false;
  }
  // As in a mirror, unless the camera looks away from the user.
  const mirrored = stream.getVideoTracks()[0].getSettings().facingMode !== "environment";
  video.parentElement.classList.toggle("mirror", mirrored);
  const address = new URL(`/v1/stream?${query({ smooth: byId("smooth").value })}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const protocols = ["fer"];
  if (token) {
    const bytes = String.fromCharCode(...new TextEncoder().encode(token));
    protocols.push(
      `token.${btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "")}`,
    );
  }
  const socket = new WebSocket(address, protocols);
  const canvas = document.createElement("canvas");
  camera = { stream, socket, canvas, mirrored, history: [], waiting: 0, records: [] };
  const mine = camera;
  socket.addEventListener("open", () => send(mine));
  socket.addEventListener("message", ({ data }) => seen(mine, JSON.parse(data)));
  socket.addEventListener("close", ({ code, reason }) => {
    if (camera !== mine) return;
    stop();
    fail(
      code === 1006
        ? `${away} Or it has as many streams as it takes.`
        : `The stream ended: ${reason || code}.`,
    );
  });
  stream.getVideoTracks()[0].addEventListener("ended", () => camera === mine && stop());
  byId("live").hidden = false;
  byId("camera").textContent = "Stop camera";
  byId("camera").setAttribute("aria-pressed", "true");
  say("The camera is on.");
}

function stop() {
  const { stream, socket } = camera;
  camera = null;
  stream.getTracks().forEach((track) => track.stop());
  socket.close();
  byId("video").srcObject = null;
  byId("live").hidden = true;
  byId("camera").textContent = "Start camera";
  byId("camera").setAttribute("aria-pressed", "false");
  say("The camera is off.");
}

/** Sends the current frame: one at the model, and one that waits. */
function send(mine) {
  const video = byId("video");
  if (camera !== mine || mine.socket.readyState !== WebSocket.OPEN) return;
  if (!video.videoWidth || mine.waiting >= 2) {
    setTimeout(() => send(mine), 30);
    return;
  }
  const scale = Math.min(1, 640 / Math.max(video.videoWidth, video.videoHeight));
  mine.canvas.width = Math.round(video.videoWidth * scale);
  mine.canvas.height = Math.round(video.videoHeight * scale);
  mine.canvas.getContext("2d").drawImage(video, 0, 0, mine.canvas.width, mine.canvas.height);
  mine.canvas.toBlob(
    (frame) => {
      if (camera !== mine || mine.socket.readyState !== WebSocket.OPEN) return;
      if (frame) {
        mine.waiting += 1;
        mine.sent = (mine.sent ?? -1) + 1;
        mine.socket.send(frame);
      }
      setTimeout(() => send(mine), 30);
    },
    "image/jpeg",
    0.85,
  );
}

let spoken = "";

function seen(mine, record) {
  if (camera !== mine) return;
  // Frames before this one that have no record were left out for it.
  mine.waiting = mine.sent - record.frame;
  mine.records = [...mine.records, performance.now()].filter((t) => t > performance.now() - 3000);
  const span = (performance.now() - mine.records[0]) / 1000;
  const rate = span > 0 ? (mine.records.length - 1) / span : 0;
  byId("rate").textContent =
    mine.records.length > 3 ? `· ${rate.toFixed(rate < 10 ? 1 : 0)} a second` : "";
  if (record.error || mine.failed) fail(record.error);
  mine.failed = Boolean(record.error);
  if (record.error) return;
  const faces = facesOf(record);
  const number = (found, i) => found.track ?? i + 1;
  boxes(
    byId("overlay"),
    faces.filter((f) => f.score !== null),
    record.width ?? 1,
    record.height ?? 1,
    number,
    mine.mirrored,
  );
  byId("live-faces").replaceChildren(...faces.slice(0, 4).map((f, i) => face(f, number(f, i))));
  if (faces[0]?.probabilities) mine.history.push({ time: record.time, ...faces[0] });
  mine.history = mine.history.filter((past) => past.time > record.time - SECONDS);
  draw(mine.history, record.time);
  // A screen reader hears of changes alone.
  const now = faces.map((f) => f.label).join(", ") || "no face";
  if (now !== spoken) say(`Camera: ${now}`);
  spoken = now;
}

function draw(history, now) {
  const canvas = byId("timeline");
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  const labels = history.length ? labelsOf(history[history.length - 1]) : [];
  labels.forEach((label, i) => {
    pen.strokeStyle = color(label, i);
    pen.beginPath();
    history.forEach((past, j) => {
      const x = width * (1 - (now - past.time) / SECONDS);
      const y = 3 + (height - 6) * (1 - past.probabilities[label]);
      // Another person, or a gap: a new line.
      const before = history[j - 1];
      const joined = before && before.track === past.track && past.time - before.time < 2;
      if (joined) pen.lineTo(x, y);
      else pen.moveTo(x, y);
    });
    pen.stroke();
  });
  const legend = byId("legend");
  if (legend.dataset.labels !== labels.join()) {
    legend.dataset.labels = labels.join();
    legend.replaceChildren(
      ...labels.map((label, i) => {
        const dot = shape("svg", { viewBox: "0 0 2 2", "aria-hidden": "true" });
        dot.append(shape("circle", { cx: 1, cy: 1, r: 1, fill: color(label, i) }));
        return element("li", {}, dot, label);
      }),
    );
  }
}

byId("camera").addEventListener("click", () => (camera ? stop() : start()));
byId("smooth").addEventListener("change", restart);
byId("which").addEventListener("change", () => {
  describe();
  restart();
});

function restart() {
  if (!camera) return;
  stop();
  start();
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  sessionStorage.setItem("token", token);
  begin();
});

if ("serviceWorker" in navigator) navigator.serviceWorker.register("/offline.js").catch(() => {});
begin();
