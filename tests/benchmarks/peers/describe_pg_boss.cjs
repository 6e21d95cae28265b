// Print the schema and the statements of the installed pg-boss, whose parameters are `:name`.

const folder = `${process.env.NODE_PATH}/pg-boss`;
const { version } = require(`${folder}/package.json`);

const schema = "pgboss";
const queue = { schema, table: "job_common", name: "bench", policy: "standard" };
const job = { id: null, name: queue.name, data: JSON.parse(process.argv[2]), singletonOffset: 0 };

async function main() {
  const boss = await import(`${folder}/dist/index.js`);
  const plans = await import(`${folder}/dist/plans.js`);
  const statement = (text, ...values) =>
    text.replace(/--.*/g, "").replace(/\$(\d+)/g, (_, number) => values[number - 1]).trim().replace(/;$/, "");
  const claim = plans.fetchNextJob({ ...queue, limit: 1 });
  process.stdout.write(JSON.stringify({
    about: `pg-boss ${version}`,
    schema: [
      boss.getConstructionPlans(schema),
      plans.createQueue(schema, queue.name, { policy: queue.policy }),
    ],
    values: { jobs: JSON.stringify([job]) },
    preload: statement(
      plans.insertJobs(schema, queue),
      "(SELECT json_agg((:jobs::json)->0) FROM generate_series(1, :count))",
    ),
    enqueue: statement(plans.insertJobs(schema, queue), ":jobs"),
    claim: statement(claim.text, ...claim.values),
    complete: statement(plans.completeJobs(schema, queue.table, false, false), "'bench'", "ARRAY[:job_id]", "NULL"),
    waiting: `SELECT count(*) FROM ${schema}.job WHERE state < 'active'`,
  }));
}

main().catch((error) => { console.error(error); process.exit(1); });
