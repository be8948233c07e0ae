// Somebody works at the desk with a keyboard alone, on a screen of a phone's size, without scripts.
// Each page is looked at: that it fits, that everything has a name, that the focus shows.

import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";

const { AFTERCARE_INVITATION, AFTERCARE_SHOTS, AFTERCARE_NAME } = process.env;
const PHONE = { width: 390, height: 844, deviceScaleFactor: 2 };
const SCREEN = { width: 1280, height: 800, deviceScaleFactor: 1 };
const PASSWORD = "a long walk by the sea";

const browser = await puppeteer.launch({
  executablePath: process.env.AFTERCARE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const page = await browser.newPage();
await page.setViewport(PHONE);
await page.setJavaScriptEnabled(false);
const complaints = [];
page.on("console", (message) => {
  // A page that says what is wrong, or what is not there, comes with such a status.
  const refused = /^Failed to load resource: .* status of (404|422)/.test(message.text());
  if (!refused) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));

const { keyboard } = page;

async function shoot(name) {
  await page.screenshot({ path: `${AFTERCARE_SHOTS}/${name}.png`, fullPage: true });
}

async function look(name) {
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

const focused = () =>
  page.evaluate(() => {
    const element = document.activeElement;
    const words = element.labels?.[0]?.textContent ?? element.textContent;
    const box = element.getBoundingClientRect();
    const seen = box.top >= 0 && box.bottom <= innerHeight && box.width > 0;
    const outline = getComputedStyle(element).outlineStyle;
    return { words: words.trim(), role: element.getAttribute("role"), seen, outline };
  });

/** Goes on with Tab until the focus is on something of that name. */
async function tabTo(words) {
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

async function enter() {
  await Promise.all([page.waitForNavigation(), keyboard.press("Enter")]);
  await begun();
}

const says = async (words) => {
  const text = await page.evaluate(() => document.body.innerText);
  assert.ok(text.includes(words), `${words} is not in ${text}`);
};

/** The result has the focus and is announced. */
async function hears(words) {
  const { words: said, role } = await focused();
  assert.deepEqual([said, role], [words, "status"]);
}

await page.goto(AFTERCARE_INVITATION);
await begun();
await look("1-join");
// The first field has the focus already.
assert.equal((await focused()).words, "Password");
await keyboard.type(PASSWORD);
await keyboard.press("Tab");
await keyboard.type("something else");
await enter();
await says("The two passwords are not the same.");
await look("2-fault");
await keyboard.type(PASSWORD);
await keyboard.press("Tab");
await keyboard.type(PASSWORD);
await enter();
await says("Who is here?");
await look("3-home");

await keyboard.type("p-42");
await enter();
await says("There is no patient p-42");
await look("4-unknown");
// The button has the focus: another Enter adds the patient.
assert.equal((await focused()).words, "Add the patient");
await enter();
await says("No phone is enrolled.");
await tabTo("Microneedling done");
await keyboard.press("Enter");
await look("5-patient");
await tabTo("Chest");
await keyboard.press("Space");
await tabTo("Record Microneedling");
await enter();
await hears("Recorded.");
await says("No phone is enrolled.");
await says("Chest, Face, Neck");
await look("6-recorded");

await tabTo("Page to print");
await enter();
await says("After your treatment");
await shoot("7-handout");
await page.goBack();
await tabTo("Undo");
await enter();
await hears("Undone: nothing of it is sent any more.");
await look("8-undone");
await tabTo("p-42");
await enter();
await says("undone");
await tabTo("Show a code for the phone");
await enter();
await says("The patient scans it with their phone.");
await look("9-code");

await tabTo("Sign out");
await enter();
await look("10-sign-in");
await keyboard.type(AFTERCARE_NAME);
await keyboard.press("Tab");
await keyboard.type(PASSWORD);
await enter();
await says("Everybody with something due is reached by a phone.");
await look("11-home");

assert.deepEqual(complaints, [], "the browser complained");
await browser.close();
console.log("done");
