// Print the schema and the statements of the installed graphile-worker, whose parameters are `:name`.
// The statements are recorded: its own functions are called with a client that only remembers them.

const folder = `${process.env.NODE_PATH}/graphile-worker`;
const { version } = require(`${folder}/package.json`);

const options = {
  escapedWorkerSchema: "graphile_worker",
  workerSchema: "graphile_worker",
  resolvedPreset: { worker: { preparedStatements: true, useNodeTime: false } },
  logger: console,
};

async function recorded(call, ...values) {
  let last;
  const client = {
    query: async (query, given) => {
      last = typeof query === "string" ? query : query.text;
      return { rows: [{ id: 1, identifier: "bench" }] };
    },
  };
  const withClient = async (callback) => callback(client);
  withClient.withRetries = withClient;
  await call(withClient);
  return last.replace(/\$(\d+)/g, (_, number) => values[number - 1]).trim().replace(/;$/, "");
}

async function main() {
  const { makeAddJob } = await import(`${folder}/dist/helpers.js`);
  const { batchGetJobs } = await import(`${folder}/dist/sql/getJobs.js`);
  const { batchCompleteJobs } = await import(`${folder}/dist/sql/completeJobs.js`);
  const { runMigrations } = await import(`${folder}/dist/index.js`);
  if (process.env.PGDATABASE) await runMigrations({});
  const enqueue = await recorded(
    (client) => makeAddJob(options, client)("bench", {}),
    "'bench'", ":payload", ...Array(7).fill("NULL"),
  );
  const claim = await recorded(
    (client) => batchGetJobs(options, client, { bench: () => {} }, "worker", null, 1),
    ":worker", "'{1}'",
  );
  const complete = await recorded(
    (client) => batchCompleteJobs(options, client, "worker", [{ id: "1", job_queue_id: null }]),
    ":job_id",
  );
  process.stdout.write(JSON.stringify({
    about: `graphile-worker ${version}`,
    schema: ["INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('bench')"],
    values: {},
    preload: "SELECT count(graphile_worker.add_job('bench', :payload::json)) FROM generate_series(1, :count)",
    enqueue, claim, complete,
    waiting: "SELECT count(*) FROM graphile_worker._private_jobs WHERE locked_at IS NULL",
  }));
}

main().catch((error) => { console.error(error); process.exit(1); });
