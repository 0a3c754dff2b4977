// The page in Chromium. Arguments: the service's address, a folder with `face.png`, `none.png` and
// `camera.y4m`, and optionally a folder for screenshots. The first is a picture with a face, the
// second one without, the third a camera's clip with a face. FER_PLAYWRIGHT names playwright-core's
// folder, FER_CHROMIUM the browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [address, folder, shots] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(process.env.FER_PLAYWRIGHT);
const executablePath = process.env.FER_CHROMIUM ?? "/usr/bin/chromium";
const file = (name) => join(folder, name);

const launch = (...more) =>
  chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", ...more] });
const clip = [
  "--use-fake-device-for-media-stream",
  `--use-file-for-fake-video-capture=${file("camera.y4m")}`,
];

/** A page whose errors are collected. Nothing may be asked of another address. */
async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "blob:" && origin !== address) wrong.push(request.url());
  });
  await page.goto(address);
  await page.waitForFunction(() =>
    document.getElementById("model").textContent.includes("classes"),
  );
  return { context, page, wrong };
}

async function shoot(page, name) {
  if (!shots) return;
  for (const width of [390, 1280]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(150);
      await page.screenshot({
        path: join(shots, `${name}-${width}-${colorScheme}.png`),
        fullPage: true,
      });
    }
  }
}

async function pictures() {
  const browser = await launch();
  const { context, page, wrong } = await open(browser);
  // Dropped: a face, none, and no picture.
  const drop = async (names) => {
    const files = names.map((name) => ({
      name,
      data: readFileSync(file(name)).toString("base64"),
    }));
    const transfer = await page.evaluateHandle((files) => {
      const transfer = new DataTransfer();
      for (const { name, data } of files) {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
      }
      return transfer;
    }, files);
    await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  };
  await drop(["face.png", "none.png"]);
  await page.locator("article.card").nth(1).waitFor();
  await page.waitForFunction(() => document.querySelectorAll(".stage svg rect").length >= 3);
  const face = page.locator("article.card", { hasText: "face.png" });
  assert.equal(await face.locator("li.face").count(), 1);
  assert.ok((await face.locator("dl.bars dt").count()) >= 2);
  assert.match(await face.locator("h3").innerText(), /\d+ %/);
  assert.match(await face.locator("img").getAttribute("alt"), /face\.png: 1 face: \w+ \d+ %/);
  assert.match(
    await page.locator("article.card", { hasText: "none.png" }).innerText(),
    /No face was found/,
  );
  assert.match(await page.locator("#status").innerText(), /2 pictures, 1 face\./);
  // The box lies where the record says, in the picture's own pixels.
  const [left, width, whole] = await face.locator(".stage svg").evaluate((svg) => {
    const { x, width } = svg.querySelector("rect").getBBox();
    return [x, width, svg.viewBox.baseVal.width];
  });
  assert.ok(left >= 0 && left + width <= whole, `${left} ${width} ${whole}`);
  await shoot(page, "pictures");

  // By the keyboard: the first thing to reach is the choice of pictures.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "choose");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "camera");
  await page.setInputFiles("#choose", file("face.png"));
  await page.locator("article.card").nth(2).waitFor();
  assert.match(await page.locator("#status").innerText(), /face\.png: 1 face/);

  // Without the service the page opens, and says so.
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  await page.evaluate(async () => (await caches.open("fer-page")).keys());
  await context.setOffline(true);
  await page.reload();
  await page.locator("#error").waitFor();
  assert.match(await page.locator("#error").innerText(), /can't be reached/);
  assert.equal(await page.locator("h1").innerText(), "fer");
  await context.setOffline(false);
  await page.reload();
  await page.waitForFunction(() =>
    document.getElementById("model").textContent.includes("classes"),
  );
  assert.deepEqual(wrong, []);
  await browser.close();
}

async function camera() {
  const browser = await launch("--use-fake-ui-for-media-stream", ...clip);
  const { page, wrong } = await open(browser, { permissions: ["camera"] });
  await page.locator("#camera").focus();
  await page.keyboard.press("Enter");
  await page.locator("#live-faces li.face dl.bars").first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#overlay rect").length >= 3);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length >= 2);
  await page.waitForFunction(() =>
    document.getElementById("rate").textContent.includes("a second"),
  );
  assert.equal(await page.locator("#camera").getAttribute("aria-pressed"), "true");
  // A line is drawn.
  await page.waitForTimeout(1500);
  const drawn = await page.locator("#timeline").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value !== 0);
  });
  assert.ok(drawn);
  await shoot(page, "camera");
  await page.locator("#camera").click();
  assert.ok(await page.locator("#live").isHidden());
  assert.deepEqual(wrong, []);
  await browser.close();
}

/** Two presses while the browser still starts the camera are one start. */
async function twice() {
  const browser = await launch("--use-fake-ui-for-media-stream", ...clip);
  const { page, wrong } = await open(browser, { permissions: ["camera"] });
  const tracks = await page.evaluateHandle(() => {
    const tracks = [];
    const devices = navigator.mediaDevices;
    const get = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wanted) => {
      const stream = await get(wanted);
      tracks.push(...stream.getTracks());
      return stream;
    };
    document.getElementById("camera").click();
    document.getElementById("camera").click();
    return tracks;
  });
  await page.locator("#live-faces li.face").first().waitFor();
  await page.locator("#camera").click();
  await page.waitForTimeout(500);
  assert.deepEqual(await tracks.evaluate((all) => all.map((t) => t.readyState)), ["ended"]);
  assert.deepEqual(wrong, []);
  await browser.close();
}

async function refused() {
  const browser = await launch(...clip, "--deny-permission-prompts");
  const { page, wrong } = await open(browser);
  await page.locator("#camera").click();
  await page.locator("#error").waitFor();
  assert.match(await page.locator("#error").innerText(), /may not use the camera/);
  assert.ok(await page.locator("#live").isHidden());
  assert.deepEqual(wrong, []);
  await browser.close();
}

await pictures();
await camera();
await twice();
await refused();
console.log("the page works");
