/** A process that kills itself at one moment: `dyingSite.ts JOURNAL RELEASES before|after WRITE`. */
import { appendFileSync } from "node:fs";
import { openSite, runSite } from "./siteScript.ts";

const [path = "", releases = "", when = "", write = ""] = process.argv.slice(2);
const site = await openSite(path, (at, number) => {
	if (at === when && number === Number(write)) process.kill(process.pid, "SIGKILL");
});
await runSite(site, `process-${process.pid}`, (chargeId, round, attempt) =>
	appendFileSync(releases, `${JSON.stringify({ chargeId, round, attempt })}\n`),
);
await site.journal.close();
