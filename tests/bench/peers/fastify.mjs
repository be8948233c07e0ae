// The handler that a team would write first: fastify checks the token and the body, a few fixed lengths of time are
// added, and pg writes the rows of one session, as `rows.json` has them of Aftercare's, in one transaction.
import { createHash, generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createSigner, createVerifier } from "fast-jwt";
import Fastify from "fastify";
import pg from "pg";

const [what, folder, connectionString, port] = process.argv.slice(2);
const rows = JSON.parse(readFileSync(`${folder}/rows.json`, "utf8"));
const [iss, aud] = ["https://bench.example", "bench"];

if (what === "token") {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(`${folder}/public.pem`, publicKey.export({ type: "spki", format: "pem" }));
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const sign = createSigner({ key, algorithm: "EdDSA", iss, aud, expiresIn: "1h" });
  process.stdout.write(sign({ sub: rows.treatment.clinic_id, jti: randomUUID() }));
  process.exit(0);
}

const verify = createVerifier({
  key: readFileSync(`${folder}/public.pem`),
  algorithms: ["EdDSA"],
  allowedIss: iss,
  allowedAud: aud,
  requiredClaims: ["sub", "exp"],
});

const name = { type: "string", minLength: 1, maxLength: 128 };
const body = {
  type: "object",
  required: ["event_id", "patient_ref", "protocol", "completed_at"],
  additionalProperties: false,
  properties: {
    event_id: { ...name, pattern: "^[A-Za-z0-9._:-]{1,128}$" },
    patient_ref: name,
    protocol: { type: "string", minLength: 1, maxLength: 64 },
    completed_at: { type: "string", format: "date-time" },
    time_zone: name,
    areas: { type: "array", minItems: 1, maxItems: 64, uniqueItems: true, items: name },
    next_session_at: { type: "string", format: "date-time" },
    metadata: { type: "object", maxProperties: 16, additionalProperties: { type: "string", maxLength: 500 } },
  },
};

const completed = Date.parse(rows.treatment.completed_at);
const after = (at, offset) => new Date(at + (Date.parse(offset) - completed)).toISOString();
const json = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : value);

// One prepared statement for each table and number of rows.
const insert = (client, table, all) => {
  const columns = Object.keys(all[0]);
  const places = all.map((_, row) => `(${columns.map((_, column) => `$${row * columns.length + column + 1}`)})`);
  return client.query({
    name: `${table} ${all.length}`,
    text: `INSERT INTO ${table} (${columns}) VALUES ${places}`,
    values: all.flatMap((row) => columns.map((column) => json(row[column]))),
  });
};

const pool = new pg.Pool({ connectionString, max: 16 });

const record = async (client, { event_id, patient_ref, completed_at, areas }) => {
  const found = { name: "patient", text: "SELECT id FROM bench_people WHERE ref = $1", values: [patient_ref] };
  const patient_id = (await client.query(found)).rows[0]?.id;
  if (!patient_id) return undefined;
  const [at, now, id] = [Date.parse(completed_at), new Date().toISOString(), randomUUID()];
  const event_hash = `\\x${createHash("sha256").update(event_id).digest("hex")}`;
  const dates = { completed_at, recorded_at: now, updated_at: now };
  await insert(client, "treatments", [{ ...rows.treatment, id, patient_id, event_hash, areas, ...dates }]);
  const reminders = rows.reminders.map((row) => {
    const [due_at, use_by] = [after(at, row.due_at), after(at, row.use_by)];
    const times = { due_at, use_by, attempt_at: due_at, created_at: now, updated_at: now };
    return { ...row, id: randomUUID(), patient_id, treatment_id: id, ...times };
  });
  await insert(client, "reminders", reminders);
  const text = "UPDATE patients SET plan_version = plan_version + 1, updated_at = $2 WHERE id = $1";
  await client.query({ name: "plan", text, values: [patient_id, now] });
  await insert(client, "audit", rows.audit.map((row) => ({ ...row, id: randomUUID(), at: now })));
  const shown = reminders.map(({ id, step_id, due_at, use_by, state }) => ({ id, step_id, due_at, use_by, state }));
  return { id, event_id, patient_ref, completed_at, areas, reminders: shown };
};

const app = Fastify();
app.post("/v1/treatments", { schema: { body } }, async (request, reply) => {
  try {
    verify(request.headers.authorization?.replace(/^Bearer /, "") ?? "");
  } catch {
    return reply.code(401).send({ title: "no valid token" });
  }
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const recorded = await record(client, request.body);
    await client.query("COMMIT");
    return recorded ? reply.code(201).send(recorded) : reply.code(422).send({ title: "unknown patient" });
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
});
await app.listen({ port: Number(port), host: "127.0.0.1" });
