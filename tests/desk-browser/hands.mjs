// Hands that work at the desk with a keyboard alone, on a screen of a phone's size. Each page that is looked
// at must fit, everything on it must have a name, and the focus must show.

import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";

const { AFTERCARE_INVITATION, AFTERCARE_SHOTS } = process.env;
const PHONE = { width: 390, height: 844, deviceScaleFactor: 2 };
const SCREEN = { width: 1280, height: 800, deviceScaleFactor: 1 };
export const PASSWORD = "a long walk by the sea";

const browser = await puppeteer.launch({
  executablePath: process.env.AFTERCARE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
export const page = await browser.newPage();
await page.setViewport(PHONE);
const complaints = [];
page.on("console", (message) => {
  // A page that says what is wrong, or what is not there, comes with such a status.
  const refused = /^Failed to load resource: .* status of (404|422)/.test(message.text());
  if (!refused) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));

export const { keyboard } = page;

export async function shoot(name) {
  await page.screenshot({ path: `${AFTERCARE_SHOTS}/${name}.png`, fullPage: true });
}

export async function look(name) {
  await page.setViewport(SCREEN);
  await shoot(`${name}-screen`);
  await page.setViewport(PHONE);
  await shoot(name);
  const faults = await page.evaluate((width) => {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > width) found.push(`it is ${root.scrollWidth} px wide`);
    if (!root.lang || !document.title) found.push("it has no language or no title");
    if (document.querySelectorAll("h1").length !== 1) found.push("it has not one heading");
    for (const field of document.querySelectorAll("input:not([type=hidden]), select")) {
      if (!field.labels.length) found.push(`${field.name} has no label`);
    }
    for (const target of document.querySelectorAll("button, .button, .choice, summary")) {
      if (!target.textContent.trim()) found.push("a button has no words");
      const { width: seen, height } = target.getBoundingClientRect();
      if (seen && height < 44) found.push(`${target.textContent} is small`);
    }
    for (const field of document.querySelectorAll("[aria-describedby]")) {
      const ids = field.getAttribute("aria-describedby").split(" ");
      if (!ids.every((id) => document.getElementById(id))) found.push(`${field.name} is described by nothing`);
    }
    for (const image of document.querySelectorAll("svg")) {
      if (!image.getAttribute("aria-label")) found.push("a picture has no name");
    }
    return found;
  }, PHONE.width);
  assert.deepEqual(faults, [], name);
}

export const focused = () =>
  page.evaluate(() => {
    const element = document.activeElement;
    const words = element.labels?.[0]?.textContent ?? element.textContent;
    const box = element.getBoundingClientRect();
    const seen = box.top >= 0 && box.bottom <= innerHeight && box.width > 0;
    const outline = getComputedStyle(element).outlineStyle;
    return { words: words.trim(), role: element.getAttribute("role"), seen, outline };
  });

/** Goes on with Tab until the focus is on something of that name. */
export async function tabTo(words) {
  for (let presses = 0; presses < 60; presses += 1) {
    const now = await focused();
    if (now.words === words) {
      assert.ok(now.seen, `${words} has the focus out of sight`);
      assert.notEqual(now.outline, "none", `nothing shows that ${words} has the focus`);
      return;
    }
    await keyboard.press("Tab");
  }
  assert.fail(`no Tab leads to ${words}`);
}

/** A page gives the focus to what it begins with a moment after it is there. */
async function begun() {
  const waits = () =>
    page.evaluate(() => {
      const first = document.querySelector("[autofocus]");
      return first !== null && first !== document.activeElement;
    });
  for (let tries = 0; tries < 500 && (await waits()); tries += 1) {
    await new Promise((later) => setTimeout(later, 20));
  }
}

export async function enter() {
  await Promise.all([page.waitForNavigation(), keyboard.press("Enter")]);
  await begun();
}

export const says = async (words) => {
  const text = await page.evaluate(() => document.body.innerText);
  assert.ok(text.includes(words), `${words} is not in ${text}`);
};

/** The result has the focus and is announced. */
export async function hears(words) {
  const { words: said, role } = await focused();
  assert.deepEqual([said, role], [words, "status"]);
}

/** Opens the invitation: the first field has the focus already. */
export async function come() {
  await page.goto(AFTERCARE_INVITATION);
  await begun();
  assert.equal((await focused()).words, "Password");
}

export async function setPassword(again = PASSWORD) {
  await keyboard.type(PASSWORD);
  await keyboard.press("Tab");
  await keyboard.type(again);
  await enter();
}

export async function leave() {
  assert.deepEqual(complaints, [], "the browser complained");
  await browser.close();
}
