// Somebody works at the desk for a while, without scripts.

import assert from "node:assert/strict";
import {
  PASSWORD, come, enter, focused, hears, keyboard, leave, look, page, says, setPassword, shoot, tabTo,
} from "./hands.mjs";

await page.setJavaScriptEnabled(false);
await come();
await look("1-join");
await setPassword("something else");
await says("The two passwords are not the same.");
await look("2-fault");
await setPassword();
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
await keyboard.type(process.env.AFTERCARE_NAME);
await keyboard.press("Tab");
await keyboard.type(PASSWORD);
await enter();
await says("Everybody with something due is reached by a phone.");
await look("11-home");

await leave();
